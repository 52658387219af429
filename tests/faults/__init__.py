"""Faults, injected into a real cluster under load; then what its clients were told is held against the log and the model.

`python -m tests.faults --rounds 50` runs all of them, `--only kill` one; `--report docs/reliability.md` writes the figures.
"""
