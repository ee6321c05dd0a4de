"""Reading what students hand in, however it was saved, and putting their code into the order of the master."""

import ast
import dataclasses
import io
import json
import re
import threading
import zipfile

from . import masters

LARGEST = 100 * 1024 * 1024  # bytes of a file, and of what a zip unpacks to
MOST_CELLS, MOST_CODE, PARSED = 3000, 3_000_000, 20_000  # cells; letters of code in all; letters of a cell that is parsed


PARSING = threading.Lock()


def parse_alone(source):
    """Return the syntax tree of a source, one thread at a time.

    Python 3.11 counts the depth of recursion for all threads together: two that parse at once may raise SystemError.
    """
    with PARSING:
        return ast.parse(source)


class Unreadable(ValueError):
    """A file that can't be graded; the message is for the student."""


def read_notebook(content, name="the file"):
    """Return the cells of a notebook: a list of dicts with ``kind``, ``source`` and ``grade_id`` (or None).

    Parameters
    ----------
    content : bytes
        An .ipynb of nbformat 3 to 5 in UTF-8 or UTF-16, with or without byte-order mark, or a zip with one in it.
    name : str
        For messages.

    Returns
    -------
    list of dict

    Raises
    ------
    Unreadable
        With a reason that a student understands.
    """
    try:
        cells = _read(content, name)
    except Unreadable:
        raise
    except Exception as error:  # noqa: BLE001 - a stranger's file: whatever is wrong with it must not stop a class
        raise Unreadable(f"{name} is damaged ({type(error).__name__}). Open it in Jupyter or Colab, save it and hand in again.") from None
    if len(cells) > MOST_CELLS or sum(len(cell["source"]) for cell in cells) > MOST_CODE:
        raise Unreadable(f"{name} has more than {MOST_CELLS} cells or {MOST_CODE // 1_000_000} million letters. Take out what is not your work and hand in again.")
    return cells


def _read(content, name):
    if len(content) > LARGEST:
        raise Unreadable(f"{name} is larger than {LARGEST >> 20} MB. Clear the outputs (Edit, Clear all outputs), save and hand in again.")
    if content[:4] == b"PK\x03\x04":
        content, name = _from_zip(content, name)
    if not content.strip():
        raise Unreadable(f"{name} is empty. Save the notebook, look at the file's size and hand in again.")
    if content[:5] == b"%PDF-" or content.lstrip()[:1] == b"<":
        raise Unreadable(f"{name} is a PDF or a web page, not a notebook. Hand in the .ipynb file (File, Download, Download .ipynb).")
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"):
        try:
            document = json.loads(content.decode(encoding))
            break
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError):
            continue
    else:
        raise Unreadable(f"{name} is no notebook, or only a part of one arrived. Open it in Jupyter or Colab; if it opens there, download it again and hand it in.")
    cells = document.get("cells") if isinstance(document, dict) else None
    if cells is None and isinstance(document, dict):  # nbformat 3: worksheets, and "input" for the source
        sheets = document.get("worksheets")
        cells = [cell for sheet in sheets if isinstance(sheet, dict) for cell in sheet.get("cells") or []] if isinstance(sheets, list) else None
    if not isinstance(cells, list):
        raise Unreadable(f"{name} has no cells: it is not a Jupyter notebook. Hand in the .ipynb file.")
    return [found for cell in cells if (found := _cell(cell))]


def _from_zip(content, name):
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            inside = [info for info in archive.infolist() if info.filename.lower().endswith(".ipynb") and "__MACOSX" not in info.filename and ".ipynb_checkpoints" not in info.filename]
            if len(inside) != 1:
                raise Unreadable(f"{name} holds {len(inside) or 'no'} notebook{'s' if len(inside) > 1 else ''}; hand in exactly one .ipynb.")
            if inside[0].file_size > LARGEST:
                raise Unreadable(f"The notebook in {name} is larger than {LARGEST >> 20} MB. Clear the outputs, save and hand in again.")
            with archive.open(inside[0]) as file:  # the size that a zip states may be a lie: read no more than that
                found = file.read(LARGEST + 1)
            if len(found) > LARGEST:
                raise Unreadable(f"The notebook in {name} is larger than {LARGEST >> 20} MB.")
            return found, f"the notebook in {name}"
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"{name} is a damaged or locked zip file. Hand in the .ipynb itself.") from None


