"""Run each notebook as a Colab user does: alone in an empty folder, with Colab's versions and without the helpers.

    python book/tools/simulate_colab.py [--chapter 07] [--assignments] [--python PATH] [--pins FILE]

The set-up cell of the notebook installs the helpers with pip and git; git is told to take this repository's last commit,
tagged as the release, for the address on GitHub. Everything happens in _build/colab.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import tomllib

import nbformat
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "_build/colab"
RUN_NOTEBOOK = """
import sys, nbformat
from nbclient import NotebookClient
path = sys.argv[1]
notebook = nbformat.read(path, 4)
NotebookClient(notebook, timeout=300, kernel_name="python3", record_timing=False).execute()
nbformat.write(notebook, path)
"""
VERSIONS = "import json, importlib.metadata as m; print(json.dumps({d.metadata['Name'].lower().replace('_', '-'): d.version for d in m.distributions()}))"


def find_python(wanted):
    """Return the path of a Python 3.13 (Colab's), or end with a sentence that says what to do."""
    for candidate in filter(None, [wanted, "python3.13", *map(str, pathlib.Path.home().glob(".pyenv/versions/3.13*/bin/python"))]):
        try:
            answer = subprocess.run([candidate, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True)
        except OSError:
            continue
        if answer.returncode == 0 and (wanted or answer.stdout.strip() == "3 13"):
            return candidate
    sys.exit("simulate_colab.py: no Python 3.13 found; install one or give its path with --python.")


def make_environment(python, pins):
    """Make (once for each list of pins) a virtual environment with Colab's versions; return its Python."""
    folder = WORK / f"venv-{pins.stem}"
    made, own = folder / "pins.txt", folder / "bin/python"
    if not made.exists() or made.read_text(encoding="utf-8") != pins.read_text(encoding="utf-8"):
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", "--clear", "--seed", "--python", python, folder], check=True)
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", own, "-r", pins], check=True)
        shutil.copy(pins, made)
    return own


def versions(python):
    return json.loads(subprocess.run([python, "-c", VERSIONS], check=True, capture_output=True, text=True).stdout)


def release(tag):
    """Make a bare copy of the last commit, tagged as the release that the set-up cell asks for; return its folder."""
    copy = WORK / "release.git"
    shutil.rmtree(copy, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", "--bare", ROOT, copy], check=True)
    subprocess.run(["git", "-C", copy, "tag", "--force", tag], check=True, capture_output=True)
    return copy


def git_settings(address, copy):
    """Return environment variables that make git take ``copy`` for ``address``."""
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{copy.as_uri()}.insteadOf", "GIT_CONFIG_VALUE_0": address}


def run_alone(path, python, environment):
    """Run one notebook in an empty folder and return the seconds it took; end with its error if it fails."""
    folder = WORK / path.stem
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / path.name)
    began = time.perf_counter()
    run = subprocess.run([python, "-c", RUN_NOTEBOOK, path.name], cwd=folder, env=environment, capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{path.name} failed:\n{run.stderr[-4000:]}")
    for cell in nbformat.read(folder / path.name, 4).cells:
        if "claim" in cell.metadata.get("tags", []):
            printed = [output.text for output in cell.outputs if output.get("name") == "stdout"]
            for line in "".join(printed).splitlines():
                if not line.endswith(": True"):
                    sys.exit(f"{path.name}: a claim does not hold with these versions: {line}")
    return time.perf_counter() - began


def solved_assignments(beginning):
    """Write each assignment as a student hands it in, every part done and an id filled in; return the paths."""
    from helpers.coursework import masters

    folder = WORK / "solved"
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for source in sorted((ROOT / "book/assignments").glob(f"{beginning}*.md")):
        master = masters.read(source)
        notebook = masters.solution(master, masters.token("demonstration", master.name))
        for cell in notebook.cells:
            cell.source = cell.source.replace('student = "your id"', 'student = "ada"')
        paths.append(folder / f"{master.name}.ipynb")
        nbformat.write(notebook, paths[-1])
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chapter", default="", help="beginning of a notebook's name, such as 07")
    parser.add_argument("--assignments", action="store_true", help="solved assignments instead of chapters")
    parser.add_argument("--python", help="the Python to use (default: a 3.13 that is found)")
    parser.add_argument("--pins", type=pathlib.Path, default=ROOT / "tests/colab-requirements.txt")
    options = parser.parse_args()
    notebooks = solved_assignments(options.chapter) if options.assignments else sorted((ROOT / "notebooks").glob(f"{options.chapter}*.ipynb"))
    if not notebooks:
        sys.exit(f"simulate_colab.py: no notebook begins with {options.chapter!r}.")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    tag = "v" + project["version"]
    weights = {line.split("==")[0] for line in project["optional-dependencies"]["pretrained"]}
    address = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    python = make_environment(find_python(options.python), options.pins)
    settings = git_settings(address, release(tag))
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | settings
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment['PATH']}"
    for path in notebooks:
        subprocess.run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "neurons-to-transfer"], check=True, capture_output=True)
        before = versions(python)
        seconds = run_alone(path, python, environment)
        after = versions(python)
        changed = {name for name in before | after if before.get(name) != after.get(name)} - {"neurons-to-transfer"} - weights
        if changed or "neurons-to-transfer" not in after:
            sys.exit(f"{path.name}: the set-up cell changed {sorted(changed) or 'nothing: the helpers were not installed'}")
        print(f"{path.name}: ran alone from top to bottom in {seconds:.0f} s with TensorFlow {after.get('tensorflow-cpu') or after['tensorflow']}")


if __name__ == "__main__":
    main()
