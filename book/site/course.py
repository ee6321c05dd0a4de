"""What the site of the book adds to its theme: local mathematics, small icons, repaired pages."""

import json
import logging
import re
import shutil
from importlib.util import find_spec
from pathlib import Path

from bundle import gather, write_bundles
from fontTools import subset
from fontTools.ttLib import TTFont
from pictures import move_out, shrink_pictures
from terms import add_links

# Together these are MathJax's TeX input and HTML output without its menu: 0.8 MB
# instead of the 1.2 MB of its ready-made file. The first starts the others.
MATHJAX_PARTS = (
    "startup.js",
    "core.js",
    "input/tex.js",
    "output/chtml.js",
    "output/chtml/fonts/tex.js",
    "a11y/assistive-mml.js",
)
MATHJAX_LOADED = [name.removesuffix(".js") for name in MATHJAX_PARTS]
MATHJAX_FOLDERS = ("output/chtml/fonts/woff-v2", "input/tex/extensions")
MATHJAX_NOT_NEEDED = ("all-packages.js", "require.js", "autoload.js")

ICON_FONTS = ("fa-solid-900", "fa-regular-400", "fa-brands-400")
ICON_NAMES_OF_SCRIPTS = {"fa-xmark"}  # set by the theme's script while a page is open
CSS_RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")
ICON_CODE = re.compile(r"\\(f[0-9a-f]{3})\b|([\ue000-\uf8ff])")
WEB_FONT = re.compile(r'\.woff2(\"?)\) format\("woff2"\),url\([^)]*\.ttf"?\) format\("truetype"\)')

PREDICTION = re.compile(r"<blockquote>(\s*<div>\s*<p><strong>Predict)")

# Files that the theme ships and no page asks for.
NOT_NEEDED = ("scripts/fontawesome.js*", "**/*.map", "*webpack-macros.html")


def write_mathjax(static):
    """Write the parts of MathJax that the pages load.

    Parameters
    ----------
    static : pathlib.Path
        The ``_static`` folder of the built site.
    """
    source = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    target = static / "mathjax"
    target.mkdir(parents=True, exist_ok=True)
    parts = [(source / name).read_text(encoding="utf-8") for name in MATHJAX_PARTS]
    parts.insert(1, f"MathJax.loader.preLoad(...{json.dumps(MATHJAX_LOADED)})")
    (target / "mathjax.js").write_text(";\n".join(parts), encoding="utf-8")
    for folder in MATHJAX_FOLDERS:
        shutil.copytree(
            source / folder,
            target / folder,
            ignore=shutil.ignore_patterns(*MATHJAX_NOT_NEEDED),
            dirs_exist_ok=True,
        )


def icon_names(html_dir):
    """Collect the icons that the built pages name.

    Parameters
    ----------
    html_dir : pathlib.Path
        The built site.

    Returns
    -------
    set of str
        Class names such as ``"fa-bars"``.
    """
    names = set(ICON_NAMES_OF_SCRIPTS)
    for page in html_dir.rglob("*.html"):
        for classes in re.findall(r'class="([^"]*\bfa-[^"]*)"', page.read_text(encoding="utf-8")):
            names.update(name for name in classes.split() if name.startswith("fa-"))
    return names


def shrink_style(css, names):
    """Leave the rules of unused icons out of a style sheet.

    Parameters
    ----------
    css : str
        The style sheet.
    names : set of str
        The icons in use.

    Returns
    -------
    css : str
        The style sheet without them, asking for ``.woff`` fonts.
    codes : set of int
        Code points of the icons that it still shows.
    """
    codes = set()

    def keep(rule):
        selector, body = rule.groups()
        found = {int(code, 16) if code else ord(char) for code, char in ICON_CODE.findall(body)}
        named = set(re.findall(r"\.(fa-[a-z0-9-]+):", selector))
        if found and named and not named & names:
            return ""
        codes.update(found)
        return rule.group()

    css = CSS_RULE.sub(keep, css)
    return WEB_FONT.sub(r'.woff\1) format("woff")', css), codes


def shrink_icons(html_dir):
    """Replace the icon fonts, 300 KB, by ones that hold only the icons in use.

    Parameters
    ----------
    html_dir : pathlib.Path
        The built site.
    """
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    names, codes = icon_names(html_dir), set()
    for path in sorted(html_dir.glob("_static/**/*.css")):
        css = path.read_text(encoding="utf-8")
        short, found = shrink_style(css, names)
        codes |= found
        if short != css:
            path.write_text(short, encoding="utf-8")
    fonts = html_dir / "_static" / "vendor" / "fontawesome" / "webfonts"
    for name in ICON_FONTS:
        font = TTFont(fonts / f"{name}.ttf")
        subsetter = subset.Subsetter(subset.Options(notdef_outline=True))
        subsetter.populate(unicodes=codes)
        subsetter.subset(font)
        font.flavor = "woff"
        font.save(fonts / f"{name}.woff")
        (fonts / f"{name}.ttf").unlink()
        (fonts / f"{name}.woff2").unlink()


def repair(app, pagename, templatename, context, doctree):
    """Mend what the accessibility checker finds in the HTML of others, and mark predictions.

    Entries of a bibliography become items of the list that they stand in; a table's
    empty corner, which no header cell may be, becomes an ordinary cell. A quotation that
    begins with a bold "Predict", which is a prediction box in a notebook, gets a class.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The build.
    pagename, templatename : str
        The page and its template.
    context : dict
        What the template gets; ``body`` is changed.
    doctree : docutils.nodes.document or None
        The page's content.
    """
    body = context.get("body", "")
    body = body.replace('role="doc-biblioentry"', 'role="listitem"')
    body = body.replace("<th></th>", "<td></td>")
    context["body"] = PREDICTION.sub(r'<blockquote class="predict">\1', body)


def finish(app, exception):
    """Put the site's own assets in place once the pages are written.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The build.
    exception : Exception or None
        What stopped it, if anything did.
    """
    if exception is not None or app.builder.format != "html":
        return
    html_dir = Path(app.outdir)
    static = html_dir / "_static"
    write_mathjax(static)
    write_bundles(app)
    shrink_icons(html_dir)
    shrink_pictures(html_dir)
    for pattern in NOT_NEEDED:
        for path in static.glob(pattern):
            path.unlink()


def setup(app):
    """Register the extension.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The build.

    Returns
    -------
    dict
        What Sphinx wants to know of an extension.
    """
    app.add_css_file("course.css", priority=900)
    app.add_js_file("course.js", loading_method="defer")
    app.connect("html-page-context", add_links, priority=400)
    app.connect("html-page-context", repair)
    app.connect("html-page-context", move_out)
    app.connect("html-page-context", gather, priority=950)
    app.connect("build-finished", finish, priority=950)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
