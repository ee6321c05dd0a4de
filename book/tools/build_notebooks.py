"""Turn book/chapters/*.md into executed notebooks/*.ipynb, running only what is stale.

    python book/tools/build_notebooks.py                 every stale chapter
    python book/tools/build_notebooks.py --chapter 07    only chapters whose name begins so
    python book/tools/build_notebooks.py --force         fresh ones too
    python book/tools/build_notebooks.py --check         run nothing, list what is wrong, exit 1 if anything is

A chapter is stale when its code or tags, a helper module or data file that it uses, or the locked version of a package
that chapters run on has changed. A change of prose alone refreshes the text and keeps the outputs.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import sys
import time

import jupytext
import nbformat
from dependencies import dependencies
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

ROOT = pathlib.Path(__file__).resolve().parents[2]
CELL_SECONDS, CHAPTER_SECONDS = 30, 120
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
FORBIDDEN_CODE = {
    r";\s*$": "a trailing ';' hides no output under nbval",
    r"\bclear_output\b": "clear_output can't be compared",
    r"\binteract\b": "interact is dead without a kernel",
    r"\bOutput\(": "an Output widget can't be compared",
    r"^\s*%+timeit": "%timeit prints another text every time",
}
LOCAL_TEXT = r"/home/|/Users/|/tmp/|/site-packages/|[A-Z]:\\Users|\bat 0x[0-9a-f]{6,}"


class ChapterError(Exception):
    """A chapter that can't be built; the message says which cell and why."""


