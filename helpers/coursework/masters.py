"""Masters: assignments as text, with solutions and hidden tests, and the notebooks that are made of them.

A master is a MyST notebook (``book/assignments/NN_name.md``). A code cell with ``:part: name`` and a solution region is what
the student writes; one with ``:part: name`` and ``:points: 3`` tests it; a Markdown cell with ``+++ {"part": "name",
"points": 4}`` is marked by a person. Everything else is locked. The result is in nbgrader's format.
"""

import dataclasses
import hashlib
import hmac
import pathlib
import re

COHORT = "COHORT_TOKEN"  # stands in a master where the token of a cohort goes
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"
TEXT_STUB = "*Your answer here.*"
LEFT_IN = re.compile(r"(begin|end)\W{0,3}_?(solution|hidden|mark)|hidden[\W_]{0,3}tests?\b|reference[\W_]solution|" + COHORT, re.IGNORECASE)


class MasterError(ValueError):
    """A master that can't be released; the message names the cell and what to do."""


@dataclasses.dataclass(frozen=True)
class Part:
    """What is marked: a test cell or a text.

    Attributes
    ----------
    name, title : str
    points : float
    by_hand : bool
    """

    name: str
    title: str
    points: float
    by_hand: bool


@dataclasses.dataclass(frozen=True)
class Master:
    """An assignment with its solution.

    Attributes
    ----------
    name : str
        Stem of its file.
    title : str
    notebook : nbformat.NotebookNode
        With solutions, hidden tests and nbgrader's metadata.
    digest : str
        Of the text; results of another text are not kept.
    """

    name: str
    title: str
    notebook: object
    digest: str

    @property
    def parts(self):
        """Return what is marked, in order: a list of :class:`Part`."""
        return [Part(c.metadata.nbgrader.grade_id, c.metadata.course_title, c.metadata.nbgrader.points, c.metadata.nbgrader.solution)
                for c in self.notebook.cells if c.metadata.nbgrader.grade]


