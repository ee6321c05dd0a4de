"""Grading one submission: from the bytes of a file to a result that JSON can hold."""

import hashlib
import inspect
import time

import numpy as np

from . import judge, masters, reader, sandbox

RESTARTS = 4  # of the sandbox in one submission, after cells or tests that ended it


def grader_digest():
    """Return a hash of the grader's own text: results of another version are not kept."""
    from . import worker

    return hashlib.sha256("".join(inspect.getsource(m) for m in (judge, masters, reader, sandbox, worker)).encode()).hexdigest()


def key(master, cohort, student, content, limits):
    """Return what a result depends on: submission, assignment, cohort, student, limits and grader."""
    digest = hashlib.sha256()
    for part in (master.digest, cohort, student, repr(limits), grader_digest(), hashlib.sha256(content).hexdigest()):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def grade(master, cohort, student, content, limits=None, trusted=False, secret="", verbose=None):
    """Grade a submission.

    Parameters
    ----------
    master : helpers.coursework.masters.Master
    cohort : str
        Its token; see :func:`helpers.coursework.masters.token`.
    student : str
    content : bytes
        Of the file handed in.
    limits : helpers.coursework.sandbox.Limits, optional
    trusted : bool
        Run without a sandbox, with the grader's rights.
    secret : str
        Of the cohort: what the tests draw depends on it.
    verbose : callable, optional
        Is given one line of the log at a time.

    Returns
    -------
    dict
        ``student``, ``assignment``, ``key``, ``status``, ``points``, ``of``, ``by_hand``, ``parts``, ``notes``, ``log``,
        ``seconds``. The status is "graded", "unreadable" (with a ``reason`` for the student) or "not graded" (a failure of
        this machine's, never a zero).
    """
    limits, say, began = limits or sandbox.Limits(), verbose or (lambda line: None), time.perf_counter()
    result = {
        "student": student, "assignment": master.name, "key": key(master, cohort, student, content, limits), "status": "graded", "reason": "",
        "points": 0.0, "of": sum(p.points for p in master.parts), "by_hand": sum(p.points for p in master.parts if p.by_hand),
        "parts": [], "answers": {}, "notes": [], "log": "", "seconds": 0.0,
    }
    try:
        cells = reader.read_notebook(content)
        merged = reader.merge(master, cohort, cells, student)
    except reader.Unreadable as error:
        return result | {"status": "unreadable", "reason": str(error)}
    result["notes"], result["answers"] = list(merged.notes), merged.answers
    stated = reader.stated_student(cells)
    if stated and stated.lower() != student.lower() and stated != "your id":
        result["notes"].append(f"The notebook was worked out for the id {stated!r}, but handed in by {student!r}: a person should look.")
    try:
        run = _Run(master, cohort, student, merged, limits, trusted, secret, say)
        result["parts"] = run.mark()
    except sandbox.NoSandbox as error:
        return result | {"status": "not graded", "reason": str(error)}
    except OSError as error:
        return result | {"status": "not graded", "reason": f"This machine failed: {error}"}
    result["notes"] += run.notes
    result["log"] = run.log
    result["points"] = float(sum(part["points"] for part in result["parts"] if part["points"]))
    result["seconds"] = round(time.perf_counter() - began, 1)
    return result


class _Run:
    """The cells and tests of one submission, started anew after what ended the sandbox."""

    def __init__(self, master, cohort, student, merged, limits, trusted, secret, say):
        self.master, self.cohort, self.student, self.merged = master, cohort, student, merged
        self.limits, self.trusted, self.secret, self.say = limits, trusted, secret, say
        self.session, self.deadly, self.restarts, self.notes, self.log, self.spent = None, {}, 0, [], "", 0.0

    def start(self):
        """Start a session and run all cells but those that ended one before; return whether there is one."""
        while True:
            if self.restarts > RESTARTS:
                return False
            began = time.monotonic()
            self.session = judge.Session(self.limits, self.trusted)
            running, self.cells = None, {}
            try:
                for number, (name, source, locked) in enumerate(self.merged.steps):
                    running = number
                    if number in self.deadly:
                        continue
                    try:
                        error = self.session.ask("cell", source=source)
                    except TimeoutError as late:
                        error = f"TimeoutError: {late}"
                        # Once too long, always too long: a restart does not wait for it again.
                        self.deadly[number] = str(late)
                    if error is not None and type(error) is not str:
                        error = "the cell gave no answer"
                    self.cells[number] = error
                    self.say(f"{name or 'additional cell'}: {error or 'ran'}")
                    if error:
                        self._note(number, f"{name or 'An additional cell'} stopped with {error}")
                return True
            except judge.Dead as error:
                self.restarts += 1
                self.deadly[running] = str(error)
                name = self.merged.steps[running][0] or "An additional cell"
                self._note(running, f"{name} {error}; it was left out and the rest run again.")
                self.say(f"{name}: {error}; starting again without it")
            except Exception as error:  # noqa: BLE001 - an answer made up by a submission
                self.restarts += 1
                self.deadly[running] = str(error)
                self.say(f"{running}: {error!r}")
            finally:
                self.spent += time.monotonic() - began

    def _note(self, number, text):
        if not any(text == note for note in self.notes):
            self.notes.append(text[:500])

    def mark(self):
        """Return what each part earned."""
        found, alive = [], self.start()
        try:
            for part in self.master.parts:
                if part.by_hand:
                    found.append({"part": part.name, "title": part.title, "points": None, "of": part.points, "by_hand": True, "message": ""})
                    continue
                passed, message = False, "The code that was to be tested could not be run."
                if alive:
                    passed, message, alive = self.test(part)
                found.append({"part": part.name, "title": part.title, "points": float(part.points) if passed else 0.0, "of": part.points,
                              "by_hand": False, "message": message})
                self.say(f"{part.name}: {'passed' if passed else message}")
        finally:
            if self.session is not None:
                self.session.close()
                self.log = self.session.log.decode("utf-8", errors="replace")[-20_000:]
        return found

    def test(self, part):
        """Return whether the tests of a part pass, a message for the student, and whether a session is alive."""
        cell = next(c for c in self.master.notebook.cells if c.metadata.nbgrader.grade_id == part.name)
        source = masters.with_token(cell.source, self.cohort)
        visible = masters.strip_hidden(source)
        for stage, text in [("visible", visible), ("hidden", source)][: 1 if visible == source.rstrip() else 2]:
            seed = int.from_bytes(hashlib.sha256(f"{self.secret}:{self.student}:{part.name}:{stage}".encode()).digest()[:4])
            for attempt in (1, 2):
                try:
                    self.session.ask("seed", seed=seed)
                    judge.run_test(self.session, text, self.student, self.cohort, np.random.default_rng(seed))
                    break
                except judge.Dead as error:
                    message, died = f"Your code {error} while this part was tested.", "too long" in str(error)
                except TimeoutError as error:
                    message, died = f"Your code {error} while this part was tested.", True
                except Exception as error:  # noqa: BLE001 - a failed test
                    kind = type(error).__name__
                    shown = f"{kind}: {error}".strip(": ")[:500]
                    message = shown if stage == "visible" else "The visible tests pass, a hidden test does not: look at unusual inputs, shapes and values."
                    self.say(f"{part.name}, {stage}: {shown}")
                    return False, message, self.session.process.poll() is None or self._again()
                # The machine may have been busy: what took too long is run once more before it counts.
                if self.session.process.poll() is not None or attempt == 1:
                    self.session.close()
                    if not self._again():
                        return False, message, False
                if not died or attempt == 2:
                    return False, message, True
        return True, "", True

    def _again(self):
        self.restarts += 1
        return self.start()