def read_chapter(path):
    """Return a chapter's text as a notebook with counted cell ids and no outputs.

    Cells tagged ``hide-cell`` (set-up cells, answers) or ``hide-input`` (drawing code) are also marked as folded for
    JupyterLab and Colab, and the site's line over the fold says what is in it.
    """
    notebook = jupytext.read(path, fmt="md:myst")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:03d}"
        hidden = {"hide-cell", "hide-input"} & set(cell.metadata.get("tags", []))
        if hidden:
            content = "how it is drawn" if hidden == {"hide-input"} else "the set-up cell" if "%pip" in cell.source else "the answer"
            cell.metadata |= {"jupyter": {"source_hidden": True}, "cellView": "form"}
            prompts = {"code_prompt_show": f"Show {content}", "code_prompt_hide": f"Hide {content}"}
            cell.metadata["mystnb"] = cell.metadata.get("mystnb", {}) | prompts
    course = notebook.metadata.get("course", {})
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": dict(LANGUAGE),
            "course": course,
        }
    )
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def digest(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def input_stamp(notebook, root=ROOT):
    """Return a hash of everything that the outputs depend on."""
    cells = [[cell.source, cell.metadata.get("tags", [])] for cell in code_cells(notebook)]
    return digest([cells, dependencies([cell.source for cell in code_cells(notebook)], root)])


def output_stamp(notebook):
    """Return a hash of the stored outputs, so that one altered by hand is seen."""
    return digest([[cell.get("execution_count"), cell.get("outputs", [])] for cell in code_cells(notebook)])


def budget(notebook, name):
    """Return the seconds allowed for a cell and for the chapter; a different budget must say why."""
    course = notebook.metadata.get("course", {})
    wanted = course.get("cell_seconds", CELL_SECONDS), course.get("chapter_seconds", CHAPTER_SECONDS)
    if wanted != (CELL_SECONDS, CHAPTER_SECONDS) and not str(course.get("budget_reason", "")).strip():
        raise ChapterError(f"{name}: a budget other than {CELL_SECONDS} s a cell and {CHAPTER_SECONDS} s in all needs"
                           " course: budget_reason in the front matter.")
    return wanted


def execute(notebook, name, folder):
    """Run all cells in a fresh kernel and return the seconds of each code cell.

    Raises
    ------
    ChapterError
        When a cell fails, stores what :func:`cell_problems` forbids or takes longer than its budget.
    """
    cell_seconds, chapter_seconds = budget(notebook, name)
    os.environ["PYTEST_CURRENT_TEST"] = "build"  # ipykernel then leaves C-level stderr out, as under nbval
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel, not the user's of the same name
    started, seconds = {}, {}
    total = len(code_cells(notebook))

    def on_start(cell, cell_index):
        started[cell_index] = time.perf_counter()

    def on_executed(cell, cell_index, execute_reply):
        seconds[cell_index] = time.perf_counter() - started[cell_index]
        if sys.stderr.isatty():
            print(f"\r  {name}: cell {len(seconds)} of {total}", end="", file=sys.stderr, flush=True)

    client = NotebookClient(
        notebook,
        timeout=max(300, cell_seconds * 2),
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
        store_widget_state=False,
        on_cell_start=on_start,
        on_cell_executed=on_executed,
    )
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        number = max(started, default=0)
        raise ChapterError(f"{name}, cell {number}:\n{plain(error)}") from error
    finally:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
    tidy(notebook)
    for number, taken in seconds.items():
        cell = notebook.cells[number]
        for problem in cell_problems(cell):
            raise ChapterError(f"{name}, cell {number}: {problem}\n{cell.source}")
        if taken > cell_seconds:
            raise ChapterError(f"{name}, cell {number} took {taken:.0f} s, its budget is {cell_seconds} s:\n{cell.source}")
    if sum(seconds.values()) > chapter_seconds:
        raise ChapterError(f"{name} took {sum(seconds.values()):.0f} s, its budget is {chapter_seconds} s.")
    return seconds


def plain(error):
    """Return an execution error's text without terminal colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", str(error))


def tidy(notebook):
    """Remove what differs from run to run or is of use only to the kernel that has ended."""
    notebook.metadata["language_info"] = dict(LANGUAGE)
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            output.get("data", {}).pop(WIDGET_VIEW, None)


def build(chapter, folder, root=ROOT, force=False):
    """Bring one notebook up to date.

    Returns
    -------
    dict or None
        Seconds by cell when it was executed, ``{}`` when only its text was refreshed, None when it was fresh.
    """
    name, out = chapter.stem, folder / f"{chapter.stem}.ipynb"
    notebook = read_chapter(chapter)
    stamp = input_stamp(notebook, root)
    old = nbformat.read(out, 4) if out.exists() else None
    known = old.metadata.get("course", {}) if old else {}
    seconds = None
    if not force and known.get("inputs") == stamp and known.get("outputs") == output_stamp(old):
        for cell, before in zip(code_cells(notebook), code_cells(old), strict=True):
            cell.outputs, cell.execution_count = before.outputs, before.execution_count
        seconds = {}
    else:
        seconds = execute(notebook, name, folder)
    notebook.metadata["course"] |= {"inputs": stamp, "outputs": output_stamp(notebook)}
    text = nbformat.writes(notebook) + "\n"
    if out.exists() and out.read_text(encoding="utf-8") == text and not seconds:
        return None
    out.write_text(text, encoding="utf-8")
    return seconds


def problems(chapter, notebook_path, root=ROOT):
    """Return what is wrong with a committed notebook, as sentences; an empty list when nothing is."""
    name = chapter.stem
    if not notebook_path.exists():
        return [f"{name}: there is no {notebook_path.name}; run make notebooks"]
    fresh, stored = read_chapter(chapter), nbformat.read(notebook_path, 4)
    found = []
    if [describe(c) for c in fresh.cells] != [describe(c) for c in stored.cells]:
        found.append(f"{name}: the notebook is not what its source says; run make notebooks")
    course = stored.metadata.get("course", {})
    if course.get("inputs") != input_stamp(fresh, root):
        found.append(f"{name}: the outputs are older than the code, helpers, data or versions; run make notebooks")
    if course.get("outputs") != output_stamp(stored):
        found.append(f"{name}: an output was altered after the run; run make notebooks")
    counts = [cell.execution_count for cell in code_cells(stored)]
    if counts != list(range(1, len(counts) + 1)):
        found.append(f"{name}: a cell was never run, or not in order")
    for number, cell in enumerate(stored.cells):
        if cell.cell_type == "code":
            found += [f"{name}, cell {number}: {problem}" for problem in cell_problems(cell)]
    return found


def describe(cell):
    """Return what must be equal in the text and in the notebook."""
    metadata = {key: cell.metadata.get(key) for key in ("tags", "mystnb", "jupyter", "cellView")}
    return [cell.cell_type, cell.id, cell.source, json.loads(json.dumps(metadata))]


def cell_problems(cell):
    """Return what is wrong with one stored code cell."""
    found = []
    for pattern, reason in FORBIDDEN_CODE.items():
        if re.search(pattern, cell.source, re.MULTILINE):
            found.append(reason)
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
    for output in cell.outputs:
        data = output.get("data", {})
        text = output.get("text", "") + "".join(str(v) for k, v in data.items() if k.startswith("text/"))
        text = re.sub(r"data:image/\w+;base64,[\w+/=]+", "", text)
        if output.get("name") == "stderr":
            found.append(f"stderr is stored: {text[:200]}")
        if output.output_type == "error":
            found.append(f"an error is stored: {output.ename}")
        if re.search(r"\b\w*Warning\b:", text):
            found.append(f"a warning is stored: {text[:200]}")
        if match := re.search(LOCAL_TEXT, text):
            found.append(f"a path or address of one machine is stored: {text[match.start():match.start() + 60]!r}")
        if any(kind.startswith("image/") for kind in data) and len(alt) < 30:
            found.append("a picture has no alt text (mystnb: image: alt) that says what it shows")
        if WIDGET_VIEW in data:
            found.append("a widget of a kernel that has ended is stored")
        if "claim" in cell.metadata.get("tags", []):
            wrong = [line for line in text.splitlines() if not line.endswith(": True") or "False" in line]
            found += [f"a claim does not hold: {line}" for line in wrong]
    return found


def chapters(prefix="", root=ROOT):
    """Return the chapter files whose name begins with ``prefix``, in order."""
    found = sorted((root / "book/chapters").glob(f"{prefix}*.md"))
    if prefix and not found:
        raise ChapterError(f"No chapter in book/chapters begins with {prefix!r}.")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chapter", default="", help="beginning of a chapter's name, such as 07")
    parser.add_argument("--force", action="store_true", help="execute fresh chapters too")
    parser.add_argument("--check", action="store_true", help="run nothing, list what is wrong")
    options = parser.parse_args()
    folder, wrong = ROOT / "notebooks", []
    try:
        for chapter in chapters(options.chapter):
            if options.check:
                wrong += problems(chapter, folder / f"{chapter.stem}.ipynb")
                continue
            seconds = build(chapter, folder, force=options.force)
            if seconds:
                slowest = max(seconds, key=seconds.get)
                print(f"{chapter.stem}: executed in {sum(seconds.values()):.0f} s"
                      f" (slowest: cell {slowest}, {seconds[slowest]:.0f} s)")
            else:
                print(f"{chapter.stem}: " + ("fresh" if seconds is None else "text refreshed, outputs kept"))
    except ChapterError as error:
        sys.exit(f"build_notebooks.py: {error}")
    for problem in wrong:
        print(problem)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
