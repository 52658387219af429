"""What was found of a request once is found of the next ones that are alike: the same record, or the same refusal."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies import Policy, PolicyError
from rankd.v1 import decisions_pb2 as api
from rankd.v1 import log_pb2 as pb
from server.sections import Limits
from server.serving import ranking
from server.serving.errors import InvalidArgumentError, UnavailableError
from server.serving.models import Served
from server.serving.questions import Questions, tail
from server.serving.ranking import Asked, check, complete, to_reply
from tests.server.scribe import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from policies import ActionSet, Alike, Features, Scored

LIMITS = Limits()
IDS = ["b", "a", "c"]


def served() -> Served:
    return Served(SETTINGS, SETTINGS.spec().build(), 1, 0, (0, 1, 0))


def vectors(rng: random.Random) -> api.RankRequest:
    numbers = np.array([rng.gauss(0, 1) for _ in range(6)], "<f4")
    asked = api.RankRequest(action_ids=IDS)
    asked.action_features.add(vector_size=2, vector_data=numbers.tobytes())
    return asked


def names(rng: random.Random) -> api.RankRequest:
    asked = api.RankRequest(action_ids=IDS, excluded_ids=["a"], defer_activation=True)
    asked.context.add(
        numeric_names=["age", "hour"],
        numeric_values=[rng.random(), 7.0],
        categorical_names=["country"],
        categorical_values=["nl"],
    )
    asked.action_features.add(
        numeric_counts=[1, 2, 0],
        numeric_names=["price", "price", "stock"],
        numeric_values=[rng.random() for _ in range(3)],
        categorical_counts=[0, 0, 1],
        categorical_names=["brand"],
        categorical_values=["x"],
    )
    return asked


def nothing(_: random.Random) -> api.RankRequest:
    return api.RankRequest(action_ids=IDS)


def slate(rng: random.Random) -> api.RankRequest:
    asked = vectors(rng)
    asked.k = 2
    return asked


def everything(rng: random.Random) -> api.RankRequest:
    asked = names(rng)
    del asked.excluded_ids[:]
    asked.context.add(
        namespace="v",
        vector_names=["p", "q"],
        vector_sizes=[1, 2],
        vector_data=np.array([rng.random() for _ in range(3)], "<f4").tobytes(),
    )
    return asked


KINDS = [vectors, names, nothing, slate, everything]


def decided(asked: api.RankRequest, known: Questions, by: Served) -> tuple[Asked, bytes]:
    checked = check("", "default", asked, LIMITS, known)
    (payload,) = complete([checked], lambda _: by, LIMITS, known)
    if isinstance(payload, Exception):
        raise payload
    return checked, payload


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_the_record_and_the_reply_are_the_same(
    make: Callable[[random.Random], api.RankRequest],
) -> None:
    rng, known, by = random.Random(1), Questions(), served()
    met = 0
    for i in range(20):
        asked = make(rng)
        asked.event_id = f"event {i}"
        checked, record = decided(asked, known, by)
        alone, expected = decided(asked, Questions(), by)
        assert record == expected
        assert to_reply(checked) == to_reply(alone)
        met += checked.shape is not None
    assert met == (0 if make is slate else 19)


@pytest.mark.parametrize("make", [vectors, names, everything], ids=lambda make: make.__name__)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e30])
def test_the_refusal_is_the_same(
    make: Callable[[random.Random], api.RankRequest], bad: float
) -> None:
    """Of each number that is wrong, be it of an action that is left out."""
    rng, known, by = random.Random(2), Questions(), served()
    decided(make(rng), known, by)
    group = make(rng).action_features[0]
    for place in range(len(group.numeric_values) + len(group.vector_data) // 4):
        asked = make(rng)
        rows = asked.action_features[0]
        if rows.numeric_values:
            rows.numeric_values[place] = bad
        else:
            numbers = np.frombuffer(rows.vector_data, "<f4").copy()
            numbers[place] = bad
            rows.vector_data = numbers.tobytes()
        told = []
        for memory in (known, Questions()):
            with pytest.raises(InvalidArgumentError) as caught:
                decided(asked, memory, by)
            told.append((caught.value.field, caught.value.reason))
        assert told[0] == told[1]
        assert told[0][0].endswith(f"[{place}]")


@pytest.mark.parametrize("policy", [{"type": "linucb"}, {"type": "softmax"}])
@pytest.mark.parametrize("mode", ["online", "apprentice"])
def test_together_they_are_answered_as_each_alone(policy: dict[str, str], mode: str) -> None:
    """Of all kinds, in any order; one that is wrong is refused, and no other."""
    settings = SETTINGS.model_copy(update={"policy": policy, "mode": mode})
    by, rng, known = (
        Served(settings, settings.spec().build(), 1, 0, (0, 1, 0)),
        random.Random(5),
        Questions(),
    )
    for make in KINDS:
        decided(make(rng), known, by)
    requests = [rng.choice(KINDS)(rng) for _ in range(40)]
    wrong = vectors(rng)
    wrong.action_features[0].vector_data = np.full(6, np.inf, "<f4").tobytes()
    requests.insert(20, wrong)
    for i, asked in enumerate(requests):
        asked.event_id = f"event {i}"
    checked = [check("", "default", asked, LIMITS, known) for asked in requests]
    found = complete(checked, lambda _: by, LIMITS, known)
    assert isinstance(found.pop(20), InvalidArgumentError)
    del checked[20], requests[20]
    assert sum(each.shape is not None for each in checked) > 20
    for asked, each, record in zip(requests, checked, found, strict=True):
        alone, expected = decided(asked, Questions(), by)
        assert record == expected
        assert to_reply(each) == to_reply(alone)
        assert pb.Decision.FromString(expected).SerializeToString() == expected


def test_where_there_is_no_model_only_that_app_is_told() -> None:
    by, known = served(), Questions()

    def model(app: str) -> Served:
        if app == "new":
            raise UnavailableError("no model yet")
        return by

    asked = [
        check("", app, vectors(random.Random(6)), LIMITS, known) for app in ("old", "new", "old")
    ]
    found = complete(asked, model, LIMITS, known)
    assert [type(each) for each in found] == [bytes, UnavailableError, bytes]


def test_a_policy_that_fails_at_one_question_answers_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    by, known, rng = served(), Questions(), random.Random(8)
    decided(vectors(rng), known, by)
    requests = [vectors(rng) for _ in range(5)]
    odd = np.full(6, 7.0, "<f4")
    requests[2].action_features[0].vector_data = odd.tobytes()
    play = by.model.policy.pmf

    def fails(context: Features, actions: ActionSet, seed: int) -> Scored:
        if (actions.features.value == 7.0).all():
            raise PolicyError("cannot")
        return play(context, actions, seed)

    monkeypatch.setattr(by.model.policy, "pmf", fails)
    monkeypatch.setattr(
        by.model.policy,
        "pmf_alike",
        lambda events, seeds: Policy.pmf_alike(by.model.policy, events, seeds),
    )
    checked = [check("", "default", asked, LIMITS, known) for asked in requests]
    found = complete(checked, lambda _: by, LIMITS, known)
    assert [type(each) for each in found] == [bytes, bytes, PolicyError, bytes, bytes]


def test_numbers_at_the_limit_are_taken_or_refused_alike() -> None:
    """A vector's numbers have 32 bits: .1 among them is a little more than .1."""
    by, rng = served(), random.Random(9)
    told: list[bytes | Exception] = []
    limits = Limits(magnitude=0.1)
    for known in (Questions(), Questions()):
        small = vectors(rng)
        small.action_features[0].vector_data = bytes(24)
        first = check("", "default", small, limits, known)
        if not told:
            complete([first], lambda _: by, limits, known)
        asked = vectors(rng)
        asked.action_features[0].vector_data = np.full(6, 0.1, "<f4").tobytes()
        checked = check("", "default", asked, limits, known)
        assert (checked.shape is None) == bool(told)
        told.append(complete([checked], lambda _: by, limits, known)[0])
    assert [type(each) for each in told] == [InvalidArgumentError] * 2


