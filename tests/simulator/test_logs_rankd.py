"""rankd's own logs, in every form in which they leave it, read back equal to what was learned."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from policies.features import NO_FEATURES
from rankd.v1 import log_pb2 as pb
from server.exports.dsjson import write_dsjson
from server.exports.jsonl import ExportSource, write_jsonl
from server.exports.parquet import write_parquet
from server.fold.interactions import interactions
from server.fold.joined import JoinFold
from simulator.logs import Decided, LogFormatError, Matured, Skipped, open_log
from simulator.logs.rankd_log import RankdLog
from tests.exports.conftest import fill
from tests.exports.memory_log import MemoryLog, settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from policies import Features, Interaction
    from simulator.logs import Event, Log


@pytest.fixture
def log() -> MemoryLog:
    """Features of every kind, slots, exclusions, and the last windows open."""
    log = MemoryLog()
    fill(log)
    return log


def learned(log: MemoryLog, app: str = "shop") -> list[Interaction]:
    """What the learner learned, in its order."""
    rows = JoinFold(log, app).rows()
    return [one for row in rows for one in interactions(row.decision, row.rewards)]


def same_features(one: Features, two: Features) -> bool:
    return (
        np.array_equal(one.index, two.index)
        and np.array_equal(one.value, two.value)
        and np.array_equal(one.namespace, two.namespace)
        and np.array_equal(one.numeric, two.numeric)
    )


def check(events: Iterable[Event], expected: list[Interaction], exact: bool = False) -> None:
    """That the rewards came as they were learned. Other formats keep the actions in the order of the request."""
    found = [event for event in events if isinstance(event, Matured)]
    assert len(found) == len(expected)
    for event, one in zip(found, expected, strict=True):
        d = event.decision
        assert event.reward == one.reward
        assert d.propensity == one.propensity
        assert same_features(d.context, one.context)
        order = sorted(range(len(d.actions)), key=d.actions.ids.__getitem__)
        assert not exact or order == list(range(len(d.actions)))
        assert tuple(d.actions.ids[k] for k in order) == one.actions.ids
        assert d.actions.ids[d.chosen] == one.actions.ids[one.chosen]
        assert d.pmf is not None
        assert np.allclose(d.pmf[order], one.pmf, rtol=1e-15, atol=0)
        for k, name in zip(order, one.actions.ids, strict=True):
            assert same_features(d.actions.of(k), one.actions.of(one.actions.ids.index(name)))


def test_a_log_gives_what_was_learned(log: MemoryLog) -> None:
    events = list(RankdLog(log))
    check(events, learned(log), exact=True)
    first = next(event for event in events if isinstance(event, Decided))
    assert not same_features(first.context, NO_FEATURES)


def test_decisions_come_when_they_were_made_and_rewards_when_they_were_final(
    log: MemoryLog,
) -> None:
    source = RankdLog(log)
    seen: dict[tuple[str, int], int] = {}
    ahead = []
    for i, event in enumerate(source):
        if isinstance(event, Decided):
            seen[event.key, event.slot] = i
        else:
            place = seen[event.decision.key, event.decision.slot]
            ahead.append(sum(at > place for at in seen.values()))
    # A window is ten seconds, in each of which there is one decision; every fifth has two slots.
    assert set(ahead) <= {9, 10, 11, 12, 13}
    made = [r for r in log.log if r.kind == pb.KIND_DECISION]
    assert {key for key, _ in seen} == {record.decision_id for record in made}
    assert source.counters["open"] > 0
    assert len(list(source)) == i + 1  # a second pass


def test_what_came_of_nothing_is_counted() -> None:
    log = MemoryLog()
    log.rank("deferred", defer_activation=True)
    log.rank("shown")
    log.reward("shown", 0.5, reward_id="r")
    log.reward("shown", 0.5, reward_id="r")
    log.reward("nobody", 1.0)
    log.tick(25)
    source = RankdLog(log)
    assert source.reward_range == (-1.0, 1.0)
    events = list(source)
    assert [type(event) for event in events] == [Decided, Decided, Matured]
    assert source.counters == {
        Skipped.NOT_ACTIVATED: 1,
        Skipped.DANGLING: 1,
        "duplicate_rewards": 1,
    }


def test_the_reward_range_is_that_of_all_settings(log: MemoryLog) -> None:
    log.open(settings("shop", reward_max=5.0))
    source = RankdLog(log)
    assert source.reward_range == (-1.0, 1.0)
    list(source)
    assert source.reward_range == (-1.0, 5.0)


def test_a_trimmed_log_begins_where_it_can(log: MemoryLog) -> None:
    whole = learned(log)
    log.trim()
    source = RankdLog(log)
    assert source.reward_range == (-1.0, 1.0)
    events = list(source)
    rest = learned(log)
    assert 0 < len(rest) < len(whole)
    check(events, rest, exact=True)


def test_several_apps_are_told_apart(tmp_path: Path) -> None:
    log = MemoryLog(settings("news", salt="a5" * 16), settings("shop"))
    fill(log, "news", "n", rounds=13)
    fill(log, "shop", "s", rounds=13)
    with pytest.raises(LogFormatError, match="choose one with app=; it has news, shop"):
        RankdLog(log)
    with pytest.raises(LogFormatError, match="no app 'x'"):
        RankdLog(log, "x")
    check(RankdLog(log, "news"), learned(log, "news"), exact=True)
    path = tmp_path / "log.parquet"
    pytest.importorskip("pyarrow")
    with path.open("wb") as file:
        write_parquet(log, file)
    check(open_log(path, app="shop"), learned(log, "shop"))
    with pytest.raises(LogFormatError, match="choose one with app="):
        list(open_log(path))


def test_a_jsonl_export_gives_the_same_events(log: MemoryLog, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with path.open("wb") as file:
        write_jsonl(log, file)
    export = open_log(path)
    assert export.name == str(path)
    assert export.reward_range == (-1.0, 1.0)
    for _ in range(2):
        check(export, learned(log), exact=True)
    direct = RankdLog(log)
    assert [type(event) for event in export] == [type(event) for event in direct]
    assert export.counters == direct.counters
    check(RankdLog(ExportSource(path)), learned(log), exact=True)


def test_an_export_that_was_cut_short_gives_what_is_there(log: MemoryLog, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    with path.open("wb") as file:
        write_jsonl(log, file)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    cut = open_log(path)
    assert 0 < len(list(cut)) < len(list(RankdLog(log)))
    assert cut.counters[Skipped.CUT_SHORT] == 1
    lines = data.splitlines(keepends=True)
    for bad, message in (
        ([*lines[:20], *lines[21:]], r"line 21: record \d+ follows record \d+"),
        ([*lines[:20], b"{]\n", *lines[20:]], "line 21: not JSON"),
        ([*lines[:20], b"[]\n", *lines[20:]], "line 21: not a JSON object"),
        ([*lines[:20], b'{"sequence": "x"}\n', *lines[20:]], "line 21: not a record"),
        ([*lines[:-2], lines[-1]], "some were removed or added"),
        ([b'{"rankd_export":2,"after":0,"apps":[],"app":""}\n'], "reads format 1"),
        ([b'{"rankd_export":1}\n'], "first line is not that of an export"),
    ):
        path.write_bytes(b"".join(bad))
        with pytest.raises(LogFormatError, match=message):
            list(open_log(path))


def test_an_export_of_a_trimmed_log_begins_at_its_checkpoint(
    log: MemoryLog, tmp_path: Path
) -> None:
    log.trim()
    path = tmp_path / "log.jsonl"
    with path.open("wb") as file:
        write_jsonl(log, file)
    check(open_log(path), learned(log), exact=True)


@pytest.mark.parametrize("form", ["dsjson", "parquet"])
def test_other_exports_give_what_was_learned(form: str, log: MemoryLog, tmp_path: Path) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"log.{form}"
    with path.open("wb") as file:
        (write_dsjson if form == "dsjson" else write_parquet)(log, file)
    export: Log = open_log(path, reward_range=(-1.0, 1.0))
    check(export, learned(log))
    events = list(export)
    assert len(events) == 2 * len(learned(log))
    assert not export.counters
    keys = [event.key for event in events if isinstance(event, Decided)]
    assert len(set(keys)) == len(keys)
    assert {"e0/top", "e0/side", "e1"} <= set(keys)


def test_a_policy_that_mixes_others_gets_what_each_had_given() -> None:
    policy = {"type": "auto", "bases": [{"type": "linucb"}, {"type": "uniform"}]}
    log = MemoryLog(settings("shop", policy=policy))
    fill(log, rounds=12)
    for event, one in zip(
        (e for e in RankdLog(log) if isinstance(e, Matured)), learned(log), strict=True
    ):
        assert event.decision.bases is not None
        assert one.bases is not None
        assert np.array_equal(event.decision.bases, one.bases)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=4)
VALUES = st.floats(-1e6, 1e6)


@given(
    rounds=st.lists(
        st.fixed_dictionaries(
            {
                "actions": st.lists(NAMES, min_size=2, max_size=4, unique=True),
                "numbers": st.dictionaries(NAMES, VALUES, max_size=2),
                "rewards": st.lists(st.floats(-1.0, 1.0), min_size=2, max_size=2),
                "slots": st.booleans(),
                "exclude": st.booleans(),
            }
        ),
        min_size=1,
        max_size=5,
    ),
    form=st.sampled_from(["dsjson", "parquet"]),
)
@example(
    rounds=[
        {
            "actions": ["_a", "\\b", " "],
            "numbers": {"_tag": 1.0},
            "rewards": [0.0, -0.0],
            "slots": True,
            "exclude": False,
        }
    ],
    form="dsjson",
)
@hypothesis_settings(max_examples=60, deadline=None)
def test_whatever_was_decided_other_exports_give_it_back(
    rounds: list[dict[str, Any]], form: str
) -> None:
    log = MemoryLog(settings("shop", policy={"type": "linucb"}, always_sent=True))
    for i, one in enumerate(rounds):
        actions = one["actions"]
        excluded = actions[:1] if one["exclude"] and len(actions) > 2 else []
        slots = ["top", "side"] if one["slots"] else []
        asked = {"numbers": one["numbers"], "slot_ids": slots, "excluded_ids": excluded}
        log.rank(f"e{i}", actions, **asked)
        for slot, value in zip(slots or [""], one["rewards"], strict=False):
            log.reward(f"e{i}", value, slot=slot)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"log.{form}"
        with path.open("wb") as file:
            (write_dsjson if form == "dsjson" else write_parquet)(log, file)
        check(open_log(path), learned(log))
