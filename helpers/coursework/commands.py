"""The commands: release, grade, regrade, to-nbgrader, from-nbgrader, similar."""

import pathlib
from typing import Annotated

import typer

from . import masters, sandbox

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
TRUST = typer.Option("--i-trust-every-submission", help="Run student code with your own rights, without a sandbox.")


@app.callback()
def main():
    """Hand out assignments, grade a class in a sandbox, give feedback. The guide is the book's page "For instructors"."""


def stop(message):
    """End the command with one message and exit status 2."""
    typer.echo(f"Error: {message}", err=True)
    raise typer.Exit(2)


@app.command(epilog="Example: python -m helpers.coursework release book/assignments/*.md --secret-file instructor/secret --out release")
def release(
    files: Annotated[list[pathlib.Path], typer.Argument(metavar="MASTERS...", help="Masters, MyST notebooks.")],
    out: Annotated[pathlib.Path, typer.Option(help="Folder for the students' notebooks.")] = pathlib.Path("release"),
    secret_file: Annotated[pathlib.Path | None, typer.Option(help="File with the cohort's secret, any text that nobody knows; made when it is missing.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check; write nothing.")] = False,
    trust: Annotated[bool, TRUST] = False,
):
    """Make the notebooks that students get, after the gates: the solution earns every point, the bare release and empty answers none."""
    import nbformat

    from . import gates

    wrong, made = [], []
    secret = "demonstration" if secret_file is None else read_secret(secret_file, make=not check)
    for path in files:
        try:
            master = masters.read(path)
            cohort = masters.token(secret, master.name)
            found = gates.check(master, cohort, trusted=trust)
        except masters.MasterError as error:
            found = [str(error)]
        except sandbox.NoSandbox as error:
            stop(error)
        for line in found:
            typer.echo(line, err=True)
        wrong += found
        if not found:
            made.append((master, cohort))
            points = sum(p.points for p in master.parts)
            by_hand = sum(p.points for p in master.parts if p.by_hand)
            typer.echo(f"{master.name}: {len(master.parts)} parts, {masters.count_points(points)}, {by_hand:g} of them by hand; all gates passed")
    if wrong:
        stop(f"{len(wrong)} problem{'s' if len(wrong) > 1 else ''}; nothing was written.")
    if not check:
        out.mkdir(parents=True, exist_ok=True)
        for master, cohort in made:
            nbformat.write(masters.release(master, cohort), out / f"{master.name}.ipynb")
        typer.echo(f"{len(made)} notebook{'s' if len(made) != 1 else ''} in {out}")


def read_secret(path, make=False):
    """Return the secret of a cohort; a missing file is made when asked."""
    import secrets

    if not path.exists() and make:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(16) + "\n", encoding="utf-8")
        typer.echo(f"made {path}: keep it; without it nothing that was released with it can be graded")
    if not path.is_file():
        stop(f"there is no secret {path}; give the file that the release was made with")
    return path.read_text(encoding="utf-8").strip()




MASTER = typer.Option("--master", help="The assignment's master.")
SECRET = typer.Option("--secret-file", help="The file that the release was made with.")
OUT = typer.Option("--out", help="Folder for grade books, results and feedback.")


def limits_of(memory, processes, seconds, total):
    """Return limits, or stop on values that make no sense."""
    if min(memory, processes, seconds, total) <= 0:
        stop("limits must be above 0.")
    return sandbox.Limits(memory=memory, processes=processes, cell=seconds, total=total)


def read_master(path):
    """Return a master and its text, or stop."""
    try:
        return masters.read(path), path.read_text(encoding="utf-8")
    except masters.MasterError as error:
        stop(error)


