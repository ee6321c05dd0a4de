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
    """Make the notebooks that students get, after both gates: the solution earns every point, the bare release none."""
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
            typer.echo(f"{master.name}: {len(master.parts)} parts, {masters.count_points(points)}, {by_hand:g} of them by hand; both gates passed")
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


