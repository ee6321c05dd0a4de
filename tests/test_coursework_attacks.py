"""Hostile submissions earn nothing that they did not earn, harm nothing, see nothing and leave nothing behind."""

import http.server
import os
import pathlib
import socket
import threading
import time

import psutil
import pytest
import submissions as kinds

from helpers.coursework import grading, judge, masters, sandbox

LIMITS = sandbox.Limits(memory=1200, processes=100, disk=64, cell=3, total=20)
pytestmark = kinds.NEEDS_SANDBOX


def grade(content, student="ada", **more):
    return grading.grade(kinds.master(), kinds.cohort(), student, content, LIMITS, secret=kinds.SECRET, **more)


def running(word):
    """Return processes whose command line has a word in it."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if any(word in part for part in process.info["cmdline"] or []):
            found.append(process.info["cmdline"])
    return found


def test_the_sandbox_works_here_for_an_ordinary_user():
    sandbox.check()
    assert not os.environ.get("CI") or os.geteuid() != 0, "continuous integration must test it as instructors use it"


@pytest.mark.parametrize("name", kinds.HOSTILE)
def test_an_attack_earns_nothing(name):
    result = grade(kinds.attack(kinds.HOSTILE[name]))
    assert result["status"] == "graded" and result["points"] == 0, result
    assert [part["points"] for part in result["parts"]] == [0] * 6 + [None, None]
    assert "FOUND" not in result["log"], result["log"][:500]
    assert result["seconds"] < 60
    deadline = time.monotonic() + 5
    while running("/course/helpers/coursework/worker.py") or running("98765"):
        assert time.monotonic() < deadline, "something is still running"
        time.sleep(0.1)


@pytest.mark.parametrize("name", ["endless loop", "memory bit by bit", "exit", "kills everything", "fork bomb", "swallowed time-out", "disk"])
def test_honest_parts_beside_a_cell_that_ends_the_sandbox_keep_their_points(name):
    notebook = kinds.solved()
    kinds.part(notebook, "agree")["source"] = kinds.HOSTILE[name]
    assert grade(kinds.pack(notebook))["points"] == kinds.FULL - 3


@pytest.mark.parametrize("body", ["while True: pass", "import os; os._exit(0)", "import time, signal; signal.signal(signal.SIGALRM, signal.SIG_IGN); time.sleep(999)"])
def test_a_function_that_does_so_when_it_is_tested_costs_its_own_part_only(body):
    notebook = kinds.solved()
    kinds.part(notebook, "spikes")["source"] = f"def count_spikes(*a, **k):\n    {body}"
    kinds.part(notebook, "current")["source"] = "my_current = 0"
    result = grade(kinds.pack(notebook))
    assert result["points"] == kinds.FULL - 3 - 2
    message = next(part["message"] for part in result["parts"] if part["part"] == "test-spikes")
    assert "while this part was tested" in message


def test_what_takes_too_long_is_marked_to_be_run_again():
    assert grade(kinds.attack("while True: pass"))["slow"] and not grade(kinds.pack(kinds.solved()))["slow"]


READ = """
import os, sys
found = []
def look(path):
    try:
        with open(path, 'rb') as f:
            if b'CANARY-' + b'4711' in f.read(200_000): print('FOUND', path)
    except OSError: pass
for root in ('/home', '/root', '/tmp', '/var', '/etc', '/course', '/scratch', '/run', '/mnt', '/srv', '/opt', {folder!r}):
    for folder, folders, files in os.walk(root):
        if 'site-packages' in folder or '/lib/python' in folder: continue
        for name in files: look(os.path.join(folder, name))
for pid in os.listdir('/proc'):
    if pid.isdigit():
        for name in ('environ', 'cmdline', 'maps'): look(f'/proc/{{pid}}/{{name}}')
look({canary!r})
if any('4711' in v for v in os.environ.values()): print('FOUND in the environment')
for fd in range(3, 64):
    try: print('fd', os.readlink(f'/proc/self/fd/{{fd}}'))
    except OSError: pass
print('processes', sorted(p for p in os.listdir('/proc') if p.isdigit())[:20])
for name in ('BEGIN HIDDEN', 'END SOLUTION'):
    for folder, _, files in os.walk('/course'):
        for file in files:
            if file.endswith('.md'): print('FOUND master', file)
"""


def test_nothing_of_the_grader_can_be_read(tmp_path, monkeypatch):
    canary = tmp_path / "results" / "other.json"
    canary.parent.mkdir()
    canary.write_text("CANARY-4711")
    monkeypatch.setenv("COHORT_SECRET", "CANARY-4711")
    result = grade(kinds.attack(READ.format(folder=str(tmp_path), canary=str(canary))))
    assert result["points"] == 0 and "FOUND" not in result["log"], result["log"]
    assert "processes ['1', '2'" in result["log"], "it sees its own processes only"
    assert str(pathlib.Path(__file__).parents[1] / "tests") not in result["log"]


def test_nothing_of_the_grader_can_be_written(tmp_path):
    before = {path: path.stat().st_mtime_ns for path in pathlib.Path(grading.__file__).parents[1].rglob("*.py")}
    source = f"""