@app.command(epilog="Example: python -m helpers.coursework grade moodle-download.zip --master book/assignments/01_neurons_and_the_brain.md --secret-file instructor/secret --roster class.csv --out graded")
def grade(
    submissions: Annotated[pathlib.Path, typer.Argument(help="Folder or zip, as the LMS lets you download it.")],
    master: Annotated[pathlib.Path, MASTER],
    secret_file: Annotated[pathlib.Path, SECRET],
    out: Annotated[pathlib.Path, OUT] = pathlib.Path("graded"),
    roster: Annotated[pathlib.Path | None, typer.Option(help="CSV with id, and where you have them name, email and lms (the number in the LMS's file names).")] = None,
    jobs: Annotated[int | None, typer.Option(help="Submissions at the same time; the number of processors by default.", min=1)] = None,
    memory: Annotated[int, typer.Option(help="Megabytes a submission may use.")] = sandbox.Limits.memory,
    processes: Annotated[int, typer.Option(help="Processes and threads of a submission.")] = sandbox.Limits.processes,
    seconds: Annotated[float, typer.Option(help="Seconds a cell or a test may take.")] = sandbox.Limits.cell,
    total: Annotated[float, typer.Option(help="Seconds a submission may take.")] = sandbox.Limits.total,
    scheduler: Annotated[str | None, typer.Option(help="Address of a dask scheduler whose workers grade, such as tls://10.0.0.5:8786.")] = None,
    tls: Annotated[pathlib.Path | None, typer.Option(help="Folder with ca.pem, cert.pem and key.pem for a tls:// scheduler.")] = None,
    trust: Annotated[bool, TRUST] = False,
):
    """Grade a class: grade books, one page of feedback a student. Stop it and start it again as you like; only changes are graded."""
    from . import classes, collecting, reports

    known, text = read_master(master)
    secret = read_secret(secret_file)
    if scheduler and scheduler.startswith("tls://") and tls is None:
        stop("a tls:// scheduler needs --tls, the folder with ca.pem, cert.pem and key.pem.")
    try:
        if not trust and scheduler is None:
            sandbox.check()
        people = collecting.read_roster(roster) if roster else None
        collected = collecting.collect(submissions, people)
        results, fresh = classes.grade_class(text, known.name, secret, collected.submissions, out / "results", limits_of(memory, processes, seconds, total), jobs,
                                             scheduler, security_of(tls) if scheduler else None, trust, known=[row["id"] for row in people or []])
        marks = reports.read_marks(out / "marks.csv", results)
    except (sandbox.NoSandbox, ValueError, OSError) as error:
        stop(error)
    if not results:
        stop(f"no submission was found in {submissions}. {' '.join(collected.remarks[:3])}")
    reports.write_books(out, results, marks, people, known.title)
    reports.write_feedback(out / "feedback", results, marks, known.title)
    problems = [f"{r['student']}: {r['reason']}" for r in results if r["status"] != "graded"]
    look = [f"{r['student']}: {r['remark']}" for r in results if "A person should look" in r["remark"]]
    (out / "remarks.txt").write_text("\n".join([*collected.remarks, *(f"{m}: handed in nothing." for m in collected.missing), *problems, *look]) + "\n", encoding="utf-8")
    summarize(results, fresh, marks, collected, problems, look, out)
    if any(r["status"] == "not graded" for r in results):
        raise typer.Exit(3)
    if problems or look or any("nobody on the roster" in remark for remark in collected.remarks):
        raise typer.Exit(1)


def summarize(results, fresh, marks, collected, problems, look, out):
    """Print what came out and what needs a person."""
    from . import collecting, reports

    open_parts = sum(len(reports.total(r, marks)[1]) for r in results)
    graded = [r for r in results if r["status"] == "graded"]
    typer.echo(f"{len(results)} submissions: {len(graded)} graded ({fresh} now, {len(results) - fresh} kept), "
               f"{sum(r['status'] == 'unreadable' for r in results)} unreadable, {sum(r['status'] == 'not graded' for r in results)} not graded")
    for title, lines in (("needs a person", problems + look), ("about the files", collected.remarks), ("handed in nothing", collected.missing)):
        if lines:
            typer.echo(f"{title}:")
            for line in lines[:20]:
                typer.echo(f"  {collecting.printable(line)}")
            if len(lines) > 20:
                typer.echo(f"  and {len(lines) - 20} more, in {out / 'remarks.txt'}")
    if open_parts:
        typer.echo(f"{open_parts} texts to mark by hand: fill in points in a copy of {out / 'to-mark.csv'} named marks.csv, or use to-nbgrader; then grade again")
    typer.echo(f"grade books, results and feedback are in {out}")


