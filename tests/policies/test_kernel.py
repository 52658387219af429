"""Kernel regression against its formula, its memory as a ring, and what it finds that no line can."""

from __future__ import annotations

import numpy as np
import pytest

from policies import ActionSet, Features, Interaction, KernelRegression, PolicyError
from policies.check_problem import play
from policies.features import encode_actions
from policies.kernel.memory import Memory
from policies.model import ModelSpec
from policies.pack import pack, unpack
from policies.registry import create, restore

RANGE = (0.0, 1.0)
ACTIONS = encode_actions(["a", "b"], [])


def point(*values: float) -> Features:
    n = len(values)
    index = np.arange(1, n + 1, dtype=np.uint64)
    return Features(index, np.array(values), np.full(n, 99, np.uint8), np.zeros(n, np.bool_))


def lesson(
    context: Features, chosen: int, reward: float, actions: ActionSet = ACTIONS
) -> Interaction:
    return Interaction(context, actions, chosen, np.full(len(actions), 0.5), reward)


def policy(**settings: object) -> KernelRegression:
    made = create({"type": "kernel", **settings}, RANGE)
    assert isinstance(made, KernelRegression)
    return made


def test_the_formula() -> None:
    made = policy(bandwidth=0.5, alpha=0.3, prior_weight=2.0)
    made.learn([lesson(point(0.0), 0, 1.0), lesson(point(2.0), 0, 0.0), lesson(point(4.0), 1, 1.0)])
    # Variance 8 / 3 of 0, 2, 4, so D = 16 / 3; 16 h^2 D = 64 / 3. From 1: both contexts of a are 1 away, that of b is 3.
    near, far = (1 + 3 / 64) ** -8, (1 + 27 / 64) ** -8
    mean = 2 / 3
    weight = np.array([2 + 2 * near, 2 + far])
    expected = np.array([2 * mean + near, 2 * mean + far]) / weight
    scored = made.pmf(point(1.0), ACTIONS, 0)
    np.testing.assert_allclose(made.expected(point(1.0), ACTIONS), expected, rtol=1e-6)
    np.testing.assert_allclose(scored.scores, expected + 0.3 / np.sqrt(weight), rtol=1e-6)
    assert scored.pmf.tolist() == [0.0, 1.0]


def test_untrained_and_unknown_actions_are_alike() -> None:
    made = policy()
    assert made.pmf(point(1.0), ACTIONS, 0).pmf.tolist() == [0.5, 0.5]
    made.learn([lesson(point(1.0), 0, 1.0)])
    other = encode_actions(["x", "y"], [])
    assert made.expected(point(1.0), other).tolist() == [1.0, 1.0]  # the mean reward so far


def test_contexts_that_never_differ_give_plain_means() -> None:
    made = policy(prior_weight=1.0)
    nothing = point()
    made.learn([lesson(nothing, 0, 1.0), lesson(nothing, 0, 0.0), lesson(nothing, 1, 1.0)])
    np.testing.assert_allclose(
        made.expected(nothing, ACTIONS), [(2 / 3 + 1) / 3, (2 / 3 + 1) / 2], rtol=1e-12
    )


def test_features_of_actions_count() -> None:
    def things(a: float) -> ActionSet:
        features = point(a, 0.0)
        index = np.array([7, 7], np.uint64)
        return ActionSet(
            ("a", "b"),
            np.array([0, 1, 2], np.intp),
            Features(index, features.value, features.namespace, features.numeric),
        )

    made = policy(alpha=0.0)
    for _ in range(20):
        made.learn([lesson(point(), 0, 1.0, things(1.0)), lesson(point(), 0, 0.0, things(-1.0))])
    good, bad = (made.expected(point(), things(a))[0] for a in (1.0, -1.0))
    assert good > 0.9
    assert bad < 0.1