import os
written = []
for place in ('/', '/usr', '/etc', '/course', '/course/helpers', '/course/helpers/coursework', '/dev', '/proc/sys/kernel', os.path.dirname(os.__file__), {str(tmp_path)!r}, '/tmp', '/scratch'):
    try:
        os.makedirs(place, exist_ok=True)
        open(os.path.join(place, 'written-by-a-student'), 'w').write('x')
        written.append(place)
    except OSError: pass
    try: os.symlink('/etc/passwd', os.path.join(place, 'link'))
    except OSError: pass
print('WRITTEN', written)
"""
    log = grade(kinds.attack(source))["log"]
    assert "WRITTEN ['/scratch']" in log, log
    assert before == {path: path.stat().st_mtime_ns for path in before} and not list(tmp_path.iterdir())
    assert not [p for p in ("/tmp", "/dev", "/usr", "/etc") if pathlib.Path(p, "written-by-a-student").exists()]


def test_there_is_no_network():
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_response(200)
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/"
        socket.create_connection(("127.0.0.1", server.server_port)).close()  # the server can be reached from here
        source = f"import urllib.request\ntry: urllib.request.urlopen({address!r}, timeout=2); print('REACHED')\nexcept OSError as e: print('no way', e)"
        source += "\nimport socket\ntry: socket.getaddrinfo('example.com', 80); print('REACHED')\nexcept OSError: pass"
        log = grade(kinds.attack(source))["log"]
        server.shutdown()
    assert "no way" in log and "REACHED" not in log and not seen


def test_without_a_sandbox_nothing_is_run_and_nobody_gets_a_zero(monkeypatch):
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: None)
    sandbox.check.cache_clear()
    try:
        result = grade(kinds.pack(kinds.solved()))
        assert result["status"] == "not graded" and "apt install bubblewrap" in result["reason"] and not result["parts"]
    finally:
        sandbox.check.cache_clear()


def test_a_sandbox_that_does_not_start_is_a_failure_of_ours(monkeypatch):
    sandbox.check()
    monkeypatch.setattr(sandbox, "command", lambda limits, inside=None: ["bwrap", "--ro-bind", "/nowhere", "/nowhere", "--", "true"])
    result = grade(kinds.pack(kinds.solved()))
    assert result["status"] == "not graded" and "did not start" in result["reason"]


def test_the_sandbox_is_not_told_what_the_tests_will_draw():
    source = "import sys, numpy as np\nseeds = []\nnp.random.seed, old = (lambda s: (seeds.append(s), print('SEED', s))), np.random.seed"
    log = grade(kinds.attack(source))["log"]
    told = {int(word) for word in __import__("re").findall(r"SEED (\d+)", log)}
    run = grading._Run(kinds.master(), kinds.cohort(), "ada", "ada", None, LIMITS, False, kinds.SECRET, None)
    drawn = {run.number(part.name, stage, "judge") for part in kinds.master().parts for stage in ("visible", "hidden")}
    assert len(told) >= 6 and not told & drawn


def test_with_the_override_honest_work_is_graded_as_well():
    assert grade(kinds.pack(kinds.solved()), trusted=True)["points"] == kinds.FULL


def test_memory_that_no_process_shows_is_counted():
    result = grade(kinds.attack(kinds.HOSTILE["memory in files without a name"]))
    assert any("used more than 1200 MB of memory" in note for note in result["notes"])


def test_what_a_student_raises_while_a_hidden_test_runs_is_not_shown():
    notebook = kinds.solved()
    kinds.part(notebook, "unit")["source"] = "def unit(x, w, b):\n    if len(x) > 2: raise TimeoutError(f'it took {x!r}')\n    return (np.asarray(x) @ np.asarray(w) + b > 0).astype(int)"
    result = grade(kinds.pack(notebook))
    message = next(part["message"] for part in result["parts"] if part["part"] == "test-unit")
    assert message.startswith("The visible tests pass") and not result["slow"]


def test_a_long_chain_of_names_takes_the_reader_no_time():
    began = time.monotonic()
    result = grade(kinds.attack("import " + "a." * 60_000 + "a"))
    assert result["points"] == 0 and time.monotonic() - began < 40


def test_a_failure_of_the_judge_itself_is_no_zero(monkeypatch):
    def broken(source):
        raise SystemError("AST constructor recursion depth mismatch")

    monkeypatch.setattr(judge, "parse_alone", broken)
    result = grade(kinds.pack(kinds.solved()))
    assert result["status"] == "not graded" and "The judge failed" in result["reason"]


def test_threads_that_judge_at_once_do_not_disturb_each_other():
    """Python 3.11's parser counts one depth for all threads; a thousandth of the honest work once lost a part by it."""
    import concurrent.futures
    from types import SimpleNamespace

    cell = next(c for c in kinds.master().notebook.cells if c.metadata.nbgrader.grade_id == "test-perceptron")
    session = SimpleNamespace(ask=lambda do, **more: (_ for _ in ()).throw(KeyError("nothing")))

    def judged(_):
        try:
            judge.run_test(session, cell.source, "ada", "c", None)
        except NameError:  # no student there: the text was parsed, and that is all this is about
            return True

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(judged, range(3000)))


