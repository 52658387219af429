"""One decision: what may be chosen, in what order, with what probability."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import ActionSet, Features, Model, PolicySettings, Scored, Uniform
from policies.features import encode_context, with_slot
from policies.sampler import Purpose, draw, draw_alike, draw_without_replacement, uniform
from policies.standardise import Standardiser
from rankd.v1 import decisions_pb2 as api
from rankd.v1 import log_pb2 as pb
from server.fold.decide import Answer, Question, decide
from server.fold.interactions import interactions
from server.fold.settings import FoldSettings
from tests.server.scribe import SETTINGS, Scribe, random_request

SALT = bytes.fromhex(SETTINGS.salt)


@pytest.fixture(scope="module")
def trained() -> Model:
    scribe = Scribe()
    scribe.busy(60)
    assert scribe.fold.model is not None
    return scribe.fold.model


def request(*actions: str, excluded: tuple[str, ...] = ()) -> api.RankRequest:
    return api.RankRequest(action_ids=actions, excluded_ids=excluded)


def answer(
    asked: api.RankRequest,
    model: Model | None = None,
    slots: int = 1,
    event_id: str = "event",
    **changes: object,
) -> Answer:
    settings = SETTINGS.model_copy(update=changes)
    names = [str(slot) for slot in range(slots)]
    return decide(Question.of(asked), names, event_id, model or settings.spec().build(), settings)


def by_id(asked: api.RankRequest, found: Answer) -> tuple[dict[str, float], list[str]]:
    """pmf and ranking in terms of ids."""
    ids = asked.action_ids
    return dict(zip(ids, found.pmf.tolist(), strict=True)), [ids[k] for k in found.ranking]


def test_an_untrained_model_plays_uniformly() -> None:
    found = answer(request("a", "b", "c", "d"))
    assert found.pmf.tolist() == [0.25] * 4
    assert found.slot_probabilities == [0.25]
    assert sorted(found.ranking) == [0, 1, 2, 3]


@given(seed=st.integers(0, 10_000))
def test_what_is_excluded_is_out_of_play(trained: Model, seed: int) -> None:
    rng = random.Random(seed)
    asked = random_request(rng)
    found = answer(asked, trained, slots=max(1, len(asked.slot_ids)), event_id=str(seed))
    pmf, ranking = by_id(asked, found)
    eligible = [a for a in asked.action_ids if a not in asked.excluded_ids]
    assert sorted(ranking) == sorted(eligible)
    assert all((probability > 0) == (a in eligible) for a, probability in pmf.items())
    assert abs(sum(pmf.values()) - 1) < 1e-12
    assert min(pmf[a] for a in eligible) >= SETTINGS.min_exploration / len(eligible) * (1 - 1e-9)
    assert found.slot_probabilities[0] == pytest.approx(pmf[ranking[0]], abs=1e-12)
    assert found.preferred == found.ranking[0]


@given(seed=st.integers(0, 10_000), order=st.randoms(use_true_random=False))
def test_the_order_of_a_request_changes_nothing(
    trained: Model, seed: int, order: random.Random
) -> None:
    """Not a bit: the same event gets the same action with the same probability."""
    asked = random_request(random.Random(seed))
    ids, prices = list(asked.action_ids), list(asked.action_features[0].numeric_values)
    shuffled = list(range(len(ids)))
    order.shuffle(shuffled)
    other = api.RankRequest()
    other.CopyFrom(asked)
    del other.action_ids[:], other.excluded_ids[:], other.action_features[0].numeric_values[:]
    other.action_ids.extend(ids[k] for k in shuffled)
    other.action_features[0].numeric_values.extend(prices[k] for k in shuffled)
    other.excluded_ids.extend(reversed(asked.excluded_ids))
    for group in other.context:
        for values in (group.numeric_names, group.numeric_values):
            turned = list(values)[::-1]
            del values[:]
            values.extend(turned)  # type: ignore[arg-type]
    one, two = (answer(r, trained, slots=2, event_id=str(seed)) for r in (asked, other))
    assert by_id(asked, one) == by_id(other, two)
    assert one.slot_probabilities == two.slot_probabilities


@given(seed=st.integers(0, 10_000))
def test_slots_are_drawn_from_what_the_ones_before_left(trained: Model, seed: int) -> None:
    asked = random_request(random.Random(seed))
    eligible = len(asked.action_ids) - len(asked.excluded_ids)
    found = answer(asked, trained, slots=eligible, event_id=str(seed))
    left = found.pmf.copy()
    assert len(set(found.ranking)) == len(found.slot_probabilities) == eligible
    for k, probability in zip(found.ranking, found.slot_probabilities, strict=True):
        assert probability == pytest.approx(left[k] / left.sum(), abs=1e-12)
        left[k] = 0.0


def test_the_draw_is_the_one_that_anybody_can_recompute() -> None:
    """Uniform over three, so u tells the action: a below 1/3, b below 2/3, else c."""
    for i in range(200):
        event = f"event-{i}"
        found = answer(request("a", "b", "c"), event_id=event)
        u = uniform(SALT, Purpose.DRAW, 0, event)
        assert found.ranking[0] == min(2, int(3 * u))


DRAWS = st.integers(1, 8).flatmap(
    lambda size: st.tuples(
        st.lists(st.floats(0, 1), min_size=size, max_size=size).filter(lambda p: sum(p) > 0),
        st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=6),
    )
)


@given(DRAWS)
def test_drawn_together_as_each_alone(drawn: tuple[list[float], list[float]]) -> None:
    """Also from pmfs that do not quite sum to 1, with zeros, and at the very end."""
    masses, us = drawn
    us = [*us, float(np.nextafter(1.0, 0.0)), 0.0]
    pmf = np.array(masses)
    together = draw_alike(np.tile(pmf, (len(us), 1)), np.array(us))
    for u, index, probability in zip(us, *together, strict=True):
        assert index == draw(pmf, u)
        assert ([index], [probability]) == draw_without_replacement(pmf, [u])


@pytest.mark.parametrize("mode", ["apprentice", "logging_only"])
def test_the_baseline_is_the_first_that_may_be_played(trained: Model, mode: str) -> None:
    asked = request("c", "b", "a", "d", excluded=("c",))
    found = answer(asked, trained, slots=2, mode=mode)
    pmf, ranking = by_id(asked, found)
    assert pmf == {"a": 0.0, "b": 1.0, "c": 0.0, "d": 0.0}
    assert ranking[:2] == ["b", "a"]
    assert found.slot_probabilities == [1.0, 1.0]
    free = answer(asked, trained, slots=2)
    assert found.preferred == free.ranking[0]


def test_more_slots_than_a_deterministic_policy_has_actions_in_mind(trained: Model) -> None:
    """Greedy without a floor has one action; further slots get the next best, with certainty."""
    rng = random.Random(7)
    for i in range(50):
        asked = random_request(rng)
        spec = SETTINGS.model_copy(update={"min_exploration": 0.0}).spec()
        greedy = Model(spec, trained.policy, trained.standardiser)
        found = answer(asked, greedy, slots=2, event_id=f"event-{i}", min_exploration=0.0)
        assert np.count_nonzero(found.pmf) == 1
        assert found.slot_probabilities == [1.0, 1.0]
        scored = greedy.pmf(Question.of(asked).context, Question.of(asked).actions, 0)
        best = np.argsort(-scored.scores, kind="stable")[:2]
        assert found.ranking[:2] == Question.of(asked).eligible[best].tolist()


@given(seed=st.integers(0, 10_000), mode=st.sampled_from(["online", "apprentice"]))
def test_what_is_learned_is_what_was_played(trained: Model, seed: int, mode: str) -> None:
    """Each slot's interaction has the pmf that its action was drawn from."""
    asked = random_request(random.Random(seed))
    settings = FoldSettings.model_validate({**SETTINGS.model_dump(), "mode": mode})
    slots = list(asked.slot_ids) or [""]
    found = decide(Question.of(asked), slots, str(seed), trained, settings)
    decision = pb.Decision(
        context=asked.context,
        action_ids=asked.action_ids,
        action_features=asked.action_features,
        excluded_ids=asked.excluded_ids,
        pmf=found.pmf.tolist(),
        ranking=found.ranking,
        slot_probabilities=found.slot_probabilities,
    )
    learned = list(interactions(decision, dict.fromkeys(range(len(slots)), 0.5)))
    assert len(learned) == len(slots)
    for slot, interaction in enumerate(learned):
        assert interaction.actions.ids[interaction.chosen] == asked.action_ids[found.ranking[slot]]
        assert interaction.pmf.sum() == pytest.approx(1.0, abs=1e-12)
        assert interaction.propensity == pytest.approx(found.slot_probabilities[slot], abs=1e-12)
        assert len(interaction.actions) == len(found.ranking) - slot