def test_the_oldest_is_forgotten() -> None:
    made = policy(memory=2)
    made.learn([lesson(point(0.0), 0, 1.0), lesson(point(1.0), 1, 0.0), lesson(point(2.0), 1, 1.0)])
    header, arrays = unpack(made.state())
    assert header["ids"] == ["b"]
    assert header["learned"] == 3
    assert arrays["x"].tolist() == [[2.0, 1.0]]
    assert arrays["reward"].tolist() == [1.0, 0.0]
    assert restore({"type": "kernel", "memory": 2}, RANGE, made.state()).state() == made.state()


def test_a_few_actions_are_taken_out_without_a_bit_of_difference() -> None:
    """Whether their interactions are copied out of the memory or all are looked at."""
    random = np.random.default_rng(1)
    ids = tuple("abcdef")
    everything = encode_actions(ids, [])
    made = policy()
    for _ in range(200):
        made.learn(
            [
                lesson(
                    point(*random.normal(size=20)),
                    int(random.integers(6)),
                    random.random(),
                    everything,
                )
            ]
        )
    asked = point(*random.normal(size=20))
    whole = made.pmf(asked, everything, 0).scores
    for k in range(6):
        assert made.pmf(asked, everything.only(k), 0).scores[0] == whole[k]


def test_columns_are_folded_when_they_run_out() -> None:
    memory = Memory(4, 2)
    assert memory.add(point(1.0, 2.0, 4.0), "a", 1.0).tolist() == [1.0, 2.0 + 4.0]  # 3 % 2 = 1
    where, distance = memory.neighbours(point(1.0, 2.0, 5.0), ACTIONS)
    assert distance.tolist() == [1.0]
    assert where == slice(0, 1)


def test_a_feature_never_seen_is_as_far_as_it_is_great() -> None:
    memory = Memory(4, 8)
    memory.add(point(1.0), "a", 1.0)
    _, distance = memory.neighbours(point(1.0, 3.0), ACTIONS)
    assert distance.tolist() == [9.0]


def test_it_finds_what_no_line_can() -> None:
    """The reward of a is that of being far from 0, of b that of being near."""
    random = np.random.default_rng(2)
    rewards = {"kernel": 0.0, "linucb": 0.0}
    for name in rewards:
        model = ModelSpec({"type": name}, standardise=False).build()
        for x in random.uniform(-2, 2, 400):
            scored = model.pmf(point(x), ACTIONS, 0)
            chosen = int(random.random() < scored.pmf[1])
            reward = float((abs(x) > 1) == (chosen == 0))
            model.learn([Interaction(point(x), ACTIONS, chosen, scored.pmf, reward)])
            rewards[name] += reward / 400
    assert rewards["kernel"] > 0.85
    assert rewards["kernel"] > rewards["linucb"] + 0.2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", np.full((1, 2), np.nan, np.float32)),
        ("x", np.zeros((2, 2), np.float32)),
        ("x", np.zeros((1, 2))),
        ("reward", np.array([np.inf, 0.0])),
        ("reward", np.zeros(1)),
        ("action", np.array([0, 5])),
        ("spread", np.array([-1.0])),
        ("centre", np.zeros(2)),
        ("mean", np.array([np.nan])),
        ("mean", np.zeros(2)),
    ],
)
def test_states_that_cannot_be(name: str, value: np.ndarray) -> None:
    made = policy()
    made.learn([lesson(point(0.5), 0, 1.0), lesson(point(1.0), 1, 0.0)])
    header, arrays = unpack(made.state())
    with pytest.raises(PolicyError, match="not a state of kernel"):
        restore({"type": "kernel"}, RANGE, pack(header, {**arrays, name: value}))


def test_state_of_another_memory_is_refused() -> None:
    with pytest.raises(PolicyError, match="expected"):
        restore({"type": "kernel", "memory": 7}, RANGE, policy().state())


def test_memory_stays_bounded() -> None:
    model = ModelSpec({"type": "kernel", "memory": 50, "dimensions": 4}).build()
    play(model, 120)
    assert len(model.policy.state()) < 50 * (4 * 4 + 16) + 4 * 24 + 1500
