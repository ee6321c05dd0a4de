"""Honest work keeps its marks however it was saved; what can't be read gets a reason; masters are what they must be."""

import json
import re

import pytest
import submissions as kinds
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import coursework
from helpers.coursework import collecting, masters, reader

MASTERS = sorted((kinds.ROOT / "book/assignments").glob("*.md"))


def steps(content):
    merged = reader.merge(kinds.master(), kinds.cohort(), reader.read_notebook(content), "ada")
    return merged


@pytest.mark.parametrize("name", kinds.harmless())
def test_every_part_of_complete_work_is_found(name):
    merged = steps(kinds.harmless()[name])
    found = [step[0] for step in merged.steps if step[0] and not step[2]]
    assert list(dict.fromkeys(found)) == ["unit", "alarm", "agree", "spikes", "current", "perceptron"]
    assert merged.answers["analogy"] and merged.answers["limits"] and not merged.empty
    assert not any(source.startswith("# Tests") or "I changed the tests" in source for _, source, _ in merged.steps)


@pytest.mark.parametrize("name", kinds.broken())
def test_what_cannot_be_read_has_a_reason_that_says_what_to_do(name):
    content, word = kinds.broken()[name]
    with pytest.raises(reader.Unreadable, match=re.escape(word)):
        steps(content)


def test_a_zip_that_unpacks_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(reader, "LARGEST", 10_000)
    with pytest.raises(reader.Unreadable, match="larger than"):
        reader.read_notebook(kinds.zipped(b" " * 20_000))
    with pytest.raises(reader.Unreadable, match="Clear the outputs"):
        reader.read_notebook(b" " * 20_000)


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=300), st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from(["cells", "cell_type", "source", "metadata", "nbgrader", "grade_id", "worksheets", "id", "code"]), inner, max_size=4)).map(lambda v: json.dumps(v).encode())))
def test_any_bytes_give_cells_or_a_reason(content):
    try:
        merged = steps(content)
    except reader.Unreadable as error:
        assert len(str(error)) > 10
    else:
        assert merged.steps


class TestPersonalNumbers:
    def test_equal_for_one_student_other_for_everybody_else(self):
        first, again, other, later = (coursework.personal_rng(*who).random() for who in (("ada", "c"), (" Ada", "c"), ("bob", "c"), ("ada", "d")))
        assert first == again and len({first, other, later}) == 3

    @pytest.mark.parametrize("student", ["your id", "", "  ", "?!"])
    def test_a_missing_id_is_named(self, student):
        with pytest.raises(ValueError, match="Write your student id"):
            coursework.personal_rng(student, "c")

    def test_a_token_tells_nothing_of_the_secret_and_differs_by_assignment(self):
        assert masters.token("s", "a") != masters.token("s", "b") and masters.token("s", "a") != masters.token("t", "a") and "secret" not in masters.token("secret", "a")


@pytest.mark.parametrize("path", MASTERS, ids=lambda p: p.stem)
class TestMasters:
    def test_parts_and_points(self, path):
        parts = masters.read(path).parts
        assert 6 <= len(parts) <= 10 and sum(part.points for part in parts) == 20
        assert 3 <= sum(part.points for part in parts if part.by_hand) <= 6

    def test_most_points_rest_on_tests_that_students_do_not_see(self, path):
        cells = [c for c in masters.read(path).notebook.cells if c.cell_type == "code" and c.metadata.nbgrader.grade]
        hidden = sum(c.metadata.nbgrader.points for c in cells if "### BEGIN HIDDEN TESTS" in c.source)
        assert hidden >= 0.7 * sum(c.metadata.nbgrader.points for c in cells)

    def test_personal_numbers_are_used_and_tested(self, path):
        text = path.read_text(encoding="utf-8")
        assert "personal_rng(student, cohort)" in text.split("### BEGIN HIDDEN TESTS")[0] + text and text.count("personal_rng(student, cohort)") >= 2

    def test_the_release_is_a_notebook_without_answers_that_starts_like_the_chapters(self, path):
        from test_notebooks import SETUP

        released = masters.release(masters.read(path), "token")
        code = [c for c in released.cells if c.cell_type == "code"]
        assert code[0].source == SETUP and 'student = "your id"' in code[1].source
        assert "BEGIN" not in "".join(c.source for c in released.cells) and all(not c.get("outputs") for c in released.cells)
        assert "chapter" in released.cells[0].source.lower() and "*About 90 minutes; 20 points." in released.cells[0].source

    def test_every_paper_is_in_the_bibliography(self, path):
        bibliography = (kinds.ROOT / "book/references.bib").read_text(encoding="utf-8").lower()
        for link in re.findall(r"\]\((https?://[^)\s]+)\)", path.read_text(encoding="utf-8")):
            assert re.sub(r"https://(doi\.org/|arxiv\.org/abs/)", "", link.lower()) in bibliography, link

    def test_the_committed_release_is_what_the_master_says(self, path):
        import nbformat

        committed = nbformat.read(kinds.ROOT / f"notebooks/assignments/{path.stem}.ipynb", as_version=4)
        made = masters.release(masters.read(path), masters.token("demonstration", path.stem))
        assert [(c.cell_type, c.source, dict(c.metadata.nbgrader)) for c in committed.cells] == [(c.cell_type, c.source, dict(c.metadata.nbgrader)) for c in made.cells]


