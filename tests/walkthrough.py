"""A page whose programs run from top to bottom, in one folder, and print what the page says: `python -m tests.walkthrough PAGE` writes
what they print into it.

A block ```python or ```sh is run; where a block ```text comes next, it holds the output of both streams. A block ```sh holds
commands of `rankd`, one a line, "\\" at its end goes on with the next.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

_BLOCK = re.compile(
    r"^```(python|sh)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL
)
_ROOT = Path(__file__).parent.parent
# Seconds: bounds a program that hangs; each takes a few.
_LONGEST = 300


def ran(page: str, folder: Path) -> str:
    """The page with what its programs print there.

    Raises:
        AssertionError: a program failed, with what it printed.
    """
    printed = [_run(match[1], match[2], folder) for match in _BLOCK.finditer(page)]
    outputs = iter(printed)

    def filled(match: re.Match[str]) -> str:
        output = next(outputs)
        if match[3] is None:
            return match[0]
        return f"```{match[1]}\n{match[2]}```\n\n```text\n{output}```\n"

    return _BLOCK.sub(filled, page)


def _run(language: str, program: str, folder: Path) -> str:
    if language == "python":
        return _output([sys.executable, "-c", program], folder)
    lines = program.replace("\\\n", " ").splitlines()
    return "".join(_output(_command(line), folder) for line in lines if line.strip())


def _command(line: str) -> list[str]:
    words = shlex.split(line)
    assert words[0] == "rankd", f"{line!r} is no command of rankd"
    return [sys.executable, "-m", "rankd", *words[1:]]


def _output(command: list[str], folder: Path) -> str:
    # A terminal's width, so that tables break where they do on the page.
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONPATH": str(_ROOT)}
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, timeout=_LONGEST, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}"
    # rich fills tables' titles with spaces
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


if __name__ == "__main__":
    path = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        path.write_text(ran(path.read_text(), Path(name)))
