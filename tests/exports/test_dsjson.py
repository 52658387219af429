"""dsjson, with Vowpal Wabbit itself as the judge of what it says."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from vowpalwabbit import Workspace

from server.exports.dsjson import write_dsjson
from server.exports.rows import rows
from server.fold.records import LogError
from tests.exports.memory_log import MemoryLog, settings

if TYPE_CHECKING:
    from pathlib import Path


def lines(log: MemoryLog) -> list[dict[str, Any]]:
    out = io.BytesIO()
    count = write_dsjson(log, out)
    content = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(content) == count
    return content


def test_vw_reads_every_line_and_finds_our_ips(log: MemoryLog, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    with path.open("wb") as file:
        count = write_dsjson(log, file)
    learned = list(rows(log, "shop"))
    assert len(learned) == count > 80  # 70 decisions, every fifth with two slots
    # The policy to be valued plays every action with the same probability.
    by_hand = [-row.reward / len(row.actions) / row.pmf[row.chosen] for row in learned]
    vw = Workspace(f"--dsjson --cb_explore_adf --epsilon 1.0 --quiet --no_stdin -d {path}")
    examples, loss = vw.get_weighted_examples(), vw.get_sum_loss()
    vw.finish()
    assert examples == count
    assert loss == pytest.approx(sum(by_hand), rel=1e-5)  # VW adds up in float32
    assert loss < -1


def test_vw_learns_from_it() -> None:
    log = MemoryLog(settings("shop", policy={"type": "uniform"}, always_sent=True))
    for i in range(300):
        decision = log.rank(f"e{i}")
        log.reward(f"e{i}", float(decision.ranking[0] == 1))
    vw = Workspace("--dsjson --cb_explore_adf --epsilon 0.1 --quiet")
    out = io.BytesIO()
    write_dsjson(log, out)
    for line in out.getvalue().decode().splitlines():
        example = vw.parse(line)
        vw.learn(example)
        vw.finish_example(example)
    example = vw.parse(line)
    pmf = vw.predict(example)
    vw.finish_example(example)
    vw.finish()
    assert max(range(3), key=pmf.__getitem__) == 1, pmf


def test_a_line_says_all_of_a_decision() -> None:
    log = MemoryLog()
    log.rank("first")
    log.tick(11)
    decision = log.rank("e", ["a", "b", "c"], excluded_ids=["b"], numbers={"age": 31.0})
    log.reward("e", 0.25)
    log.tick(11)
    line = lines(log)[-1]
    a, c = decision.pmf[0], decision.pmf[2]
    chosen = 1 if decision.ranking[0] == 0 else 2
    assert line == {
        "_label_cost": -0.25,
        "_label_probability": (a, c)[chosen - 1],
        "_label_Action": chosen,
        "_labelIndex": chosen - 1,
        "Timestamp": "2025-06-15T15:06:51.000000Z",
        "Version": "1",
        "EventId": "e",
        "a": [1, 2] if chosen == 1 else [2, 1],
        "c": {" ": {"age": 31.0}, "_multi": [{"i": {"id": "a"}}, {"i": {"id": "c"}}]},
        "p": [a, c] if chosen == 1 else [c, a],
        "VWState": {"m": f"1.{decision.model_version}"},
        "pdrop": 0.0,
    }


def test_features_keep_their_names(log: MemoryLog) -> None:
    line = next(line for line in lines(log) if len(line["a"]) == 3)
    assert line["c"]["user"] == [
        {
            "age": 31.0,
            "\\_rank": 0.1 + 0.2,
            "country": "NL",
            "tag": "a|b: c",
            "taste": [0.5, -1.25],
        },
        {"tag": "é🙂\n"},
    ]
    assert line["c"]["_multi"] == [
        {"i": {"id": "a"}, "item": {"price": 9.5, "vector": [1.0]}},
        {"i": {"id": "b"}, "item": {"vector": [2.0]}},
        {"i": {"id": "c"}, "item": {"price": 3.0, "rating": 4.5, "vector": [3.0]}},
    ]


def test_vw_meets_every_feature(log: MemoryLog) -> None:
    """Names that VW would skip, or that stand twice in a namespace, must not be lost on the way."""
    line = next(line for line in lines(log) if len(line["a"]) == 3)
    vw = Workspace("--dsjson --cb_explore_adf --quiet")
    examples = vw.parse(json.dumps(line))
    counts = [example.get_feature_number() for example in examples]
    vw.finish_example(examples)
    vw.finish()
    # Shared: 2 numbers, 3 categories, 2 elements. Actions: id, item's numbers and vector. VW may add a constant to each.
    shared, *actions = counts
    assert shared - 7 in (0, 1)
    assert [n - actions[0] for n in actions] == [0, -1, 1]
    assert actions[0] - 3 in (0, 1)


def test_an_action_keeps_its_own_features_beside_its_id() -> None:
    from rankd.v1.features_pb2 import ActionFeatures

    log = MemoryLog()
    own = ActionFeatures(
        namespace="i",
        categorical_counts=[1, 0, 0],
        categorical_names=["id"],
        categorical_values=["mine"],
    )
    log.rank("e", action_features=[own])
    log.tick(11)
    (line,) = lines(log)
    assert line["c"]["_multi"][:2] == [{"i": [{"id": "a"}, {"id": "mine"}]}, {"i": {"id": "b"}}]


def test_several_apps_do_not_share_a_file(two_apps: MemoryLog) -> None:
    with pytest.raises(LogError, match="news, shop: choose one with --app"):
        write_dsjson(two_apps, io.BytesIO())
    assert write_dsjson(two_apps, io.BytesIO(), "news") == sum(1 for _ in rows(two_apps, "news"))
