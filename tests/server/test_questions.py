"""What was found of a request once is found of the next ones that are alike: the same record, or the same refusal."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rankd.v1 import decisions_pb2 as api
from server.sections import Limits
from server.serving.errors import InvalidArgumentError
from server.serving.models import Served
from server.serving.questions import Questions
from server.serving.ranking import Asked, check, complete, to_reply
from tests.server.scribe import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

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
