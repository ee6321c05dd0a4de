"""Results that took minutes to compute: stored with seeds, versions and times, drawn by the chapters."""

import json
import pathlib

FOLDER = pathlib.Path(__file__).parent / "results"


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