def read(path):
    """Return a master from its text.

    Parameters
    ----------
    path : str or pathlib.Path
        A MyST notebook; see the module.

    Returns
    -------
    Master

    Raises
    ------
    MasterError
        When the file is missing or a cell is not as the format asks.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise MasterError(f"There is no master {path}; masters are MyST notebooks such as book/assignments/01_neurons_and_the_brain.md.")
    return parse(path.read_text(encoding="utf-8"), path.stem)


def parse(text, name):
    """Return a master from the text itself; see :func:`read`."""
    import jupytext
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    source = jupytext.reads(text, fmt="md:myst")
    cells, title, seen = [], "", set()
    for number, cell in enumerate(source.cells, 1):
        if heading := re.search(r"^##+ (.+)$", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None:
            title = heading[1].strip()
        part, points = cell.metadata.get("part"), cell.metadata.get("points")
        solution = "### BEGIN SOLUTION" in cell.source
        where = f"{name}, cell {number} ({cell.source.strip().splitlines()[0][:60] if cell.source.strip() else 'empty'})"
        if part is not None and not re.fullmatch(r"[a-z][a-z0-9-]*", str(part)):
            raise MasterError(f"{where}: part must be small letters, digits and dashes, not {part!r}.")
        if points is not None and not (isinstance(points, (int, float)) and points > 0):
            raise MasterError(f"{where}: points must be a number above 0, not {points!r}.")
        if solution and part is None:
            raise MasterError(f"{where}: a cell with a solution needs a line ':part: name'.")
        if part is None and points is not None:
            raise MasterError(f"{where}: points need a line ':part: name'.")
        if cell.cell_type == "code":
            test = part is not None and not solution
            if test and points is None:
                raise MasterError(f"{where}: tests need a line ':points: 2'.")
            if solution and points is not None:
                raise MasterError(f"{where}: points belong to the cell of tests, not to the solution.")
            grade_id = f"test-{part}" if test else part or f"locked-{number}"
            settings = {"grade": test, "solution": solution, "locked": not solution and not cell.source.startswith("student =")}
            made = new_code_cell(cell.source)
        else:
            by_hand = part is not None
            grade_id = part or f"text-{number}"
            settings = {"grade": by_hand, "solution": by_hand, "locked": not by_hand}
            made = new_markdown_cell(cell.source)
        if grade_id in seen:
            raise MasterError(f"{where}: there are two cells for {grade_id}.")
        seen.add(grade_id)
        made.id = grade_id[:64]
        made.metadata.course_title = title
        made.metadata.nbgrader = {"grade_id": grade_id, "task": False, "schema_version": 3, **settings}
        if settings["grade"]:
            made.metadata.nbgrader.points = points
        cells.append(made)
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}
    found = re.search(r"^# (.+)$", text, re.MULTILINE)
    master = Master(name, found[1].strip() if found else name, new_notebook(cells=cells, metadata=metadata), hashlib.sha256(text.encode()).hexdigest())
    if not master.parts:
        raise MasterError(f"{name}: no cell has points.")
    return master


def count_points(points):
    """Return a number of points in words: ``1 point``, ``2.5 points``."""
    return f"{points:g} point{'' if points == 1 else 's'}"


def token(secret, name):
    """Return the token of a cohort for an assignment, which stands openly in the notebook and tells nothing of the secret."""
    return hmac.new(str(secret).encode(), name.encode(), "sha256").hexdigest()[:24]


def with_token(source, cohort):
    """Return the source of a cell with the token of a cohort filled in."""
    return source.replace(COHORT, cohort)


def strip_hidden(source):
    """Return the source of a cell of tests without its hidden ones."""
    return re.sub(r"^[ \t]*### BEGIN HIDDEN TESTS.*?^[ \t]*### END HIDDEN TESTS[^\n]*(\n|\Z)", "", source, flags=re.DOTALL | re.MULTILINE).rstrip() or "# All tests of this part are hidden."


def strip_solution(cell):
    """Return the source of a cell as a student gets it: a stub in place of each solution region, of a text a line to fill in."""
    stub = STUB if cell.cell_type == "code" else TEXT_STUB

    def replace(match):
        return "\n".join(match[1] + line for line in stub.splitlines()) + "\n"

    if cell.cell_type == "markdown" and "### BEGIN SOLUTION" not in cell.source:
        return f"{cell.source.rstrip()}\n"
    return re.sub(r"^([ \t]*)### BEGIN SOLUTION.*?^[ \t]*### END SOLUTION[^\n]*(?:\n|\Z)", replace, cell.source, flags=re.DOTALL | re.MULTILINE).rstrip()


def release(master, cohort):
    """Return the notebook that students get: no solution, no hidden test, checksums as nbgrader writes them.

    Parameters
    ----------
    master : Master
    cohort : str
        See :func:`token`.

    Returns
    -------
    nbformat.NotebookNode

    Raises
    ------
    MasterError
        When anything of a solution or a hidden test is left in, misspelt markers included.
    """
    import copy

    from nbgrader.utils import compute_checksum

    notebook = copy.deepcopy(master.notebook)
    for cell in notebook.cells:
        if cell.metadata.nbgrader.solution:
            cell.source = strip_solution(cell)
        elif cell.metadata.nbgrader.grade:
            cell.source = strip_hidden(cell.source)
        cell.source = with_token(cell.source, cohort)
        if cell.metadata.nbgrader.solution and cell.cell_type == "code":
            cell.source = f"# Part: {cell.metadata.nbgrader.grade_id}\n{cell.source}"
        elif cell.metadata.nbgrader.grade and cell.cell_type == "code":
            cell.source = f"# Tests: {cell.metadata.nbgrader.grade_id} ({count_points(cell.metadata.nbgrader.points)}; more tests run when it is graded)\n{cell.source}"
    leaks = [f"{cell.metadata.nbgrader.grade_id}: {found[0]!r}" for cell in notebook.cells if (found := LEFT_IN.search(cell.source.replace("# All tests of this part are hidden.", "")))]
    for original, cell in zip(master.notebook.cells, notebook.cells, strict=True):
        if original.metadata.nbgrader.solution and cell.cell_type == "code" and STUB.splitlines()[1] not in cell.source:
            leaks.append(f"{cell.metadata.nbgrader.grade_id}: nothing was taken out")
    if leaks:
        raise MasterError(f"{master.name} still holds something that students must not see. Mend the markers of: {'; '.join(leaks)}")
    for cell in notebook.cells:
        del cell.metadata["course_title"]
        cell.metadata.deletable = False
        cell.metadata.editable = not cell.metadata.nbgrader.locked
        cell.metadata.nbgrader.checksum = compute_checksum(cell)
    return notebook


def solution(master, cohort):
    """Return the master's own solution as a submission: the release with every stub filled in."""
    notebook = release(master, cohort)
    for original, cell in zip(master.notebook.cells, notebook.cells, strict=True):
        if original.metadata.nbgrader.solution:
            marked = re.sub(r"^[ \t]*### (BEGIN|END) SOLUTION[^\n]*\n?", "", original.source, flags=re.MULTILINE)
            cell.source = with_token(marked, cohort)
    return notebook
