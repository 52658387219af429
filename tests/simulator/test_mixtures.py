"""What a mixed policy's bases gave, as logged, teaches nobody but a mixture of the same bases."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from policies import ModelSpec
from rankd.v1 import decisions_pb2 as api
from simulator.logs.events import Decided, Matured
from simulator.logs.handed_on import HandedOn
from simulator.logs.rankd_log import RankdLog
from simulator.logs.served import ServedLog
from simulator.online import Live, online
from simulator.replay import replay
from simulator.targets import Trained
from simulator.trained_as_served import TrainedAsServed
from tests.server.scribe import SECOND, SETTINGS, Scribe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from server.fold.settings import FoldSettings
    from simulator.logs.events import Event, Log

LINUCB, GREEDY, UNIFORM = ({"type": name} for name in ("linucb", "epsilon_greedy", "uniform"))
SERVED = [LINUCB, GREEDY, UNIFORM]


def auto(*bases: dict[str, Any], stack: bool = False) -> dict[str, object]:
    return {"type": "auto", "bases": list(bases), "stack": stack}


def settings(*bases: dict[str, Any]) -> FoldSettings:
    return SETTINGS.model_copy(update={"policy": auto(*bases), "wait_us": 5 * SECOND})


def scribe_of(*bases: dict[str, Any], events: int = 300) -> Scribe:
    """One action earns 1, the other nothing; models are published now and then."""
    scribe = Scribe(settings(*bases))
    play(scribe, events)
    for _ in range(3):
        scribe.tick(4 * SECOND)
    return scribe


def play(scribe: Scribe, events: int) -> None:
    first = len(scribe.log)
    for n in range(events):
        event = f"event-{first}-{n}"
        made = scribe.rank(event, api.RankRequest(action_ids=["bad", "good"])).decision()
        scribe.reward(event, float(made.action_ids[made.ranking[0]] == "good"))
        if n % 50 == 0:
            scribe.publish()


class Stripped(HandedOn):
    """A log as if nothing of the bases had been logged."""

    def __iter__(self) -> Iterator[Event]:
        for event in self.log:
            if isinstance(event, Decided):
                yield replace(event, bases=None)
            else:
                yield Matured(replace(event.decision, bases=None), event.reward)


def learned(log: Log, policy: dict[str, object], **changes: Any) -> bytes:
    """The state of a policy that learned the log."""
    spec = ModelSpec(policy, **{"min_exploration": SETTINGS.min_exploration, **changes})
    target = Trained("target", spec)
    replay(log, [target])
    return target.model.state()


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        (auto(LINUCB, GREEDY, UNIFORM), {}),
        (auto({"type": "linucb", "alpha": 0.3}, GREEDY, UNIFORM), {}),  # which is the default
        (auto(LINUCB, GREEDY, UNIFORM) | {"learning_rate": 1.0}, {"min_exploration": 0.5}),
    ],
)
def test_a_mixture_of_the_same_bases_learns_what_they_gave(
    policy: dict[str, object], changes: dict[str, Any]
) -> None:
    scribe = scribe_of(*SERVED)
    found = learned(RankdLog(scribe), policy, **changes)
    assert found != learned(Stripped(RankdLog(scribe)), policy, **changes)
    if policy == auto(*SERVED):
        assert scribe.fold.model is not None
        assert found == scribe.fold.model.state()


@pytest.mark.parametrize(
    ("policy", "changes"),
    [
        (auto(UNIFORM, GREEDY, LINUCB), {}),
        (auto({"type": "linucb", "alpha": 1.0}, GREEDY, UNIFORM), {}),
        (auto(LINUCB, GREEDY, stack=True), {}),  # three columns, too
        (auto(LINUCB, GREEDY, UNIFORM), {"standardise": False}),
    ],
)
def test_other_mixtures_learn_as_if_nothing_of_the_bases_was_logged(
    policy: dict[str, object], changes: dict[str, Any]
) -> None:
    scribe = scribe_of(*SERVED)
    found = learned(RankdLog(scribe), policy, **changes)
    assert found == learned(Stripped(RankdLog(scribe)), policy, **changes)


def test_the_order_of_the_bases_changes_no_estimate() -> None:
    """Measured before: .876 in the order served, .525 in the other."""
    scribe = scribe_of(GREEDY, UNIFORM, events=600)
    spec = ModelSpec(auto(GREEDY, UNIFORM), min_exploration=0.1)
    other = Trained("other order", replace(spec, policy=auto(UNIFORM, GREEDY)))
    same, swapped = replay(RankdLog(scribe), [Trained("served", spec), other]).replayed
    (unknown,) = replay(Stripped(RankdLog(scribe)), [Trained("not logged", spec)]).replayed
    ips = [float(np.mean(ips_of(each.sample))) for each in (same, swapped, unknown)]
    assert ips[1] == pytest.approx(ips[0], abs=0.05)
    assert ips[1] == pytest.approx(ips[2], abs=1e-3)
    assert other.model.policy.report()["weight.epsilon_greedy"] > 0.9


def ips_of(sample: Any) -> NDArray[np.float64]:
    return np.asarray(sample.reward * sample.pi / sample.mu)


@pytest.mark.parametrize("swap", [False, True])
def test_as_served_as_well(swap: bool) -> None:
    scribe = scribe_of(*SERVED)
    policy = auto(*(reversed(SERVED) if swap else SERVED))
    states = []
    for strip in (False, True):
        log = ServedLog(scribe)
        target = TrainedAsServed("target", policy, log)
        replay(Stripped(log) if strip else log, [target])
        states.append(target.model.state())
    assert (states[0] == states[1]) == swap


def test_each_decision_is_of_its_epochs_mixture() -> None:
    """The swapped one is another, the one with another floor is not, and linucb mixes nothing."""
    scribe = scribe_of(GREEDY, UNIFORM, events=20)
    scribe.open_epoch(settings(UNIFORM, GREEDY))
    play(scribe, 20)  # the first of them by the old model
    scribe.open_epoch(settings(UNIFORM, GREEDY).model_copy(update={"min_exploration": 0.3}))
    play(scribe, 20)
    scribe.open_epoch(SETTINGS)
    scribe.publish()
    play(scribe, 20)
    for _ in range(3):
        scribe.tick(4 * SECOND)
    one = ModelSpec(auto(GREEDY, UNIFORM)).mixture
    other = ModelSpec(auto(UNIFORM, GREEDY)).mixture
    names = {1: one, 2: other, 3: other, 4: ""}
    for log in (RankdLog(scribe), ServedLog(scribe)):
        epochs = set()
        for event in log:
            decision = event.decision if isinstance(event, Matured) else event
            made = decision.raw.decision()  # type: ignore[attr-defined]
            epochs.add(made.epoch)
            assert decision.mixture == names[made.epoch]
            assert (decision.bases is None) == (made.epoch == 4)
        assert epochs == {1, 2, 3, 4}


def test_a_life_through_a_log_learns_what_its_own_bases_gave() -> None:
    class Watched(Live):
        def learn(self, matured: Matured) -> None:
            given = matured.decision.interaction(0.0, self.mixture).bases
            assert given is not None
            assert len(given) == 2
            super().learn(matured)

    spec = ModelSpec(auto(UNIFORM, GREEDY), min_exploration=0.1)
    scribe = scribe_of(UNIFORM, LINUCB, events=600)
    assert online(RankdLog(scribe), Watched("target", spec)).acceptance > 0.3
