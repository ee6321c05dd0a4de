"""A class from end to end, through the command line: grade books, feedback, resuming, clusters, hand marking, similar pairs."""

import csv
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest
import submissions as kinds

from helpers.coursework import classes, collecting, grading, reports, sandbox

pytestmark = kinds.NEEDS_SANDBOX
MASTER = kinds.ROOT / f"book/assignments/{kinds.NAME}.md"
LIMITS = ("--memory", "1200", "--processes", "100", "--seconds", "3", "--total", "15")
CLASS_HOSTILE = ("endless loop", "memory bit by bit", "fork bomb", "kills everything", "NumPy patched", "syntax trees", "everything is equal", "forged answers", "a pickle", "import hooks",
                 "frames and garbage", "processes left behind")
SCRIPT = "<script>alert('x')</script><img src=x onerror=alert(1)>"


def run(*arguments, **more):
    return subprocess.run([sys.executable, "-m", "helpers.coursework", *map(str, arguments)], capture_output=True, text=True, timeout=280, **more)


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def partial():
    """Return name, bytes and points of honest work that is not whole."""
    two = kinds.solved()
    kinds.part(two, "perceptron")["source"] = kinds.part(kinds.bare(), "perceptron")["source"]
    kinds.part(two, "spikes")["source"] = "def count_spikes(current, steps, tau=20.0, dt=1.0):\n    return 10 if current > 1 else 0"
    broken = kinds.solved()
    kinds.part(broken, "agree")["source"] = "def agree(x) return x"
    return {
        "two parts missing": (kinds.pack(two), 16 - 4 - 3 - 2),  # the part that uses the wrong function is lost with it
        "a syntax error": (kinds.pack(broken), 13),
        "nothing done": (kinds.pack(kinds.bare()), 0),
        "one part": (kinds.filled(unit="def unit(x, w, b):\n    return (np.array(x) @ np.array(w) + b > 0) * 1"), 2),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A graded class: folder, expected points (None where unreadable), and what the command printed."""
    base = tmp_path_factory.mktemp("class")
    handed_in, expected, roster = base / "in", {}, ["id,name,email,lms"]
    handed_in.mkdir()
    (base / "secret").write_text(kinds.SECRET)
    everything = [(name, content, kinds.FULL) for name, content in kinds.harmless().items()]
    everything += [(name, content, points) for name, (content, points) in partial().items()]
    everything += [(name, content, None) for name, (content, _) in kinds.broken().items()]
    everything += [(name, kinds.attack(kinds.HOSTILE[name]), 0) for name in CLASS_HOSTILE]
    html = kinds.solved()
    kinds.part(html, "analogy")["source"] = f"## Part 7: where the analogy ends\n\n{SCRIPT} =1+1"
    kinds.part(html, "agree")["source"] = f"raise ValueError({SCRIPT!r})"
    everything.append(("scripts in texts", kinds.pack(html), 13))
    for number, (name, content, points) in enumerate(everything):
        student = f"s{number:03}"
        roster.append(f"{student},{'=HYPERLINK(1) ' if number == 0 else ''}Person {number},{student}@example.org,{5000 + number}")
        expected[student] = name, points
        if content[:2] != b"PK":
            content = content.replace(b'\\"ada\\"', f'\\"{student}\\"'.encode()).replace(b'\\"Ada \\"', f'\\"{student.upper()} \\"'.encode())
        ending = "zip" if content[:2] == b"PK" else "ipynb"
        place = handed_in / f"Person {number}_{5000 + number}_assignsubmission_file"
        place.mkdir()
        (place / f"work.{ending}").write_bytes(content)
    # Personal numbers belong to an id; files that can't be changed as text (zip, UTF-16) keep "ada", which is nobody's here.
    (base / "roster.csv").write_text("\n".join([*roster, "s999,Nobody Home,,9999"]) + "\n", encoding="utf-8")
    before = snapshot(base)
    done = run("grade", handed_in, "--master", MASTER, "--secret-file", base / "secret", "--roster", base / "roster.csv", "--out", base / "out", *LIMITS)
    assert {path: found for path, found in snapshot(base).items() if base / "out" not in path.parents} == before, "nothing but the results is written"
    return base, expected, done


def snapshot(folder):
    """Return content and time of every file below a folder."""
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def results(base):
    return {found["student"]: found for path in (base / "out/results").glob("*.json") if (found := json.loads(path.read_text(encoding="utf-8")))}


def test_everybody_gets_exactly_what_was_earned(folder):
    base, expected, done = folder
    assert done.returncode == 1, done.stderr[-2000:]
    found = results(base)
    assert len(expected) >= 45 and set(found) == set(expected)
    for student, (name, points) in expected.items():
        result = found[student]
        assert result["status"] == ("unreadable" if points is None else "graded"), (name, result)
        assert points is None or result["points"] == points, (name, result["parts"], result["notes"])
        assert points is not None or len(result["reason"]) > 20
    assert "s999" in done.stdout and "needs a person" in done.stdout and f"{len(expected)} submissions" in done.stdout
    assert "%|" in done.stderr, "there is a progress bar"
    left = [p.info["cmdline"] for p in psutil.process_iter(["cmdline"]) if any("/course/helpers" in word or word == "98765" for word in p.info["cmdline"] or [])]
    assert not left


def test_grade_books_can_be_imported_and_hold_no_formula(folder):
    base, expected, _ = folder
    grades = rows(base / "out/grades.csv")
    points = {row[0]: row[4] for row in grades[1:]}
    assert all(points[student] == f"{value or 0:g}" for student, (_, value) in expected.items())
    assert rows(base / "out/moodle.csv")[0][:3] == ["ID number", "Full name", "Email address"]
    canvas = rows(base / "out/canvas.csv")
    assert canvas[0][:5] == ["Student", "ID", "SIS User ID", "SIS Login ID", "Section"] and canvas[1][0] == "Points Possible" and canvas[1][5] == "20" and canvas[2][1] == "5000"
    texts = 0
    for name in ("grades", "moodle", "canvas", "to-mark"):
        for row in rows(base / f"out/{name}.csv"):
            for value in row:
                texts += 1
                assert not value.startswith(("=", "+", "@", "\t")) and not (value.startswith("-") and not re.fullmatch(r"-?[\d.]+", value))
    assert texts > 500 and any("'=HYPERLINK" in value for row in grades for value in row)


def test_feedback_escapes_what_students_wrote_and_tells_no_hidden_test(folder):
    base, expected, _ = folder
    student = next(s for s, (name, _) in expected.items() if name == "scripts in texts")
    page = (base / f"out/feedback/{student}.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page and "<script" not in page and "<img" not in page and "default-src 'none'" in page
    pages = [p.read_text(encoding="utf-8") for p in (base / "out/feedback").glob("*.html")]
    assert len(pages) == len(expected) and not any("HIDDEN" in p or "rng.normal" in p for p in pages)
    one = next(s for s, (name, _) in expected.items() if name == "two parts missing")
    page = (base / f"out/feedback/{one}.html").read_text(encoding="utf-8")
    assert "7 of 20 points" in page and "2 parts still to be marked by a person" in page and "a further one does not" in page


def test_the_feedback_page_is_accessible(folder):
    from test_browser import FLAGS, find_browser

    if not find_browser():
        assert not os.environ.get("CI"), "no Chromium"
        pytest.skip("no Chromium found (apt install chromium); the feedback page was not looked at")
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    base, *_ = folder
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_browser(), args=list(FLAGS))
        page = browser.new_page(viewport={"width": 390, "height": 800}, bypass_csp=True)
        page.goto((base / "out/feedback/s000.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert [v["id"] for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")] == []
        browser.close()


def test_only_what_changed_is_graded_again(folder):
    base, expected, _ = folder
    arguments = ("grade", base / "in", "--master", MASTER, "--secret-file", base / "secret", "--roster", base / "roster.csv", "--out", base / "out", *LIMITS)
    before = {path.name: path.stat().st_mtime_ns for path in (base / "out/results").iterdir()}
    assert f"(0 now, {len(expected)} kept)" in run(*arguments).stdout
    assert {path.name: path.stat().st_mtime_ns for path in (base / "out/results").iterdir()} == before
    place = next((base / "in").glob("Person 1_*")) / "work.ipynb"
    whole = place.read_bytes()
    place.write_bytes(kinds.pack(kinds.bare()))
    assert f"(1 now, {len(expected) - 1} kept)" in run(*arguments).stdout and results(base)["s001"]["points"] == 0
    place.write_bytes(whole)
    run(*arguments)


def test_regrade_prints_every_step_and_writes_nothing(folder):
    base, expected, _ = folder
    student = next(s for s, (name, _) in expected.items() if name == "two parts missing")
    before = sorted((p, p.stat().st_mtime_ns) for p in base.rglob("*"))
    done = run("regrade", student, base / "in", "--master", MASTER, "--secret-file", base / "secret", "--roster", base / "roster.csv")
    assert "test-spikes, hidden:" in done.stdout and "test-unit: passed" in done.stdout and "7 of 16 points" in done.stdout
    assert sorted((p, p.stat().st_mtime_ns) for p in base.rglob("*")) == before
    assert run("regrade", "nobody", base / "in", "--master", MASTER, "--secret-file", base / "secret").returncode == 2


def test_marks_by_hand_go_through_nbgrader_and_back(folder, tmp_path):
    base, expected, _ = folder
    place = tmp_path / "in"
    place.mkdir()
    other = next(s for s, (name, _) in expected.items() if name == "two parts missing")
    for number in (0, int(other[1:])):
        shutil.copytree(next((base / "in").glob(f"Person {number}_*")), place / f"Person {number}_{5000 + number}_assignsubmission_file")
    common = (place, "--master", MASTER, "--out", base / "out", "--roster", base / "roster.csv")
    done = run("to-nbgrader", *common, "--secret-file", base / "secret", "--course", tmp_path / "course")
    assert done.returncode == 0, done.stderr
    script = f"""
from nbgrader.api import Gradebook
with Gradebook("sqlite:///{tmp_path / 'course/gradebook.db'}", "course") as book:
    for student, score in (("s000", 16.0), ("{other}", 7.0)):
        found = book.find_submission_notebook("{kinds.NAME}", "{kinds.NAME}", student)
        assert found.score == score, (student, found.score)
        assert sum(grade.needs_manual_grade for grade in found.grades) == 2
    grade = next(g for g in book.find_submission_notebook("{kinds.NAME}", "{kinds.NAME}", "s000").grades if g.name == "analogy")
    grade.manual_score = 1.5
    book.db.commit()
"""
    environment = os.environ | {"PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    done = subprocess.run([sys.executable, "-m", "helpers.coursework", "from-nbgrader", *map(str, common), "--course", tmp_path / "course"], capture_output=True, text=True, env=environment)
    assert "1 marks" in done.stdout, done.stderr
    run("grade", base / "in", "--master", MASTER, "--secret-file", base / "secret", "--roster", base / "roster.csv", "--out", base / "out", *LIMITS)
    row = next(row for row in rows(base / "out/grades.csv") if row[0] == "s000")
    assert row[4] == "17.5" and row[6] == "limits"
    (base / "out/marks.csv").write_text("student,part,points,comment\ns000,analogy,3,\n", encoding="utf-8")
    done = run("grade", base / "in", "--master", MASTER, "--secret-file", base / "secret", "--roster", base / "roster.csv", "--out", base / "out", *LIMITS)
    assert done.returncode == 2 and "takes 0 to 2 points, not 3" in done.stderr
    (base / "out/marks.csv").unlink()


def test_pairs_that_are_alike_are_listed_and_different_ones_are_not():
    from helpers.coursework import similar

    def of(student, **sources):
        notebook = kinds.solved(student)
        for name, source in sources.items():
            kinds.part(notebook, name)["source"] = source
        return collecting.Submission(student, student, student, kinds.pack(notebook))

    renamed = {"perceptron": "def train_perceptron(data, labels, passes=100):\n    # all mine\n    data = np.asarray(data, float)\n    weights, bias, n = np.zeros(data.shape[1]), 0.0, 0\n    for _ in range(passes):\n"
               "        old = n\n        for line, l in zip(data, labels):\n            e = int(l) - int(line @ weights + bias > 0)\n            if e:\n                weights, bias, n = weights + e * line, bias + e, n + 1\n"
               "        if n == old:\n            break\n    return weights, float(bias), n"}
    own = {"unit": "def unit(x, w, b):\n    return np.array([int(sum(a * c for a, c in zip(row, w)) + b > 0) for row in x])",
           "agree": "def agree(x):\n    first = 1 - unit(x, [1, 1], -0.5)\n    second = unit(x, [2, 2], -3)\n    stacked = np.stack((first, second), axis=1)\n    return unit(stacked, [3, 3], -1)",
           "spikes": "def count_spikes(current, steps, tau=20.0, dt=1.0):\n    n = 0\n    volt = 0.0\n    step = 0\n    while step < steps:\n        volt = volt + (current - volt) * dt / tau\n        if not volt < 1:\n            n += 1\n            volt = 0.0\n        step += 1\n    return n",
           "current": "low = 1.0\nwhile count_spikes(low, 400, my_tau) < 10:\n    low = round(low + 0.01, 2)\nmy_current = low",
           "perceptron": "def train_perceptron(x, y, passes=100):\n    total = np.zeros(np.shape(x)[1])\n    offset, changed = 0.0, 0\n    for p in range(passes):\n        wrong = False\n        for i in range(len(x)):\n            guess = unit([x[i]], total, offset)[0]\n"
                         "            if guess != y[i]:\n                wrong = True\n                changed += 1\n                total = total + (y[i] - guess) * np.asarray(x[i], float)\n                offset = offset + (y[i] - guess)\n        if not wrong:\n            return total, float(offset), changed\n    return total, float(offset), changed"}
    found = similar.pairs(kinds.master(), kinds.cohort(), [of("ada"), of("bob", **renamed), of("carl", **own)])
    assert [(pair["one"], pair["other"]) for pair in found] == [("ada", "bob")] and found[0]["share"] > 0.8
    assert "no verdict" in similar.page(found, "t", 3) and "<script" not in similar.page([found[0] | {"codes": (SCRIPT, "")}], "t", 3)


def test_identities_of_others_are_noticed():
    def of(student, stated):
        return collecting.Submission(student, "", "", kinds.pack(kinds.solved(stated)))

    found = grading.identities([of("eve", "friend"), of("ada", "ada"), of("bob", "Ada"), of("carl", "karl")], ["eve", "ada", "bob", "carl", "friend"])
    assert found["ada"] == ("ada", "") and found["carl"][0] == "karl" and "A person should look" in found["carl"][1]
    for student in ("eve", "bob"):  # somebody on the roster, whether or not they have handed in
        assert found[student][0] == student and "somebody else's" in found[student][1]
    assert "A person" not in grading.identities([of("4711", "ada")])["4711"][1], "without a roster nobody can tell"


def test_one_file_never_stops_a_class(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/ada.ipynb").write_bytes(kinds.pack(kinds.solved()))
    (tmp_path / "in/eve.ipynb").write_bytes(kinds.attack(kinds.HOSTILE["a text that no file takes"]))
    stated = kinds.solved("\ud800")
    (tmp_path / "in/sue.ipynb").write_bytes(kinds.pack(stated))
    pathlib.Path(os.fsdecode(os.fsencode(str(tmp_path / "in")) + b"/zo\xeb.ipynb")).write_bytes(kinds.pack(kinds.solved()))
    for number, name in enumerate(("a number of 5,000 digits", "worksheets that are none", "a zip with a damaged stream")):
        (tmp_path / f"in/b{number}.ipynb").write_bytes(kinds.broken()[name][0])
    (tmp_path / "secret").write_text(kinds.SECRET)
    done = run("grade", tmp_path / "in", "--master", MASTER, "--secret-file", tmp_path / "secret", "--out", tmp_path / "out", *LIMITS)
    assert "7 submissions: 4 graded" in done.stdout and "3 unreadable, 0 not graded" in done.stdout, done.stderr[-1500:]
    assert len(list((tmp_path / "out/feedback").glob("*.html"))) == 7 and next(row for row in rows(tmp_path / "out/grades.csv") if row[0] == "ada")[4] == "16"


def test_a_file_belongs_to_whom_the_lms_says(tmp_path):
    for name in ("Bob Li_4712_assignsubmission_file/work.ipynb", "Eve Ro_4713_assignsubmission_file/Bob Li_4712_assignsubmission_file_x-99.ipynb",
                 "Jan Li_1_assignsubmission_file/w.ipynb", "Jan Li_2_assignsubmission_file/w-2.ipynb", "Bob Li_9_assignsubmission_file/w.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"{}")
    roster = [{"id": i, "name": name, "lms": number} for i, name, number in (("bob", "Bob Li", "4712"), ("eve", "Eve Ro", "4713"), ("jan1", "Jan Li", "1"), ("jan2", "Jan Li", "2"))]
    found = {s.student: s.origin for s in collecting.collect(tmp_path, roster).submissions}
    assert found == {"bob": "Bob Li_4712_assignsubmission_file/work.ipynb", "eve": "Eve Ro_4713_assignsubmission_file/Bob Li_4712_assignsubmission_file_x-99.ipynb",
                     "jan1": "Jan Li_1_assignsubmission_file/w.ipynb", "jan2": "Jan Li_2_assignsubmission_file/w-2.ipynb"}
    for row in roster:
        del row["lms"]
    assert {s.student for s in collecting.collect(tmp_path, roster).submissions} == {"bob", "eve"}, "two of one name can't be told apart"


def test_texts_hold_no_formula_for_programs_that_split_at_semicolons_either():
    text = reports.cell("x;=HYPERLINK(1)\n=cmd|' /C calc'!A0\n- a list")
    assert not re.search(r"(^|[;\n])\s*[=+@|%-]", text) and reports.cell("-1.5") == "-1.5"


def test_formgrader_shows_answers_as_text():
    from helpers.coursework import formgrader, reader

    notebook = kinds.solved()
    kinds.part(notebook, "analogy")["source"] = f"## Part 7: where the analogy ends\n\n{SCRIPT} [x](javascript:alert(1))"
    content = kinds.pack(notebook)
    made = formgrader.submitted(kinds.master(), kinds.cohort(), grading.grade(kinds.master(), kinds.cohort(), "ada", content, secret=kinds.SECRET), reader.read_notebook(content))
    answer = next(cell for cell in made.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == "analogy")
    assert SCRIPT in answer.source and all(line.startswith("    ") for line in answer.source.splitlines())


def many(count):
    return [collecting.Submission(f"p{number:02}", "", "", kinds.pack(kinds.solved(f"p{number:02}"))) for number in range(count)]


def plain(results):
    return [{key: value for key, value in result.items() if key not in ("seconds", "log")} for result in results]


def test_killed_in_the_middle_it_goes_on_where_it_was(tmp_path):
    (tmp_path / "in").mkdir()
    for submission in many(14):
        (tmp_path / f"in/{submission.student}.ipynb").write_bytes(submission.content)
    (tmp_path / "secret").write_text(kinds.SECRET)
    arguments = [sys.executable, "-m", "helpers.coursework", "grade", tmp_path / "in", "--master", MASTER, "--secret-file", tmp_path / "secret", "--out", tmp_path / "out", "--jobs", "2"]
    process = subprocess.Popen(list(map(str, arguments)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    folder = tmp_path / "out/results"
    deadline = time.monotonic() + 60
    while not folder.is_dir() or len(list(folder.glob("*.json"))) < 3:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(list(folder.glob("*.json")))
    assert 3 <= done < 14 and children
    psutil.wait_procs(children, timeout=5)
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    again = run(*arguments[3:])
    assert f"({14 - done} now, {done} kept)" in again.stdout and "14 graded" in again.stdout
    assert all((folder / name).stat().st_mtime_ns == when for name, when in times.items())
    assert len(rows(tmp_path / "out/grades.csv")) == 15


def test_a_damaged_result_is_computed_again_and_a_failure_of_ours_is_no_zero(tmp_path, monkeypatch):
    text, few = MASTER.read_text(encoding="utf-8"), many(2)
    grade = lambda: classes.grade_class(text, kinds.NAME, kinds.SECRET, few, tmp_path, progress=False)  # noqa: E731
    first, fresh = grade()
    assert fresh == 2 and [r["points"] for r in first] == [16, 16]
    (tmp_path / "p00.json").write_text('{"half a', encoding="utf-8")
    assert grade()[1] == 1
    (tmp_path / "p01.json").unlink()
    monkeypatch.setattr(grading, "grade", lambda *a, **k: 1 / 0)
    failed, _ = grade()
    assert failed[1]["status"] == "not graded" and "ZeroDivisionError" in failed[1]["reason"]
    reports.write_books(tmp_path, failed, {}, assignment="A")
    assert rows(tmp_path / "grades.csv")[2][4] == "", "no points, which is not zero points"
    monkeypatch.undo()
    assert grade()[1] == 1, "what was not graded is tried again"


def certificates(folder):
    """Make an authority and a certificate signed by it, as the guide says."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=course", "-keyout", "ca-key.pem", "-out", "ca.pem")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=grader", "-keyout", "key.pem", "-out", "request.pem")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial", "-days", "2", "-out", "cert.pem")


