"""The committed notebooks are what their sources say; each way of breaking one is caught.

nbval runs the notebooks (make test gives it the folder); these tests run nothing but one tiny chapter.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import build_notebooks
import nbformat
import pytest
import yaml
from build_notebooks import ROOT, ChapterError, build, code_cells, problems, read_chapter
from dependencies import dependencies

NOTEBOOKS = ROOT / "notebooks"
CHAPTERS = sorted((ROOT / "book/chapters").glob("*.md"))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
REPOSITORY = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
SETUP = f"""\
# On your own machine this does nothing; in Colab it fetches the course's helpers.
try:
    import helpers
except ModuleNotFoundError:
    %pip install --no-deps "git+{REPOSITORY["url"]}@v{VERSION}\""""


def test_there_are_chapters_and_every_notebook_has_its_source():
    assert CHAPTERS
    assert {p.stem for p in NOTEBOOKS.glob("*.ipynb")} == {p.stem for p in CHAPTERS}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda p: p.stem)
class TestCommitted:
    def test_notebook_is_whole_fresh_and_clean(self, chapter):
        assert problems(chapter, NOTEBOOKS / f"{chapter.stem}.ipynb") == []

    def test_set_up_cell_is_the_same_everywhere(self, chapter):
        first = code_cells(read_chapter(chapter))[0]
        assert first.source == SETUP and first.metadata["tags"] == ["hide-cell"]

    def test_text_reads_well_in_colab_too(self, chapter):
        """Colab shows Markdown as it is: directives and roles of MyST would stand there as raw text."""
        for cell in read_chapter(chapter).cells:
            if cell.cell_type == "markdown":
                assert not re.search(r"^(:::|```\{)|\{[a-z:]+\}`", cell.source, re.MULTILINE), cell.source[:200]

    def test_every_citation_is_in_the_bibliography(self, chapter):
        bibliography = (ROOT / "book/references.bib").read_text(encoding="utf-8").lower()
        for cell in read_chapter(chapter).cells:
            if cell.cell_type == "markdown":
                for link in re.findall(r"\]\((https?://(?:[^()\s]|\([^()]*\))+)\)", cell.source):
                    known = re.sub(r"https://(doi\.org/|arxiv\.org/abs/)(10\.48550/arxiv\.)?", "", link.lower())
                    assert known in bibliography, f"{link} is not in references.bib"

    def test_the_chapter_has_its_parts(self, chapter):
        notebook = read_chapter(chapter)
        text = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
        if notebook.metadata["course"].get("kind") == "project":  # the reader's own work: steps and a rubric
            assert "## Rubric" in text and text.count("\n## Step ") >= 8 and "*About" in text
            return
        for heading in ("## Summary", "## Exercises", "## Check yourself", "## Further reading"):
            assert heading in text
        assert text.count("> **Predict, then see.**") >= 4
        assert len(re.findall(r"^\*\*\d+\. ", text, re.MULTILINE)) >= 6
        assert "*About" in text and "runs in" in text

    def test_code_stays_short_and_text_stands_between(self, chapter):
        cells = read_chapter(chapter).cells
        kinds = "".join("c" if cell.cell_type == "code" else "m" for cell in cells)
        assert "ccccc" not in kinds, "five code cells in a row: say what was seen"
        for cell in cells:
            lines = [line for line in cell.source.splitlines() if line.strip()]
            assert cell.cell_type == "markdown" or len(lines) <= 32, cell.source[:200]

    def test_claims_have_numbers_that_are_ignored_and_words_that_are_not(self, chapter):
        tags = [cell.metadata.get("tags", []) for cell in code_cells(read_chapter(chapter))]
        assert sum("claim" in t for t in tags) >= 3
        assert not any({"claim", "nbval-ignore-output"} <= set(t) for t in tags)


