"""The test of logged probabilities: sound logs pass, however short or lopsided; false ones fail."""

from __future__ import annotations

import random

import pytest

from simulator.propensities import OTHERS, Drift, Propensities


def play(played: list[float], logged: list[float], rows: int, seed: int) -> Propensities:
    rng = random.Random(seed)
    seen = Propensities()
    ids = [f"a{k}" for k in range(len(played))]
    for _ in range(rows):
        chosen = rng.choices(range(len(played)), played)[0]
        seen.add(logged, ids, chosen)
    return seen


def alarms(seen: Propensities) -> bool:
    return seen.weight.too_far(1) or any(
        d.too_far(len(seen.actions)) for d in seen.actions.values()
    )


@pytest.mark.parametrize("rows", [1, 10, 300])
@pytest.mark.parametrize("pmf", [[0.5, 0.5], [0.98, 0.01, 0.01], [1.0], [0.998, 0.001, 0.001]])
def test_sound_logs_raise_no_alarm(rows: int, pmf: list[float]) -> None:
    assert not any(alarms(play(pmf, pmf, rows, seed)) for seed in range(40))


def test_what_was_not_played_is_noticed() -> None:
    assert alarms(play([0.9, 0.1], [0.5, 0.5], 100, 1))
    assert alarms(play([0.5, 0.5], [0.9, 0.1], 100, 1))
    assert alarms(play([0.95, 0.05], [0.9, 0.1], 4_000, 1))


def test_the_sums_by_hand() -> None:
    """Uniform weights (1/2) / p: 0.625 and 2.5. Mean 1, variance 0.25 (1/0.8 + 1/0.2) - 1 = 0.5625."""
    seen = Propensities()
    for chosen in (0, 0, 1):
        seen.add([0.8, 0.2], ["a", "b"], chosen)
    assert seen.mean_weight == pytest.approx((0.625 + 0.625 + 2.5) / 3)
    assert seen.weight.variance == pytest.approx(3 * 0.5625)
    assert seen.weight.largest == 2.5
    assert seen.actions["a"].total == pytest.approx(2 - 3 * 0.8)
    assert seen.actions["b"].total == pytest.approx(1 - 3 * 0.2)
    assert seen.actions["b"].variance == pytest.approx(3 * 0.16)
    assert seen.actions["b"].z == pytest.approx(0.4 / 0.48**0.5)
    worst = seen.worst()
    assert worst is not None
    assert worst[0] in "ab"


def test_the_bound_by_hand() -> None:
    """For M = 0 Freedman's bound is Gauss's: t = sqrt(2 V ln(2 / 1e-6)) = 5.387 sqrt(V)."""
    assert not Drift(53.8, 100.0, 0.0).too_far(1)
    assert Drift(53.9, 100.0, 0.0).too_far(1)
    assert Drift(-53.9, 100.0, 0.0).too_far(1)
    assert not Drift(53.9, 100.0, 0.0).too_far(2)


def test_more_actions_than_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.propensities._MOST_ACTIONS", 2)
    seen = play([0.25] * 4, [0.25] * 4, 1_000, 1)
    assert set(seen.actions) == {"a0", "a1", OTHERS} or OTHERS in seen.actions
    assert len(seen.actions) == 3
    assert sum(drift.total for drift in seen.actions.values()) == pytest.approx(0)
    assert not alarms(seen)
