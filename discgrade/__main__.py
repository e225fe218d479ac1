"""``python -m discgrade``: the command, by whichever interpreter it is installed for."""

from discgrade.cli import app

app()