def test_a_cluster_over_tls_gives_the_same_results(tmp_path):
    certificates(tmp_path)
    files = ["--tls-ca-file", "ca.pem", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]
    tool = str(pathlib.Path(sys.executable).with_name("dask"))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": tmp_path}
    started = [subprocess.Popen([tool, "scheduler", "--host", "127.0.0.1", "--port", "0", "--protocol", "tls", "--no-dashboard", "--scheduler-file", "scheduler.json", *files], **quiet)]
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "scheduler.json").exists():
            assert time.monotonic() < deadline and started[0].poll() is None
            time.sleep(0.2)
        time.sleep(0.5)
        address = json.loads((tmp_path / "scheduler.json").read_text())["address"]
        assert address.startswith("tls://127.0.0.1")
        for _ in range(2):
            started.append(subprocess.Popen([tool, "worker", address, "--nthreads", "1", "--no-dashboard", *files], **quiet))
        (tmp_path / "in").mkdir()
        for submission in many(6):
            (tmp_path / f"in/{submission.student}.ipynb").write_bytes(submission.content)
        (tmp_path / "in/bare.ipynb").write_bytes(kinds.pack(kinds.bare()))
        (tmp_path / "secret").write_text(kinds.SECRET)
        common = ("grade", tmp_path / "in", "--master", MASTER, "--secret-file", tmp_path / "secret")
        done = run(*common, "--out", tmp_path / "far", "--scheduler", address, "--tls", tmp_path)
        assert "7 graded" in done.stdout, done.stderr[-2000:]
        run(*common, "--out", tmp_path / "near")
        far, near = (plain([json.loads(path.read_text()) for path in sorted((tmp_path / where / "results").iterdir())]) for where in ("far", "near"))
        assert far == near and len(far) == 7
        refused = run(*common, "--out", tmp_path / "none", "--scheduler", address)
        assert refused.returncode == 2 and "needs --tls" in refused.stderr
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=20)