def _cell(cell):
    if not isinstance(cell, dict):
        return None
    kind = cell.get("cell_type")
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list):
        source = "".join(line for line in source if isinstance(line, str))
    if kind not in ("code", "markdown", "raw", "heading") or not isinstance(source, str):
        return None
    metadata = cell.get("metadata")
    known = metadata.get("nbgrader") if isinstance(metadata, dict) else None
    grade_id = known.get("grade_id") if isinstance(known, dict) else None
    if grade_id is None and isinstance(cell.get("id"), str):  # Colab and old tools may drop one and keep the other
        grade_id = cell["id"]
    source = source.replace("\r\n", "\n").encode("utf-8", "replace").decode()  # halves of surrogate pairs can't be written to a file
    return {"kind": kind, "source": source, "grade_id": grade_id if isinstance(grade_id, str) else None}


@dataclasses.dataclass(frozen=True)
class Merged:
    """A submission in the order of its master.

    Attributes
    ----------
    steps : list of tuple
        What is run: ``(grade_id, source, locked)``.
    answers : dict of str to str
        Texts for a person, by grade_id.
    notes : list of str
        What was odd, for the grader and the student.
    empty : set of str
        Parts in which nothing was written.
    """

    steps: list
    answers: dict
    notes: list
    empty: set


def merge(master, cohort, cells, student):
    """Return a submission in the order of the master: the master's locked cells and the student's own code.

    Cells are recognised by nbgrader's metadata, by the line ``# Part: name``, or by the functions and names they define; of
    several of one part all run, in their order. Additional cells run after the cell they stood behind, and additional texts
    belong to the text for a person that they stand behind. Tests are never taken from a submission, only lines added to them.

    Parameters
    ----------
    master : helpers.coursework.masters.Master
    cohort : str
    cells : list of dict
        From :func:`read_notebook`.
    student : str
        The id under which it was handed in; it takes the place of the one that the notebook states.

    Returns
    -------
    Merged

    Raises
    ------
    Unreadable
        When no cell belongs to this assignment.
    """
    released = {c.metadata.nbgrader.grade_id: c for c in masters.release(master, cohort).cells}
    order = list(released)
    owners, notes = _defined_names(master), []
    matched, extras, anchor, hits = {}, {}, None, 0
    for cell in cells:
        names = _names(cell["source"]) if cell["kind"] == "code" else set()
        grade_id, sure = _recognise(cell, names, released, owners)
        if grade_id is None:
            if not cell["source"].strip() or re.match(r"# Tests: test-", cell["source"]):
                continue
            wrong_kind = cell["grade_id"] in released and released[cell["grade_id"]].cell_type == "markdown"
            if cell["kind"] != "code" or wrong_kind:  # an answer in a cell of its own, or of another kind
                place = cell["grade_id"] if wrong_kind else anchor
                if place is not None and released[place].cell_type == "markdown" and released[place].metadata.nbgrader.solution:
                    matched.setdefault(place, []).append(cell["source"])
                    anchor = place
            else:
                extras.setdefault(anchor, []).append(cell["source"])
            continue
        hits += sure
        anchor = grade_id
        matched.setdefault(grade_id, [])
        if not _same(cell["source"], released[grade_id].source):
            matched[grade_id].append(cell["source"])
    if not hits and not any(released[name].metadata.nbgrader.solution for name in matched):
        raise Unreadable(f"No cell of this notebook belongs to the assignment {master.name}. Was another file handed in?")
    steps, answers, empty = [], {}, set()
    steps += [(None, source, False) for source in extras.pop(None, [])]
    for name in order:
        cell, own = released[name], matched.get(name, [])
        kind = cell.metadata.nbgrader
        if cell.cell_type == "markdown":
            if kind.solution:
                answers[name] = "\n\n".join(own)
                if not own:
                    empty.add(name)
        elif kind.solution:
            own = list(dict.fromkeys(own))  # the same twice is one
            if len(own) > 1:
                notes.append(f"{name}: {len(own)} cells were found; they run in their order.")
            steps += [(name, source, False) for source in own]
            if not own:
                empty.add(name)
                notes.append(f"{name}: nothing was written here." if name in matched else f"{name}: the cell is missing.")
        elif not kind.grade:
            source = masters.with_token(master_source(master, name), cohort)
            steps.append((name, re.sub(r"^student\s*=.*$", lambda _: f"student = {student!r}", source, flags=re.MULTILINE), True))
            if own and _is_student_id(own[-1]) is None:
                added = _additions(cell.source, own[-1])
                if added:
                    steps.append((None, added, False))
                notes.append(f"{name}: this cell is locked; {'what was added runs after it' if added else 'the change was ignored'}.")
        elif own and (added := _additions(cell.source, own[-1])):
            steps.append((None, added, False))
            notes.append(f"{name}: a cell of tests is locked; what was added to it runs as a cell of its own.")
        steps += [(None, source, False) for source in extras.pop(name, [])]
    return Merged(steps, answers, notes, empty)


