"""`rankd status`: the page, its JSON, and the figures in it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from rankd.commands.estimates import Estimate, estimates
from rankd.commands.status import lines
from rankd.v1 import admin_pb2 as api
from server.fold.report import Report
from server.fold.shapes import Facts
from tests.cli.conftest import ROUNDS, rankd

if TYPE_CHECKING:
    from tests.server.harness import Service


def test_the_page(service: Service) -> None:
    result = rankd("status", "--data-dir", service.folder.root)
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("app shop: linucb, online, epoch ")
    # Whether anything was detected depends on what was drawn, and other tests roll the model back.
    (drift,) = [line for line in lines if line.startswith("drift")]
    assert re.match(r"drift    adwin on residual, alert; \d+ in \d+ interactions", drift)
    assert ["matured", str(ROUNDS)] in [line.split() for line in lines]
    assert f"of {ROUNDS} learned decisions, with 95% intervals (empirical likelihood):" in lines
    starts = [line[:17].rstrip() for line in lines[-3:]]
    assert starts == ["reward", "baseline", "exploration costs"]


def test_the_json(service: Service) -> None:
    result = rankd("status", "--address", f"127.0.0.1:{service.port}", "--app", "shop", "--json")
    page = json.loads(result.out)
    assert page["app"] == "shop"
    assert page["counters"]["matured"] == page["sums"]["n"] == ROUNDS
    assert page["lag_records"] >= 0
    drift = page["drift"]
    assert 0 < drift["learned"] <= ROUNDS
    assert (drift["last"] > 0) == (drift["detections"] > 0)
    assert drift == {
        "detector": "adwin",
        "on": "residual",
        "action": "alert",
        "learned": drift["learned"],
        "detections": drift["detections"],
        "last": drift["last"],
        "exploring_until": 0,
    }
    reward = page["estimates"]["reward"]
    assert 0 <= reward["low"] < reward["value"] < reward["high"] <= 1
    # What it was exactly depends on how soon b was found.
    cost = page["estimates"]["exploration_cost"]
    assert cost == asdict(estimates(page["sums"], (0.0, 1.0))["exploration_cost"])
    assert cost["low"] < cost["value"] < cost["high"]


def test_what_was_detected_is_on_the_page() -> None:
    drift = api.Drift(
        detector="ddm",
        on="reward",
        action="explore",
        learned=5_250,
        detections=2,
        last=5_000,
        exploring_until=6_000,
    )
    page = lines(api.StatusReply(app="shop", drift=drift), {}, {})
    assert page[5] == (
        "drift    ddm on reward, explore; 2 in 5,250 interactions, the last at 5,000; exploring more until 6,000"
    )
    assert not any(line.startswith("drift") for line in lines(api.StatusReply(), {}, {}))


def report(rows: int, pmf: list[float], seed: int, best: int = 1) -> Report:
    """A log in which action `best` always pays 1 and no other does."""
    import random

    rng = random.Random(seed)
    result = Report()
    for _ in range(rows):
        chosen = rng.choices(range(len(pmf)), pmf)[0]
        result.add(Facts(pmf, chosen, baseline=0, preferred=0, epoch=1), float(chosen == best))
    return result


def test_figures_cover_what_is_true() -> None:
    found = estimates(report(4_000, [0.2, 0.7, 0.1], seed=1).sums, (0.0, 1.0))
    truth = {"reward": 0.7, "baseline": 0.0, "exploration_cost": 0.3}
    for name, value in truth.items():
        one = found[name]
        assert one.low is not None
        assert one.high is not None
        assert one.value is not None
        assert one.low <= value <= one.high, (name, one)
        assert one.value == pytest.approx(value, abs=0.05), name
        assert one.high - one.low < 0.2, name
        assert one.note == ""


def test_intervals_miss_as_seldom_as_they_say() -> None:
    """Of 100 logs about 5 may miss, and about 1 for the cost, whose interval is on the safe side."""
    misses = {"reward": 0, "baseline": 0, "exploration_cost": 0}
    truth = {"reward": 0.8, "baseline": 0.0, "exploration_cost": 0.2}
    for seed in range(100):
        for name, one in estimates(report(300, [0.1, 0.8, 0.1], seed).sums, (0.0, 1.0)).items():
            assert one.low is not None
            assert one.high is not None
            misses[name] += not one.low <= truth[name] <= one.high
    assert all(count <= 10 for count in misses.values()), misses


def test_few_decisions_are_called_few() -> None:
    for rows in (1, 2, 5):
        for name, one in estimates(report(rows, [0.2, 0.7, 0.1], seed=3).sums, (0.0, 1.0)).items():
            assert one.note == "not enough data yet", (rows, name, one)


def test_without_decisions_there_is_no_figure() -> None:
    for one in estimates(Report().sums, (0.0, 1.0)).values():
        assert one == Estimate(one.meaning, note="no decision has been learned yet")


def test_rewards_beyond_the_range_have_no_interval() -> None:
    sums = report(100, [0.2, 0.7, 0.1], seed=1).sums
    for one in estimates(sums, (0.0, 0.5)).values():
        assert one.value is None
        assert "more than the app's range" in one.note


def test_another_services_sums_are_not_invented() -> None:
    sums = {
        name: value for name, value in report(100, [0.5, 0.5], 1).sums.items() if "." not in name
    }
    found = estimates(sums, (0.0, 1.0))
    assert found["reward"].value is not None
    assert found["baseline"].note == "the service does not report it"
    assert found["exploration_cost"].note == "the service does not report it"