class TwoMinds(Uniform):
    """Mixes two policies: one that always plays the first action by id, one that plays all alike."""

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        count = len(actions)
        first, alike = np.eye(count)[0], np.full(count, 1 / count)
        return Scored((first + alike) / 2, np.arange(count, 0.0, -1.0), np.array([first, alike]))


class BySlot(Uniform):
    """Prefers another action in every slot: the one whose turn it is by the slot's name."""

    slotwise = True

    def pmf(self, context: Features, actions: ActionSet, seed: int) -> Scored:
        turn = [with_slot(NOTHING, str(slot)).index[0] for slot in range(9)].index(context.index[0])
        pmf = np.ones(len(actions))
        pmf[turn % len(actions)] = 3.0
        return Scored(pmf / pmf.sum(), pmf)


NOTHING = encode_context([])


def test_what_each_mixed_policy_gave_each_slots_action_is_told() -> None:
    """By hand: after its only action is gone, the first policy has nothing left, and counts as uniform."""
    model = Model(SETTINGS.spec(), TwoMinds(PolicySettings(), (0.0, 1.0)), Standardiser())
    for i in range(50):
        found = answer(request("b", "c", "a"), model, slots=3, event_id=str(i))
        expected: list[float] = []
        left = ["a", "b", "c"]
        for k in found.ranking:
            action = "bca"[k]
            one = float(action == "a") if "a" in left else 1 / len(left)
            expected += [one, 1 / len(left)]
            left.remove(action)
        assert found.base_probabilities == pytest.approx(expected, abs=1e-15)


