"""What waits for a reward: little of each, and none of those that will have none."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest

from policies import ModelSpec
from policies.features import encode_actions
from rankd.v1 import log_pb2 as pb
from simulator import waiting as module
from simulator.experiments.cut import Part
from simulator.logs import CsvLog, Decided, Matured
from simulator.logs.rankd_log import RankdLog
from simulator.logs.served import ServedLog
from simulator.logs.shapes import encode
from simulator.replay import replay
from simulator.slates import replay_slates
from simulator.targets import Frozen
from simulator.waiting import Waiting
from tests.exports.memory_log import MemoryLog, settings

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from simulator.logs import Event, Log

ACTIONS = encode_actions(["a", "b", "c", "d"], [])


def most(log: Log) -> int:
    """How many waited at once, of a log that is read to its end; every reward finds its decision."""
    waiting, found = Waiting[int](log), 0
    for event in log:
        if isinstance(event, Decided):
            waiting.put(event, 0)
            found = max(found, len(waiting))
        else:
            waiting.take(event)
    return found


@pytest.fixture
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TOGETHER", 16)


@pytest.fixture
def log() -> MemoryLog:
    """400 decisions a second apart, of which one in four is rewarded, under settings that change; a window is ten seconds."""
    log = MemoryLog(settings("shop", policy={"type": "uniform"}, always_sent=True))
    for i in range(400):
        if i == 150:  # a longer window, and another kind of decision that comes to nothing
            log.open(settings("shop", policy={"type": "uniform"}, wait_us=20_000_000))
        if i == 250:
            log.open(settings("shop", policy={"type": "uniform"}))
        log.rank(f"e{i}", slot_ids=[] if i % 5 else ["top", "side"], defer_activation=i > 150)
        if i % 4 == 0:
            log.tick(3)
            shown = pb.Activation(cause=pb.Activation.CAUSE_CLIENT)
            log.append(pb.KIND_ACTIVATION, "shop", f"e{i}", shown)
            log.reward(f"e{i}", 1.0)
        log.tick(1)
    return log


@pytest.mark.usefixtures("_few")
def test_a_decision_whose_window_has_closed_without_a_reward_waits_no_longer(
    log: MemoryLog,
) -> None:
    assert sum(isinstance(event, Matured) for event in RankdLog(log)) > 100
    # Two groups of 16 decisions, of up to two slots, and what was made in a window of twenty seconds.
    assert most(RankdLog(log)) < 2 * 2 * 16 + 20
    # A search and lives hand its events on.
    assert most(Part(RankdLog(log), 100, None)) < 2 * 2 * 16 + 20
    # In the order in which models were used a reward may be further off than a window.
    assert most(ServedLog(log)) > 200


@pytest.mark.usefixtures("_few")
def test_nor_does_one_whose_row_has_no_reward(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("action,propensity,reward\n" + "a,0.5,\nb,0.5,1\n" * 200)
    assert most(CsvLog(path)) == 2 * 16


class Made:
    """Decisions of two slots with many features, as they are read."""

    name = "made"
    reward_range = (0.0, 1.0)
    counters: Counter[str]

    def __init__(self, count: int, *, slates: bool, rewarded: bool) -> None:
        self.count, self.slots, self.rewarded = count, range(2 if slates else 1), rewarded

    def __iter__(self) -> Iterator[Event]:
        rng = np.random.default_rng(0)
        for i in range(self.count):
            pmf = rng.dirichlet(np.ones(4))
            numbers = encode(tuple(f"f{k}" for k in range(50)), rng.random(50).tolist(), ())
            made = []
            for slot in self.slots:
                left = pmf[slot:] / pmf[slot:].sum()
                actions = ACTIONS.take(np.arange(slot, 4))
                one = (f"{i:032d}", slot, numbers, actions, 0, left, float(left[0]))
                made.append(Decided(*one, one_pmf=len(self.slots) > 1))
            yield from made
            if self.rewarded:
                yield from (Matured(each, 1.0) for each in made)


# Bytes: what waits has two keys of a slate, 280, or one, 180, and the rest are numbers of 8.
@pytest.mark.parametrize(
    ("run", "slates", "rewarded", "bound"),
    [
        (replay, False, False, 350),
        (replay_slates, True, False, 900),
        # 3 numbers of a slate and 8 of each slot, twice when a column grows or is put in order
        (replay_slates, True, True, 400),
    ],
)
def test_a_row_takes_a_few_hundred_bytes(
    run: Callable[..., object], slates: bool, rewarded: bool, bound: int
) -> None:
    peaks = []
    for count in (1_500, 4_500):
        target = Frozen("uniform", ModelSpec({"type": "uniform"}).build())
        tracemalloc.start()
        try:
            run(Made(count, slates=slates, rewarded=rewarded), [target])
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert (peaks[1] - peaks[0]) / 3_000 < bound