def security_of(folder):
    """Return dask's TLS settings from a folder, or None."""
    if folder is None:
        return None
    from distributed import Security

    files = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}
    if missing := [str(path) for path in files.values() if not path.is_file()]:
        stop(f"--tls needs {', '.join(missing)}.")
    return Security(tls_ca_file=str(files["ca"]), tls_client_cert=str(files["cert"]), tls_client_key=str(files["key"]), require_encryption=True)


@app.command(epilog="Example: python -m helpers.coursework regrade ada moodle-download.zip --master book/assignments/01_neurons_and_the_brain.md --secret-file instructor/secret")
def regrade(
    student: Annotated[str, typer.Argument(help="Id of the student.")],
    submissions: Annotated[pathlib.Path, typer.Argument(help="Folder or zip, as for grade.")],
    master: Annotated[pathlib.Path, MASTER],
    secret_file: Annotated[pathlib.Path, SECRET],
    roster: Annotated[pathlib.Path | None, typer.Option(help="As for grade.")] = None,
    trust: Annotated[bool, TRUST] = False,
):
    """Grade one student again and print everything: each cell, each test with its reason, what the code printed. Writes nothing."""
    from . import collecting, grading

    known, _ = read_master(master)
    secret = read_secret(secret_file)
    try:
        people = collecting.read_roster(roster) if roster else []
        found = collecting.collect(submissions, people or None).submissions
    except (ValueError, OSError) as error:
        stop(error)
    one = next((s for s in found if s.student == student), None)
    if one is None:
        stop(f"{student!r} is not among {len(found)} submissions: {', '.join(collecting.printable(s.student) for s in found[:10])} ...")
    identity, remark = grading.identities(found, [row["id"] for row in people])[student]
    result = grading.grade(known, masters.token(secret, known.name), student, one.content, trusted=trust, secret=secret,
                           verbose=lambda line: typer.echo(collecting.printable(line)), identity=identity)
    if remark:
        typer.echo(f"note: {collecting.printable(remark)}")
    for note in result["notes"]:
        typer.echo(f"note: {collecting.printable(note)}")
    if result["log"]:
        typer.echo("what the code printed:")
        typer.echo("\n".join(f"  | {collecting.printable(line)}" for line in result["log"].splitlines()))
    typer.echo(f"{result['status']}{': ' + result['reason'] if result['reason'] else ''}: {result['points']:g} of {result['of'] - result['by_hand']:g} points, and {result['by_hand']:g} by hand, in {result['seconds']:g} s")
    if result["status"] != "graded":
        raise typer.Exit(3 if result["status"] == "not graded" else 1)


def gather(submissions, master, out, roster=None):
    """Return a master, the submissions and the stored results of a class, or stop."""
    from . import classes, collecting, reports

    known, _ = read_master(master)
    try:
        collected = collecting.collect(submissions, collecting.read_roster(roster) if roster else None).submissions
    except (ValueError, OSError) as error:
        stop(error)
    results = [found for s in collected if (found := classes.load(out / "results" / f"{reports.slug(s.student)}.json"))]
    return known, collected, results