def test_every_chapter_has_its_assignment():
    chapters = {p.stem for p in (kinds.ROOT / "book/chapters").glob("*.md")}
    assert {p.stem for p in MASTERS} == chapters - {"15_capstone"}, "the capstone is an assignment itself, with its own rubric"


@pytest.mark.parametrize(("change", "message"), [
    ((":part: unit\n\ndef", ":points: 2\n\ndef"), "needs a line ':part: name'"),
    ((":part: unit\n:points: 2", ":part: unit"), "tests need a line ':points"),
    ((":part: unit\n:points: 2", ":part: unit\n:points: -2"), "above 0"),
    ((":part: alarm\n\n", ":part: unit\n\n"), "two cells for unit"),
    ((":part: unit\n\n", ":part: Unit One\n\n"), "small letters"),
])
def test_mistakes_in_a_master_are_named_with_their_cell(change, message):
    text = MASTERS[0].read_text(encoding="utf-8")
    assert change[0] in text
    with pytest.raises(masters.MasterError, match=message):
        masters.parse(text.replace(*change, 1), "01")


class TestCollecting:
    def test_names_of_moodle_canvas_and_plain_files(self):
        assert collecting.who("Ada King_4711_assignsubmission_file/work.ipynb")[:3] == ("4711", "Ada King", "4711")
        assert collecting.who("Ada King_4711_assignsubmission_file_work.ipynb")[0] == "4711"
        assert collecting.who("kingada_LATE_4711_99_work-2.ipynb") == ("4711", "kingada", "4711", True, "work-2.ipynb")
        assert collecting.who("ada.ipynb")[0] == "ada" and collecting.who("ada/homework/x.ipynb")[0] == "ada"

    def test_a_class_with_everything_that_goes_wrong(self, tmp_path):
        whole = kinds.pack(kinds.solved())
        files = {"kingada_11_1_work.ipynb": b"old", "kingada_11_2_work-1.ipynb": whole, "bob_LATE_12_3_work.ipynb": whole, "carl_13_4_report.pdf": b"%PDF-1.4",
                 "eve_99_5_work.ipynb": whole, ".DS_Store": b"x"}
        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        (tmp_path / "zoe_14_6_work.ipynb").symlink_to("/etc/passwd")
        roster = tmp_path / "roster.csv"
        roster.write_text("\ufeffid;name;lms\nada;Ada King;11\nbob;Bob Bo;12\ncarl;Carl Co;13\ndan;Dan Do;20\n", encoding="utf-8")
        rows = collecting.read_roster(roster)
        roster.unlink()
        found = collecting.collect(tmp_path, rows)
        assert [(s.student, s.late) for s in found.submissions] == [("ada", False), ("bob", True), ("carl", False)]
        assert found.submissions[0].content == whole and found.missing == ["dan"]
        text = "\n".join(found.remarks)
        for word in ("more than one file", "late", "nobody on the roster", "a link", "no notebook"):
            assert word in text

    def test_a_zip_with_paths_that_climb_is_read_without_unpacking(self, tmp_path):
        import zipfile

        path = tmp_path / "class.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("../../../evil.ipynb", "/etc/evil2.ipynb", "class\\..\\evil3.ipynb", "ok.ipynb"):
                archive.writestr(name, kinds.pack(kinds.solved()))
        before = sorted(tmp_path.rglob("*"))
        found = collecting.collect(path)
        assert "ok" in {s.student for s in found.submissions} and sorted(tmp_path.rglob("*")) == before

    def test_names_of_students_make_harmless_file_names_that_differ(self):
        from helpers.coursework import reports

        names = ["ada", "Ada", "../../etc/passwd", "..", "a b", "a-b", "a_b", "", "CON", "x" * 300, "名前", "名字", "a\0b", "<b>", "ada\n"]
        slugs = [reports.slug(name) for name in names]
        assert len({slug.lower() for slug in slugs}) == len(names) and all(re.fullmatch(r"[A-Za-z0-9-]{1,60}", slug) for slug in slugs)

    @pytest.mark.parametrize(("text", "message"), [("name\nAda\n", "column id"), ("id\nada\nAda\n", "more than once"), ("", "column id")])
    def test_a_bad_roster_is_named(self, tmp_path, text, message):
        (tmp_path / "r.csv").write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            collecting.read_roster(tmp_path / "r.csv")
