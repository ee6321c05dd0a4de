"""What a master must show before it goes out: its solution earns every point, the bare release and empty answers none."""

import warnings

import nbformat
import numpy as np

from . import grading, judge, masters


class Emptied:
    """Makes every array and list of an answer empty, and counts how often it did so.

    Parameters
    ----------
    shape : tuple of int
        Of the empty arrays.
    keep_length : bool
        Whether a list keeps its length, and holds empty arrays.
    """

    def __init__(self, shape, keep_length=False):
        self.shape, self.keep_length, self.count = shape, keep_length, 0

    def __call__(self, value):
        if isinstance(value, np.ndarray) and value.size:
            self.count += 1
            return np.zeros(self.shape, value.dtype).view(judge.Answer)
        if type(value) is tuple:
            return tuple(self(item) for item in value)
        if type(value) in (list, dict) and value:
            self.count += 1
            if self.keep_length and type(value) is list:
                return [np.zeros(self.shape).view(judge.Answer) for _ in value]
            return type(value)()
        return value


def check(master, cohort="gate", limits=None, students=("gate-one", "gate-two"), trusted=False):
    """Run a master's solution and its bare release through the grader, for two students, and the solution with empty answers.

    ``all`` of nothing is true, and NumPy stretches empty arrays: a test that an empty answer passes is no test.

    Parameters
    ----------
    master : helpers.coursework.masters.Master
    cohort : str
    limits : helpers.coursework.sandbox.Limits, optional
    students : sequence of str
        Two, because what one student's random numbers allow another's may not.
    trusted : bool

    Returns
    -------
    list of str
        What is wrong; empty when the master may go out.

    Raises
    ------
    helpers.coursework.masters.MasterError
        When the release still holds what students must not see.
    helpers.coursework.sandbox.NoSandbox
        When it can't be run here.
    """
    from .sandbox import NoSandbox

    wrong = []
    for student in students:
        for kind, notebook in (("solution", masters.solution(master, cohort)), ("bare release", masters.release(master, cohort))):
            log = []
            result = grading.grade(master, cohort, student, nbformat.writes(notebook).encode(), limits, trusted, "gate", log.append)
            if result["status"] == "not graded":
                raise NoSandbox(result["reason"])
            for part in result["parts"]:
                if not part["by_hand"] and kind == "solution" and part["points"] != part["of"]:
                    reason = next((line for line in log if line.startswith(f"{part['part']},")), part["message"])
                    wrong.append(f"{master.name}, {part['part']}: the solution earns {part['points']:g} of {part['of']:g} for {student} ({reason})")
                if not part["by_hand"] and kind == "bare release" and part["points"]:
                    wrong.append(f"{master.name}, {part['part']}: a bare release earns {part['points']:g} of {part['of']:g}")
            if kind == "solution":
                wrong += [f"{master.name}, solution: {note}" for note in result["notes"] if "stopped with" in note or "left out" in note]
    return wrong or _empty_answers(master, cohort, students[0], limits, trusted)


def _empty_answers(master, cohort, student, limits, trusted):
    """Return the parts whose tests pass although every array and list that they got was empty."""
    wrong, notebook = [], nbformat.writes(masters.solution(master, cohort)).encode()
    for shape, keep_length in (((0,), False), ((0, 1, 1, 1, 1), False), ((0, 1, 1, 1, 1), True)):
        emptied, before = Emptied(shape, keep_length), 0

        def look(line, emptied=emptied, shape=shape):
            nonlocal before
            name, _, said = line.partition(": ")
            if name.startswith("test-") and ", " not in name:
                if said == "passed" and emptied.count > before:
                    wrong.append(f"{master.name}, {name}: answers of shape {shape} pass; compare the shape first")
                before = emptied.count

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # means of nothing, which NumPy remarks on
            grading.grade(master, cohort, student, notebook, limits, trusted, "gate", look, distort=emptied)
    return wrong