@app.command("to-nbgrader", epilog="Example: python -m helpers.coursework to-nbgrader moodle-download.zip --master book/assignments/01_neurons_and_the_brain.md --secret-file instructor/secret --out graded --course instructor/formgrader")
def to_nbgrader(
    submissions: Annotated[pathlib.Path, typer.Argument(help="Folder or zip, as for grade.")],
    master: Annotated[pathlib.Path, MASTER],
    secret_file: Annotated[pathlib.Path, SECRET],
    out: Annotated[pathlib.Path, OUT] = pathlib.Path("graded"),
    course: Annotated[pathlib.Path, typer.Option(help="Course folder for nbgrader.")] = pathlib.Path("instructor/formgrader"),
    roster: Annotated[pathlib.Path | None, typer.Option(help="As for grade.")] = None,
):
    """Make a course folder for marking by hand in nbgrader's formgrader. Nothing is run there; grade first."""
    from . import formgrader

    known, collected, results = gather(submissions, master, out, roster)
    if not results:
        stop(f"{out / 'results'} holds no result of these submissions; run grade first.")
    try:
        count = formgrader.export(known, read_secret(secret_file), results, {s.student: s.content for s in collected}, course)
    except (RuntimeError, OSError) as error:
        stop(error)
    typer.echo(f"{count} submissions in {course}. Mark them: cd {course} && jupyter lab, menu Nbgrader, Formgrader. Then: from-nbgrader")


@app.command("from-nbgrader", epilog="Example: python -m helpers.coursework from-nbgrader moodle-download.zip --master book/assignments/01_neurons_and_the_brain.md --out graded --course instructor/formgrader")
def from_nbgrader(
    submissions: Annotated[pathlib.Path, typer.Argument(help="Folder or zip, as for grade.")],
    master: Annotated[pathlib.Path, MASTER],
    out: Annotated[pathlib.Path, OUT] = pathlib.Path("graded"),
    course: Annotated[pathlib.Path, typer.Option(help="Course folder for nbgrader.")] = pathlib.Path("instructor/formgrader"),
    roster: Annotated[pathlib.Path | None, typer.Option(help="As for grade.")] = None,
):
    """Read the marks that people gave in formgrader into marks.csv; grade then puts them into the grade books."""
    from . import formgrader

    known, _, results = gather(submissions, master, out, roster)
    try:
        rows = formgrader.read_back(known, results, course)
    except ValueError as error:
        stop(error)
    formgrader.write_marks(out / "marks.csv", rows)
    typer.echo(f"{len(rows)} marks in {out / 'marks.csv'}; now run grade again")


@app.command(epilog="Example: python -m helpers.coursework similar moodle-download.zip --master book/assignments/01_neurons_and_the_brain.md --secret-file instructor/secret --out graded")
def similar(
    submissions: Annotated[pathlib.Path, typer.Argument(help="Folder or zip, as for grade.")],
    master: Annotated[pathlib.Path, MASTER],
    secret_file: Annotated[pathlib.Path, SECRET],
    out: Annotated[pathlib.Path, OUT] = pathlib.Path("graded"),
    roster: Annotated[pathlib.Path | None, typer.Option(help="As for grade.")] = None,
    least: Annotated[float, typer.Option(help="Share of one's code that must be found in the other's.", min=0.1, max=1.0)] = 0.8,
):
    """List pairs of submissions that are alike, for a person to read. Nothing is run, and it is never a verdict."""
    from . import similar as alike

    known, collected, _ = gather(submissions, master, out, roster)
    found = alike.pairs(known, masters.token(read_secret(secret_file), known.name), collected, least)
    out.mkdir(parents=True, exist_ok=True)
    (out / "similar.html").write_text(alike.page(found, f"{known.title}: pairs that are alike", len(collected)), encoding="utf-8")
    for pair in found[:20]:
        typer.echo(f"{pair['share']:4.0%} {pair['tokens']:5} tokens  {pair['one']}  {pair['other']}")
    typer.echo(f"{len(found)} pairs among {len(collected)} submissions; read {out / 'similar.html'} and ask, it is no verdict")
