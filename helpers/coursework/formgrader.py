"""Hand marking in nbgrader's formgrader: a course folder made of our results, and the marks read back.

nbgrader does not run anything there: it takes points from the outputs, so a test that failed carries an error as its output.
"""

import csv
import os
import pathlib
import subprocess
import sys

import nbformat

from . import masters, reader, reports

CONFIG = '''"""Written by `python -m helpers.coursework to-nbgrader`: nbgrader must run no code here."""
from nbgrader import preprocessors as p

c = get_config()
c.CourseDirectory.course_id = "course"
c.CourseDirectory.root = {root!r}
c.Autograde.sanitize_preprocessors = [p.DeduplicateIds, p.OverwriteKernelspec, p.OverwriteCells, p.CheckCellMetadata]
c.Autograde.autograde_preprocessors = [p.LimitOutput, p.SaveAutoGrades, p.AssignLatePenalties, p.CheckCellMetadata]
'''


def submitted(master, cohort, result, cells):
    """Return a submission as nbgrader wants it: the master's cells, the student's sources, errors where tests failed.

    Parameters
    ----------
    master : helpers.coursework.masters.Master
    cohort : str
    result : dict
        From grading.
    cells : list of dict
        From :func:`helpers.coursework.reader.read_notebook`.

    Returns
    -------
    nbformat.NotebookNode
    """
    from nbformat.v4 import new_code_cell, new_output

    notebook = masters.release(master, cohort)
    merged = reader.merge(master, cohort, cells, result["student"])
    own = {name: source for name, source, _ in merged.steps if name} | {name: text for name, text in merged.answers.items() if text}
    parts = {part["part"]: part for part in result["parts"]}
    made = []
    for cell in notebook.cells:
        name = cell.metadata.nbgrader.grade_id
        if cell.metadata.nbgrader.solution and name in own:
            # Formgrader shows Markdown with the scripts and links that are in it; a code block shows them as text.
            cell.source = own[name] if cell.cell_type == "code" else "\n".join(f"    {line}" for line in own[name].splitlines())
        if cell.cell_type == "code" and name in parts and parts[name]["points"] != parts[name]["of"]:
            cell.outputs = [new_output("error", ename="Failed", evalue=parts[name]["message"], traceback=[parts[name]["message"]])]
        made.append(cell)
    extras = [source for name, source, _ in merged.steps if name is None]
    if extras:
        made.append(new_code_cell("\n\n".join(["# Further cells of the student, in their order:", *extras])))
    notebook.cells = made
    return notebook


def export(master, secret, results, submissions, folder):
    """Write a course folder for nbgrader and fill its database.

    Parameters
    ----------
    master : helpers.coursework.masters.Master
    secret : str
    results : list of dict
    submissions : dict of str to bytes
    folder : pathlib.Path

    Returns
    -------
    int
        How many submissions were written.

    Raises
    ------
    RuntimeError
        When nbgrader fails; holds what it printed.
    """
    import copy

    folder = pathlib.Path(folder).absolute()
    cohort = masters.token(secret, master.name)
    source = folder / "source" / master.name
    source.mkdir(parents=True, exist_ok=True)
    (folder / "nbgrader_config.py").write_text(CONFIG.format(root=str(folder)), encoding="utf-8")
    notebook = copy.deepcopy(master.notebook)
    for cell in notebook.cells:
        del cell.metadata["course_title"]
        cell.source = masters.with_token(cell.source, cohort)
    nbformat.write(notebook, source / f"{master.name}.ipynb")
    count = 0
    for result in results:
        if result["status"] != "graded":
            continue
        place = folder / "submitted" / reports.slug(result["student"]) / master.name
        place.mkdir(parents=True, exist_ok=True)
        cells = reader.read_notebook(submissions[result["student"]])
        nbformat.write(submitted(master, cohort, result, cells), place / f"{master.name}.ipynb")
        count += 1
    tools = pathlib.Path(sys.executable).parent  # nbgrader calls alembic by its name
    environment = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}"}
    for command in (["generate_assignment", master.name, "--force"], ["autograde", master.name, "--force"]):
        done = subprocess.run([sys.executable, "-m", "nbgrader", *command], cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"nbgrader {command[0]} failed: {done.stderr[-1500:]}")
    return count


def read_back(master, results, folder):
    """Return the marks that people gave in formgrader: rows of student, part, points, comment.

    Parameters
    ----------
    master : helpers.coursework.masters.Master
    results : list of dict
    folder : pathlib.Path

    Returns
    -------
    list of dict

    Raises
    ------
    ValueError
        When the folder has no database of nbgrader's.
    """
    from nbgrader.api import Gradebook, MissingEntry

    base = pathlib.Path(folder).absolute() / "gradebook.db"
    if not base.is_file():
        raise ValueError(f"There is no {base}; make it with to-nbgrader.")
    rows = []
    with Gradebook(f"sqlite:///{base}", "course") as book:
        for result in results:
            try:
                notebook = book.find_submission_notebook(master.name, master.name, reports.slug(result["student"]))
            except MissingEntry:
                continue
            comments = {comment.name: comment.manual_comment or "" for comment in notebook.comments}
            for grade in notebook.grades:
                if grade.manual_score is not None:
                    rows.append({"student": result["student"], "part": grade.name, "points": grade.manual_score + (grade.extra_credit or 0), "comment": comments.get(grade.name, "")})
    return rows


def write_marks(path, rows):
    """Write marks for :func:`helpers.coursework.reports.read_marks`; marks of others that stand there are kept."""
    kept = {}
    if path.is_file():
        with path.open(encoding="utf-8-sig", newline="") as file:
            kept = {(row["student"], row["part"]): row for row in csv.DictReader(file)}
    for row in rows:
        kept[row["student"], row["part"]] = row
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, ["student", "part", "points", "comment"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(kept[key] for key in sorted(kept))
    part.replace(path)
