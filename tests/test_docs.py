"""The documentation is true: its programs run against a real service, its settings load, its links lead somewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from docs.generate_configuration import page
from server.config import Config
from server.config_file import load
from tests import walkthrough
from tests.server.harness import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark import ParameterSet

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").glob("*.md")])

# Their programs run in order, in one folder, and print what the page says.
WALKS = [ROOT / "docs" / "experiments.md"]


def blocks(language: str) -> list[ParameterSet]:
    """The code blocks of a language on all pages, as test parameters named after page and line."""
    found = []
    for path in PAGES:
        if path in WALKS and language == "python":
            continue
        text = path.read_text()
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(pytest.param(match[1], id=f"{path.name}:{line}"))
    return found


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("docs") / "data") as service:
        yield service


@pytest.mark.parametrize("program", blocks("python"))
def test_programs_run(program: str, service: Service) -> None:
    assert "localhost:50051" in program, "it would reach no service of this test's"
    program = program.replace("localhost:50051", f"localhost:{service.port}")
    exec(compile(program, "docs", "exec"), {"__name__": "__main__"})


@pytest.fixture(scope="module")
def envoy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("docs-envoy") / "data"
    with Service(folder, {"server": {"edge": "envoy"}}) as service:
        yield service


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_gets_an_answer(envoy: Service) -> None:
    """In the page's order, since one call refers to the one before."""
    for program in blocks("bash"):
        (command,) = program.values
        command = str(command).replace("localhost:50051", f"localhost:{envoy.port}")
        ran = subprocess.run(["bash", "-ec", command], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert json.loads(ran.stdout)


@pytest.mark.parametrize("path", WALKS, ids=lambda path: path.name)
def test_walks_print_what_they_say(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    assert walkthrough.ran(text, tmp_path) == text, (
        f"run `python -m tests.walkthrough docs/{path.name}`"
    )


@pytest.mark.parametrize("text", blocks("yaml"))
def test_settings_load(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rankd.yaml"
    path.write_text(text)
    assert load(path) != Config()


def test_every_setting_is_on_the_configuration_page() -> None:
    written = (ROOT / "docs" / "configuration.md").read_text()
    assert written == page(), "run `python -m docs.generate_configuration`"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (path.parent / target).exists()] == []


def test_every_command_that_the_readme_names_exists() -> None:
    from typer.main import get_command

    from rankd.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    named = set(re.findall(r"`rankd (\w+)", (ROOT / "README.md").read_text()))
    assert named
    assert named <= set(commands)
