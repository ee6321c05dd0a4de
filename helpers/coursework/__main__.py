"""The command line: ``python -m helpers.coursework --help``."""

from .commands import app

app(prog_name="python -m helpers.coursework")
