"""`rankd tune`: what is shown, what is refused, and that it can be interrupted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import rankd
from tests.cli.test_replay import table

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["table"]
GIVEN = ("--policy", "linucb:alpha=[0.1,1]", "--policy", "uniform", "--estimator", "ips")


def test_for_programs(table: Path, tmp_path: Path) -> None:
    given = ("tune", table, *GIVEN, "--resume", tmp_path / "results", "--json")
    first, again = rankd(*given), rankd(*given, "--jobs", "2")
    assert first.code == 0, first.err
    assert first.out == again.out
    found = json.loads(first.out.splitlines()[-1])
    assert (found["chosen_on"], found["valued_on"], found["optimistic"]) == (900, 600, False)
    assert [each["policy"] for each in found["candidates"]] == [
        *("linucb:alpha=0.1", "linucb:alpha=1", "linucb", "uniform"),
    ]
    winner = found["policies"][0]
    assert (winner["role"], winner["winner_minus"]) == ("winner", None)
    assert winner["vs_logged"]["low"] > 0.2
    assert found["policies"][1]["winner_minus"]["low"] is not None


def test_for_people(table: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    shown = rankd("tune", table, *GIVEN, "--report", report)
    assert shown.code == 0, shown.err
    said = " ".join(shown.out.split())
    assert "4 candidates, trained on the log as it went" in said
    assert "on rows that had no part in choosing it" in said
    assert "Luck: linucb" in said
    text = report.read_text()
    assert "(winner) |" in text
    assert text.count("| linucb:alpha=1 ") >= 1


def test_scoring_on_what_was_chosen_on_takes_a_flag_and_is_marked(table: Path) -> None:
    refused = rankd("tune", table, *GIVEN, "--choose-on", "1")
    assert refused.code == 1
    assert "its value is too high" in refused.err
    assert "--score-on-chosen" in refused.err
    shown = rankd("tune", table, *GIVEN, "--score-on-chosen")
    assert shown.code == 0
    assert "OPTIMISTIC" in shown.out
    found = json.loads(rankd("tune", table, *GIVEN, "--score-on-chosen", "--json").out)
    assert found["optimistic"]
    assert found["chosen_on"] == found["valued_on"] == 1_500


def test_a_servers_own_log(folder: Path) -> None:
    given = ("--policy", "linucb:alpha=[0.1,1]", "--force", "--jobs", "2", "--json")
    shown = rankd("tune", folder, *given)
    assert shown.code == 0, shown.err
    assert json.loads(shown.out.splitlines()[-1])["decided"] > 0


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--policy", "linucb:alpha=[1,-1]"), 1, "--policy linucb:alpha=-1: "),
        (("--policy", "vw:--cb_explore_adf --epsilon [0.1,no]"), 1, "--epsilon no: "),
        (("--policy", "linucb", "--estimator", "dros"), 1, "to be chosen itself"),
        (("--policy", "linucb", "--choose-on", "0"), 1, "choose_on 0"),
        (("--policy", "linucb", "--choose-on", "0.5", "--score-on-chosen"), 1, "leave --choose-on"),
        (("--policy", "linucb", "--choose-on", "0.01"), 2, "cannot tell the value of any"),
        (("--policy", "linucb", "--reward-model", "uniform"), 1, "expects no rewards"),
        (("--policy", "linucb", "--reward-range", "0", "0.5"), 1, "--reward-range: rewards from"),
        (("--policy", "linucb", "--alpha", "1"), 1, "--alpha 1: must be in (0, 1)"),
        (("--policy", "linucb", "--report", "nowhere/x.md"), 1, "there is no folder nowhere"),
    ],
)
def test_what_is_wrong_is_said(
    table: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    shown = rankd("tune", table, *arguments)
    assert shown.code == code
    assert says in shown.err
    assert code == 2 or "log.csv" not in shown.err  # what was asked is wrong, not the log


def test_results_of_another_log_are_refused(table: Path, tmp_path: Path) -> None:
    changed, folder = tmp_path / "log.csv", tmp_path / "results"
    lines = table.read_text().splitlines(keepends=True)
    changed.write_text("".join(lines))
    assert rankd("tune", changed, *GIVEN, "--resume", folder).code == 0
    changed.write_text("".join(lines[:-1]))
    shown = rankd("tune", changed, *GIVEN, "--resume", folder)
    assert shown.code == 1
    assert "log.decided was 1500, is 1499" in shown.err


def test_a_report_that_cannot_be_written_costs_no_result(table: Path, tmp_path: Path) -> None:
    place = tmp_path / "report.md"
    place.mkdir()
    shown = rankd("tune", table, *GIVEN, "--report", place, "--json")
    assert shown.code == 1
    assert f"--report {place}: Is a directory" in shown.err
    assert json.loads(shown.out.splitlines()[-1])["decided"] == 1_500


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_log_that_was_cut_is_said_once(table: Path, jobs: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(table.read_text()[:-30])
    shown = rankd("tune", path, *GIVEN, "--jobs", jobs)
    assert shown.code == 0, shown.err
    assert shown.err.count("was cut short") == 1


@pytest.mark.parametrize("command", ["tune", "simulate"])
def test_no_processes_are_refused(table: Path, command: str) -> None:
    shown = rankd(command, table, "--policy", "uniform", "--jobs", "0")
    assert shown.code == 2
    assert "0 processes do nothing" in shown.err
