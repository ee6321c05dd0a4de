"""Measure grading: nbgrader's own loop against ours on the same submissions, a class of 200, and two dask workers.

    python book/tools/measure_grading.py

Needs bubblewrap, two idle processor cores, and about ten minutes; writes helpers/results/grading_speed.json, which the
instructor guide quotes. nbgrader runs the same tests in the students' kernels, one submission after the other, as
``nbgrader autograde`` does. Seconds of processor time are the whole machine's while each runs, so nothing else may run.
"""

import copy
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import nbformat
import psutil

from helpers import evidence
from helpers.coursework import classes, collecting, masters

ROOT = pathlib.Path(__file__).resolve().parents[2]
HEAVY, LIGHT, SECRET = "08_what_transfers", "01_neurons_and_the_brain", "a secret for measuring"


def read(name):
    path = ROOT / f"book/assignments/{name}.md"
    return masters.read(path), path.read_text(encoding="utf-8")


def submissions(master, count):
    """Return complete submissions, each of a student of its own."""
    notebook = masters.solution(master, masters.token(SECRET, master.name))
    found = []
    for number in range(count):
        own = copy.deepcopy(notebook)
        for cell in own.cells:
            if cell.source.startswith("student ="):
                cell.source = f'student = "m{number:03}"'
        found.append(collecting.Submission(f"m{number:03}", "", "", nbformat.writes(own).encode()))
    return found


class Clock:
    """Seconds, and processor seconds of the whole machine, of a block."""

    def __enter__(self):
        self.began, self.used = time.perf_counter(), self.busy()
        return self

    def __exit__(self, *_):
        self.seconds, self.processor = round(time.perf_counter() - self.began, 1), round(self.busy() - self.used, 1)

    @staticmethod
    def busy():
        times = psutil.cpu_times()
        return times.user + times.system + times.nice

    def facts(self):
        return {"seconds": self.seconds, "processor": self.processor}


def run_nbgrader(master, handed_in, folder):
    """Grade with ``nbgrader autograde`` and return the time of that command and the points."""
    cohort = masters.token(SECRET, master.name)
    source = folder / "source" / master.name
    source.mkdir(parents=True)
    (folder / "nbgrader_config.py").write_text(f"c = get_config()\nc.CourseDirectory.course_id = 'course'\nc.CourseDirectory.root = {str(folder)!r}\nc.Execute.timeout = 300\n")
    notebook = copy.deepcopy(master.notebook)
    for cell in notebook.cells:
        del cell.metadata["course_title"]
        cell.source = masters.with_token(cell.source, cohort)
        if cell.metadata.nbgrader.grade and cell.cell_type == "code":  # what our judge has, a test in a student's kernel must make
            cell.source = cell.source.replace("### BEGIN HIDDEN TESTS\n", "### BEGIN HIDDEN TESTS\nimport math\nrng = np.random.default_rng(0)\n")
    nbformat.write(notebook, source / f"{master.name}.ipynb")
    for submission in handed_in:
        place = folder / "submitted" / submission.student / master.name
        place.mkdir(parents=True)
        (place / f"{master.name}.ipynb").write_bytes(submission.content)
    environment = os.environ | {"PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}

    def call(*arguments):
        done = subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"nbgrader {arguments[0]} failed: {done.stderr[-2000:]}")

    call("generate_assignment", master.name, "--force")
    with Clock() as clock:
        call("autograde", master.name, "--force")
    script = f"""
import json
from nbgrader.api import Gradebook
with Gradebook("sqlite:///{folder / 'gradebook.db'}", "course") as book:
    print(json.dumps([s.score for s in book.assignment_submissions({master.name!r})]))
"""
    scores = json.loads(subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True).stdout)
    return clock.facts(), scores


def run_ours(name, handed_in, folder, **more):
    _, text = read(name)
    with Clock() as clock:
        results, _ = classes.grade_class(text, name, SECRET, handed_in, folder, progress=False, **more)
    points = [result["points"] for result in results]
    full = results[0]["of"] - results[0]["by_hand"]
    if points != [full] * len(handed_in):
        sys.exit(f"not every submission got its {full:g} points: {points}")
    return clock.facts()


def main():
    heavy, light = read(HEAVY)[0], read(LIGHT)[0]
    few, many = submissions(heavy, 20), submissions(light, 200)
    full = sum(part.points for part in heavy.parts if not part.by_hand)
    with tempfile.TemporaryDirectory() as place:
        place = pathlib.Path(place)
        print("20 submissions that train networks, here ...", flush=True)
        ours = run_ours(HEAVY, few, place / "ours")
        print(ours, "\nthe same with nbgrader ...", flush=True)
        theirs, scores = run_nbgrader(heavy, few, place / "nbgrader")
        if scores != [full] * len(few):
            sys.exit(f"nbgrader gave other points: {scores}")
        print(theirs, "\n200 submissions without TensorFlow ...", flush=True)
        light_facts = run_ours(LIGHT, many, place / "light")
        print(light_facts, "\nboth over two dask workers ...", flush=True)
        from distributed import LocalCluster

        with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
            address = cluster.scheduler_address
            far = {"tensorflow": run_ours(HEAVY, few, place / "far", scheduler=address), "numpy": run_ours(LIGHT, many, place / "far light", scheduler=address)}
        print(far)
    facts = {"made_by": "book/tools/measure_grading.py", "versions": evidence.versions() | {"nbgrader": __import__("nbgrader").__version__}, "processors": os.cpu_count(),
             "bubblewrap": subprocess.run([shutil.which("bwrap"), "--version"], capture_output=True, text=True).stdout.strip(),
             "tensorflow": {"submissions": len(few), "assignment": HEAVY, "ours": ours, "nbgrader": theirs, "ratio": round(ours["seconds"] / theirs["seconds"], 2)},
             "numpy": {"submissions": len(many), "assignment": LIGHT, "ours": light_facts}, "two dask workers": far}
    (evidence.FOLDER / "grading_speed.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
