"""The built site in a real browser, with every other host blocked."""

import functools
import gzip
import html
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
ZIP = HTML / "from-neurons-to-transfer.zip"
BROWSERS = (
    "chromium",
    "chromium-browser",
    "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def toc_pages():
    """List the pages of the table of contents."""
    text = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    return re.findall(r"^\s*(?:- )?(?:root|file):\s*(\S+)", text, re.MULTILINE)


PAGES = toc_pages()
CHAPTERS = [page for page in PAGES if re.match(r"notebooks/\d", page)]
ASSIGNMENTS = [page for page in PAGES if page.startswith("notebooks/assignments/")]


def find_browser():
    """Return the path of a Chromium, or None."""
    if os.environ.get("CHROME_PATH"):
        return os.environ["CHROME_PATH"]
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="session")
def html_dir():
    """The built site; building takes no time when nothing has changed."""
    command = [sys.executable, "book/tools/build_site.py"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return HTML


@pytest.fixture(scope="session")
def address(html_dir):
    """Serve the site on this machine alone and give its address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=str(html_dir))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.handle_error = lambda *arguments: None  # a test that ends while a file is sent
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, closed before other modules run: its event loop disturbs theirs."""
    path = find_browser()
    if path is None:
        reason = (
            "no Chromium found: install Debian's package `chromium` or Google Chrome, "
            "or name one in the environment variable CHROME_PATH"
        )
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield chromium
        chromium.close()


class Visit:
    """A page in the browser, with what went wrong on it.

    Attributes
    ----------
    page : playwright.sync_api.Page
        The page.
    errors : list of str
        Errors in the console and uncaught exceptions.
    blocked : list of str
        Requests to other hosts; all are refused.
    responses : list of playwright.sync_api.Response
        What was answered.
    """

    def __init__(self, page, allowed):
        self.page, self.errors, self.blocked, self.responses = page, [], [], []
        page.route("**/*", functools.partial(self._route, allowed))
        page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("response", lambda response: self.responses.append(response))

    def _route(self, allowed, route):
        if route.request.url.startswith((allowed, "data:", "blob:")):
            route.continue_()
        else:
            self.blocked.append(route.request.url)
            route.abort()

    def open(self, url):
        """Go to a page and wait until it rests."""
        self.page.goto(url, wait_until="load")
        self.page.evaluate("() => window.MathJax?.startup?.promise?.then(() => null)")
        return self.page


@pytest.fixture
def visit(browser, address):
    """Start visits; at the end of the test none may have had an error or a strange request."""
    contexts, visits = [], []

    def start(scheme="light", width=1280, allowed=address):
        context = browser.new_context(
            color_scheme=scheme, viewport={"width": width, "height": 900}, reduced_motion="reduce"
        )
        contexts.append(context)
        visits.append(Visit(context.new_page(), allowed))
        return visits[-1]

    yield start
    for context in contexts:
        context.close()
    assert [url for one in visits for url in one.blocked] == []
    assert [text for one in visits for text in one.errors] == []


def serious_findings(page):
    """Run axe-core on a page and list what is serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{finding['id']}: {finding['help']}: {finding['nodes'][0]['html'][:200]}"
        for finding in Axe().run(page).response["violations"]
        if finding["impact"] in ("serious", "critical")
    ]


def open_all(page):
    """Unfold what is folded."""
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")


@pytest.mark.parametrize("name", [*PAGES, "search"])
def test_page_is_accessible_in_order_and_described(visit, address, name):
    page = visit("light").open(f"{address}{name}.html")
    assert page.locator("html").get_attribute("data-theme") == "light"
    open_all(page)
    assert serious_findings(page) == []
    if name == "search":
        return
    levels = page.eval_on_selector_all(
        "article h1, article h2, article h3, article h4, article h5",
        "all => all.map(heading => +heading.tagName[1])",
    )
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(below - above <= 1 for above, below in zip(levels, levels[1:]))
    images = page.eval_on_selector_all(
        "article img",
        "all => Promise.all(all.map(image => image.decode().then(() => image.alt)))",
    )
    for alt in images:
        assert len(alt) > 15 and not re.fullmatch(r"\S*(\.\w{3,4}|[0-9a-f]{16,})", alt), alt


@pytest.mark.parametrize("name", [*(page for page in PAGES if "/assignments/" not in page), ASSIGNMENTS[0], "search"])
def test_page_is_accessible_in_the_dark(visit, address, name):
    """Of the assignments one, since their pages differ in words alone."""
    page = visit("dark").open(f"{address}{name}.html")
    assert page.locator("html").get_attribute("data-theme") == "dark"
    open_all(page)
    assert serious_findings(page) == []


@pytest.mark.parametrize("name", [*PAGES, "search"])
def test_page_fits_a_phone(visit, address, name):
    page = visit(width=390).open(f"{address}{name}.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    stuck = """() => [...document.querySelectorAll('article :is(pre, mjx-container, div)')]
        .filter(box => /auto|scroll/.test(getComputedStyle(box).overflowX))
        .filter(box => box.scrollWidth > box.clientWidth + 1 && box.clientWidth > 0)
        .filter(box => box.tabIndex < 0 && !box.querySelector('a, button, input, [tabindex]'))
        .map(box => box.outerHTML.slice(0, 200))"""
    assert page.evaluate(stuck) == []


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_is_light_shows_mathematics_and_moves_by_keyboard(visit, address, name):
    tour = visit()
    page = tour.open(f"{address}{name}.html")
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_timeout(1000)
    bodies = [one.body() for one in tour.responses if one.url.startswith("http") and one.ok]
    raw, sent = sum(map(len, bodies)), sum(len(gzip.compress(body)) for body in bodies)
    print(f"{name}: {len(bodies)} requests, {raw / 1e3:.0f} KB, about {sent / 1e3:.0f} KB gzipped")
    assert sent < 800_000
    assert len(bodies) < 40
    check_mathematics(page)
    open_all(page)
    for figure in page.locator("figure.flip-book").all():
        check_sliders(page, figure)


def check_mathematics(page):
    """Every formula was set, and none is left as text."""
    if 'class="math ' in page.content():
        assert page.locator("mjx-container").count() == page.locator(".math").count()
        assert page.locator("mjx-container mjx-assistive-mml").count() > 0
        assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    assert "$$" not in page.locator("article").inner_text()


def check_sliders(page, figure):
    """Each slider of a figure changes the picture, its description and the value shown."""
    image = figure.locator("img").first
    for slider in figure.locator("input[type=range]").all():
        shown = slider.locator("xpath=following-sibling::output")
        before = [image.get_attribute("src"), image.get_attribute("alt"), shown.inner_text()]
        slider.focus()
        last = slider.evaluate("range => range.value === range.max")
        page.keyboard.press("ArrowLeft" if last else "ArrowRight")
        after = [image.get_attribute("src"), image.get_attribute("alt"), shown.inner_text()]
        assert all(new != old for new, old in zip(after, before)), after[1:]
        assert slider.bounding_box()["height"] >= 24
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 50


@pytest.mark.parametrize("word", ["fine-tuning", "forgetting"])
def test_search_finds_the_chapter(visit, address, word):
    page = visit().open(f"{address}book/index.html")
    page.keyboard.press("Control+k")
    field = page.locator("dialog input[type=search]")
    field.fill(word)
    field.press("Enter")
    result = page.locator("#search-results a[href*='07_transfer_learning']").first
    result.wait_for(timeout=10_000)
    assert page.url.startswith(f"{address}search.html")


def test_light_and_dark_can_be_switched(visit, address):
    page = visit().open(f"{address}book/index.html")
    colours = {}
    for _ in range(3):
        page.locator("button.theme-switch-button").first.click()
        theme = page.locator("html").get_attribute("data-theme")
        colours[theme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colours.keys() == {"light", "dark"}
    assert colours["light"] != colours["dark"]


def test_focus_can_be_seen(visit, address):
    page = visit().open(f"{address}book/guide/reading.html")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    width = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
    assert width >= 2


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_assignments_have_a_colab_button(html_dir, name):
    page = (html_dir / f"{name}.html").read_text(encoding="utf-8")
    assert re.search(rf"colab\.research\.google\.com/github/[^\"]+/blob/v\d[^/]*/{name}\.ipynb", page)


def test_the_site_and_its_sources_hold_no_solution(html_dir):
    """Lines of solutions and hidden tests that are long enough to be nobody else's."""
    region = re.compile(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", re.DOTALL)
    secret = {}
    for path in (ROOT / "book/assignments").glob("*.md"):
        text = path.read_text(encoding="utf-8")
        shown = region.sub("", text)  # a test may repeat a line of the data's cell, which everybody sees
        secret[path.stem] = {line.strip() for found in region.findall(text) for line in found.splitlines() if len(line.strip()) > 45 and line.strip() not in shown}
    assert all(len(lines) > 5 for lines in secret.values())
    shown = {path: path.read_text(encoding="utf-8") for path in html_dir.rglob("*") if "assignments" in path.parts and path.suffix in (".html", ".ipynb", ".txt", ".md")}
    assert len(shown) >= 2 * len(secret)
    for path, text in shown.items():
        found = [line for line in secret.get(path.name.split(".")[0], ()) if line in html.unescape(text) or json.dumps(line)[1:-1] in text]
        assert not found, (path, found[:2])
    assert not list(html_dir.rglob("*book/assignments*")) and not (html_dir / "_sources/book/assignments").exists()


def test_launch_buttons_open_the_release(visit, address):
    page = visit().open(f"{address}notebooks/07_transfer_learning.html")
    links = page.eval_on_selector_all("a[href]", "all => all.map(link => link.href)")
    colab = [link for link in links if "colab.research" in link]
    assert colab and all(re.search(r"/blob/v\d[^/]*/notebooks/07_", link) for link in colab)
    assert any("mybinder.org" in link for link in links)


def test_unpacked_zip_works_without_a_server(visit, html_dir, tmp_path):
    with zipfile.ZipFile(ZIP) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "from-neurons-to-transfer"
    tour = visit(allowed="file://")
    page = tour.page
    page.goto((folder / "index.html").as_uri(), wait_until="commit")
    page.wait_for_url("**/book/index.html")
    assert page.locator("article svg").count() > 0
    page.goto((folder / "notebooks" / "07_transfer_learning.html").as_uri())
    page.locator("mjx-container").first.wait_for()
    assert tour.errors == []
    page.goto((folder / "search.html").as_uri() + "?q=forgetting")
    page.locator("#search-results a").first.wait_for()
    page.get_by_text("Search finished").first.wait_for()
    page.goto("about:blank")  # no further message can come after this
    # Browsers refuse a page on disk the excerpts under the results, and say so.
    tour.errors = [text for text in tour.errors if "fetch" not in text and "ERR_FAILED" not in text]
