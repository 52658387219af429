"""docs/reference.md leaves nothing out, and `rankd demo` runs."""

from __future__ import annotations

import json

from rankd.commands.estimates import estimates
from server.fold.joiner import COUNTERS
from tests.cli.conftest import rankd, start
from tests.cli.test_help import COMMANDS
from tests.server.harness import REPOSITORY

PAGE = (REPOSITORY / "docs" / "reference.md").read_text()


def test_every_command_is_there() -> None:
    for group, names in COMMANDS.items():
        for name in names:
            assert f"`{' '.join(('rankd', *group, name))}" in PAGE


def test_every_counter_is_there() -> None:
    table = [line.split("|")[1].strip() for line in PAGE.splitlines() if line.startswith("| `")]
    counters = [cell.strip("`") for cell in table if not cell.startswith("`rankd")]
    assert counters == list(COUNTERS)


def test_every_figure_is_there() -> None:
    for name in estimates({}, (0.0, 1.0)):
        assert f"**{name.replace('exploration_cost', 'exploration costs')}**" in PAGE


def test_the_demo_hands_its_options_on() -> None:
    process = start(
        "demo", "--rounds", 40, "--rate", 200, "--policy", "linucb", "--seed", 3, "--json"
    )
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    result = json.loads(out.splitlines()[-1])
    assert (result["rounds"], result["verified"], result["mismatches"]) == (40, 40, 0)
    assert rankd("demo", "--policy", "oracle").code == 2