TINY = """\
---
kernelspec:
  name: python3
  display_name: Python 3
---

# A tiny chapter

```{code-cell} ipython3
from helpers import compare
```

Text.

```{code-cell} ipython3
print(compare.paired_difference([1, 2], [0, 0]).wins)
```

```{code-cell} ipython3
---
mystnb:
  image:
    alt: A straight line that rises from the lower left to the upper right.
---
import matplotlib.pyplot as plt
plt.plot([0, 1])
plt.show()
```
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A small repository with one chapter, built once."""
    root = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT / "helpers", root / "helpers", ignore=shutil.ignore_patterns("datasets", "__pycache__"))
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, root)
    (root / "tiny.md").write_text(TINY, encoding="utf-8")
    assert build(root / "tiny.md", root, root)
    assert problems(root / "tiny.md", root / "tiny.ipynb", root) == []
    return root


@pytest.fixture
def tiny(built, tmp_path):
    """A copy of that repository, to be broken."""
    return pathlib.Path(shutil.copytree(built, tmp_path / "copy"))


def found(root):
    return "; ".join(problems(root / "tiny.md", root / "tiny.ipynb", root))


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def change(root, alter):
    notebook = nbformat.read(root / "tiny.ipynb", 4)
    alter(notebook)
    nbformat.write(notebook, root / "tiny.ipynb")


def test_an_output_altered_by_hand_is_caught(tiny):
    edit(tiny / "tiny.ipynb", '"2\\n"', '"3\\n"')
    assert "an output was altered" in found(tiny)


def test_a_helper_changed_without_a_run_is_caught(tiny):
    with (tiny / "helpers/compare.py").open("a", encoding="utf-8") as file:
        file.write("\nMORE = 1\n")
    assert "older than the code" in found(tiny)


def test_a_helper_that_is_not_imported_does_not_count(tiny):
    with (tiny / "helpers/data.py").open("a", encoding="utf-8") as file:
        file.write("\nMORE = 1\n")
    assert found(tiny) == ""


def test_code_changed_without_a_run_is_caught(tiny):
    edit(tiny / "tiny.md", "[1, 2]", "[1, 3]")
    assert "older than the code" in found(tiny) and "not what its source says" in found(tiny)


def test_another_locked_version_is_caught(tiny):
    edit(tiny / "requirements.txt", "numpy==2.1.", "numpy==2.2.")
    assert "older than the code" in found(tiny)


def test_a_cell_never_run_is_caught(tiny):
    change(tiny, lambda nb: code_cells(nb)[1].update(execution_count=None, outputs=[]))
    assert "a cell was never run" in found(tiny)


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        (nbformat.v4.new_output("stream", name="stderr", text="oops"), "stderr is stored"),
        (nbformat.v4.new_output("stream", name="stdout", text="UserWarning: careful"), "a warning is stored"),
        (nbformat.v4.new_output("stream", name="stdout", text="/home/me/x.csv"), "one machine is stored"),
        (nbformat.v4.new_output("stream", name="stdout", text="<object at 0x7f01a2b3c4>"), "one machine is stored"),
        (nbformat.v4.new_output("error", ename="ValueError", evalue="x", traceback=[]), "an error is stored"),
        (nbformat.v4.new_output("display_data", {build_notebooks.WIDGET_VIEW: {"model_id": "1"}}), "a widget of a kernel"),
    ],
)
def test_what_must_not_be_stored_is_caught(tiny, output, complaint):
    change(tiny, lambda nb: code_cells(nb)[1].outputs.append(output))
    assert complaint in found(tiny)


def test_a_picture_without_alt_text_is_caught(tiny):
    change(tiny, lambda nb: code_cells(nb)[2].metadata.pop("mystnb"))
    assert "no alt text" in found(tiny)


def test_a_claim_that_fails_is_caught(tiny):
    change(tiny, lambda nb: code_cells(nb)[1].metadata.update(tags=["claim"]))
    assert "a claim does not hold: 2" in found(tiny)


def test_a_missing_notebook_is_caught(tiny):
    (tiny / "tiny.ipynb").unlink()
    assert "there is no tiny.ipynb" in found(tiny)


@pytest.mark.parametrize(
    ("code", "complaint"),
    [("x = 1;", "trailing ';'"), ("clear_output()", "clear_output"), ("interact(f)", "interact"), ("%timeit 1", "timeit")],
)
def test_code_that_nbval_cannot_compare_is_caught(code, complaint):
    cell = nbformat.v4.new_code_cell(code)
    assert any(complaint in problem for problem in build_notebooks.cell_problems(cell))


