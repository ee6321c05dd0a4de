"""What comes out of grading: grade books for Moodle, Canvas and a spreadsheet, and a page of feedback for each student."""

import csv
import hashlib
import html
import json
import pathlib
import re

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .4rem .6rem; border-bottom: 1px solid GrayText; overflow-wrap: anywhere; }}
td.points {{ white-space: nowrap; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; padding: .6rem; border: 1px solid GrayText; }}
</style></head><body><main>
{body}
</main></body></html>
"""


def slug(student):
    """Return a file name for a student that is safe on every system and never the same for two, capitals or not."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", student).strip("-")[:40] or "student"
    return plain if plain == student.lower() == student else f"{plain}-{hashlib.sha256(student.encode()).hexdigest()[:8]}"


def cell(value):
    """Return a text for a CSV that no spreadsheet takes for a formula."""
    text = str(value).replace("\0", "").encode("utf-8", "replace").decode()
    text = re.sub(r"([;\t\r\n]\s*)([=+\-@|%])", r"\1'\2", text)  # a reader that splits at semicolons finds none either
    return f"'{text}" if text.startswith(FORMULA) and not re.fullmatch(r"-?\d+(\.\d+)?", text) else text


def write_json(path, value):
    """Write a file as a whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def total(result, marks):
    """Return points with those given by hand, and the parts that a person has still to mark."""
    points, open_parts = 0.0, []
    for part in result["parts"]:
        given = marks.get((result["student"], part["part"]))
        if given is not None:
            points += given["points"]
        elif part["by_hand"]:
            if result["answers"].get(part["part"], "").strip():
                open_parts.append(part["part"])
        else:
            points += part["points"]
    return points, open_parts


def read_marks(path, results):
    """Return points and comments that a person gave, by student and part.

    Parameters
    ----------
    path : pathlib.Path
        CSV with the columns student, part, points, comment; it may be missing. Rows without points are not marked yet.
    results : list of dict

    Returns
    -------
    dict of (str, str) to dict

    Raises
    ------
    ValueError
        When a row names an unknown part, or gives more than it has or less than nothing.
    """
    if not path.is_file():
        return {}
    most = {part["part"]: part["of"] for result in results for part in result["parts"]}
    found = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            student, part, points = (str(row.get(key) or "").strip() for key in ("student", "part", "points"))
            if not points:
                continue
            try:
                value = float(points.replace(",", "."))
            except ValueError:
                raise ValueError(f"{path}, line {number}: points must be a number, not {points!r}.") from None
            if part not in most or not 0 <= value <= most[part]:
                raise ValueError(f"{path}, line {number}: {part!r} takes 0 to {most.get(part, 'no known number of')} points, not {points}.")
            found[student.removeprefix("'"), part] = {"points": value, "comment": str(row.get("comment") or "")}
    return found


def write_books(folder, results, marks, roster=None, assignment=""):
    """Write grades.csv (one row a student, one column a part), moodle.csv, canvas.csv, and to-mark.csv for a person."""
    people = {row["id"]: row for row in roster or []}
    parts = next((result["parts"] for result in results if result["parts"]), [])
    books = {"grades": [["student", "name", "status", "late", "points", "of", "to mark by hand", *(p["part"] for p in parts), "reason or notes"]],
             "moodle": [["ID number", "Full name", "Email address", assignment, "Feedback comments"]],
             "canvas": [["Student", "ID", "SIS User ID", "SIS Login ID", "Section", assignment], ["Points Possible", "", "", "", "", f"{results[0]['of']:g}" if results else ""]],
             "to-mark": [["student", "part", "of", "points", "comment", "answer"]]}
    for result in results:
        person = people.get(result["student"], {})
        name = person.get("name") or result.get("name", "")
        points, to_mark = total(result, marks)
        graded = result["status"] == "graded"
        shown = f"{points:g}" if graded or result["status"] == "unreadable" else ""
        scores = {p["part"]: marks.get((result["student"], p["part"]), p)["points"] for p in result["parts"]}
        remark = result["reason"] or "; ".join(filter(None, [result.get("remark", ""), *result["notes"]]))
        books["grades"].append([result["student"], name, result["status"], "late" if result.get("late") else "", shown, f"{result['of']:g}", " ".join(to_mark),
                                *(("" if scores.get(p["part"]) is None else f"{scores[p['part']]:g}") for p in parts), remark])
        books["moodle"].append([result["student"], name, person.get("email", ""), shown, remark])
        books["canvas"].append([name or result["student"], person.get("lms", ""), result["student"], person.get("email", "").split("@")[0], "", shown])
        for part in result["parts"]:
            if part["by_hand"] and result["answers"].get(part["part"], "").strip():
                given = marks.get((result["student"], part["part"]), {})
                books["to-mark"].append([result["student"], part["part"], f"{part['of']:g}", f"{given['points']:g}" if given else "", given.get("comment", ""), result["answers"][part["part"]]])
    for name, rows in books.items():
        path = folder / f"{name}.csv"
        part = path.with_name(f".{path.name}.part")
        with part.open("w", encoding="utf-8-sig", newline="") as file:  # the mark tells Excel that it is UTF-8
            csv.writer(file).writerows([[cell(value) for value in row] for row in rows])
        part.replace(path)


def feedback(result, marks, title):
    """Return a student's page: parts, points, what failed (never a test's text), comments. Everything foreign is escaped."""
    def text(value):
        return html.escape(str(value))

    points, to_mark = total(result, marks)
    body = [f"<h1>{text(title)}</h1>", f"<p>Student: {text(result['student'])}</p>"]
    if result["status"] == "unreadable":
        body.append(f"<p><strong>Your file could not be graded.</strong> {text(result['reason'])}</p>")
    elif result["status"] == "not graded":
        body.append("<p><strong>Not graded yet</strong>, through no fault of yours. It will be done again.</p>")
    else:
        body.append(f"<p><strong>{points:g} of {result['of']:g} points</strong>" + (f"; {len(to_mark)} part{'s' if len(to_mark) > 1 else ''} still to be marked by a person" if to_mark else "") + ".</p>")
        body.append("<table><thead><tr><th>Part</th><th>Points</th><th>Remark</th></tr></thead><tbody>")
        for part in result["parts"]:
            given = marks.get((result["student"], part["part"]))
            score = given["points"] if given else part["points"]
            if given:
                remark = given["comment"]
            elif part["by_hand"]:
                written = result["answers"].get(part["part"], "").strip()
                remark, score = ("Marked by a person.", None) if written else ("Nothing was written here.", 0)
            else:
                remark = "All tests passed." if part["points"] == part["of"] else part["message"]
            body.append(f"<tr><td>{text(part['title'])}</td><td class='points'>{'–' if score is None else f'{score:g}'} of {part['of']:g}</td><td>{text(remark)}</td></tr>")
        body.append("</tbody></table>")
        if result["notes"]:
            body.append("<h2>Notes</h2><ul>" + "".join(f"<li>{text(note)}</li>" for note in result["notes"]) + "</ul>")
    return PAGE.format(title=text(title), body="\n".join(body))


def write_feedback(folder, results, marks, title):
    """Write one page a student into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for result in results:
        pathlib.Path(folder, f"{slug(result['student'])}.html").write_text(feedback(result, marks, title), encoding="utf-8", errors="replace")
