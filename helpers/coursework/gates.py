"""What a master must show before it goes out: its solution earns every point, the bare release none."""

import nbformat

from . import grading, masters


def check(master, cohort="gate", limits=None, students=("gate-one", "gate-two"), trusted=False):
    """Run a master's solution and its bare release through the grader, for two students.

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
    return wrong
