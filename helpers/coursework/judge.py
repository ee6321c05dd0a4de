"""Outside the sandbox: asks the worker, and runs the tests on the plain data that comes back.

A test's names that it does not know itself are the student's. A plain value of theirs arrives as a copy; any other object is
a :class:`Remote`, whose attributes, items and calls are asked for in the sandbox and give plain data again.
"""

import ast
import base64
import builtins
import contextlib
import json
import math
import os
import re
import select
import signal
import struct
import subprocess
import threading
import time

import numpy as np

from . import personal_rng, sandbox
from .reader import PARSING, parse_alone

LONGEST = 8 << 20  # bytes of an answer
DEPTH = 8


class Dead(Exception):
    """The worker is gone: out of time, of memory, crashed, or said what is no answer."""


class TookTooLong(Exception):
    """A cell or a test that was stopped by the clock; a TimeoutError of a submission's own is no such thing."""


class StudentError(Exception):
    """A submission raised something that is no exception of Python's own."""


class Session:
    """A worker in its sandbox.

    Parameters
    ----------
    limits : helpers.coursework.sandbox.Limits
    trusted : bool
        Without a sandbox.
    end : float, optional
        When it must be over, as ``time.monotonic`` counts; by default after ``limits.total`` seconds.
    distort : callable, optional
        What is done to every answer; for the gate that looks for tests which empty answers pass.
    """

    def __init__(self, limits, trusted=False, end=None, distort=None):
        if not trusted:
            sandbox.check()
        self.limits, self.log, self.over, self.number, self.distort = limits, bytearray(), None, 0, None
        self.end = end or time.monotonic() + limits.total
        self.process = sandbox.start(limits, trusted, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
        for pipe in (self.process.stdin, self.process.stdout):
            os.set_blocking(pipe.fileno(), False)
        threading.Thread(target=self._keep_log, daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()
        self.buffer = bytearray()
        most = {"CORE": 0, "NOFILE": 256, "FSIZE": limits.disk << 20, "CPU": int(limits.total) * 4}
        if not trusted:  # address space: TensorFlow maps far more than it uses
            most |= {"AS": (limits.memory + 4000) << 20, "NPROC": limits.processes}
        try:
            self._send({"limits": most}, time.monotonic() + 60)
            ready = self.ask("value", of={"v": "ready"}, seconds=60) == "ready"
            self.distort = distort
        except Dead:
            ready = False
        if not ready:  # the student's code has not begun: the failure is ours
            self.close()
            raise sandbox.NoSandbox(f"The sandbox did not start: {self.log.decode(errors='replace')[-500:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _keep_log(self):
        with contextlib.suppress(OSError, ValueError):
            while chunk := self.process.stderr.read(65536):
                if len(self.log) < 100_000:
                    self.log += chunk[: 100_000 - len(self.log)]

    def _watch(self):
        """Stop everything when the processes together hold too much, or are too many (limits of a process are not enough)."""
        import psutil

        while self.process.poll() is None:
            held = count = 0
            with contextlib.suppress(psutil.Error):
                for process in psutil.Process(self.process.pid).children(recursive=True):
                    with contextlib.suppress(psutil.Error):
                        held += process.memory_info().rss + hidden_memory(process.pid)
                        count += 1
            if held > self.limits.memory << 20:
                self.over = f"used more than {self.limits.memory} MB of memory"
            elif count > self.limits.processes:
                self.over = f"started more than {self.limits.processes} processes"
            if self.over:
                self.kill()
                return
            time.sleep(0.1)

    def kill(self):
        """Kill the sandbox's first process: the kernel takes all others of its namespace with it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self):
        """Stop the worker and wait until it is gone."""
        if self.process.poll() is None:
            self.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def _die(self, why):
        self.close()
        raise Dead(self.over or why)

    def _send(self, message, deadline):
        content = json.dumps(message).encode()
        rest = memoryview(struct.pack(">I", len(content)) + content)
        while rest:
            if not select.select([], [self.process.stdin], [], max(0, deadline - time.monotonic()))[1]:
                self._die("took too long")
            try:
                rest = rest[os.write(self.process.stdin.fileno(), rest) :]
            except (BrokenPipeError, ValueError):
                self._die("ended the process that ran it")

    def _receive(self, count, deadline):
        while len(self.buffer) < count:
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                self._die("took too long")
            chunk = os.read(self.process.stdout.fileno(), 1 << 20)
            if not chunk:
                self._die("ended the process that ran it")
            self.buffer += chunk
        content = bytes(self.buffer[:count])
        del self.buffer[:count]
        return content

    def ask(self, do, seconds=None, **more):
        """Return the worker's answer, decoded.

        Raises
        ------
        Dead
            When there is none in time, or it is no answer.
        Exception
            Of Python's own kinds as the submission raised it, StudentError for others.
        """
        seconds = min(seconds or self.limits.cell, self.end - time.monotonic())
        if seconds <= 0:
            self._die(f"took more than {self.limits.total:g} seconds in all")
        self.number += 1
        deadline = time.monotonic() + seconds + 3
        self._send({"do": do, "id": self.number, "seconds": seconds, **more}, deadline)
        (length,) = struct.unpack(">I", self._receive(4, deadline))
        if length > LONGEST:
            self._die("gave an answer that is too long")
        try:
            answer = json.loads(self._receive(length, deadline))
        except (ValueError, RecursionError):
            self._die("gave what is no answer")
        if not isinstance(answer, dict) or answer.get("id") != self.number:
            self._die("gave what is no answer")
        if "error" in answer:
            name, message = str(answer["error"])[:100], str(answer.get("message"))[:2000]
            name, message = readable(name), readable(message)
            if name == "TookTooLong":
                raise TookTooLong(f"took more than {seconds:.0f} seconds")
            kind = getattr(builtins, name, None)
            if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, (UnicodeError, OSError)):
                raise kind(message)
            raise StudentError(f"{name}: {message}")
        value = decode(self, answer.get("ok"))
        return value if self.distort is None else self.distort(value)


def hidden_memory(pid):
    """Return the bytes that a process holds in files that exist in memory alone (memfd), which no other count shows."""
    held, folder = 0, f"/proc/{pid}/fd"
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                if os.readlink(f"{folder}/{name}").startswith("/memfd:"):
                    held += os.stat(f"{folder}/{name}").st_blocks * 512
    return held


def readable(text):
    """Return a text that can be written to any file: halves of surrogate pairs become question marks."""
    return text.encode("utf-8", "replace").decode()


class Answer(np.ndarray):
    """An array of a submission's. With another array it is computed only where their shapes fit in earnest.

    NumPy stretches shapes: an empty array of shape (0, 1) beside any column gives nothing, and ``all`` of nothing is true.
    """

    def __array_ufunc__(self, ufunc, method, *inputs, **settings):
        plain = [value.view(np.ndarray) if isinstance(value, Answer) else value for value in inputs]
        if "out" in settings:
            settings["out"] = tuple(out.view(np.ndarray) if isinstance(out, Answer) else out for out in settings["out"])
        if method == "__call__" and len(plain) > 1 and ufunc.signature is None:
            shapes = [np.shape(value) for value in plain]
            together, sizes = np.broadcast_shapes(*shapes), [math.prod(shape) for shape in shapes]
            size = math.prod(together)
            if size > max(sizes) or (size == 0 and max(sizes) > 0):
                raise AssertionError(f"an array has the shape {' or '.join(map(str, shapes))}, which does not fit")
        result = getattr(ufunc, method)(*plain, **settings)
        return result.view(Answer) if isinstance(result, np.ndarray) and method == "__call__" else result


class StrictNumpy:
    """NumPy for tests: ``allclose`` and ``isclose`` stretch no shapes, also where lists of arrays have lost their kind."""

    def __getattr__(self, name):
        return getattr(np, name)

    def isclose(self, a, b, *values, **words):
        return np.isclose(np.asarray(a).view(Answer), b, *values, **words)

    def allclose(self, a, b, *values, **words):
        return bool(np.all(self.isclose(a, b, *values, **words)))


class Remote:
    """Stands for an object in the sandbox. It is never true, equal or an array by itself: only plain data counts."""

    def __init__(self, session, reference):
        object.__setattr__(self, "_asked", (session, reference))

    def _ask(self, do, **more):
        session, reference = self._asked
        return session.ask(do, of=reference, **more)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask("attribute", name=name)

    def __call__(self, *values, **words):
        return self._ask("call", values=[encode(v) for v in values], words={name: encode(v) for name, v in words.items()})

    def __getitem__(self, key):
        return self._ask("item", key=encode(key))

    def __len__(self):
        length = self._ask("length")
        if type(length) is not int or not 0 <= length < 1_000_000:
            raise TypeError("an object has no usable length")
        return length

    def __iter__(self):
        return (self[place] for place in range(len(self)))

    def __bool__(self):
        raise TypeError("what the test got is no plain value (a number, a text, a list or an array)")

    def __eq__(self, other):
        raise TypeError("what the test got is no plain value (a number, a text, a list or an array)")

    __hash__ = None
    __array_ufunc__ = None  # NumPy must not take it for a number

    def __array__(self, *_, **__):
        raise TypeError("what the test got is no array")


def encode(value):
    """Return the message for a value that a test passes to a submission; plain data and Remotes only."""
    if isinstance(value, Remote):
        return value._asked[1]
    if value is None or type(value) in (bool, int, str):
        return {"v": value}
    if type(value) is float:
        return {"f": value.hex()}
    if type(value) in (list, tuple):
        return {"l": [encode(item) for item in value], "t": type(value) is tuple}
    if type(value) is dict:
        return {"d": [[key, encode(item)] for key, item in value.items()]}
    if isinstance(value, np.generic):
        return encode(value.item())
    value = np.asarray(value).view(np.ndarray)
    if value.dtype.kind not in "biufcUS":
        raise TypeError(f"a test may pass plain data only, not {value.dtype}")
    return {"a": base64.b64encode(np.ascontiguousarray(value).tobytes()).decode(), "dtype": value.dtype.str, "shape": list(value.shape)}


def decode(session, message, depth=0):
    """Return the value in an answer; whatever is not exactly plain data ends the session."""
    try:
        if depth > DEPTH:
            raise ValueError
        if "v" in message and (message["v"] is None or type(message["v"]) in (bool, int, str)):
            return readable(message["v"]) if type(message["v"]) is str else message["v"]
        if "f" in message:
            return float.fromhex(message["f"])
        if "l" in message:
            return (tuple if message.get("t") is True else list)(decode(session, item, depth + 1) for item in message["l"])
        if "d" in message:
            pairs = {readable(key) if type(key) is str else key: decode(session, item, depth + 1) for key, item in message["d"]}
            if all(type(key) in (str, int) for key in pairs):
                return pairs
        if "a" in message and re.fullmatch(r"[<>|=][biufcUS]\d{1,6}", message["dtype"]) and all(type(n) is int and n >= 0 for n in message["shape"]):
            return np.frombuffer(base64.b64decode(message["a"]), message["dtype"]).reshape(message["shape"]).copy().view(Answer)
        if "r" in message and type(message["r"]) is int:
            return Remote(session, {"r": message["r"]})
    except Dead:
        raise
    except Exception:  # noqa: BLE001 - the message is a stranger's
        pass
    return session._die("gave what is no answer")


def run_test(session, source, student, cohort, fresh):
    """Run a cell of tests here, on what the submission in a session has defined.

    Parameters
    ----------
    session : Session
    source : str
        Of the master: what it does is trusted.
    student, cohort : str
        A test's ``student`` and ``cohort``; ``personal_rng(student, cohort)`` gives what the notebook had.
    fresh : numpy.random.Generator
        A test's ``rng``, which no student can foresee.

    Raises
    ------
    Exception
        Whatever a test raises that does not pass.
    """
    try:
        tree = parse_alone(source)
    except (SystemError, MemoryError) as error:  # the master's text has been through the gates: the failure is ours
        raise sandbox.NoSandbox(f"The judge failed: {error}") from error
    names = {"np": StrictNumpy(), "math": math, "student": student, "cohort": cohort, "rng": fresh, "personal_rng": personal_rng}
    stored = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    stored |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    stored |= {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            stored |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in {*names, *stored} and not hasattr(builtins, node.id):
            try:
                names[node.id] = session.ask("value", of={"n": node.id})
            except KeyError:
                raise NameError(f"{node.id} is not defined") from None
    with PARSING:
        code = compile(tree, "<test>", "exec")
    exec(code, names)  # noqa: S102 - the master's own text
