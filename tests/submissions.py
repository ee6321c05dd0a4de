"""Submissions of every kind for the tests of coursework: honest, odd but harmless, broken and hostile."""

import copy
import functools
import io
import json
import os
import shutil
import zipfile

import nbformat
import pytest
from build_notebooks import ROOT

from helpers.coursework import masters

# Elsewhere than in continuous integration, where they fail instead: macOS and Windows have no bubblewrap.
NEEDS_SANDBOX = pytest.mark.skipif(not os.environ.get("CI") and not shutil.which("bwrap"),
                                   reason="bubblewrap is not installed (apt install bubblewrap); hides all tests that run student code")
NAME = "01_neurons_and_the_brain"
SECRET = "a secret of the tests"
FULL = 16.0  # points that tests give; four more are given by hand


@functools.cache
def master():
    return masters.read(ROOT / f"book/assignments/{NAME}.md")


def cohort():
    return masters.token(SECRET, NAME)


def solved(student="ada"):
    """Return a notebook with all parts solved, a dict as JSON has it."""
    notebook = json.loads(nbformat.writes(masters.solution(master(), cohort())))
    for cell in notebook["cells"]:
        if "".join(cell["source"]).startswith("student ="):
            cell["source"] = [f'student = "{student}"']
    return notebook


def bare():
    return json.loads(nbformat.writes(masters.release(master(), cohort())))


def code(source, **more):
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": source, **more}


def pack(notebook):
    return json.dumps(notebook).encode()


WRONG = {
    "unit": "def unit(x, w, b):\n    return np.zeros(len(x), int)",
    "alarm": "alarm_w, alarm_b = [1, 1, 1], 0.5",
    "agree": "def agree(x):\n    return np.zeros(len(x), int)",
    "spikes": "def count_spikes(current, steps, tau=20.0, dt=1.0):\n    return 1",
    "current": "my_current = 5.003",
    "perceptron": "def train_perceptron(x, y, passes=100):\n    return np.zeros(2), 0.0, 0",
}


def attack(source):
    """Return a notebook whose every part is wrong, with a hostile cell before everything else.

    Where the hostile cell gives the answers itself, the parts stay bare.
    """
    notebook = bare()
    if not any(name in source for name in ("unit", "alarm_w", "my_current")):
        for name, wrong in WRONG.items():
            part(notebook, name)["source"] = wrong
    notebook["cells"].insert(1, code(source))
    return pack(notebook)


def part(notebook, name):
    """Return the cell of a part."""
    return next(c for c in notebook["cells"] if c["metadata"].get("nbgrader", {}).get("grade_id") == name)


def filled(**sources):
    """Return a bare notebook with some parts filled in."""
    notebook = bare()
    for name, source in sources.items():
        part(notebook, name)["source"] = source
    return pack(notebook)


