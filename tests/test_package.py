"""The helpers as a package, and the lock."""

import pathlib
import shutil
import subprocess
import sys
import tomllib
import zipfile

import helpers
import pytest
import yaml
from dependencies import read_lock
from packaging.markers import default_environment
from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
CHOSEN = EXTRAS["run"] + EXTRAS["pretrained"] + PROJECT["dependency-groups"]["dev"]
PLATFORMS = [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")]


def unmet(chosen, locked):
    """Return the chosen requirements that a lock does not satisfy on some Python and platform."""
    wrong = []
    for line in chosen:
        requirement = Requirement(line)
        for python in ("3.11", "3.12", "3.13"):
            for system, machine in PLATFORMS:
                place = default_environment() | {
                    "python_version": python, "python_full_version": python + ".0",
                    "sys_platform": system, "platform_machine": machine,
                }
                if requirement.marker is None or requirement.marker.evaluate(place):
                    versions = locked.get(requirement.name.lower(), set())
                    if not any(requirement.specifier.contains(v, prereleases=True) for v in versions):
                        wrong.append(f"{line} (Python {python}, {system})")
    return wrong


def test_the_lock_satisfies_what_pyproject_chooses():
    assert not unmet(CHOSEN, read_lock(ROOT / "requirements.txt")), "run make lock"


@pytest.mark.parametrize("line", ["numpy==2.2.*", "a-package-that-is-not-locked", "keras>=3.14"])
def test_a_stale_lock_is_caught(line):
    assert unmet([line], read_lock(ROOT / "requirements.txt"))


def test_every_line_of_the_lock_has_hashes_and_no_address():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    entries = [e for e in text.replace("\\\n", "").splitlines() if e and not e.lstrip().startswith("#")]
    assert len(entries) > 100
    assert all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_what_is_installed_is_what_is_locked():
    from importlib.metadata import distributions
    from sysconfig import get_paths

    locked = read_lock(ROOT / "requirements.txt")
    wrong = [
        f"{name} {d.version}"
        for d in distributions(path=[get_paths()["purelib"]])  # not what setuptools carries inside itself
        if (name := d.metadata["Name"].lower().replace("_", "-")) in locked and d.version not in locked[name]
    ]
    assert not wrong, f"not the locked versions: {wrong}; run make book"


def test_versions_agree():
    version = PROJECT["project"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    repository = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    assert helpers.__version__ == str(citation["version"]) == version
    assert repository["branch"] == f"v{version}" and citation["repository-code"] == repository["url"]


def test_importing_is_cheap():
    code = (
        "import sys, helpers.data, helpers.controls, helpers.compare, helpers.evidence, helpers.transfer, helpers.plots, helpers.coursework\n"
        "print([m for m in ('tensorflow', 'keras', 'scipy', 'sklearn', 'ipywidgets') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_wheel_replaces_nothing_and_holds_the_data(tmp_path):
    source = tmp_path / "source"  # setuptools leaves a build folder where it works
    shutil.copytree(ROOT / "helpers", source / "helpers", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = [archive.read(n).decode() for n in names if n.endswith("METADATA")]
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist:")]
    assert required and all("extra == " in line for line in required)
    expected = {p.relative_to(ROOT).as_posix() for p in (ROOT / "helpers").rglob("*") if p.suffix in (".py", ".npz", ".json")}
    assert expected <= names
