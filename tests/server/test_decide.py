"""One decision: what may be chosen, in what order, with what probability."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import Model
from policies.sampler import Purpose, uniform
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
    return decide(Question.of(asked), slots, event_id, model or settings.spec().build(), settings)


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
    slots = max(1, len(asked.slot_ids))
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
    learned = list(interactions(decision, dict.fromkeys(range(slots), 0.5)))
    assert len(learned) == slots
    for slot, interaction in enumerate(learned):
        assert interaction.actions.ids[interaction.chosen] == asked.action_ids[found.ranking[slot]]
        assert interaction.pmf.sum() == pytest.approx(1.0, abs=1e-12)
        assert interaction.propensity == pytest.approx(found.slot_probabilities[slot], abs=1e-12)
        assert len(interaction.actions) == len(found.ranking) - slot
