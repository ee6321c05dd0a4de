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


def key(master, cohort, student, content, limits, identity=None):
    """Return what a result depends on: submission, assignment, cohort, student, the id of the numbers, limits and grader."""
    digest = hashlib.sha256()
    for part in (master.digest, cohort, student, identity or student, repr(limits), grader_digest(), hashlib.sha256(content).hexdigest()):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def grade(master, cohort, student, content, limits=None, trusted=False, secret="", verbose=None, identity=None, distort=None):
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
    identity : str, optional
        The id for which the personal numbers were drawn, when it is not ``student``; see :func:`identities`.
    distort : callable, optional
        See :class:`helpers.coursework.judge.Session`.

    Returns
    -------
    dict
        ``student``, ``assignment``, ``key``, ``status``, ``points``, ``of``, ``by_hand``, ``parts``, ``answers``, ``notes``,
        ``log``, ``slow`` (something took too long: to be run again alone), ``seconds``. The status is "graded", "unreadable" (with a ``reason`` for the student) or "not graded" (a failure of
        this machine's, never a zero).
    """
    limits, say, began = limits or sandbox.Limits(), verbose or (lambda line: None), time.perf_counter()
    result = {
        "student": student, "assignment": master.name, "key": key(master, cohort, student, content, limits, identity), "status": "graded", "reason": "",
        "points": 0.0, "of": sum(p.points for p in master.parts), "by_hand": sum(p.points for p in master.parts if p.by_hand),
        "parts": [], "answers": {}, "notes": [], "log": "", "slow": False, "seconds": 0.0,
    }
    try:
        cells = reader.read_notebook(content)
        merged = reader.merge(master, cohort, cells, identity or student)
    except reader.Unreadable as error:
        return result | {"status": "unreadable", "reason": str(error)}
    result["notes"], result["answers"] = list(merged.notes), merged.answers
    identity = judge.readable(identity) if identity else None
    try:
        run = _Run(master, cohort, student, identity or student, merged, limits, trusted, secret, say, distort)
        result["parts"] = run.mark()
    except sandbox.NoSandbox as error:
        return result | {"status": "not graded", "reason": str(error)}
    except OSError as error:
        return result | {"status": "not graded", "reason": f"This machine failed: {error}"}
    result["notes"] += run.notes
    result["log"], result["slow"] = run.log, run.slow
    result["points"] = float(sum(part["points"] for part in result["parts"] if part["points"]))
    result["seconds"] = round(time.perf_counter() - began, 1)
    return result


def identities(submissions, known=()):
    """Return for whom each submission's personal numbers were drawn, with a remark where that is not who handed it in.

    A wrongly written id costs nobody anything. The id of somebody else in the class does: the numbers of one's own count.

    Parameters
    ----------
    submissions : list of helpers.coursework.collecting.Submission
    known : sequence of str
        Ids of the roster, where there is one.

    Returns
    -------
    dict of str to (str, str)
        By student: the id, and the remark or "".
    """
    stated = {}
    for submission in submissions:
        try:
            stated[submission.student] = reader.stated_student(reader.read_notebook(submission.content)) or ""
        except reader.Unreadable:
            stated[submission.student] = ""
    plain = {student: text.strip().lower() for student, text in stated.items()}
    others, found = {student.lower() for student in [*plain, *known]}, {}
    for student, own in plain.items():
        if own in ("", "your id", student.lower()):
            found[student] = student, ""
        elif own in others:
            found[student] = student, f"The notebook states the id {own!r}, which is somebody else's; the numbers of {student!r} were used. A person should look."
        elif list(plain.values()).count(own) > 1:
            found[student] = own, f"The notebook states the id {own!r}, and so do others. A person should look."
        else:
            found[student] = own, f"The notebook states the id {own!r}; its numbers were used.{' A person should look.' if known else ''}"
    return found


class _Run:
    """The cells and tests of one submission, started anew after what ended the sandbox."""

    def __init__(self, master, cohort, student, identity, merged, limits, trusted, secret, say, distort=None):
        self.master, self.cohort, self.student, self.identity, self.merged = master, cohort, student, identity, merged
        self.limits, self.trusted, self.secret, self.say, self.distort = limits, trusted, secret, say, distort
        self.session, self.left_out, self.starts, self.notes, self.log, self.slow = None, set(), 0, [], "", False
        self.end = time.monotonic() + limits.total

    def start(self):
        """Start a session and run all cells but those that ended one before; return whether there is one."""
        while self.starts <= RESTARTS and time.monotonic() < self.end:
            self.starts += 1
            if self.session is not None:
                self.session.close()
            self.session = judge.Session(self.limits, self.trusted, self.end, self.distort)
            for number, (name, source, _) in enumerate(self.merged.steps):
                if number in self.left_out:
                    continue
                name = name or "an additional cell"
                try:
                    error = self.session.ask("cell", source=source)
                except judge.Dead as dead:
                    self.left_out.add(number)
                    self.note(f"{name} {dead}; it was left out and the rest run again.")
                    break
                except Exception as other:  # noqa: BLE001 - too long, or an answer that a submission made up
                    error = f"{type(other).__name__}: {other}"
                    self.slow |= isinstance(other, judge.TookTooLong)
                    self.left_out.add(number)  # what took too long once is not waited for again
                if error is None:
                    self.say(f"{name}: ran")
                else:
                    self.note(f"{name} stopped with {error}")
            else:
                return True
        self.slow |= time.monotonic() >= self.end
        return False

    def note(self, text):
        """Add a note for student and grader, once."""
        self.say(text)
        if text[:500] not in self.notes:
            self.notes.append(text[:500])

    def mark(self):
        """Return what each part earned, in order."""
        found = []
        try:
            alive = self.start()
            for part in self.master.parts:
                facts = {"part": part.name, "title": part.title, "of": part.points, "by_hand": part.by_hand}
                if part.by_hand:
                    found.append(facts | {"points": None, "message": ""})
                    continue
                message = "Your code could not be run to the end; see the notes."
                if alive:
                    message = self.test(part)
                    alive = self.session.process.poll() is None or self.start()
                found.append(facts | {"points": 0.0 if message else float(part.points), "message": message})
                self.say(f"{part.name}: {message or 'passed'}")
        finally:
            if self.session is not None:
                self.session.close()
                self.log = self.session.log.decode("utf-8", errors="replace")[-20_000:]
        return found

    def number(self, *words):
        """Return a number that only who has the secret of the cohort can foresee."""
        return int.from_bytes(hashlib.sha256(":".join([self.secret, self.student, *words]).encode()).digest()[:4], "big")

    def test(self, part):
        """Return why the tests of a part fail, for the student; "" when they pass."""
        cell = next(c for c in self.master.notebook.cells if c.metadata.nbgrader.grade_id == part.name)
        source = masters.with_token(cell.source, self.cohort)
        visible = masters.strip_hidden(source)
        for stage, text in [("visible", visible), ("hidden", source)][: 1 if visible == source.rstrip() else 2]:
            try:
                # Two seeds: what the sandbox is told must not tell which inputs the test will draw.
                self.session.ask("seed", seed=self.number(part.name, stage, "sandbox"))
                judge.run_test(self.session, text, self.identity, self.cohort, np.random.default_rng(self.number(part.name, stage, "judge")))
            except (judge.Dead, judge.TookTooLong) as error:
                self.slow |= isinstance(error, judge.TookTooLong) or "took" in str(error)
                return f"Your code {error} while this part was tested."
            except sandbox.NoSandbox:
                raise
            except Exception as error:  # noqa: BLE001 - a test that fails, in whatever way
                shown = f"{type(error).__name__}: {error}".removesuffix(": ")[:500]
                self.say(f"{part.name}, {stage}: {shown}")
                return shown if stage == "visible" else "The visible tests pass, a further one does not. Look at other inputs, shapes and edge cases."
        return ""
