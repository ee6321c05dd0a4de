"""Results that took minutes to compute: stored with seeds, versions and times, drawn by the chapters.

The chapters call :func:`load`. The scripts in ``book/evidence`` call :func:`collect`, which can be stopped and goes on
where it was, and :func:`store`.
"""

import hashlib
import inspect
import json
import os
import pathlib
import platform
import time

FOLDER = pathlib.Path(__file__).parent / "results"
CACHE = pathlib.Path("_build/evidence")
PACKAGES = ("tensorflow", "keras", "numpy")


def load(name):
    """Return a stored result.

    Parameters
    ----------
    name : str
        Name of a file in ``helpers/results`` without its ending; ``make evidence`` writes them.

    Returns
    -------
    dict
        ``"made_by"``, ``"seeds"``, ``"versions"``, ``"seconds"`` and the results, as described in the script that
        made them.

    Raises
    ------
    ValueError
        For a name that does not exist.
    """
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(repr(p.stem) for p in FOLDER.glob("*.json")))
        raise ValueError(f"There is no stored result {name!r}; there are {known}.")
    return json.loads(path.read_text(encoding="utf-8"))


def collect(name, run, jobs, depends_on):
    """Return what a function gives for each job (a seed, or an arm with a seed), computing only what is not in the cache.

    Parameters
    ----------
    name : str
        Of the result; the cache is the folder ``_build/evidence/name`` below the working directory.
    run : callable
        ``run(job)`` returns a dict that JSON can hold.
    jobs : sequence of int, str or tuple
        Seeds, or tuples such as ``("frozen", 10, seed)`` whose parts are numbers and short words.
    depends_on : sequence of modules, functions or values, or callable
        What the results depend on: a change of their text, or of the versions of the packages, starts afresh. A
        function ``depends_on(job)`` may say it for each job, so that a change of one arm repeats that arm alone.

    Returns
    -------
    list of dict
        One a job, each with the ``"seconds"`` it took.
    """
    from tqdm import tqdm

    runs = []
    for job in tqdm(jobs, desc=name, unit="job"):
        key = _key(depends_on(job) if inspect.isfunction(depends_on) else depends_on)
        words = job if isinstance(job, tuple) else (job,)
        path = CACHE / name / f"{key}-{'-'.join(str(word).replace(' ', '_') for word in words)}.json"
        if not path.exists():
            began = time.perf_counter()
            result = run(job)
            result["seconds"] = round(time.perf_counter() - began, 1)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")  # renamed when whole: a run killed while writing leaves no half file
            part.write_text(json.dumps(result), encoding="utf-8")
            part.replace(path)
        runs.append(json.loads(path.read_text(encoding="utf-8")))
    return runs


def _key(things):
    """Return a hash of the text of modules and functions, of other values' text, and of the packages' versions."""
    texts = [
        inspect.getsource(thing) if inspect.ismodule(thing) or inspect.isroutine(thing) or inspect.isclass(thing)
        else repr(thing)
        for thing in things
    ]
    return hashlib.sha256(("".join(texts) + json.dumps(versions())).encode()).hexdigest()[:12]


def store(name, made_by, seeds, runs, **results):
    """Write a result for :func:`load`, with where it comes from.

    Parameters
    ----------
    name : str
        Of the file in ``helpers/results``.
    made_by : str
        The script's path in the repository.
    seeds : sequence of int
    runs : list of dict
        What :func:`collect` returned; their seconds are added up.
    **results
        What JSON can hold; floats are rounded to five decimals (of 10,000 test images one is 0.0001).

    Returns
    -------
    pathlib.Path
        The file written.
    """
    origin = {
        "made_by": made_by,
        "seeds": list(seeds),
        "versions": versions(),
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "seconds": round(sum(run["seconds"] for run in runs)),
    }
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(_rounded(origin | results)) + "\n", encoding="utf-8")
    return path


def versions():
    """Return the versions of Python and of the packages that results depend on."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # the CPU build of TensorFlow is a package of another name
            found[package] = version(f"{package}-cpu")
    return found


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    return round(value, 5) if isinstance(value, float) else value
