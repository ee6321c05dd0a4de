"""A folder or zip of submissions, as Moodle and Canvas pack them or as plain files: who handed in what."""

import csv
import dataclasses
import io
import os
import pathlib
import re
import zipfile
import zlib

from . import reader

ENDINGS = (".ipynb", ".zip")
MOST_FILES, MOST_BYTES = 20_000, 8 << 30  # of a class's zip, unpacked
MOODLE = re.compile(r"^(?P<name>.+?)_(?P<id>\d+)_assignsubmission_file_?(?P<file>.*)$")
CANVAS = re.compile(r"^(?P<name>[a-z0-9\-]+?)(?P<late>_LATE)?_(?P<id>\d+)_(?P<file_id>\d+)_(?P<file>.+)$", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Submission:
    """What counts for one student.

    Attributes
    ----------
    student : str
        Id of the roster, or what the file's name tells.
    name : str
        As the file's name has it; for a person to read.
    origin : str
        Where the file stood.
    content : bytes
    late : bool
    """

    student: str
    name: str
    origin: str
    content: bytes
    late: bool = False


@dataclasses.dataclass
class Collected:
    """Submissions, and what a person should look at.

    Attributes
    ----------
    submissions : list of Submission
        One a student, by student.
    remarks : list of str
        Files that don't count, and why; students of the roster without a file.
    missing : list of str
    """

    submissions: list
    remarks: list
    missing: list


def read_roster(path):
    """Return a roster: rows with ``id`` and, where given, ``name``, ``email`` and ``lms`` (the number in the LMS's file names).

    Parameters
    ----------
    path : str or pathlib.Path
        CSV with a header; commas or semicolons.

    Returns
    -------
    list of dict

    Raises
    ------
    ValueError
        When there is no column ``id`` or an id stands twice.
    """
    text = pathlib.Path(path).read_text(encoding="utf-8-sig")
    rows = [{(key or "").strip().lower(): (value or "").strip() for key, value in row.items() if isinstance(value, str)}
            for row in csv.DictReader(io.StringIO(text), delimiter=";" if text.split("\n")[0].count(";") > text.split("\n")[0].count(",") else ",")]
    if not rows or "id" not in rows[0]:
        raise ValueError(f"{path} needs a header with the column id, and may have name, email and lms.")
    ids = [row["id"].lower() for row in rows]
    if doubled := sorted({i for i in ids if ids.count(i) > 1}):
        raise ValueError(f"{path} has {', '.join(doubled)} more than once.")
    return rows


def files_in(place):
    """Yield path below the place, time and a function that reads the content, for every file that counts; then remarks.

    Nothing is unpacked to the disk and no link is followed.
    """
    place = pathlib.Path(place)
    if place.is_dir():
        for folder, folders, names in os.walk(place, followlinks=False):
            folders[:] = sorted(f for f in folders if not os.path.islink(os.path.join(folder, f)) and f not in ("__MACOSX", ".ipynb_checkpoints"))
            for name in sorted(names):
                path = pathlib.Path(folder, name)
                where = str(path.relative_to(place))
                if path.is_symlink() or not path.is_file():
                    yield where, None, "a link or no ordinary file"
                else:
                    yield where, path.stat().st_mtime, (lambda path=path: _read_some(path.open("rb")))
        return
    with zipfile.ZipFile(place) as archive:
        members = [info for info in archive.infolist() if not info.is_dir() and "__MACOSX" not in info.filename]
        if len(members) > MOST_FILES or sum(info.file_size for info in members) > MOST_BYTES:
            raise ValueError(f"{place} holds more than {MOST_FILES} files or {MOST_BYTES >> 30} GB; unpack it and look.")
        split = [re.split(r"[\\/]", info.filename) for info in members]
        inside = len({p[0] for p in split}) == 1 and len({p[1] for p in split if len(p) > 1}) > 1  # one folder round everything
        for info in sorted(members, key=lambda info: info.filename):
            yield info.filename[len(split[0][0]) + 1 :] if inside else info.filename, float("%04d%02d%02d%02d%02d%02d" % info.date_time), (lambda info=info: _read_member(place, info))


def _read_some(file):
    with file:
        return file.read(reader.LARGEST + 1)


def _read_member(place, info):
    try:
        with zipfile.ZipFile(place) as archive:
            return _read_some(archive.open(info))
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError, ValueError):
        return b""  # damaged or locked: unreadable, not a failure of the whole class