def test_large_questions_are_decided_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    by, rng, known, sizes = served(), random.Random(10), Questions(), []
    decided(vectors(rng), known, by)
    together = by.model.pmf_alike

    def seen(events: Alike, seeds: Sequence[int]) -> Scored:
        sizes.append(len(events))
        return together(events, seeds)

    monkeypatch.setattr(by.model, "pmf_alike", seen)
    checked = [check("", "default", vectors(rng), LIMITS, known) for _ in range(5)]
    monkeypatch.setattr(ranking, "_ELEMENTS", 20)  # 3 actions with 2 numbers each: 3 + 6 elements
    found = complete(checked, lambda _: by, LIMITS, known)
    assert sizes == [2, 2, 1]
    assert all(isinstance(each, bytes) for each in found)


@given(
    app=st.sampled_from(["", "shop", "\u00e4" * 70]),
    event_id=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=150),
    seed=st.integers(0, 99),
)
def test_the_tail_is_what_is_asked(app: str, event_id: str, seed: int) -> None:
    asked = KINDS[seed % len(KINDS)](random.Random(seed))
    expected = asked.SerializeToString()
    asked.app, asked.event_id = app, event_id
    assert tail(asked) == expected


def test_fields_that_nobody_knows_are_not_logged() -> None:
    """A newer client's: they stand behind all others, and look like numbers here."""
    known, by, rng = Questions(), served(), random.Random(7)
    unknown = api.RankRequest(context=[{"numeric_names": ["x"], "numeric_values": [1.0]}])
    data = vectors(rng).SerializeToString()
    asked = api.RankRequest.FromString(data + b"\xfa\x01\x03abc")
    for _ in range(3):
        assert decided_alone(asked, "e", by) == decided_alone(vectors(random.Random(7)), "e", by)
        asked.event_id = "e"
        assert decided(asked, known, by)[1] == decided_alone(asked, "e", by)
    # One that has the number of features, but is a number.
    odd = api.RankRequest.FromString(data + b"\x18\x02")
    odd.event_id = "e"
    for _ in range(3):
        assert decided(odd, known, by)[1] == decided_alone(asked, "e", by)
    # Fields that come twice, out of order: protobuf puts them together, and so does the log.
    twice = api.RankRequest.FromString(data + unknown.SerializeToString())
    twice.event_id = "e"
    for _ in range(3):
        assert decided(twice, known, by)[1] == decided(twice, Questions(), by)[1]


