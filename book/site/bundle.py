"""Fewer requests: the many small style sheets and scripts of a page become three files."""

import posixpath
import re
from pathlib import Path

STYLES = "book.css"
EARLY_SCRIPTS = "book.js"
LATE_SCRIPTS = "book-late.js"

# The theme's layout names these itself, outside Sphinx's lists of files.
THEME_STYLES = ["basic.css", "styles/pydata-sphinx-theme.css"]
THEME_SCRIPTS = ["scripts/bootstrap.js", "scripts/pydata-sphinx-theme.js"]
CSS_ADDRESS = re.compile(r"url\(\s*(['\"]?)(?!data:|#|/|[a-z]+:)([^)'\"]+)\1\s*\)")


def local_name(asset):
    """Tell the name of a file of the site inside its ``_static`` folder.

    Parameters
    ----------
    asset : sphinx.builders.html._assets._CascadingStyleSheet or _JavaScript or str
        An entry of Sphinx's lists of files.

    Returns
    -------
    str or None
        The name, or None for inline code and for files elsewhere.
    """
    name = str(getattr(asset, "filename", asset) or "")
    return name.removeprefix("_static/") if name.startswith("_static/") else None


def is_plain(script):
    """Tell whether a script can be merged with others: loaded at once, without data of its own."""
    return local_name(script) is not None and not set(script.attributes) - {"type"}


def gather(app, pagename, templatename, context, doctree):
    """Point a page to the merged files and note what they are made of.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The build.
    pagename, templatename : str
        The page and its template.
    context : dict
        What the template gets; its lists of files are changed.
    doctree : docutils.nodes.document or None
        The page's content.
    """
    styles = [local_name(style) for style in context["css_files"]]
    early = [local_name(script) for script in context["script_files"] if is_plain(script)]
    app.book_assets = {
        STYLES: THEME_STYLES + [name for name in styles if name],
        EARLY_SCRIPTS: early,
        LATE_SCRIPTS: [*THEME_SCRIPTS, "course.js"],
    }
    context["css_files"] = [f"_static/{STYLES}"]
    has_maths = app.env.get_domain("math").data["has_equations"].get(pagename, False)
    has_tabs = "sd-tab-set" in context.get("body", "")
    before, after, bodies = [], [], set()
    for script in context["script_files"]:
        name, body = local_name(script) or "", getattr(script, "attributes", {}).get("body", "")
        unused = (
            (name == "design-tabs.js" and not has_tabs)
            or (not has_maths and (name.startswith("mathjax/") or "window.MathJax" in body))
            or name == "course.js"
        )
        if is_plain(script) or unused or (body and body in bodies):
            continue
        bodies.add(body)
        (before if body.startswith(("let toggle", "var toggle")) else after).append(script)
    context["script_files"] = [*before, f"_static/{EARLY_SCRIPTS}", *after]


def merge_styles(static, names):
    """Join style sheets into one that lies at the top of the folder.

    Parameters
    ----------
    static : pathlib.Path
        The ``_static`` folder of the built site.
    names : list of str
        The style sheets, first to last.

    Returns
    -------
    str
        The style sheet, its relative addresses corrected.
    """
    parts = []
    for name in names:
        folder = posixpath.dirname(name)

        def moved(match, folder=folder):
            return f'url("{posixpath.normpath(posixpath.join(folder, match.group(2)))}")'

        parts.append(CSS_ADDRESS.sub(moved, (static / name).read_text(encoding="utf-8")))
    return re.sub(r'@charset "[^"]*";', "", "\n".join(parts))


def write_bundles(app):
    """Write the merged files.

    Parameters
    ----------
    app : sphinx.application.Sphinx
        The build, after its pages were written.
    """
    static = Path(app.outdir) / "_static"
    for target, names in app.book_assets.items():
        if target == STYLES:
            text = merge_styles(static, names)
        else:
            text = ";\n".join((static / name).read_text(encoding="utf-8") for name in names)
            text = re.sub(r"^//# sourceMappingURL=.*$", "", text, flags=re.MULTILINE)
        (static / target).write_text(text, encoding="utf-8")
