"""Build the site of the book into _build/html, check it, and pack it for reading offline.

    python book/tools/build_site.py [--force]

Nothing is done when nothing has changed since the last good build. After any change the
site is built anew from the start: that takes seconds, and an incremental build hides the
warnings of pages that it does not read again.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from guard import check_site, toc_pages

ROOT = Path(__file__).resolve().parents[2]
ZIP_NAME = "from-neurons-to-transfer"
INPUTS = ("_config.yml", "_toc.yml", "requirements.txt", "book", "notebooks")
IGNORED_PARTS = {"__pycache__", ".ipynb_checkpoints", "chapters", "evidence", "assignments"}
IGNORED_SUFFIXES = {".pyc", ".tmp"}
ANSI_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
BUILD = "import sys; from jupyter_book.cli.main import main; sys.argv[0] = 'jupyter-book'; main()"


def input_files(root):
    """List the files that the site is made of.

    Parameters
    ----------
    root : pathlib.Path
        The repository.

    Returns
    -------
    list of pathlib.Path
        In a fixed order.
    """
    files = []
    for name in INPUTS:
        path = root / name
        files += [path] if path.is_file() else sorted(path.rglob("*"))
    return [
        path
        for path in files
        if path.is_file()
        and path.suffix not in IGNORED_SUFFIXES
        and not IGNORED_PARTS & set(path.relative_to(root).parts)
    ]


def fingerprint(root):
    """Compute a name for the state of all inputs.

    Parameters
    ----------
    root : pathlib.Path
        The repository.

    Returns
    -------
    str
        A SHA-256 over the Python version and the files' names and contents.
    """
    digest = hashlib.sha256(sys.version.encode())
    for path in input_files(root):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def output_sizes(html_dir):
    """List the files of the built site with their sizes.

    Parameters
    ----------
    html_dir : pathlib.Path
        The site.

    Returns
    -------
    dict of str to int
        Bytes by name; empty if there is no site.
    """
    return {
        path.relative_to(html_dir).as_posix(): path.stat().st_size
        for path in sorted(html_dir.rglob("*"))
        if path.is_file()
    }


def is_fresh(root):
    """Tell whether the site was built well from the present inputs and is still whole.

    Parameters
    ----------
    root : pathlib.Path
        The repository.

    Returns
    -------
    bool
    """
    try:
        stamp = json.loads((root / "_build" / "site.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    outputs = output_sizes(root / "_build" / "html")
    return stamp == {"inputs": fingerprint(root), "outputs": outputs} and bool(outputs)


def missing_sources(root, pages):
    """Say which pages of the table of contents have no source file.

    Parameters
    ----------
    root : pathlib.Path
        The repository.
    pages : list of str
        The pages, without suffix.

    Returns
    -------
    list of str
        One sentence for each.
    """
    return [
        f"{page}: the table of contents names it, but there is no such file"
        for page in pages
        if not any((root / f"{page}{suffix}").is_file() for suffix in (".md", ".ipynb"))
    ]


def run_builder(root):
    """Build the site from the start, every warning an error.

    Parameters
    ----------
    root : pathlib.Path
        The repository.

    Returns
    -------
    str or None
        The builder's whole log if it failed, its warnings once more at the end.
    """
    build = root / "_build"
    for folder in (build / "html", build / ".doctrees", build / "jupyter_execute"):
        shutil.rmtree(folder, ignore_errors=True)
    (build / "site.json").unlink(missing_ok=True)
    command = [sys.executable, "-c", BUILD, "build", str(root), "-W", "-n", "--keep-going"]
    run = subprocess.run(
        command,
        cwd=root,
        env={**os.environ, "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    log = ANSI_COLOUR.sub("", run.stdout)
    warnings = [line for line in log.splitlines() if re.search(r"\b(?:WARNING|ERROR):", line)]
    return "\n".join([log, "What it complains of:", *warnings]) if run.returncode else None


def make_zip(html_dir, target):
    """Pack the site so that the same site gives the same bytes.

    Parameters
    ----------
    html_dir : pathlib.Path
        The site.
    target : pathlib.Path
        The zip to write; if it lies in the site, it does not hold itself.
    """
    names = [name for name in output_sizes(html_dir) if (html_dir / name) != target]
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in names:
            if name == ".buildinfo":
                continue
            entry = zipfile.ZipInfo(f"{ZIP_NAME}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, (html_dir / name).read_bytes())


def build_site(root):
    """Build, pack and check the site.

    Parameters
    ----------
    root : pathlib.Path
        The repository.

    Returns
    -------
    list of str
        What is wrong; empty if the site is good.
    """
    pages = toc_pages(root / "_toc.yml")
    state = fingerprint(root)
    if problems := missing_sources(root, pages):
        return problems
    if log := run_builder(root):
        return [f"the builder failed or warned; its log:\n{log}"]
    html_dir = root / "_build" / "html"
    make_zip(html_dir, html_dir / f"{ZIP_NAME}.zip")
    if problems := check_site(html_dir, pages):
        return problems
    stamp = {"inputs": state, "outputs": output_sizes(html_dir)}
    (root / "_build" / "site.json").write_text(json.dumps(stamp), encoding="utf-8")
    return []


def main(arguments=None):
    """Run the tool.

    Parameters
    ----------
    arguments : list of str, optional
        Those of the command line by default.

    Returns
    -------
    int
        The exit status: 1 if the site is not good.
    """
    parser = argparse.ArgumentParser(description="Build and check the site of the book.")
    parser.add_argument("--force", action="store_true", help="build even if nothing has changed")
    options = parser.parse_args(arguments)
    if not options.force and is_fresh(ROOT):
        print("The site is up to date: open _build/html/index.html")
        return 0
    print("Building the site ...", flush=True)
    start = time.perf_counter()
    if problems := build_site(ROOT):
        print("\n".join(["The site is not good:", *problems]), file=sys.stderr)
        return 1
    seconds = time.perf_counter() - start
    print(f"The site is built ({seconds:.0f} s): open _build/html/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
