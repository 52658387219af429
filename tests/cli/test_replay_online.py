"""`rankd replay --estimand online`: what a learner would earn live."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import rankd
from tests.cli.test_replay import ROWS, replayed, table

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["table"]  # the fixture

ONLINE = ("--estimand", "online")


def test_a_learner_earns_less_live_than_trained_on_the_log(table: Path) -> None:
    found = replayed(table, "--policy", "linucb", "--policy", "uniform", *ONLINE)
    assert found["logged"]["n"] == found["decisions"] == ROWS
    linucb, uniform = found["policies"]
    assert linucb["estimand"] == uniform["estimand"] == "online"
    value = linucb["estimators"]["rejection"]
    assert value["low"] < value["value"] < value["high"]
    assert linucb["vs_logged"]["low"] > 0.2
    assert linucb["acceptance"] == pytest.approx(1 / 3, abs=0.03)
    assert (linucb["lives"], linucb["cut"]) == (5, 0.0)
    trained = replayed(table, "--policy", "linucb", "--estimator", "ips")["policies"][0]
    assert value["value"] < trained["estimators"]["ips"]["value"]
    # The log's own policy once more.
    own = uniform["estimators"]["rejection"]
    assert own["low"] < found["logged"]["value"] < own["high"]
    assert uniform["vs_logged"]["low"] < 0 < uniform["vs_logged"]["high"]


def test_one_life_says_so(table: Path) -> None:
    shown = rankd("replay", table, "--policy", "linucb", *ONLINE, "--seeds", 1)
    assert shown.code == 0
    said = " ".join(shown.out.split())
    assert "One life: its interval is of the path that was learned" in said
    assert "live, beginning untrained" in said


def test_too_few_rounds_are_refused(table: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    short.write_text("".join(table.read_text().splitlines(keepends=True)[:100]))
    (policy,) = replayed(short, "--policy", "linucb", *ONLINE)["policies"]
    refused = policy["estimators"]["rejection"]
    assert refused["value"] is None
    assert "rows were accepted as the policy's own, below 100" in refused["reason"]
    assert policy["vs_logged"]["value"] is None
    assert policy["rounds"] is None
    page = tmp_path / "report.html"
    shown = rankd("replay", short, "--policy", "linucb", *ONLINE, "--report", page)
    assert "this log cannot tell" in shown.out
    assert "this log cannot tell" in page.read_text()


def test_reports_are_of_what_is_earned_live(table: Path, tmp_path: Path) -> None:
    page, text, plots = tmp_path / "report.html", tmp_path / "report.md", tmp_path / "plots"
    given = ("replay", table, "--policy", "linucb", "--policy", "uniform", *ONLINE, "--json")
    assert rankd(*given, "--report", page, "--plots", plots).code == 0
    html = page.read_text()
    assert "Learning curves of accepted rounds" in html
    assert "live, it would earn" in html
    assert {path.name for path in plots.glob("*.png")} == {"estimates.png", "differences.png", "learning.png"}  # fmt: skip
    assert rankd(*given, "--report", text).code == 0
    assert "| linucb | rejection |" in text.read_text()


def dsjson(path: Path, rows: int) -> Path:
    """A uniform policy's log in VW's own format: action 1 pays for those who like it, 2 for the others."""
    import random

    draw = random.Random(1)
    with path.open("w") as file:
        for i in range(rows):
            likes, k = draw.choice(["x", "y"]), draw.randrange(2)
            paid = float((likes == "x") == (k == 0))
            line: dict[str, Any] = {
                "_label_cost": -paid,
                "_label_probability": 0.5,
                "_label_Action": k + 1,
                "_labelIndex": k,
                "EventId": str(i),
                "a": [k + 1, 2 - k],
                "p": [0.5, 0.5],
                "c": {"G": {"likes": likes}, "_multi": [{"T": {"id": "1"}}, {"T": {"id": "2"}}]},
            }
            file.write(json.dumps(line) + "\n")
    return path


def test_vw_lives_through_its_own_lines(tmp_path: Path) -> None:
    log = dsjson(tmp_path / "log.dsjson", 800)
    spec = "vw:--cb_explore_adf --epsilon 0.2 --quadratic GT --cb_type ips"
    (policy,) = replayed(log, "--policy", spec, *ONLINE, "--seeds", 2)["policies"]
    found = policy["estimators"]["rejection"]
    assert policy["rounds"] == pytest.approx(400, abs=50)
    assert 0.8 < found["value"] < 0.95  # it has learned what there is to know, and explores .2