def test_a_wrong_request_leaves_nothing_behind() -> None:
    known, by = Questions(), served()
    asked = vectors(random.Random(3))
    asked.action_features[0].vector_data = np.full(6, np.nan, "<f4").tobytes()
    with pytest.raises(InvalidArgumentError):
        decided(asked, known, by)
    fine = vectors(random.Random(3))
    assert check("", "default", fine, LIMITS, known).shape is None


def test_another_question_of_the_same_length_is_another_shape() -> None:
    known, by, rng = Questions(), served(), random.Random(4)
    decided(vectors(rng), known, by)
    other = vectors(rng)
    other.action_ids[0] = "z"
    checked, record = decided(other, known, by)
    assert checked.shape is None
    assert record == decided_alone(other, checked.event_id, by)


def decided_alone(asked: api.RankRequest, event_id: str, by: Served) -> bytes:
    again = api.RankRequest()
    again.CopyFrom(asked)
    again.event_id = event_id
    return decided(again, Questions(), by)[1]


@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_a_retry_is_told_from_another_question_by_what_the_log_has(
    make: Callable[[random.Random], api.RankRequest],
) -> None:
    rng, known, by = random.Random(2), Questions(), served()
    first, moved, other = make(rng), make(rng), api.RankRequest()
    other.CopyFrom(first)
    other.defer_activation = not first.defer_activation
    _, record = decided(first, known, by)
    older = pb.Decision.FromString(record)
    older.request_hash = bytes(16)  # as servers wrote that are older than this comparison
    for known_here in (known, Questions()):
        for before in (record, older.SerializeToString()):
            # Another one of its kind has other numbers, unless the kind has none.
            for asked, clashes in ((first, False), (moved, make is not nothing), (other, True)):
                checked = check("", "default", asked, LIMITS, known_here)
                checked.made_before(before)
                assert checked.clashes is clashes