def who(path):
    """Return student, readable name, number of the LMS, whether late, and the file's own name, from a path.

    Parameters
    ----------
    path : str
        ``Ada King_4711_assignsubmission_file/work.ipynb`` (Moodle), ``kingada_LATE_4711_99_work.ipynb`` (Canvas),
        ``ada.ipynb`` or ``ada/work.ipynb``.

    Returns
    -------
    tuple of (str, str, str, bool, str)
    """
    path = path.encode("utf-8", "replace").decode()
    parts = [part for part in re.split(r"[\\/]", path) if part not in ("", ".", "..")] or ["?"]
    file = parts[-1]
    # What the LMS wrote comes first; a student chooses the rest, and may choose somebody else's name.
    if len(parts) == 1 and (found := CANVAS.match(file)):
        return found["id"], found["name"], found["id"], bool(found["late"]), found["file"]
    for part in parts:
        if found := MOODLE.match(part):
            return found["id"], found["name"], found["id"], False, found["file"] or file
    if found := CANVAS.match(file):
        return found["id"], found["name"], found["id"], bool(found["late"]), found["file"]
    owner = parts[0] if len(parts) > 1 else re.sub(r"\.(ipynb|zip)$", "", file, flags=re.IGNORECASE)
    return owner, owner, "", False, file


def collect(place, roster=None):
    """Return the submissions in a folder or zip, one a student, and what a person should look at.

    Parameters
    ----------
    place : str or pathlib.Path
    roster : list of dict, optional
        From :func:`read_roster`; ids in it are matched with the student's id, the LMS's number, the e-mail's first part or the name.

    Returns
    -------
    Collected

    Raises
    ------
    ValueError
        When the place is missing, no zip, or too large.
    """
    place = pathlib.Path(place)
    if not place.exists():
        raise ValueError(f"There is no {place}; give the folder or zip that the LMS let you download.")
    found, remarks = {}, []
    try:
        for where, when, read in files_in(place):
            shown = printable(where)
            if when is None:
                remarks.append(f"{shown}: {read}; not read.")
                continue
            if pathlib.PurePath(where).name.startswith("."):
                continue
            student, name, number, late, file = who(where)
            student, name = _lookup(student, name, number, roster)
            if student is None:
                remarks.append(f"{shown}: nobody on the roster; not graded.")
                continue
            if not file.lower().endswith(ENDINGS):
                found.setdefault(student, []).append((0, when, where, name, late, read))
            else:
                found.setdefault(student, []).append((1, (_resubmission(file), when), where, name, late, read))
        submissions = []
        for student, files in found.items():
            best = max(files, key=lambda f: (f[0], f[1] if isinstance(f[1], tuple) else (0, f[1]), f[2]))
            for other in files:
                if other is not best:
                    remarks.append(f"{printable(other[2])}: {printable(student)} handed in more than one file; {printable(best[2])} counts.")
            if not best[0]:
                remarks.append(f"{printable(best[2])}: no notebook; graded as unreadable.")
            if best[4]:
                remarks.append(f"{printable(best[2])}: late.")
            submissions.append(Submission(student, best[3], best[2], best[5](), best[4]))
    except zipfile.BadZipFile:
        raise ValueError(f"{place} is neither a folder nor a zip that can be read.") from None
    missing = [row["id"] for row in roster or [] if row["id"] not in found]
    return Collected(sorted(submissions, key=lambda s: s.student), remarks, missing)


def _resubmission(file):
    number = re.search(r"-(\d+)\.\w+$", file)
    return int(number[1]) if number else 0


def _lookup(student, name, number, roster):
    if roster is None:
        return student, name
    for row in roster:
        known = {row["id"].lower(), row.get("email", "").split("@")[0].lower()} - {""}
        if (number and number == row.get("lms")) or student.lower() in known:
            return row["id"], row.get("name") or name
    if number and any(row.get("lms") for row in roster):
        return None, name  # the LMS's number is on no row: a name alone could be somebody else's
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    found = [row for row in roster if plain and plain in _spellings(row.get("name", "").lower())]
    return (found[0]["id"], found[0]["name"]) if len(found) == 1 else (None, name)


def _spellings(name):
    """Return a name as LMSs write it into file names: without spaces, and last name first."""
    words = name.split()
    return {re.sub(r"[^a-z0-9]", "", "".join(order)) for order in (words, words[::-1], words[-1:] + words[:-1])} - {""}


def printable(text):
    """Return a text from outside with anything that could steer a terminal taken out."""
    return "".join(c if c.isprintable() else "?" for c in str(text))[:300]
