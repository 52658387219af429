"""One pass over a log, on logs small enough to follow by hand."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from policies import ModelSpec
from policies.features import NO_FEATURES, encode_actions
from simulator.logs import Decided, LogFormatError, Matured
from simulator.replay import replay
from simulator.reward_models import Progressive
from simulator.targets import Frozen, Trained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.logs import Event

ACTIONS = encode_actions(["a", "b"], [])
SPEC = ModelSpec({"type": "epsilon_greedy", "epsilon": 0.0}, min_exploration=0.2)


class Listed:
    """A log of events in a list."""

    name = "listed"
    reward_range = (0.0, 1.0)

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.counters: Counter[str] = Counter()

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)


def decided(key: str, chosen: int, pmf: list[float] | None = None, weight: float = 1.0) -> Decided:
    mu = np.array(pmf or [0.5, 0.5])
    p = float(mu[chosen])
    return Decided(key, 0, NO_FEATURES, ACTIONS, chosen, mu, p, weight=weight)


def test_a_target_learns_a_reward_when_it_was_final_and_not_before() -> None:
    first, second, third = decided("1", 0), decided("2", 0), decided("3", 0)
    log = Listed([first, Matured(first, 1.0), second, third, Matured(second, 0.0)])
    found = replay(log, [Trained("greedy", SPEC)])
    sample = found.replayed[0].sample
    assert (found.decided, found.matured) == (3, 2)
    assert sample.reward.tolist() == [1.0, 0.0]
    # Untrained it plays both alike; after a reward of 1 for a it is greedy, but for its floor of .2.
    assert sample.pi.tolist() == pytest.approx([0.5, 0.9])


def test_delays_cost_what_they_cost() -> None:
    first, second = decided("1", 0), decided("2", 0)
    log = Listed([first, second, Matured(second, 1.0), Matured(first, 1.0)])
    sample = replay(log, [Trained("greedy", SPEC)]).replayed[0].sample
    assert sample.pi.tolist() == pytest.approx([0.5, 0.5])


def test_rows_are_in_the_order_of_decisions() -> None:
    first, second = decided("1", 0), decided("2", 1)
    log = Listed([first, second, Matured(second, 0.25), Matured(first, 1.0)])
    assert replay(log, [Trained("g", SPEC)]).replayed[0].sample.reward.tolist() == [1.0, 0.25]


def test_overlap_is_over_all_actions() -> None:
    """mu never plays b, and the target plays it half of the time."""
    row = decided("1", 0, [1.0, 0.0])
    sample = (
        replay(Listed([row, Matured(row, 1.0)]), [Frozen("u", SPEC.build())]).replayed[0].sample
    )
    assert sample.unsupported.tolist() == [0.5]
    assert sample.expected_square.tolist() == [0.25]
    assert sample.w_max.tolist() == [float("inf")]
    assert sample.weight.tolist() == [0.5]


def test_the_reward_model_knows_only_what_had_matured() -> None:
    rows = [decided(str(i), 0) for i in range(3)]
    events: list[Event] = [each for row in rows for each in (row, Matured(row, 1.0))]
    model = ModelSpec({"type": "linucb", "ridge": 1.0}, reward_range=(0.0, 1.0)).build()
    q = Progressive(model)
    sample = replay(Listed(events), [Frozen("u", SPEC.build())], q).replayed[0].sample
    # A constant alone with ridge 1: after n rewards of 1 it expects n / (n + 1).
    assert sample.q_logged.tolist() == pytest.approx([0.0, 1 / 2, 2 / 3])
    assert sample.q_pi.tolist() == pytest.approx([0.0, 1 / 4, 1 / 3])


def test_frozen_targets_stay_as_they_are() -> None:
    first, second = decided("1", 0), decided("2", 0)
    log = Listed([first, Matured(first, 1.0), second, Matured(second, 1.0)])
    sample = replay(log, [Frozen("u", SPEC.build())]).replayed[0].sample
    assert sample.pi.tolist() == [0.5, 0.5]


def test_targets_share_rows() -> None:
    row = decided("1", 0)
    found = replay(Listed([row, Matured(row, 1.0)]), [Trained("1", SPEC), Trained("2", SPEC)])
    assert [each.sample.reward.tolist() for each in found.replayed] == [[1.0], [1.0]]


def test_contradictions_are_refused() -> None:
    row = decided("1", 0)
    unknown: list[Event] = [Matured(row, 1.0)]
    twice: list[Event] = [row, Matured(row, 1.0), Matured(row, 1.0)]
    for events in (unknown, twice):
        with pytest.raises(LogFormatError, match="never made, or has two"):
            replay(Listed(events), [Trained("g", SPEC)])
    with pytest.raises(LogFormatError, match="was made twice"):
        replay(Listed([row, row]), [Trained("g", SPEC)])
    rates = [decided("1", 0, weight=2.0), decided("2", 0, weight=4.0)]
    with pytest.raises(LogFormatError, match=r"decision 2 stands for 4 .*thin it to one rate"):
        replay(Listed(list(rates)), [Trained("g", SPEC)])


def test_a_log_that_was_thinned_at_one_rate_is_a_sample_of_it() -> None:
    pair = [[decided(name, 0, weight=weight) for name in "12"] for weight in (1.0, 4.0)]
    events = [[event for row in rows for event in (row, Matured(row, 1.0))] for rows in pair]
    whole, thinned = (replay(Listed(each), [Trained("g", SPEC)]).replayed[0] for each in events)
    assert thinned.sample.pi.tolist() == whole.sample.pi.tolist()


def test_an_empty_log_gives_empty_samples() -> None:
    found = replay(Listed([]), [Trained("g", SPEC)])
    assert len(found.replayed[0].sample) == 0
