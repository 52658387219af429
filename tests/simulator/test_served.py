"""A server's log with its recorded model versions: what decided is made again, to the bit, and others learn with the same lags."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rankd.v1 import decisions_pb2 as api
from server.fold.joined import JoinFold
from server.fold.records import LogRecord
from simulator.evaluation import logged
from simulator.logs import Decided, LogFormatError, Matured
from simulator.logs.rankd_log import RankdLog
from simulator.logs.served import ServedLog
from simulator.replay import replay
from simulator.served import AsServed
from simulator.targets import Trained
from simulator.trained_as_served import TrainedAsServed
from tests.exports.conftest import fill
from tests.exports.memory_log import MemoryLog
from tests.server.scribe import SETTINGS, Scribe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from simulator.logs import Event

POLICIES: dict[str, Mapping[str, object]] = {
    "linucb": {"type": "linucb", "alpha": 0.5},
    "lints": {"type": "lints"},
    "epsilon_greedy": {"type": "epsilon_greedy", "epsilon": 0.2},
    "vw": {"type": "vw", "args": "--cb_explore_adf --bag 3"},
}


@pytest.fixture(params=sorted(POLICIES))
def scribe(request: pytest.FixtureRequest) -> Scribe:
    """Slots, exclusions, late publications, undelivered decisions, and an epoch that carries the model on."""
    settings = SETTINGS.model_copy(update={"policy": dict(POLICIES[request.param])})
    scribe = Scribe(settings)
    scribe.busy(120)
    scribe.open_epoch(settings.model_copy(update={"min_exploration": 0.2}))
    scribe.publish()
    scribe.busy(60, seed=2)
    for _ in range(10):
        scribe.tick()
    return scribe


class Spy(TrainedAsServed):
    """Remembers whether each pmf was the logged one."""

    def __init__(self, log: ServedLog, policy: Mapping[str, object], **changes: Any) -> None:
        super().__init__("spy", policy, log, changes)
        self.equal: list[bool] = []

    def pmf(self, decision: Decided) -> NDArray[np.float64]:
        found = super().pmf(decision)
        self.equal.append(decision.pmf is not None and np.array_equal(found, decision.pmf))
        return found


def test_the_served_configuration_gives_the_logged_pmfs_to_the_bit(scribe: Scribe) -> None:
    assert scribe.fold.settings is not None
    assert scribe.fold.model is not None
    log = ServedLog(scribe)
    spy = Spy(log, scribe.fold.settings.policy)
    found = replay(log, [spy])
    assert len(spy.equal) == found.decided > 180  # slots
    assert all(spy.equal)
    sample = found.replayed[0].sample
    assert np.array_equal(sample.pi, sample.mu)
    assert spy.model.reload().state() == scribe.fold.model.reload().state()


def test_without_the_lags_they_differ() -> None:
    scribe = Scribe()
    scribe.busy(120)
    settings = scribe.fold.settings
    assert settings is not None
    log = RankdLog(scribe)
    sample = replay(log, [Trained("at once", settings.spec())]).replayed[0].sample
    assert not np.allclose(sample.pi, sample.mu)


def test_other_settings_are_other_policies() -> None:
    scribe = Scribe()
    scribe.busy(120)
    log = ServedLog(scribe)
    other = Spy(log, {"type": "linucb", "alpha": 3.0})
    floor = Spy(log, {"type": "linucb", "alpha": 0.5}, min_exploration=0.5)
    found = replay(log, [other, floor])
    assert not all(other.equal)
    assert not all(floor.equal)
    assert found.replayed[1].sample.pi.min() >= 0.5 / 6


def test_a_decision_comes_where_its_model_stood() -> None:
    """The second and third decision are by the model from before the first one's reward was final."""
    scribe = Scribe()
    request = api.RankRequest(action_ids=["a", "b"])
    scribe.rank("1", request)
    scribe.reward("1", 1.0)
    for _ in range(3):
        scribe.tick()  # the window closes
    scribe.rank("2", request)
    scribe.publish()
    scribe.rank("3", request)
    scribe.rank("4", request)
    for _ in range(3):
        scribe.tick()
    log = ServedLog(scribe)
    events = [(type(event).__name__, number(event)) for event in log]
    first = [("Decided", 1), ("Decided", 2), ("Matured", 1), ("Decided", 3), ("Decided", 4)]
    assert events[:5] == first
    assert [lag[:2] for lag in log.lags] == [(0, 0), (1, 1), (0, 0), (1, 0)]
    assert log.lags[1].seconds == pytest.approx(3.3)
    assert sorted(events) == sorted((type(e).__name__, number(e)) for e in RankdLog(scribe))


def number(event: Event) -> int:
    decision = event.decision if isinstance(event, Matured) else event
    assert isinstance(decision.raw, LogRecord)
    return int(decision.raw.event_id)


def test_rewards_by_version() -> None:
    scribe = Scribe()
    scribe.busy(150)
    for _ in range(5):
        scribe.tick()
    ran = AsServed()
    found = replay(ServedLog(scribe), [ran])
    sample = found.replayed[0].sample
    assert set(sample.weight) == {1.0}
    groups = ran.by_version()
    assert 5 < len(groups) <= 10
    assert sum(each.n for each in groups) == found.matured
    assert all(one.last < other.first for one, other in pairwise(groups))
    means = [(each.reward.value or 0.0) * each.n for each in groups]
    assert sum(means) / found.matured == pytest.approx(sample.reward.mean())
    (whole,) = ran.by_version(groups=1)
    assert whole.n == found.matured
    # Slots of one decision belong together here as there.
    own = logged(sample)
    assert whole.reward.interval == own.interval == "Student t over decisions"
    assert whole.reward.low == pytest.approx(own.low)


def test_only_a_servers_log_has_versions() -> None:
    events = list(RankdLog(filled()))
    stranger = next(replace(e, raw=None) for e in events if isinstance(e, Decided))
    with pytest.raises(LogFormatError, match="no record of a server's log"):
        AsServed().learn(Matured(stranger, 0.0))
    with pytest.raises(LogFormatError, match="has no pmf"):
        AsServed().pmf(replace(stranger, pmf=None))


def test_a_trimmed_log_begins_where_it_can() -> None:
    log = filled()
    log.trim()
    for source in (RankdLog(log), ServedLog(log)):
        found = replay(source, [AsServed()])  # what was open at its beginning comes with its reward
        rest = sum(len(row.rewards) for row in JoinFold(log, "shop").rows())
        assert found.matured == rest < found.decided


def filled() -> MemoryLog:
    log = MemoryLog()
    fill(log)
    return log


def test_without_a_floor_the_best_follow_those_that_can_be_drawn() -> None:
    """Once linucb has learned its pmf has one action, and three slots are to be filled: the others go by their scores."""
    scribe = Scribe(SETTINGS.model_copy(update={"min_exploration": 0.0}))
    slate = api.RankRequest(action_ids=["a", "b", "c", "d"], slot_ids=["1", "2", "3"])
    for i in range(20):
        top = scribe.rank(f"event-{i}", slate).decision().ranking[0]
        scribe.reward(f"event-{i}", [0.1, 0.4, 0.2, 0.3][top], slot_id="1")
        scribe.tick()
        scribe.publish()
    assert scribe.fold.settings is not None
    log = ServedLog(scribe)
    spy = Spy(log, scribe.fold.settings.policy)
    replay(log, [spy])
    filled = [d for d in log if isinstance(d, Decided) and d.slot and d.propensity == 1.0]
    assert any(each.chosen for each in filled)  # not always the first by id
    assert spy.equal == [True] * 60
