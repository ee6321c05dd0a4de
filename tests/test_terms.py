"""Links from the chapters to the glossary, and the glossary itself."""

import re
from pathlib import Path

import jupytext
import pytest
from terms import link_terms

ROOT = Path(__file__).resolve().parents[1]
ADDRESSES = {"learning rate": "g.html#rate", "learning rate schedule": "g.html#schedule", "head": "g.html#head"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<p>The Head and the head.</p>", '<p>The <a class="term" href="g.html#head">Head</a> and the head.</p>'),
        ("<li>two heads</li>", '<li>two <a class="term" href="g.html#head">heads</a></li>'),
        (
            "<p>a learning rate schedule, a learning rate</p>",
            '<p>a <a class="term" href="g.html#schedule">learning rate schedule</a>,'
            ' a <a class="term" href="g.html#rate">learning rate</a></p>',
        ),
    ],
)
def test_first_use_becomes_a_link(body, expected):
    assert link_terms(body, ADDRESSES) == expected


@pytest.mark.parametrize(
    "body",
    [
        "<p>ahead, head-on</p>",
        '<p><a href="x">head</a> <code>head</code></p>',
        '<p><span class="math">head</span></p>',
        "<h2>The head</h2>",
        "<p><strong>3. Head.</strong></p>",
        "<table><tr><td><p>head</p></td></tr></table>",
        "<div>head</div>",
    ],
)
def test_no_link_where_it_would_disturb(body):
    assert link_terms(body, ADDRESSES) == body


def entries():
    """Return the glossary's entries: term, definition, chapter."""
    text = (ROOT / "book/glossary.md").read_text(encoding="utf-8")
    return re.findall(r"^(\S.*)\n  (.+) Chapter \d+, \[.+\]\(\.\./notebooks/(\w+)\.ipynb\)\.$", text, re.MULTILINE)


def test_every_entry_names_a_chapter_that_uses_the_term():
    found = entries()
    assert len(found) == (ROOT / "book/glossary.md").read_text(encoding="utf-8").count("../notebooks/")
    for term, definition, chapter in found:
        cells = jupytext.read(ROOT / f"book/chapters/{chapter}.md").cells
        text = " ".join(cell.source for cell in cells if cell.cell_type == "markdown").lower()
        text = re.sub(r"[*_\s]+", " ", text)
        plain = term.split(" (")[0].lower()
        assert plain in text or plain.replace("-", " ") in text, f"{chapter} does not use the term {term!r}"
        assert len(definition) > 20, term


def test_entries_are_sorted_and_unique():
    terms = [term.lower() for term, _, _ in entries()]
    assert terms == sorted(set(terms))
