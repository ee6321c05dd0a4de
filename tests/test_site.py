"""The guard of the site, on small made-up sites."""

import json
import re
import shutil
from pathlib import Path

import build_site as site
import guard
import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = "A paragraph about transfer learning that says something. " * 6
PAGE = '<html><head>{head}</head><body><article class="bd-article">{body}</article></body></html>'


@pytest.fixture
def html_dir(tmp_path):
    """A good site of two pages with a style sheet, a script and a picture."""
    folder = tmp_path / "html"
    (folder / "_static").mkdir(parents=True)
    (folder / "_static" / "book.css").write_text("p { background: url(data:image/png;base64,AA) }")
    (folder / "_static" / "book.js").write_text("const far = 'https://example.org/';  // a name")
    (folder / "picture.png").write_bytes(b"png")
    head = '<link rel="stylesheet" href="_static/book.css"><script src="_static/book.js"></script>'
    image = '<img src="picture.png" alt="The loss falls.">'
    link = '<a href="https://example.org">a link</a><a href="two.html#x">the next</a>'
    (folder / "one.html").write_text(PAGE.format(head=head, body=TEXT + image + link))
    (folder / "two.html").write_text(PAGE.format(head="", body=TEXT))
    return folder


def problems_with(html_dir, head="", body="", name="two.html"):
    """Check the site with one page replaced."""
    (html_dir / name).write_text(PAGE.format(head=head, body=TEXT + body))
    return guard.check_site(html_dir, ["one", "two"])


def test_good_site_passes(html_dir):
    assert guard.check_site(html_dir, ["one", "two"]) == []


@pytest.mark.parametrize(
    "head",
    [
        '<script src="https://cdn.example.org/lib.js"></script>',
        '<script src="//cdn.example.org/lib.js"></script>',
        '<link rel="stylesheet" href="https://example.org/a.css">',
        '<link rel="preconnect" href="https://example.org">',
        "<style>@import 'https://example.org/a.css';</style>",
        "<style>p { background: url(https://example.org/a.png) }</style>",
        "<script>fetch('https://example.org/data.json')</script>",
        "<script type='module'>import x from 'https://example.org/x.mjs'</script>",
        "<script>const s = document.createElement('script'); s.src = '//example.org/a.js'</script>",
    ],
)
def test_request_to_another_host_in_head_is_caught(html_dir, head):
    (problem,) = problems_with(html_dir, head=head)
    assert problem.startswith("two.html: requests another host: ")


@pytest.mark.parametrize(
    "body",
    [
        '<img src="https://example.org/a.png" alt="A curve that falls.">',
        '<img src="picture.png" srcset="https://example.org/a.png 2x" alt="A curve.">',
        '<iframe src="https://example.org"></iframe>',
        '<video poster="https://example.org/a.png"></video>',
        "<p style=\"background: url('https://example.org/a.png')\">text</p>",
        "<button onclick=\"fetch('https://example.org/count')\">count</button>",
    ],
)
def test_request_to_another_host_in_body_is_caught(html_dir, body):
    (problem,) = problems_with(html_dir, body=body)
    assert problem.startswith("two.html: requests another host: ")


def test_canonical_address_is_no_request(html_dir):
    assert problems_with(html_dir, head='<link rel="canonical" href="https://example.org/">') == []


def test_external_font_in_style_sheet_is_caught(html_dir):
    css = "@font-face { font-family: x; src: url('https://fonts.example.org/x.woff2') }"
    (html_dir / "_static" / "book.css").write_text(css)
    (problem,) = guard.check_site(html_dir, ["one", "two"])
    assert problem == "_static/book.css: requests another host: https://fonts.example.org/x.woff2"


def test_external_request_in_script_file_is_caught(html_dir):
    (html_dir / "_static" / "book.js").write_text('import("https://example.org/x.mjs")')
    (problem,) = guard.check_site(html_dir, ["one", "two"])
    assert "requests another host" in problem


def test_empty_page_is_caught(html_dir):
    (html_dir / "two.html").write_text(PAGE.format(head="", body="<h1>Title</h1>"))
    (problem,) = guard.check_site(html_dir, ["one", "two"])
    assert problem.startswith("two.html: the page is empty")


def test_script_does_not_count_as_text(html_dir):
    body = f"<script>// {TEXT}</script>"
    (html_dir / "two.html").write_text(PAGE.format(head="", body=body))
    assert len(guard.check_site(html_dir, ["one", "two"])) == 1


def test_missing_page_is_caught(html_dir):
    problems = guard.check_site(html_dir, ["one", "two", "three"])
    assert problems == ["three: the table of contents names it, but the site has no such page"]


@pytest.mark.parametrize(
    "alt",
    ['alt="_images/c1940154cde377990ed63debacd1e31a.png"', 'alt="plot.svg"', 'alt=""', ""]
    + ['alt="c1940154cde377990ed63debacd1e31a"'],
)
def test_image_without_description_is_caught(html_dir, alt):
    (problem,) = problems_with(html_dir, body=f'<img src="picture.png" {alt}>')
    assert "alt text" in problem


def test_frame_without_description_is_caught(html_dir):
    frames = json.dumps([["data:image/webp,A", "Epoch 0: flat."], ["data:image/webp,B", ""]])
    (problem,) = problems_with(html_dir, body=f"<figure data-frames='{frames}'></figure>")
    assert problem == "two.html: an image has no alt text"


@pytest.mark.parametrize("marker", ["### BEGIN SOLUTION", "### BEGIN HIDDEN TESTS"])
def test_solution_in_page_is_caught(html_dir, marker):
    (problem,) = problems_with(html_dir, body=f"<pre><span>{marker}</span></pre>")
    assert problem == "two.html: shows a solution or a hidden test"


