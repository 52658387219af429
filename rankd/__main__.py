"""`python -m rankd` is `rankd`."""

from rankd.cli import app

app()
