"""Assignments: release them, grade a class in a sandbox, give feedback. ``python -m helpers.coursework --help`` begins here.

Importing this package loads NumPy alone: the notebooks that students open use :func:`personal_rng` and nothing else of it.
"""

import hashlib
import re


def personal_rng(student, cohort):
    """Return the random numbers that belong to one student in one cohort: equal on every machine, others for everybody else.

    Parameters
    ----------
    student : str
        The id under which the work is handed in. Letters count as small; spaces around it don't count.
    cohort : str
        The token that stands in the released notebook.

    Returns
    -------
    numpy.random.Generator

    Raises
    ------
    ValueError
        When no id has been filled in.
    """
    import numpy as np

    student = str(student).strip().lower()
    if not re.search(r"\w", student) or student == "your id":
        raise ValueError("Write your student id between the quotes of the cell above, and run that cell again.")
    digest = hashlib.sha256(f"{cohort}:{student}".encode()).digest()
    return np.random.default_rng(list(digest))
