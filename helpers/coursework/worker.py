"""Inside the sandbox: runs a submission's cells and answers questions about its objects, with plain data only.

Talks over its standard input and output, in JSON behind a length of four bytes. Nothing here is a secret or a defence: a
submission shares this process and can make it say anything. What it says is data, which the judge checks.
"""

import base64
import itertools
import json
import os
import resource
import signal
import struct
import sys


class TookTooLong(BaseException):
    """A cell or a test that exceeded its seconds."""


def main():
    """Answer until the judge hangs up."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a submission prints goes to the log
    for name, value in receive(requests)["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    shell.colors = "NoColor"
    desk = Desk(shell)

    def alarm(*_):
        raise TookTooLong("took too long")

    signal.signal(signal.SIGALRM, alarm)
    while True:
        try:
            request = receive(requests)
        except EOFError:
            return
        try:
            signal.setitimer(signal.ITIMER_REAL, request["seconds"])
            answer = {"id": request["id"], "ok": desk.do(request)}
        except BaseException as error:  # noqa: BLE001 - also SystemExit and KeyboardInterrupt of a submission
            answer = {"id": request["id"], "error": type(error).__name__, "message": str(error)[:2000]}
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        content = json.dumps(answer).encode()
        answers.write(struct.pack(">I", len(content)) + content)
        answers.flush()


def receive(file):
    """Return the next message."""
    head = file.read(4)
    if len(head) < 4:
        raise EOFError
    return json.loads(file.read(struct.unpack(">I", head)[0]))


class Desk:
    """Does what the judge asks for.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
    """

    def __init__(self, shell):
        self.shell, self.names, self.objects = shell, shell.user_ns, []

    def do(self, request):
        """Return the answer to a request, in the form of :meth:`encode`."""
        kind = request["do"]
        if kind == "cell":
            result = self.shell.run_cell(request["source"], store_history=False)
            error = result.error_before_exec or result.error_in_exec
            if isinstance(error, TookTooLong):
                raise error
            if "matplotlib.pyplot" in sys.modules:  # figures of one cell are not carried along
                sys.modules["matplotlib.pyplot"].close("all")
            return {"v": None if error is None else f"{type(error).__name__}: {error}"[:2000]}
        if kind == "seed":
            import random

            import numpy as np

            random.seed(request["seed"])
            np.random.seed(request["seed"])
            if "keras" in sys.modules:
                sys.modules["keras"].utils.set_random_seed(request["seed"])
            return {"v": None}
        of = self.decode(request["of"])
        if kind == "value":
            return self.encode(of)
        if kind == "attribute":
            return self.encode(getattr(of, request["name"]))
        if kind == "item":
            return self.encode(of[self.decode(request["key"])])
        if kind == "length":
            return self.encode(len(of))
        if kind == "call":
            words = {name: self.decode(value) for name, value in request["words"].items()}
            return self.encode(of(*[self.decode(value) for value in request["values"]], **words))
        raise ValueError(kind)

    def encode(self, value, depth=0):
        """Return plain data for plain values, and a number that stands for anything else."""
        import numpy as np

        if value is None or type(value) in (bool, int, str):
            return {"v": value}
        if type(value) is float:
            return {"f": value.hex()}
        if type(value) in (list, tuple) and depth < 6:
            return {"l": [self.encode(item, depth + 1) for item in value], "t": type(value) is tuple}
        if type(value) is dict and depth < 6 and all(type(key) in (str, int) for key in value):
            return {"d": [[key, self.encode(item, depth + 1)] for key, item in value.items()]}
        if isinstance(value, np.longdouble) or type(value).__name__ == "Fraction":
            return self.encode(float(value), depth)
        if isinstance(value, np.generic):
            return self.encode(value.item(), depth)
        if type(value).__name__ in ("range", "map", "zip", "filter", "generator", "set", "frozenset", "dict_keys", "dict_values"):
            return self.encode(list(itertools.islice(value, 1_000_000)), depth)
        if type(value).__module__.startswith(("tensorflow", "keras")) and type(value).__name__ in ("EagerTensor", "ResourceVariable", "Variable"):
            value = np.asarray(value)
        if type(value) is np.ndarray and value.dtype.kind in "biufcUS":
            return {"a": base64.b64encode(np.ascontiguousarray(value).tobytes()).decode(), "dtype": value.dtype.str, "shape": list(value.shape)}
        self.objects.append(value)
        return {"r": len(self.objects) - 1, "type": type(value).__name__}

    def decode(self, message):
        """Return the value that the judge sent, or the submission's object that it means."""
        import numpy as np

        if "v" in message:
            return message["v"]
        if "f" in message:
            return float.fromhex(message["f"])
        if "l" in message:
            return (tuple if message["t"] else list)(self.decode(item) for item in message["l"])
        if "d" in message:
            return {key: self.decode(value) for key, value in message["d"]}
        if "a" in message:
            return np.frombuffer(base64.b64decode(message["a"]), message["dtype"]).reshape(message["shape"]).copy()
        if "r" in message:
            return self.objects[message["r"]]
        return self.names[message["n"]]


if __name__ == "__main__":
    main()