@pytest.mark.parametrize(("arguments", "message"), [
    (("grade", "nowhere", "--master", MASTER, "--secret-file", "{secret}"), "There is no nowhere"),
    (("grade", ".", "--master", "nowhere.md", "--secret-file", "{secret}"), "There is no master"),
    (("grade", ".", "--master", MASTER, "--secret-file", "nowhere"), "there is no secret"),
    (("grade", "{secret}", "--master", MASTER, "--secret-file", "{secret}"), "neither a folder nor a zip"),
    (("grade", "empty", "--master", MASTER, "--secret-file", "{secret}"), "no submission was found"),
    (("grade", "empty", "--master", MASTER, "--secret-file", "{secret}", "--memory", "0"), "above 0"),
    (("to-nbgrader", "empty", "--master", MASTER, "--secret-file", "{secret}"), "run grade first"),
    (("release", "nowhere.md"), "There is no master"),
])
def test_bad_input_is_named(tmp_path, arguments, message):
    (tmp_path / "secret").write_text("s")
    (tmp_path / "empty").mkdir()
    done = run(*(str(a).replace("{secret}", str(tmp_path / "secret")) for a in arguments), cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(kinds.ROOT)})
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["release", "grade", "regrade", "similar", "to-nbgrader", "from-nbgrader"])
def test_every_command_helps_itself(command):
    done = run(command, "--help")
    assert done.returncode == 0 and "Example: python -m helpers.coursework" in done.stdout


