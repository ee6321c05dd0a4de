"""Lighter pages: pictures are loaded when they are needed, in a smaller format."""

import base64
import hashlib
import re
from pathlib import Path

from PIL import Image

EMBEDDED = re.compile(r"data:image/(webp|png|jpeg|svg\+xml);base64,([A-Za-z0-9+/=]{1000,})")
FOLDER = "_images"


def move_out(app, pagename, templatename, context, doctree):
    """Put the pictures that are embedded in a page beside it.

    A figure with sliders carries all its frames, so that a notebook is one file. On the
    site, a browser need load only the frame that is shown.

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
    folder = Path(app.outdir) / FOLDER

    def written(match):
        data = base64.b64decode(match.group(2))
        suffix = match.group(1).removesuffix("+xml")
        name = f"{hashlib.sha256(data).hexdigest()[:16]}.{suffix}"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
        return context["pathto"](f"{FOLDER}/{name}", 1)

    context["body"] = EMBEDDED.sub(written, context.get("body", ""))


def shrink_pictures(html_dir):
    """Turn the site's PNG pictures into lossless WebP where that is smaller.

    Parameters
    ----------
    html_dir : pathlib.Path
        The built site.
    """
    smaller = []
    for path in sorted((html_dir / FOLDER).glob("*.png")):
        target = path.with_suffix(".webp")
        with Image.open(path) as image:
            image.save(target, lossless=True, quality=80, method=4)
        worse = path if target.stat().st_size < path.stat().st_size else target
        worse.unlink()
        if worse == path:
            smaller.append(path.stem)
    if not smaller:
        return
    names = re.compile(rf"{FOLDER}/({'|'.join(map(re.escape, smaller))})\.png")
    for page in html_dir.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        page.write_text(names.sub(rf"{FOLDER}/\1.webp", html), encoding="utf-8")