@given(seed=st.integers(0, 1_000), mode=st.sampled_from(["online", "apprentice"]))
def test_a_policy_that_looks_at_slots_has_a_pmf_for_each(seed: int, mode: str) -> None:
    model = Model(SETTINGS.spec(), BySlot(PolicySettings(), (0.0, 1.0)), Standardiser())
    asked = request("d", "b", "a", "c", excluded=("d",))
    settings = FoldSettings.model_validate({**SETTINGS.model_dump(), "mode": mode})
    found = decide(Question.of(asked), ["0", "1", "2"], str(seed), model, settings)
    decision = pb.Decision(
        action_ids=asked.action_ids,
        excluded_ids=asked.excluded_ids,
        slot_ids=["0", "1", "2"],
        pmf=found.pmf.tolist(),
        ranking=found.ranking,
        slot_probabilities=found.slot_probabilities,
        sampler=found.sampler,
        slot_pmfs=found.slot_pmfs,
    )
    assert len(set(found.ranking)) == 3
    left = {"a", "b", "c"}
    for slot, interaction in enumerate(interactions(decision, {0: 0.0, 1: 0.0, 2: 0.0})):
        assert set(interaction.actions.ids) == left
        assert interaction.pmf.sum() == pytest.approx(1.0)
        assert interaction.propensity == pytest.approx(found.slot_probabilities[slot])
        assert interaction.context.index.tolist() == [with_slot(NOTHING, str(slot)).index[0]]
        if mode == "online":
            favourite = slot % len(left)
            assert interaction.pmf[favourite] == interaction.pmf.max()
        left.remove(interaction.actions.ids[interaction.chosen])