def stated_student(cells):
    """Return the student id that a notebook states in ``student = "..."``, or None."""
    for cell in cells:
        if cell["kind"] == "code" and (found := _is_student_id(cell["source"])):
            return found
    return None


def _is_student_id(source):
    found = re.search(r"^student\s*=\s*(['\"])(.*?)\1", source, re.MULTILINE)
    return found[2].strip() if found else None


def master_source(master, name):
    """Return the source of a master's cell."""
    return next(c.source for c in master.notebook.cells if c.metadata.nbgrader.grade_id == name)


def _same(one, other):
    return "".join(one.split()) == "".join(other.split())


def _recognise(cell, names, released, owners):
    """Return the grade_id that a cell belongs to, and whether that is sure."""
    kind, grade_id = cell["kind"], cell["grade_id"]
    if grade_id in released and released[grade_id].cell_type == kind:
        return grade_id, True
    if kind == "code" and (marked := re.match(r"\s*# (?:Part|Tests): ([a-z0-9-]+)", cell["source"])) and marked[1] in released:
        return marked[1], True
    for name, original in released.items():
        if original.cell_type == kind and _same(cell["source"], original.source):
            return name, len(cell["source"]) > 40
    if kind == "code":
        for name, defined in owners.items():
            if defined and defined <= names:
                return name, True
    elif kind == "markdown":  # a text for a person keeps its question, which ends where the stub stood
        for name, original in released.items():
            question = original.source.replace(masters.TEXT_STUB, "").strip()
            if original.cell_type == "markdown" and original.metadata.nbgrader.solution and len(question) > 15 and question[:60] in cell["source"]:
                return name, True
    return None, False


def _names(source):
    """Return the names that a cell defines at its top level; of code that does not parse, those that start a line."""
    try:
        tree = parse_alone(source) if len(source) <= PARSED else None  # a long chain of names takes the parser a minute
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        tree = None
    if tree is None:
        return set(re.findall(r"^(?:def|class)\s+(\w+)", source, re.MULTILINE)) | set(re.findall(r"^(\w+)\s*=", source, re.MULTILINE))
    found = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return found


def _defined_names(master):
    """Return the names that the solution of each part defines and no other cell does."""
    defined = {c.metadata.nbgrader.grade_id: _names(c.source) for c in master.notebook.cells if c.cell_type == "code" and not c.metadata.nbgrader.grade}
    own = {name: names - set().union(*(other for key, other in defined.items() if key != name)) for name, names in defined.items()}
    return {c.metadata.nbgrader.grade_id: own[c.metadata.nbgrader.grade_id] for c in master.notebook.cells if c.cell_type == "code" and c.metadata.nbgrader.solution}


def _additions(original, edited):
    """Return what was added to a locked cell: its new lines, or of a cell that was changed otherwise its new imports and functions."""
    kept = {line.strip() for line in original.splitlines() if line.strip()}
    lines = edited.splitlines()
    if kept <= {line.strip() for line in lines}:
        added = "\n".join(line for line in lines if line.strip() not in kept)
        if not any(line[:1].isspace() for line in added.splitlines() if line.strip()):
            return added
    try:
        tree = parse_alone(edited) if len(edited) <= PARSED else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    found = [] if tree is None else [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef))]
    texts = [ast.get_source_segment(edited, node) for node in found]
    return "\n".join(text for text in texts if text and text.strip() not in original)
