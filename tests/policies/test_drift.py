"""What counts as drift, and what follows it, by hand."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from policies import Interaction, Model, ModelSpec, PolicyError
from policies.detectors import DETECTORS, drift_settings
from policies.drift import Monitor
from policies.features import encode_actions, encode_context
from policies.pack import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CONTEXT = encode_context([])
ACTIONS = encode_actions(["a", "b"], [])
LINUCB = {"type": "linucb"}
# Signals as soon as errors exceed their mean by 0.4 in sum: without any allowance, from the first interaction on.
EAGER = {
    "detector": "page_hinkley",
    "threshold": 0.4,
    "delta": 0.0,
    "alpha": 1.0,
    "min_instances": 1,
}


def monitor(config: dict[str, Any], low: float = 0.0, high: float = 1.0) -> Monitor:
    return Monitor(drift_settings(config), (low, high))


def interaction(reward: float, chosen: int = 0) -> Interaction:
    return Interaction(CONTEXT, ACTIONS, chosen, np.array([0.5, 0.5]), reward)


def learned(spec: ModelSpec, rewards: Iterable[float]) -> Model:
    model = spec.build()
    model.learn([interaction(reward) for reward in rewards])
    return model


def spec(drift: dict[str, Any] | None, policy: dict[str, Any] = LINUCB, **more: Any) -> ModelSpec:
    return ModelSpec(policy, reward_range=(0.0, 1.0), drift=drift, **more)


def clicks(share: float, count: int, seed: int) -> list[float]:
    random = Random(seed)
    return [float(random.random() < share) for _ in range(count)]


def first_detection(watched: Monitor, rewards: Sequence[float]) -> int | None:
    """How many of these rewards it took."""
    before = watched.detections
    for n, reward in enumerate(rewards, 1):
        watched.watch(reward, None)
        if watched.detections > before:
            return n
    return None


# -- what is watched -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reward", "expected", "error"),
    [
        (5.0, None, 0.0),  # the highest
        (-3.0, None, 1.0),  # the lowest
        (3.0, None, 0.25),  # 2 of 8 below the highest
        (7.0, None, 0.0),  # a sum of rewards may leave the range
        (3.0, 3.0, 0.0),
        (1.0, 3.0, 0.25),
        (5.0, 3.0, 0.25),  # better than expected is an error, too
        (5.0, -9.0, 1.0),
        (5.0, float("nan"), 1.0),  # a model that has diverged; no NaN may reach the detector
    ],
)
def test_errors_are_shares_of_the_reward_range(
    reward: float, expected: float | None, error: float
) -> None:
    assert monitor(EAGER, -3.0, 5.0)._error(reward, expected) == error


def test_page_hinkley_by_hand() -> None:
    """Errors 0, 0, 0, 1 have the mean 1/4 at last, which the last one exceeds by 3/4 > 0.4."""
    watched = monitor(EAGER)
    assert first_detection(watched, [1.0, 1.0, 1.0, 0.0]) == 4
    assert (watched.learned, watched.detections, watched.last) == (4, 1, 4)
    # River empties a detector that has signalled: it begins again.
    assert first_detection(watched, [1.0, 0.0]) == 2


TUNED: dict[str, dict[str, Any]] = {
    **{name: {} for name in DETECTORS},
    "eddm": {"beta": 0.5},  # at its defaults it signals where nothing changes
}


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_notices_a_change_for_the_worse(name: str) -> None:
    watched = monitor({"detector": name, **TUNED[name]})
    assert first_detection(watched, clicks(0.8, 500, seed=1)) is None
    found = first_detection(watched, clicks(0.2, 500, seed=2))
    assert found is not None
    assert found <= 300


@pytest.mark.parametrize("name", DETECTORS)
def test_no_detector_takes_a_change_for_the_better_amiss(name: str) -> None:
    watched = monitor({"detector": name, **TUNED[name]})
    assert first_detection(watched, clicks(0.2, 500, seed=1)) is None
    assert first_detection(watched, clicks(0.8, 500, seed=2)) is None


@pytest.mark.parametrize(
    ("config", "better"),
    [({"detector": "adwin"}, 150), ({"detector": "kswin", "window_size": 100}, 60)],
)
def test_one_that_has_seen_improvement_notices_what_comes_right_after(
    config: dict[str, Any], better: int
) -> None:
    """Had it forgotten all then, as River would have it, what comes next would be all that it knows."""
    watched = monitor(config)
    assert first_detection(watched, clicks(0.1, 600, seed=1)) is None
    assert first_detection(watched, clicks(0.9, better, seed=2)) is None
    assert first_detection(watched, clicks(0.1, 100, seed=3)) is not None


def test_the_mean_of_residuals_hides_what_their_size_shows() -> None:
    """A reward that is 1/2 becomes one that is 0 or 1, half of the time each: its mean is the same."""
    random = Random(1)
    rewards = [0.5] * 300 + [float(random.random() < 0.5) for _ in range(300)]
    residual = {"detector": "adwin", "on": "residual"}
    assert learned(spec(residual), rewards).drift.report()["detections"] >= 1  # type: ignore[union-attr]
    assert learned(spec({"detector": "adwin"}), rewards).drift.report()["detections"] == 0  # type: ignore[union-attr]


# -- what follows ----------------------------------------------------------------------------------


def test_alert_changes_nothing_but_the_count() -> None:
    rewards = [1.0] * 20 + [0.0] * 20
    watched, plain = learned(spec(EAGER), rewards), learned(spec(None), rewards)
    assert watched.drift is not None
    assert watched.drift.detections > 0
    assert watched.policy.state() == plain.policy.state()
    ours, theirs = (model.pmf(CONTEXT, ACTIONS, 1) for model in (watched, plain))
    assert ours.pmf.tobytes() == theirs.pmf.tobytes()


def test_restart_begins_with_the_interaction_that_was_too_much() -> None:
    rewards = [1.0, 1.0, 1.0, 0.0, 0.0]
    model = learned(spec({**EAGER, "action": "restart"}), rewards)
    assert model.policy.state() == learned(spec(None), rewards[3:]).policy.state()
    assert (
        model.standardiser.arrays().keys()
        == learned(spec(None), rewards).standardiser.arrays().keys()
    )


def test_restart_keeps_the_moments() -> None:
    from rankd.v1.features_pb2 import Features as Message

    contexts = [
        encode_context([Message(numeric_names=["x"], numeric_values=[x])]) for x in range(5)
    ]
    rewards = [1.0, 1.0, 1.0, 0.0, 0.0]
    steps = [
        Interaction(context, ACTIONS, 0, np.array([0.5, 0.5]), reward)
        for context, reward in zip(contexts, rewards, strict=True)
    ]
    moments = []
    for drift in (None, {**EAGER, "action": "restart"}):
        model = spec(drift).build()
        model.learn(steps)
        moments.append({name: a.tobytes() for name, a in model.standardiser.arrays().items()})
    assert moments[0] == moments[1]


def test_restarts_keep_their_distance() -> None:
    """Each pair of rewards 1, 0 is a detection: at 2, 4, 6 ... With 5 rounds between, only those at 2, 8, 14 restart."""
    watched = monitor({**EAGER, "action": "restart", "min_rounds": 5})
    restarts = [n for n in range(1, 15) if watched.watch(float(n % 2), None)]
    assert restarts == [2, 8, 14]
    assert watched.detections == 7


def test_explore_raises_the_floor_for_some_rounds() -> None:
    config = {**EAGER, "action": "explore", "exploration": 0.5, "rounds": 3}
    model = spec(config, min_exploration=0.1).build()
    least = []
    for reward in [1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]:
        model.learn([interaction(reward)])
        least.append(float(model.pmf(CONTEXT, ACTIONS, 1).pmf.min()))
    # Of two actions each has half of the floor; the detection is at the fourth.
    assert least == pytest.approx([0.05, 0.05, 0.05, 0.25, 0.25, 0.25, 0.05])


def test_explore_never_lowers_the_floor() -> None:
    watched = monitor({**EAGER, "action": "explore", "exploration": 0.01})
    first_detection(watched, [1.0, 0.0])
    assert watched.floor(0.1) == 0.1


# -- settings --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "drift.detector: is missing; known are adwin, "),
        ({"detector": "adwinn"}, "drift.detector: no detector 'adwinn'; did you mean 'adwin'"),
        (
            {"detector": "adwin", "detla": 1},
            "drift.detla: adwin has no such setting; did you mean 'delta'",
        ),
        ({"detector": "adwin", "delta": 0}, "drift.delta: "),
        ({"detector": "ddm", "on": "rewards"}, "drift.on: "),
        ({"detector": "kswin", "window_size": 50}, r"drift\.kswin: .*stat_size \(50\)"),
    ],
)
def test_errors_name_the_setting(config: dict[str, Any], words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        ModelSpec(LINUCB, drift=config).build()


def test_residuals_need_a_policy_that_expects_something() -> None:
    residual = ModelSpec({"type": "uniform"}, drift={"detector": "adwin", "on": "residual"})
    with pytest.raises(PolicyError, match=r"uniform expects no rewards .* choose reward"):
        residual.build()


def test_river_is_one_of_the_libraries() -> None:
    names = {name.split("==")[0] for name in spec({"detector": "kswin"}).libraries()}
    assert {"river", "scipy", "numpy"} <= names
    assert spec(None).libraries() == [
        library for library in spec(EAGER).libraries() if not library.startswith("river==")
    ]


# -- state -----------------------------------------------------------------------------------------


def test_a_model_that_is_not_watched_does_not_say_so() -> None:
    _, arrays = unpack(learned(spec(None), [1.0]).state())
    assert sorted(arrays) == ["count", "index", "m2", "mean", "policy"]


@pytest.mark.parametrize("name", DETECTORS)
def test_a_resumed_detector_goes_on_as_if_nothing_had_been(name: str) -> None:
    rewards = clicks(0.8, 350, seed=1) + clicks(0.2, 350, seed=2)
    whole, resumed = (monitor({"detector": name}) for _ in range(2))
    for n, reward in enumerate(rewards):
        if n % 50 == 0:
            resumed = Monitor.from_state(resumed.settings, (0.0, 1.0), resumed.state())
        whole.watch(reward, None)
        resumed.watch(reward, None)
    assert whole.detections > 0
    assert resumed.state() == whole.state()


def test_only_learning_needs_river() -> None:
    """A server loads models twenty times a second, and asks them only."""
    model = learned(spec(EAGER), [1.0, 0.0]).reload()
    model.pmf(CONTEXT, ACTIONS, 1)
    again = model.state()
    assert model.drift is not None
    assert model.drift._detector is None
    assert again == model.reload().state()


def test_settings_may_change_under_way() -> None:
    """What the detector does not know of is changed in place; another detector begins afresh; the policy stays."""
    rewards = [1.0, 1.0, 0.0]
    before = learned(spec(EAGER), rewards)
    state, policy = before.state(), before.policy.state()
    for drift, detections in (
        ({**EAGER, "action": "restart", "rounds": 7}, 1),
        ({**EAGER, "threshold": 0.3}, 0),
        ({**EAGER, "on": "residual"}, 0),
        ({"detector": "adwin"}, 0),
    ):
        after = spec(drift).load(state)
        assert after.drift is not None
        assert (after.drift.detections, after.policy.state()) == (detections, policy)
    assert spec(None).load(state).state() == learned(spec(None), rewards).state()
    wider = ModelSpec(LINUCB, reward_range=(0.0, 2.0), drift=EAGER).load(state)  # other shares
    assert wider.drift is not None
    assert wider.drift.learned == 0
    added = spec(EAGER).load(learned(spec(None), rewards).state())
    assert added.drift is not None
    assert added.drift.learned == 0


@pytest.mark.parametrize("counts", [[1, 2, 1, 0], [-1, -1, 0, 0], [5, 1, 6, 0], [5, 1, 2, 3], [1]])
def test_counts_that_cannot_be_are_refused(counts: list[int]) -> None:
    watched = monitor(EAGER)
    header, arrays = unpack(watched.state())
    bad = pack(header, {**arrays, "counts": np.array(counts, np.int64)})
    with pytest.raises(PolicyError, match="not a state of a drift monitor"):
        Monitor.from_state(watched.settings, (0.0, 1.0), bad)


def test_another_detectors_objects_are_refused() -> None:
    one, other = (monitor({"detector": name}) for name in ("ddm", "adwin"))
    for watched in (one, other):
        watched.watch(1.0, None)
    bad = pack(unpack(one.state())[0], unpack(other.state())[1])
    loaded = Monitor.from_state(one.settings, (0.0, 1.0), bad)
    with pytest.raises(PolicyError, match="the saved detector is a ADWIN"):
        loaded.watch(1.0, None)