def test_a_release_is_refused_as_a_whole_when_a_gate_fails(tmp_path):
    text = MASTER.read_text(encoding="utf-8")
    weak = ("assert np.array_equal(unit(x, w, 0.3), (x @ w + 0.3 > 0).astype(int))", "assert all(a == b for a, b in zip(unit(x, w, 0.3), (x @ w + 0.3 > 0).astype(int)))")
    visible = 'assert unit([[1.0, 0.0], [0.0, 1.0]], [2.0, -1.0], 0.0).tolist() == [1, 0]\nassert unit([[1.0, 1.0]], [1.0, -1.0], 0.0).tolist() == [0], "a sum of exactly zero does not fire"\n'
    assert weak[0] in text and visible in text
    path = tmp_path / f"{kinds.NAME}.md"
    path.write_text(text.replace(*weak).replace(visible, "unit([[1.0]], [1.0], 0.0)\n"), encoding="utf-8")
    done = run("release", path, "--out", tmp_path / "out")
    assert done.returncode == 2 and "test-unit: answers of shape" in done.stderr and not (tmp_path / "out").exists()
    for change, message in ((("@ np.asarray(w, float) + b > 0", "@ np.asarray(w, float) + b >= 0"), "the solution earns 0 of 2"),
                            (('assert len(alarm_w) == 3 and all(float(weight).is_integer() for weight in alarm_w)\n### BEGIN HIDDEN TESTS\n', "assert True\n### BEGIN HIDDEN TESTS\nalarm_w, alarm_b = [1, 1, 2], -1.5\n"), "a bare release earns 2 of 2")):
        assert change[0] in text
        path = tmp_path / f"{kinds.NAME}.md"
        path.write_text(text.replace(*change, 1), encoding="utf-8")
        done = run("release", path, "--out", tmp_path / "out")
        assert done.returncode == 2 and message in done.stderr and not (tmp_path / "out").exists()


