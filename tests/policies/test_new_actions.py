"""The share of new actions, by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from policies import Interaction, ModelSpec, PolicyError, new_actions
from policies.features import encode_actions, encode_context
from policies.new_actions import NewActions, NewActionsSettings
from policies.pack import pack, unpack

CONTEXT = encode_context([])
GREEDY = {"type": "epsilon_greedy", "epsilon": 0.0}


def counter(share: float = 0.2, until: int = 2, **learned: int) -> NewActions:
    new = NewActions(NewActionsSettings(share=share, until=until))
    for action, times in learned.items():
        for _ in range(times):
            new.learn(action)
    return new


def test_the_share_by_hand() -> None:
    """c was learned once and d never, fewer than 2 times: each gets half of 0.2, all keep 0.8 of their own."""
    mixed = counter(a=2, b=5, c=1).mix("abcd", np.array([0.5, 0.25, 0.25, 0.0]))
    assert mixed == pytest.approx([0.4, 0.2, 0.3, 0.1])


@pytest.mark.parametrize("ids", ["ab", "cd", "c"])
def test_nothing_happens_where_none_is_new_or_all_are(ids: str) -> None:
    pmf = np.full(len(ids), 1 / len(ids))
    assert counter(a=2, b=5, c=1).mix(ids, pmf) is pmf


def test_the_floor_comes_on_top() -> None:
    """0.8 of (1, 0) and 0.2 for b make (0.8, 0.2); a floor of 0.5 makes half of it, and 0.25 for each."""
    spec = ModelSpec(GREEDY, False, 0.5, (0.0, 1.0), new_actions={"share": 0.2, "until": 1})
    model = spec.build()
    actions = encode_actions(["a", "b"], [])
    model.learn([Interaction(CONTEXT, actions, 0, np.array([0.5, 0.5]), 1.0)])
    policy = model.policy.pmf(CONTEXT, actions, 0).pmf
    expected = 0.5 * (0.8 * policy + np.array([0.0, 0.2])) + 0.25
    assert model.pmf(CONTEXT, actions, 0).pmf == pytest.approx(expected)


def test_an_action_is_new_until_it_was_learned_so_often() -> None:
    new = counter(until=3, a=3)
    for n in range(4):
        share = new.mix("ab", np.array([1.0, 0.0]))[1]
        assert share == pytest.approx(0.2 if n < 3 else 0.0)
        new.learn("b")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three actions in a memory for two the one that was learned longest ago is new again."""
    monkeypatch.setattr(new_actions, "CAPACITY", 2)
    new = counter(a=2, b=2)
    new.learn("a")
    new.learn("c")
    assert unpack(new.state())[0] == {"ids": ["a", "c"]}
    assert new.mix("ab", np.array([0.5, 0.5])) == pytest.approx([0.4, 0.6])


def test_settings_may_change_under_way() -> None:
    model = ModelSpec(GREEDY, new_actions={"share": 0.2, "until": 1}).build()
    actions = encode_actions(["a", "b"], [])
    model.learn([Interaction(CONTEXT, actions, 0, np.array([0.5, 0.5]), 1.0)])
    for settings, share in (({"share": 0.4, "until": 1}, 0.4), ({"share": 0.4, "until": 2}, 0.0)):
        after = ModelSpec(GREEDY, new_actions=settings).load(model.state()).new_actions
        assert after is not None
        assert after.mix("ab", np.array([1.0, 0.0]))[1] == pytest.approx(share)
    without = ModelSpec(GREEDY).load(model.state())
    assert without.new_actions is None
    assert "new_actions" not in unpack(without.state())[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"share": 1.5}, "new_actions.share: "),
        ({"until": 0}, "new_actions.until: "),
        ({"untill": 3}, "new_actions.untill: .* did you mean 'until'"),
    ],
)
def test_errors_name_the_setting(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(PolicyError, match=words):
        ModelSpec(GREEDY, new_actions=settings).build()


@pytest.mark.parametrize(
    ("ids", "counts"),
    [(["a", "a"], [1, 1]), (["a"], [0]), (["a"], [1, 2]), ("a", [1]), ([1], [1])],
)
def test_a_state_that_cannot_be_is_refused(ids: object, counts: list[int]) -> None:
    bad = pack({"ids": ids}, {"learned": np.array(counts, np.int64)})
    with pytest.raises(PolicyError, match="not a state of new actions"):
        NewActions.from_state(NewActionsSettings(), bad)