def zipped(content, name="work.ipynb"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def old_format(notebook):
    """Return the notebook as nbformat 3 would have it."""
    cells = []
    for cell in notebook["cells"]:
        cell = copy.deepcopy(cell)
        if cell["cell_type"] == "code":
            cell["input"], cell["language"], cell["prompt_number"] = cell.pop("source"), "python", 1
        cells.append(cell)
    return {"metadata": {"name": "old"}, "nbformat": 3, "nbformat_minor": 0, "worksheets": [{"cells": cells, "metadata": {}}]}


def harmless():
    """Return name and bytes of complete work, saved in every way that occurs."""
    found, whole = {}, solved()
    found["as it should be"] = pack(whole)
    found["byte-order mark"] = b"\xef\xbb\xbf" + pack(whole)
    found["utf-16"] = json.dumps(whole).encode("utf-16")
    found["utf-16 without mark"] = json.dumps(whole).encode("utf-16-le")
    found["windows line ends"] = json.dumps(whole, indent=1).replace("\\n", "\\r\\n").encode()
    found["nbformat 3"] = pack(old_format(whole))
    found["nbformat 5"] = pack(whole | {"nbformat": 5, "nbformat_minor": 0})
    found["in a zip"] = zipped(pack(whole), "some folder/work.ipynb")

    colab = copy.deepcopy(whole)
    colab["metadata"] = {"colab": {"provenance": []}, "kernelspec": {"name": "python3", "display_name": "Python 3"}}
    for number, cell in enumerate(colab["cells"]):
        cell["metadata"], cell["id"] = {"id": f"x{number}", "colab": {"base_uri": "x"}}, f"x{number}"
    found["Colab, course metadata lost"] = pack(colab)
    no_ids = copy.deepcopy(colab)
    for cell in no_ids["cells"]:
        cell["metadata"] = {}
        del cell["id"]
    found["no metadata at all"] = pack(no_ids)
    unmarked = copy.deepcopy(no_ids)
    for cell in unmarked["cells"]:
        cell["source"] = [line for line in cell["source"] if not line.startswith(("# Part:", "# Tests:"))]
    found["no metadata and the marks deleted"] = pack(unmarked)

    doubled = copy.deepcopy(whole)
    doubled["cells"] = [c for cell in doubled["cells"] for c in (cell, copy.deepcopy(cell))]
    found["every cell twice"] = pack(doubled)
    stub_after = copy.deepcopy(whole)
    stub_after["cells"] += [c for c in bare()["cells"] if c["cell_type"] == "code"]
    found["bare cells behind the work"] = pack(stub_after)
    turned = copy.deepcopy(whole)
    turned["cells"] = turned["cells"][::-1]
    found["order reversed"] = pack(turned)
    no_tests = copy.deepcopy(whole)
    no_tests["cells"] = [c for c in whole["cells"] if not c["metadata"].get("nbgrader", {}).get("locked") or "student =" in "".join(c["source"])]
    found["all locked and test cells deleted"] = pack(no_tests)
    edited = copy.deepcopy(whole)
    for cell in edited["cells"]:
        if cell["cell_type"] == "code" and cell["metadata"]["nbgrader"]["grade"]:
            cell["source"] = ["assert False, 'I changed the tests'"]
    found["tests edited"] = pack(edited)
    imports = copy.deepcopy(whole)
    for cell in imports["cells"]:
        if "".join(cell["source"]).startswith("import numpy"):
            cell["source"] = ["import scipy\n", *cell["source"]]
    part(imports, "unit")["source"] = ["def unit(x, w, b):\n", "    assert scipy.__version__\n", "    return (np.asarray(x) @ np.asarray(w) + b > 0).astype(int)\n"]
    found["import added to a locked cell"] = pack(imports)
    extra = copy.deepcopy(whole)
    place = extra["cells"].index(part(extra, "unit"))
    extra["cells"].insert(place, code("def weighted_sum(x, w, b):\n    return np.asarray(x, float) @ np.asarray(w, float) + b"))
    extra["cells"].insert(place + 2, code("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()\nprint('x' * 300_000)"))
    extra["cells"].insert(place + 3, code("!ls\n%time 1 + 1\n1 / 0"))
    part(extra, "unit")["source"] = ["def unit(x, w, b):\n", "    return (weighted_sum(x, w, b) > 0).astype(int)\n"]
    found["cells added, with plots, magics and an error"] = pack(extra)
    loud = copy.deepcopy(whole)
    for cell in loud["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 2_000_000}]
    found["huge outputs"] = pack(loud)
    quiet = copy.deepcopy(whole)
    quiet["cells"].append({"cell_type": "raw", "metadata": {}, "source": "raw"})
    quiet["cells"].append({"cell_type": "code", "metadata": None, "source": None})
    found["strange cells"] = pack(quiet)
    split = copy.deepcopy(whole)
    place = split["cells"].index(part(split, "perceptron"))
    text = "".join(split["cells"][place]["source"])
    second = copy.deepcopy(split["cells"][place])
    split["cells"][place]["source"] = "start = 0.0"
    second["source"] = text.replace("np.zeros(x.shape[1]), 0.0, 0", "np.zeros(x.shape[1]), start, 0")
    assert second["source"] != text
    split["cells"].insert(place + 1, second)
    found["a part's cell split in two"] = pack(split)
    scratch = copy.deepcopy(whole)
    place = scratch["cells"].index(part(scratch, "unit"))
    scratch["cells"].insert(place + 1, copy.deepcopy(scratch["cells"][place]) | {"source": "unit([[1, 2]], [1, 1], 0)"})
    scratch["cells"].insert(place + 2, code("# Part: unit, tried out\nprint(unit([[1, 2]], [1, 1], 0))"))
    found["a copy of a part's cell to try things"] = pack(scratch)
    helper = copy.deepcopy(whole)
    test = part(helper, "test-unit")
    test["source"] = "".join(test["source"]) + "\ndef weighted_sum(x, w):\n    return np.asarray(x, float) @ np.asarray(w, float)"
    part(helper, "agree")["source"] = "".join(part(helper, "agree")["source"]).replace("    both,", "    weighted_sum(x, [1, 1])\n    both,")
    found["a helper written under a test"] = pack(helper)
    locked = copy.deepcopy(whole)
    for cell in locked["cells"]:
        if "".join(cell["source"]).startswith("import numpy"):
            cell["source"] = "".join(cell["source"]).replace("import numpy as np", "import numpy as np, scipy.special")
    part(locked, "unit")["source"] = "def unit(x, w, b):\n    return (scipy.special.expit(np.asarray(x) @ np.asarray(w) + b) > 0.5).astype(int)"
    found["an import added on a locked line"] = pack(locked)
    for kind in ("markdown", "raw", "code"):
        moved = copy.deepcopy(whole)
        answer = part(moved, "analogy")
        if kind == "markdown":  # the answer in a cell of its own under the question
            place = moved["cells"].index(answer)
            moved["cells"].insert(place + 1, {"cell_type": "markdown", "metadata": {}, "source": "".join(answer["source"])})
            answer["source"] = part(bare(), "analogy")["source"]
        else:
            answer["cell_type"] = kind
            answer |= {"outputs": [], "execution_count": None} if kind == "code" else {}
        found[f"an answer in a {kind} cell"] = pack(moved)
    kinds_of_number = copy.deepcopy(whole)
    current = part(kinds_of_number, "current")
    current["source"] = "".join(current["source"]) + "\nfrom fractions import Fraction\nmy_current, alarm_b = np.longdouble(my_current), Fraction(-3, 2)\nalarm_w = np.array([1, 1, 2], np.int8)"
    found["numbers of unusual kinds"] = pack(kinds_of_number)
    stated = solved("Ada ")
    found["id with a capital and a space"] = pack(stated)
    return found


def broken():
    """Return name, bytes, and a word of the reason that the student reads."""
    whole = pack(solved())
    return {
        "empty": (b"", "empty"),
        "cut short": (whole[: len(whole) // 2], "only a part"),
        "a PDF": (b"%PDF-1.7 ...", "PDF"),
        "a web page": (b"<!DOCTYPE html><html></html>", "web page"),
        "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "no notebook"),
        "a list": (b"[1, 2, 3]", "no cells"),
        "JSON without cells": (b'{"a": 1}', "no cells"),
        "another notebook": (pack({"cells": [code("print(1)")], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}), "No cell of this notebook belongs"),
        "two in a zip": (_two(whole), "exactly one"),
        "a damaged zip": (zipped(whole)[:200], "damaged"),
        "a number of 5,000 digits": (b'{"cells": [' + b"1" * 5000 + b"]}", "damaged"),
        "worksheets that are none": (b'{"worksheets": [{"cells": 7}]}', "damaged"),
        "a zip with a damaged stream": (_flip(zipped(whole)), "damaged"),
        "too much code": (pack({"cells": [code("a = 1\n" * 600_000)], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}), "Take out what is not your work"),
        "deeply nested": (b"[" * 100_000, "no notebook"),
        "cells that are none": (pack({"cells": [1, "x", None, {"cell_type": "code"}]}), "No cell"),
    }


def _flip(content):
    return content[:400] + bytes(64) + content[464:]


def _two(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.ipynb", content)
        archive.writestr("b.ipynb", content)
    return file.getvalue()


CLAIM_ALL = """
class Yes:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __bool__(self): return True
    def __len__(self): return 3
    def __iter__(self): return iter([self] * 3)
    def __getitem__(self, key): return self
    def __getattr__(self, name): return self
    def __call__(self, *a, **k): return self
    def __float__(self): return 1.0
    def __abs__(self): return self
    def __sub__(self, other): return self
    __rsub__ = __lt__ = __gt__ = __le__ = __ge__ = __sub__
    def __array__(self, *a, **k): return np.ones(3)
    @property
    def __class__(self): return np.ndarray
    shape, dtype, ndim = (3,), 'float64', 1
unit = agree = count_spikes = train_perceptron = alarm_w = alarm_b = my_current = Yes()
"""
HOSTILE = {
    "endless loop": "while True:\n    pass",
    "sleep that ignores signals": "import signal, time\nsignal.signal(signal.SIGALRM, signal.SIG_IGN)\ntime.sleep(1000)",
    "sleep with the alarm blocked": "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))\ntime.sleep(1000)",
    "swallowed time-out": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "memory at once": "x = bytearray(30 << 30)\nfor i in range(0, len(x), 4096): x[i] = 1",
    "memory bit by bit": "x = []\nwhile True: x.append(b'x' * (1 << 24))",
    "memory of many processes": "import os, time\nfor _ in range(12):\n    if os.fork() == 0:\n        x = bytearray(b'x') * (200 << 20)\n        time.sleep(1000)\ntime.sleep(1000)",
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "threads": "import threading, time\nwhile True:\n    try: threading.Thread(target=time.sleep, args=(1000,)).start()\n    except RuntimeError: pass",
    "disk": "f = open('/scratch/full', 'wb')\nwhile True: f.write(b'x' * (1 << 22)); f.flush()",
    "exit": "import os\nos._exit(0)",
    "exit politely": "raise SystemExit",
    "segmentation fault": "import ctypes\nctypes.string_at(0)",
    "kills everything": "import os\nos.kill(-1, 9)",
    "processes left behind": "import subprocess\nsubprocess.Popen(['sleep', '98765'], start_new_session=True)",
    "NumPy patched": "import numpy as np, numpy\nfor name in ('array_equal', 'allclose', 'isclose'):\n    setattr(np, name, lambda *a, **k: True)\nimport builtins\nbuiltins.abs = lambda x: 0\nbuiltins.all = builtins.len = lambda *a: True",
    "tests patched": "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n__builtins__.AssertionError = type('A', (Exception,), {})",
    "syntax trees": "import ast\nclass T(ast.NodeTransformer):\n    def visit_Assert(self, node): return ast.Pass()\nget_ipython().ast_transformers.append(T())",
    "input transformer": "get_ipython().input_transformers_cleanup.append(lambda lines: ['pass\\n'])",
    "run_cell replaced": "get_ipython().run_cell = lambda *a, **k: type('R', (), {'error_before_exec': None, 'error_in_exec': None})()",
    "import hooks": "import sys\nclass F:\n    def find_spec(self, name, path=None, target=None):\n        import types\n        sys.modules[name] = types.ModuleType(name)\nsys.meta_path.insert(0, F())",
    "everything is equal": CLAIM_ALL,
    "an array that lies": "class Liar(np.ndarray if 'np' in globals() else object):\n    def __eq__(self, o): return True\n    shape = property(lambda s: (50,))\n    dtype = property(lambda s: 'int64')\nimport numpy as np\ndef unit(x, w, b): return np.zeros(1).view(Liar) if issubclass(Liar, np.ndarray) else Liar()\nagree = unit",
    "empty arrays": "import numpy as np\nE = np.zeros((0, 1, 1, 1, 1))\ndef unit(*a): return E\nagree = unit\ndef train_perceptron(*a, **k): return E, E, E\nalarm_w, alarm_b, my_current = [E, E, E], E, E\ndef count_spikes(*a, **k): return E",
    "lists of empty arrays": "import numpy as np\ndef unit(*a): return [np.zeros((0, 1))] * 2\nagree = unit\nalarm_w, alarm_b = [[], [], []], []\nmy_current = []",
    "memory in files without a name": "import os, time\nheld = []\nfor n in range(40):\n    held.append(os.memfd_create(str(n)))\n    for _ in range(60): os.write(held[-1], b'x' * (1 << 20))\ntime.sleep(1000)",
    "a text that no file takes": "print('\\ud800'.encode('utf-8', 'surrogatepass'))\nraise ValueError('\\ud800')",
    "a pickle": "class P:\n    def __reduce__(self):\n        import os\n        return os.system, ('touch /tmp/pickled /scratch/pickled',)\nunit = agree = alarm_w = my_current = P()\nimport pickle\ncount_spikes = pickle.dumps(P())",
    "an answer too long": "import numpy as np\ndef unit(*a): return np.zeros(30_000_000)\nalarm_w = 'x' * 200_000_000\nagree = unit",
    "an endless list": "alarm_w = []\nalarm_w.append(alarm_w)\nclass E:\n    def __len__(self): return 10**18\n    def __getitem__(self, k): return 1\nmy_current = E()",
    "forged answers": "import os, json, struct\nfor fd in range(3, 60):\n    for n in range(1, 60):\n        b = json.dumps({'id': n, 'ok': {'v': True}}).encode()\n        try: os.write(fd, struct.pack('>I', len(b)) + b)\n        except OSError: break",
    "forged nonsense": "import os\nfor fd in range(3, 60):\n    try: os.write(fd, b'\\xff' * 5000)\n    except OSError: pass",
    "the worker's own answer replaced": "import sys\nm = sys.modules['__main__']\nimport gc\nfor o in gc.get_objects():\n    if type(o).__name__ == 'Desk':\n        type(o).do = lambda self, request: {'v': True}",
    "frames and garbage": "import sys, gc\nf = sys._getframe()\nwhile f:\n    for k, v in list(f.f_locals.items()):\n        if 'HIDDEN' in str(v)[:10000] or 'reference' in str(v)[:10000]: print('FOUND', k)\n    f = f.f_back\nfor o in gc.get_objects():\n    try:\n        if isinstance(o, str) and 'HIDDEN TESTS' in o and 'print' not in o: print('FOUND', o[:50])\n    except Exception: pass",
    "other users": "import ctypes, os\nlibc = ctypes.CDLL(None)\nprint(libc.unshare(0x10000000), libc.setuid(0), os.getuid())\nimport subprocess\nprint(subprocess.run(['mount', '-t', 'tmpfs', 'x', '/course'], capture_output=True))",
}