def test_a_release_makes_its_secret_once_and_hides_it(tmp_path):
    arguments = ("release", MASTER, "--secret-file", tmp_path / "instructor/secret", "--out", tmp_path / "out")
    assert "keep it" in run(*arguments).stdout
    secret = tmp_path / "instructor/secret"
    assert secret.stat().st_mode & 0o77 == 0
    first = (tmp_path / f"out/{kinds.NAME}.ipynb").read_bytes()
    assert "keep it" not in run(*arguments).stdout and (tmp_path / f"out/{kinds.NAME}.ipynb").read_bytes() == first
    assert secret.read_text().strip().encode() not in first


def test_the_guide_quotes_what_was_measured():
    from helpers import evidence

    stored, guide = evidence.load("grading_speed"), (kinds.ROOT / "book/guide/coursework.md").read_text(encoding="utf-8")
    heavy, light, far = stored["tensorflow"], stored["numpy"]["ours"], stored["two dask workers"]
    for facts in (heavy["ours"], heavy["nbgrader"], light, far["tensorflow"], far["numpy"]):
        assert f"| {facts['seconds']} | {facts['processor']} |" in guide
    assert f"That is {heavy['ratio']} of nbgrader's time" in guide and heavy["ratio"] <= 0.6
    assert heavy["ours"]["processor"] <= heavy["nbgrader"]["processor"] and (heavy["submissions"], stored["numpy"]["submissions"]) == (20, 200)


def test_limits_are_positive_and_have_defaults_that_fit_tensorflow():
    assert sandbox.Limits().memory >= 2500 and sandbox.Limits().cell >= 30
