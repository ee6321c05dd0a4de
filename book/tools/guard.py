"""The guard: what a built site must not do, looked for before anybody reads it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

MIN_TEXT = 200  # characters in the article of a page; less is an empty page
FETCHED = {
    "src": {"script", "img", "iframe", "embed", "source", "video", "audio", "track", "input"},
    "data": {"object"},
    "poster": {"video"},
    "srcset": {"img", "source"},
    "xlink:href": {"image", "use", "script"},
    "href": {"image", "use", "base"},
}
HARMLESS_LINKS = {"canonical", "next", "prev", "index", "search", "author", "license", "copyright"}
EXTERNAL = re.compile(r"\s*(?:(?:https?|wss?|ftp):)?//", re.IGNORECASE)
CSS_LOAD = re.compile(
    r"url\(\s*(?:\"([^\"]*)\"|'([^']*)'|([^)\"']*))\s*\)|@import\s+[\"']([^\"']*)[\"']"
)
SCRIPT_LOAD = re.compile(
    r"(?:\b(?:fetch|import|importScripts|Worker|EventSource|WebSocket|sendBeacon)\s*\(\s*"
    r"|\.open\(\s*[\"'`]\w+[\"'`]\s*,\s*|\bfrom\s*|\bimport\s*|\.(?:src|href)\s*=\s*)"
    r"[\"'`]((?:(?:https?|wss?):)?//[^\"'`\s]+)"
)
FILE_NAME_AS_ALT = re.compile(
    r"[0-9a-f]{16,}|(?:\S*/)?[\w.-]+\.(?:png|jpe?g|svg|webp|gif)", re.IGNORECASE
)
MARKER = re.compile(r"#+\s*(?:BEGIN|END)\s+(?:SOLUTION|HIDDEN\s+TESTS)\b", re.IGNORECASE)


class Page(HTMLParser):
    """What the guard wants to know of one page.

    Attributes
    ----------
    loads : list of str
        Addresses that a browser requests by itself.
    links : list of str
        Addresses that a reader can follow.
    alts : list of str or None
        Descriptions of the article's images; None where an image has none.
    text : str
        The article's text.
    """

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.loads, self.links, self.alts, self.text = [], [], [], ""
        self._inside, self._articles = None, 0
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        attrs = {name: value or "" for name, value in attrs}
        self._articles += tag == "article"
        self._inside = tag if tag in ("script", "style") else self._inside
        for name, tags in FETCHED.items():
            if tag in tags and name in attrs:
                parts = attrs[name].split(",") if name == "srcset" else [attrs[name]]
                self.loads += [part.split()[0] if part.split() else "" for part in parts]
        if tag == "link" and not set(attrs.get("rel", "").lower().split()) & HARMLESS_LINKS:
            self.loads.append(attrs.get("href", ""))
        if tag == "meta" and attrs.get("http-equiv", "").lower() == "refresh":
            self.loads.append(re.sub(r"^.*?url\s*=\s*", "", attrs.get("content", ""), flags=re.I))
        if tag == "a" and attrs.get("href"):
            self.links.append(attrs["href"])
        self.loads += css_loads(attrs.get("style", ""))
        for name, value in attrs.items():
            if name.startswith("on"):
                self.loads += SCRIPT_LOAD.findall(value)
        if self._articles:
            if tag == "img":
                self.alts.append(attrs.get("alt"))
            if "data-frames" in attrs:
                frames = json.loads(attrs["data-frames"])
                self.alts += [alt for _, alt in frames]
                self.loads += [source for source, _ in frames]

    def handle_endtag(self, tag):
        self._articles -= tag == "article"
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data):
        if self._inside == "style":
            self.loads += css_loads(data)
        elif self._inside == "script":
            self.loads += SCRIPT_LOAD.findall(data)
        elif self._articles:
            self.text += data


def css_loads(css):
    """List what a style sheet makes a browser request.

    Parameters
    ----------
    css : str
        The style sheet.

    Returns
    -------
    list of str
        The addresses, embedded ones included.
    """
    css = re.sub(r"/\*.*?\*/", "", css, flags=re.DOTALL)
    return ["".join(groups).strip() for groups in CSS_LOAD.findall(css)]


def toc_pages(toc):
    """List the pages of a table of contents.

    Parameters
    ----------
    toc : pathlib.Path
        The file ``_toc.yml``.

    Returns
    -------
    list of str
        Names such as ``"book/index"``, in order.
    """
    pages = []

    def walk(entry):
        if isinstance(entry, list):
            for part in entry:
                walk(part)
        elif isinstance(entry, dict):
            for key, value in entry.items():
                if key in ("root", "file"):
                    pages.append(str(value).removesuffix(".md").removesuffix(".ipynb"))
                else:
                    walk(value)

    walk(yaml.safe_load(toc.read_text(encoding="utf-8")))
    return pages


def check_alts(name, alts):
    """Say which images of a page lack a description that a listener can use."""
    problems = []
    for alt in alts:
        if alt is None or not alt.strip():
            problems.append(f"{name}: an image has no alt text")
        elif FILE_NAME_AS_ALT.fullmatch(alt.strip()):
            problems.append(f"{name}: an image has a file name as its alt text: {alt}")
    return problems


def check_addresses(html_dir, path, loads, links=()):
    """Say which addresses lead a browser to another host, or nowhere.

    Parameters
    ----------
    html_dir : pathlib.Path
        The built site.
    path : pathlib.Path
        The file in which they stand.
    loads : list of str
        Addresses that are requested by themselves; none may be of another host.
    links : list of str
        Addresses that a reader may follow.

    Returns
    -------
    list of str
        One sentence for each problem.
    """
    name = path.relative_to(html_dir).as_posix()
    problems = [f"{name}: requests another host: {url}" for url in loads if EXTERNAL.match(url)]
    for url in [*loads, *links]:
        if EXTERNAL.match(url):
            continue
        parts = urlsplit(url)
        if parts.scheme or not parts.path:
            continue
        if parts.path.startswith("/"):
            problems.append(f"{name}: an address must be relative, to work offline: {url}")
        elif not (path.parent / unquote(parts.path)).exists():
            problems.append(f"{name}: leads to a file that is not there: {url}")
    return list(dict.fromkeys(problems))


def check_page(html_dir, path, is_chapter):
    """Look at one page; see `check_site`."""
    name = path.relative_to(html_dir).as_posix()
    page = Page(path.read_text(encoding="utf-8"))
    problems = check_addresses(html_dir, path, page.loads, page.links)
    if is_chapter and len(" ".join(page.text.split())) < MIN_TEXT:
        problems.append(f"{name}: the page is empty (less than {MIN_TEXT} characters of text)")
    return problems + check_alts(name, page.alts)


def check_site(html_dir, pages):
    """Find what is wrong with a built site.

    Parameters
    ----------
    html_dir : pathlib.Path
        The folder of the site.
    pages : list of str
        The pages that must be there, without suffix.

    Returns
    -------
    list of str
        One sentence for each problem; empty if the site is good.
    """
    html_dir = Path(html_dir)
    problems = [
        f"{page}: the table of contents names it, but the site has no such page"
        for page in pages
        if not (html_dir / f"{page}.html").is_file()
    ]
    for path in sorted(html_dir.rglob("*")):
        name = path.relative_to(html_dir)
        if path.suffix == ".html":
            problems += check_page(html_dir, path, name.with_suffix("").as_posix() in pages)
        elif path.suffix == ".css":
            loads = css_loads(path.read_text(encoding="utf-8"))
            problems += check_addresses(html_dir, path, loads)
        elif path.suffix in (".js", ".mjs"):
            found = SCRIPT_LOAD.findall(path.read_text(encoding="utf-8"))
            problems += check_addresses(html_dir, path, found)
        if path.suffix in (".html", ".js") or (path.is_file() and "_sources" in name.parts):
            if MARKER.search(path.read_text(encoding="utf-8")):
                problems.append(f"{name.as_posix()}: shows a solution or a hidden test")
    return problems