class TestPlainData:
    """Objects that lie: the judge compares values, and only plain ones."""

    @pytest.fixture
    def session(self):
        with judge.Session(LIMITS) as session:
            session.ask("cell", source="import numpy as np\nclass O:\n    def __eq__(s, o): return True\n    def __len__(s): return -1\n    x = 3\no = O()\n"
                        "a = np.arange(6.).reshape(2, 3)\nclass L(list): pass\nl = L([1, 2])\nd = {'k': (1, 2.5)}\ninf = float('inf')\nobj = np.array([O()])")
            yield session

    def value(self, session, name):
        return session.ask("value", of={"n": name})

    def test_values_arrive_as_they_are(self, session):
        assert self.value(session, "d") == {"k": (1, 2.5)} and math_isinf(self.value(session, "inf"))
        array = self.value(session, "a")
        assert array.shape == (2, 3) and array.dtype == float and array[1, 2] == 5

    def test_shapes_are_not_stretched(self):
        import numpy as np

        strict, three = judge.StrictNumpy(), np.arange(3.0)
        for shape in ((0,), (0, 1), (0, 1, 1), (3, 1), (1, 3, 1)):
            answer = np.zeros(shape).view(judge.Answer)
            for compare in (strict.allclose, lambda a, b: (a == b).all(), lambda a, b: np.abs(a - b).sum() < 1, lambda a, b: strict.allclose([a], b)):
                with pytest.raises((AssertionError, ValueError)):
                    assert compare(answer, three)
        same = three.copy().view(judge.Answer)
        assert strict.allclose(same, three) and (2 * same == three + three).all() and strict.isclose(0.1 + 0.2, 0.3) and (same @ three) == 5
        assert np.zeros((0, 2)).view(judge.Answer).shape == (0, 2) and strict.allclose(np.zeros((0, 2)).view(judge.Answer), np.zeros((0, 2)))

    def test_other_objects_are_never_true_equal_or_arrays(self, session):
        import numpy as np

        for name in ("o", "l", "obj"):
            thing = self.value(session, name)
            assert type(thing) is judge.Remote
            for doubt in (lambda: thing == 1, lambda: bool(thing), lambda: np.asarray(thing), lambda: np.allclose(thing, 1), lambda: thing + 1):
                with pytest.raises(TypeError):
                    doubt()
        assert self.value(session, "o").x == 3
        with pytest.raises((TypeError, ValueError)):
            len(self.value(session, "o"))

    @pytest.mark.parametrize("message", [
        None, 1, {}, {"v": [1]}, {"v": 1.5}, {"a": "AAAA", "dtype": "|O8", "shape": [1]}, {"a": "", "dtype": "<f8", "shape": [10**15]},
        {"a": "AAAA", "dtype": "<f8", "shape": [-1]}, {"f": "nonsense"}, {"d": [[[1], {"v": 1}]]}, {"r": "x"}, {"l": 5}, {"a": "AAAA", "dtype": "<U999999999", "shape": [1]},
    ])
    def test_what_is_no_answer_ends_the_session(self, message):
        class Ended:
            def _die(self, why):
                raise judge.Dead(why)

        with pytest.raises(judge.Dead, match="no answer"):
            judge.decode(Ended(), message)


def math_isinf(value):
    return value == float("inf")


def test_metadata_that_claims_points_and_markdown_with_scripts_change_nothing():
    notebook = kinds.bare()
    for cell in notebook["cells"]:
        cell["metadata"].setdefault("nbgrader", {}).update(points=1000, score=1000, grade=True, auto_score=1000)
    notebook["metadata"]["points"] = 1000
    result = grade(kinds.pack(notebook))
    assert result["points"] == 0 and result["of"] == 20


def test_a_master_in_which_something_is_left_is_not_released():
    text = (kinds.ROOT / f"book/assignments/{kinds.NAME}.md").read_text(encoding="utf-8")
    for good, bad, named in (("### BEGIN HIDDEN TESTS\nx, w", "### BEGIN HIDEN TESTS\nx, w", "test-unit"), ("### BEGIN SOLUTION\nalarm_w", "## BEGN SOLUTION\nalarm_w", "BEGN SOLUTION"),
                             ("### END HIDDEN TESTS", "### END HIDDEN TEST", "test-"), ("    ### END SOLUTION", "    # END SOLUTION", "unit")):
        assert good in text
        with pytest.raises(masters.MasterError, match=named):
            masters.release(masters.parse(text.replace(good, bad, 1), kinds.NAME), "x")