def test_solution_in_source_is_caught(html_dir):
    (html_dir / "_sources").mkdir()
    (html_dir / "_sources" / "one.ipynb").write_text('{"source": "### begin solution\\nx = 1"}')
    (problem,) = guard.check_site(html_dir, ["one", "two"])
    assert problem == "_sources/one.ipynb: shows a solution or a hidden test"


def test_dead_and_absolute_addresses_are_caught(html_dir):
    problems = problems_with(html_dir, body='<a href="gone.html">x</a><a href="/one.html">y</a>')
    assert problems == [
        "two.html: leads to a file that is not there: gone.html",
        "two.html: an address must be relative, to work offline: /one.html",
    ]


def test_toc_pages_are_listed_in_order(tmp_path):
    toc = tmp_path / "_toc.yml"
    part = "- caption: P\n  chapters:\n  - file: b.md\n    sections:\n    - file: c\n"
    toc.write_text("root: a\nparts:\n" + part)
    assert guard.toc_pages(toc) == ["a", "b", "c"]


def test_zip_is_the_same_twice_and_leaves_itself_out(html_dir):
    target = html_dir / "book.zip"
    site.make_zip(html_dir, target)
    first = target.read_bytes()
    for path in html_dir.rglob("*"):
        path.touch()
    site.make_zip(html_dir, target)
    assert target.read_bytes() == first
    with site.zipfile.ZipFile(target) as archive:
        names = archive.namelist()
    assert "from-neurons-to-transfer/one.html" in names
    assert not any(name.endswith(".zip") for name in names)


def test_landing_page_names_every_chapter_and_its_time():
    root = ROOT
    landing = (root / "book" / "index.md").read_text(encoding="utf-8")
    for page in guard.toc_pages(root / "_toc.yml"):
        if re.match(r"notebooks/\d", page):
            source = root / "book" / "chapters" / f"{Path(page).name}.md"
            time = re.search(r"[Aa]bout (\d+ (?:minutes|hours))", source.read_text(encoding="utf-8"))[1]
            assert re.search(rf"\(\.\./{page}\).*\*{time}\*", landing), page


def test_guide_shows_the_set_up_cell_of_the_chapters():
    root = ROOT
    guide = (root / "book" / "guide" / "colab.md").read_text(encoding="utf-8")
    shown = re.search(r"```python\n(.*?import helpers.*?)\n```", guide, re.DOTALL)[1]
    for path in (root / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        first = next(cell for cell in cells if cell["cell_type"] == "code")
        assert "".join(first["source"]).strip() == shown, path.name


@pytest.fixture
def repository(tmp_path):
    """A repository that was built well: inputs, outputs and the stamp over both."""
    top = ("_config.yml", "_toc.yml", "requirements.txt")
    for name in (*top, "book/index.md", "notebooks/a.ipynb"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("root: book/index")
    out = tmp_path / "_build" / "html"
    out.mkdir(parents=True)
    (out / "index.html").write_text("page")
    stamp = {"inputs": site.fingerprint(tmp_path), "outputs": site.output_sizes(out)}
    (tmp_path / "_build" / "site.json").write_text(json.dumps(stamp))
    return tmp_path


def test_unchanged_site_is_fresh(repository):
    assert site.is_fresh(repository)


@pytest.mark.parametrize("name", ["book/index.md", "notebooks/a.ipynb", "_toc.yml", "_config.yml"])
def test_changed_input_makes_the_site_stale(repository, name):
    (repository / name).write_text("root: book/other")
    assert not site.is_fresh(repository)


def test_lost_page_makes_the_site_stale(repository):
    (repository / "_build" / "html" / "index.html").unlink()
    assert not site.is_fresh(repository)


def test_missing_source_stops_the_build(repository):
    (repository / "book" / "index.md").unlink()
    (problem,) = site.build_site(repository)
    assert problem == "book/index: the table of contents names it, but there is no such file"


def test_failed_build_shows_the_log_and_fails_again(repository, monkeypatch):
    monkeypatch.setattr(site, "BUILD", "print('WARNING: broken link'); raise SystemExit(1)")
    for _ in range(2):
        (problem,) = site.build_site(repository)
        assert "WARNING: broken link" in problem
        assert not site.is_fresh(repository)


@pytest.fixture
def small_book(tmp_path):
    """A book of one page with the configuration and the look of the real one."""
    root = ROOT
    for folder in ("book/site", "notebooks"):
        (tmp_path / folder).parent.mkdir(exist_ok=True)
    shutil.copytree(root / "book" / "site", tmp_path / "book" / "site")
    shutil.copy(root / "_config.yml", tmp_path)
    shutil.copy(root / "book" / "references.bib", tmp_path / "book")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/index\n")
    (tmp_path / "book" / "index.md").write_text(f"# A page\n\n{TEXT}\n\n$$a^2$$\n")
    return tmp_path


def test_real_build_of_a_small_book_is_good(small_book):
    assert site.build_site(small_book) == []
    assert site.is_fresh(small_book)


def test_external_script_in_template_fails_the_build(small_book):
    layout = small_book / "book" / "site" / "templates" / "layout.html"
    script = '{% block extrahead %}<script src="https://cdn.example.org/x.js"></script>'
    layout.write_text(layout.read_text().replace("{% block extrahead %}", script))
    problems = site.build_site(small_book)
    assert any("requests another host: https://cdn.example.org/x.js" in text for text in problems)


def test_warning_fails_the_build_each_time(small_book):
    page = small_book / "book" / "index.md"
    page.write_text(page.read_text() + "\n{cite}`nobody1900`\n")
    for _ in range(2):
        (problem,) = site.build_site(small_book)
        assert "nobody1900" in problem
