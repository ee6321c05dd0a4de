"""A whole class: what has to be graded, by threads here or by workers elsewhere; results that survive a kill."""

import concurrent.futures
import json
import os

from . import grading, masters, reports, sandbox


def grade_class(master_text, name, secret, submissions, folder, limits=None, jobs=None, scheduler=None, security=None, trusted=False, progress=True, known=()):
    """Grade what has changed, and return all results.

    Parameters
    ----------
    master_text, name : str
        Text and name of the master.
    secret : str
        Of the cohort.
    submissions : list of helpers.coursework.collecting.Submission
    folder : pathlib.Path
        Of the results, one JSON file a student, each written as soon as it is known.
    limits : helpers.coursework.sandbox.Limits, optional
    jobs : int, optional
        Submissions at the same time; as many as processors by default.
    scheduler : str, optional
        Address of a dask scheduler, in place of threads here.
    security : distributed.Security, optional
    trusted, progress : bool
    known : sequence of str
        Ids of the roster.

    Returns
    -------
    results : list of dict
        In the order of the submissions.
    fresh : int
        How many were graded this time.
    """
    from tqdm import tqdm

    limits = limits or sandbox.Limits()
    folder.mkdir(parents=True, exist_ok=True)
    master = masters.parse(master_text, name)
    cohort = masters.token(secret, name)
    results, todo, identity = {}, [], grading.identities(submissions, known)
    for submission in submissions:
        kept = load(folder / f"{reports.slug(submission.student)}.json")
        if kept and kept["status"] != "not graded" and kept["key"] == grading.key(master, cohort, submission.student, submission.content, limits, identity[submission.student][0]):
            results[submission.student] = kept | {"late": submission.late, "name": submission.name, "remark": identity[submission.student][1]}
        else:
            todo.append(submission)
    bar = tqdm(total=len(todo), desc=f"grading {name}", unit="file", disable=not progress)

    def keep(submission, result):
        result |= {"late": submission.late, "name": submission.name, "origin": submission.origin, "remark": identity[submission.student][1]}
        reports.write_json(folder / f"{reports.slug(submission.student)}.json", result)
        results[submission.student] = result
        bar.update()

    def task(submission):
        return master_text, name, secret, submission.student, submission.content, limits, trusted, identity[submission.student][0]

    with bar, _Executor(jobs or os.cpu_count() or 1, scheduler, security) as submit:
        running = {submit(task(submission)): submission for submission in todo}
        slow = []
        for future in concurrent.futures.as_completed(running) if scheduler is None else _dask_completed(running):
            submission = running[future]
            result = _result(future, submission, master)
            if result["slow"]:
                slow.append(submission)  # perhaps this machine was busy: once more, alone, before it counts
            else:
                keep(submission, result)
        for submission in slow:
            keep(submission, _result(submit(task(submission)), submission, master))
    return [results[submission.student] for submission in submissions], len(todo)


def grade_one(task):
    """Grade one submission; runs here or on a worker, which needs nothing but this package and the sandbox."""
    text, name, secret, student, content, limits, trusted, identity = task
    return grading.grade(masters.parse(text, name), masters.token(secret, name), student, content, limits, trusted, secret, identity=identity)


def _result(future, submission, master):
    try:
        return future.result()
    except Exception as error:  # noqa: BLE001 - a fault of ours or of a machine's must never become a zero
        return {"student": submission.student, "assignment": master.name, "key": "", "status": "not graded", "reason": f"{type(error).__name__}: {error}"[:500],
                "points": 0.0, "of": sum(p.points for p in master.parts), "by_hand": 0, "parts": [], "answers": {}, "notes": [], "log": "", "slow": False, "seconds": 0.0}


class _Executor:
    """Threads here, or a dask cluster; gives a function that takes a task and returns a future."""

    def __init__(self, jobs, scheduler, security):
        if scheduler is None:
            self.pool = concurrent.futures.ThreadPoolExecutor(jobs)
        else:
            from distributed import Client

            self.pool = Client(scheduler, security=security, timeout=30)

    def __enter__(self):
        if isinstance(self.pool, concurrent.futures.Executor):
            return lambda task: self.pool.submit(grade_one, task)
        return lambda task: self.pool.submit(grade_one, task, pure=False, retries=2)

    def __exit__(self, *_):
        if isinstance(self.pool, concurrent.futures.Executor):
            self.pool.shutdown(cancel_futures=True)
        else:
            self.pool.close()


def _dask_completed(futures):
    from distributed import as_completed

    return as_completed(list(futures))


def load(path):
    """Return a stored result, or None when there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) and {"key", "status", "parts", "student"} <= set(found) else None
    except (OSError, ValueError):
        return None
