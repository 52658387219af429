"""What `rankd` says of itself."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.cli.conftest import rankd

COMMANDS = {
    (): [
        *(
            "policies",
            "serve",
            "demo",
            "verify",
            "replay",
            "simulate",
            "tune",
            "datasets",
            "validate",
            "load",
            "status",
            "log",
            "models",
        ),
    ],
    ("log",): ["tail", "export"],
    ("models",): ["list", "rollback", "promote", "pin", "unpin", "export"],
}


@pytest.mark.parametrize("group", COMMANDS, ids=" ".join)
def test_help_names_every_command(group: tuple[str, ...]) -> None:
    result = rankd(*group, "--help")
    assert result.code == 0
    for command in COMMANDS[group]:
        assert f" {command} " in result.out


@pytest.mark.parametrize(
    "command", [(*group, name) for group, names in COMMANDS.items() for name in names], ids=" ".join
)
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    result = rankd(*command, "-h")
    assert result.code == 0
    assert f"rankd {' '.join(command)}" in " ".join(result.out.split())


def test_version() -> None:
    assert rankd("--version").out == f"rankd {version('rankd')}\n"


def test_help_loads_none_of_what_the_commands_need() -> None:
    code = (
        "import sys; from rankd.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "print([n for n in ('numpy', 'grpc', 'server', 'policies', 'simulator', 'pydantic') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_wrong_option_is_refused() -> None:
    result = rankd("verify", "--nonsense")
    assert result.code == 2
    assert "--nonsense" in result.err