def test_a_new_sentence_keeps_the_outputs_and_runs_nothing(tiny):
    before = nbformat.read(tiny / "tiny.ipynb", 4)
    edit(tiny / "tiny.md", "Text.", "Another text.\n\n+++\n\nAnd one more.")
    assert build(tiny / "tiny.md", tiny, tiny) == {}
    after = nbformat.read(tiny / "tiny.ipynb", 4)
    assert [c.outputs for c in code_cells(after)] == [c.outputs for c in code_cells(before)]
    assert "Another text." in after.cells[2].source and found(tiny) == ""


def test_jupytext_pairs_text_and_notebook_both_ways(tiny):
    """What JupyterLab does on opening and saving either of the two."""
    for folder in ("book/chapters", "notebooks"):
        (tiny / folder).mkdir(parents=True)
    chapter = shutil.move(tiny / "tiny.md", tiny / "book/chapters")
    notebook = shutil.move(tiny / "tiny.ipynb", tiny / "notebooks")
    edit(pathlib.Path(notebook), "Text.", "Text written in the notebook.")
    os.utime(chapter, (0, 0))
    command = [sys.executable, "-m", "jupytext", "--quiet", "--sync", "notebooks/tiny.ipynb"]
    subprocess.run(command, cwd=tiny, check=True, capture_output=True)
    assert "Text written in the notebook." in pathlib.Path(chapter).read_text(encoding="utf-8")
    assert problems(pathlib.Path(chapter), pathlib.Path(notebook), tiny) == []


def test_nothing_changed_writes_nothing(tiny):
    stamp = (tiny / "tiny.ipynb").stat().st_mtime_ns
    assert build(tiny / "tiny.md", tiny, tiny) is None
    assert (tiny / "tiny.ipynb").stat().st_mtime_ns == stamp


def test_running_again_gives_the_same_bytes(tiny):
    before = (tiny / "tiny.ipynb").read_bytes()
    assert build(tiny / "tiny.md", tiny, tiny, force=True)
    assert (tiny / "tiny.ipynb").read_bytes() == before


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        ("1 / 0", "(?s)tiny, cell 3.*ZeroDivisionError"),
        ("import sys; print('oops', file=sys.stderr)", "(?s)tiny, cell 3: stderr is stored: oops"),
        ("import time\ntime.sleep(2)", "(?s)tiny, cell 3 took 2 s, its budget is 1 s"),
    ],
)
def test_a_bad_cell_stops_the_build_and_is_named(tiny, code, complaint):
    edit(tiny / "tiny.md", "print(compare.paired_difference([1, 2], [0, 0]).wins)", code)
    edit(tiny / "tiny.md", "kernelspec:", "course: {cell_seconds: 1, budget_reason: a test}\nkernelspec:")
    before = (tiny / "tiny.ipynb").read_bytes()
    with pytest.raises(ChapterError, match=complaint):
        build(tiny / "tiny.md", tiny, tiny)
    assert (tiny / "tiny.ipynb").read_bytes() == before


def test_another_budget_must_say_why(tiny):
    edit(tiny / "tiny.md", "kernelspec:", "course: {cell_seconds: 90}\nkernelspec:")
    with pytest.raises(ChapterError, match="budget_reason"):
        build(tiny / "tiny.md", tiny, tiny, force=True)


def test_dependencies_follow_imports_and_names_of_files(tmp_path):
    for name, text in {
        "helpers/one.py": "from helpers import two\n",
        "helpers/two.py": "from .three import thing\nNAME = 'digits'\n",
        "helpers/three.py": "thing = 1\n",
        "helpers/other.py": "",
        "helpers/datasets/digits.npz": "x",
        "helpers/datasets/letters.npz": "x",
        "helpers/results/race.json": "{}",
        "pyproject.toml": "[project]\noptional-dependencies = {run = ['NumPy>=2']}\n",
        "requirements.txt": "numpy==2.1.3 \\\n    --hash=sha256:0\nsphinx==7\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    code = ["%pip install x\nimport helpers.one as one", "load('race')"]
    assert set(dependencies(code, tmp_path)) == {
        "helpers/one.py", "helpers/two.py", "helpers/three.py", "helpers/datasets/digits.npz", "helpers/results/race.json",
        "numpy",
    }
