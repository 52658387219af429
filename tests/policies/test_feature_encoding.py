"""Features: the order of a request changes no bit, names only name, and what is wrong is refused by its path."""

from __future__ import annotations

import struct
from math import inf, nan
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.features import (
    FeatureError,
    action_index,
    encode_actions,
    encode_context,
    feature_index,
    namespace_letter,
)
from rankd.v1.features_pb2 import ActionFeatures, Features

if TYPE_CHECKING:
    from policies import Features as Encoded

# Any characters but surrogates, which protobuf refuses.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAME = TEXT.filter(bool)
NUMBER = st.floats(-1e6, 1e6)
VECTOR = st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=4)
NAMED = st.fixed_dictionaries(
    {
        "numeric": st.dictionaries(NAME, NUMBER, max_size=4),
        "categorical": st.sets(st.tuples(NAME, TEXT), max_size=4).map(sorted),
        "vector": st.dictionaries(NAME, VECTOR, max_size=2),
    }
)
CONTEXT = st.dictionaries(TEXT, NAMED, max_size=3)


def floats(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def context_message(namespace: str, named: dict[str, Any]) -> Features:
    return Features(
        namespace=namespace,
        numeric_names=list(named["numeric"]),
        numeric_values=list(named["numeric"].values()),
        categorical_names=[name for name, _ in named["categorical"]],
        categorical_values=[value for _, value in named["categorical"]],
        vector_names=list(named["vector"]),
        vector_sizes=[len(vector) for vector in named["vector"].values()],
        vector_data=floats([x for vector in named["vector"].values() for x in vector]),
    )


def actions_message(namespace: str, things: list[dict[str, Any]]) -> ActionFeatures:
    return ActionFeatures(
        namespace=namespace,
        numeric_counts=[len(named["numeric"]) for named in things],
        numeric_names=[name for named in things for name in named["numeric"]],
        numeric_values=[x for named in things for x in named["numeric"].values()],
        categorical_counts=[len(named["categorical"]) for named in things],
        categorical_names=[name for named in things for name, _ in named["categorical"]],
        categorical_values=[x for named in things for _, x in named["categorical"]],
        vector_size=2,
        vector_data=floats([float(i) for i in range(2 * len(things))]),
    )


def as_bytes(features: Encoded) -> list[bytes]:
    parts = (features.index, features.value, features.namespace, features.numeric)
    return [part.tobytes() for part in parts]


def backwards(named: dict[str, Any]) -> dict[str, Any]:
    return {
        "numeric": dict(reversed(named["numeric"].items())),
        "categorical": named["categorical"][::-1],
        "vector": dict(reversed(named["vector"].items())),
    }


@given(CONTEXT)
def test_the_order_of_names_and_namespaces_changes_no_bit(context: dict[str, Any]) -> None:
    one = encode_context([context_message(*item) for item in context.items()])
    other = encode_context(
        [context_message(space, backwards(named)) for space, named in reversed(context.items())]
    )
    assert as_bytes(one) == as_bytes(other)
    assert len(one) == sum(
        len(named["numeric"]) + len(named["categorical"]) + sum(map(len, named["vector"].values()))
        for named in context.values()
    )


@given(st.lists(NAMED, min_size=1, max_size=4))
def test_an_action_has_the_same_features_wherever_it_stands(things: list[dict[str, Any]]) -> None:
    vectors = [2.0 * i for i in range(len(things))]
    ids = [f"id{k}" for k in range(len(things))]
    message = actions_message("x", things)
    message.vector_size, message.vector_data = 1, floats(vectors)
    turned = actions_message("x", [backwards(named) for named in reversed(things)])
    turned.vector_size, turned.vector_data = 1, floats(vectors[::-1])
    one, other = encode_actions(ids, [message]), encode_actions(ids[::-1], [turned])
    for k in range(len(things)):
        assert as_bytes(one.of(k)) == as_bytes(other.of(len(things) - 1 - k))


@given(CONTEXT)
def test_features_are_sorted_by_namespace_then_index(context: dict[str, Any]) -> None:
    encoded = encode_context([context_message(*item) for item in context.items()])
    keys = list(zip(encoded.namespace.tolist(), encoded.index.tolist(), strict=True))
    assert keys == sorted(set(keys))


@given(st.sets(st.lists(TEXT, min_size=1, max_size=4).map(tuple), max_size=30))
def test_distinct_names_have_distinct_indices(names: set[tuple[str, ...]]) -> None:
    assert len({feature_index(*parts) for parts in names}) == len(names)


def test_kinds_roles_and_namespaces_are_kept_apart() -> None:
    named = {"numeric": {"x": 1.0}, "categorical": [("x", "0")], "vector": {"x": [1.0]}}
    spaces = [context_message(space, named) for space in ("", "x", "xx")]
    context = encode_context(spaces)
    actions = encode_actions(["x"], [actions_message(space, [named]) for space in ("", "x", "xx")])
    indices = [*context.index.tolist(), *actions.features.index.tolist(), action_index("x")]
    assert len(set(indices)) == len(indices) == 9 + 3 * (1 + 1 + 2) + 1


def test_long_names_hash_like_short_ones_kept_or_not() -> None:
    for name in ("n" * 64, "n" * 65, "n" * 10_000):
        message = Features(numeric_names=[name], numeric_values=[1.0])
        first, again = encode_context([message]), encode_context([message])
        assert as_bytes(first) == as_bytes(again)
        assert first.index[0] == feature_index("c", "n", "", name)


def test_indices_are_for_ever() -> None:
    """They are in every stored model: a change of the hash would make all of them forget."""
    assert feature_index("c", "n", "user", "age") == 16133000330046366088
    assert action_index("article-1") == 8496785963005042437


def test_one_category_may_have_several_values() -> None:
    message = Features(categorical_names=["tag", "tag"], categorical_values=["a", "b"])
    assert encode_context([message]).value.tolist() == [1.0, 1.0]


def test_numbers_are_marked_and_nothing_else() -> None:
    named = {"numeric": {"x": 3.0}, "categorical": [("c", "v")], "vector": {"v": [0.5, 0.25]}}
    encoded = encode_context([context_message("", named)])
    assert encoded.value[encoded.numeric].tolist() == [3.0]
    assert sorted(encoded.value[~encoded.numeric].tolist()) == [0.25, 0.5, 1.0]


def test_no_features_at_all() -> None:
    assert len(encode_context([])) == 0
    actions = encode_actions(["a", "b"], [])
    assert len(actions) == 2
    assert actions.start.tolist() == [0, 0, 0]
    assert len(actions.of(1)) == 0


def test_namespace_letters() -> None:
    assert [chr(namespace_letter(n, "c")) for n in ("user", "", "|x", "ünit", "7up")] == list(
        "ucccc"
    )


BAD_CONTEXT: dict[str, tuple[list[dict[str, Any]], str]] = {
    "two of one namespace": ([{"namespace": "u"}, {"namespace": "u"}], "context[1].namespace"),
    "more names than values": (
        [{"numeric_names": ["a", "b"], "numeric_values": [1.0]}],
        "context[0].numeric_values",
    ),
    "more values than names": (
        [{"categorical_names": ["a"], "categorical_values": ["x", "y"]}],
        "context[0].categorical_values",
    ),
    "sizes without names": ([{"vector_sizes": [3]}], "context[0].vector_sizes"),
    "vector too short": (
        [{"vector_names": ["v"], "vector_sizes": [3], "vector_data": b"\0" * 8}],
        "context[0].vector_data",
    ),
    "vector data without a vector": ([{"vector_data": b"\0" * 4}], "context[0].vector_data"),
    "a number twice": (
        [{}, {"namespace": "u", "numeric_names": ["a", "b", "a"], "numeric_values": [1, 2, 3]}],
        "context[1].numeric_names[2]",
    ),
    "a category's value twice": (
        [{"categorical_names": ["a", "a"], "categorical_values": ["x", "x"]}],
        "context[0].categorical_names[1]",
    ),
    "a vector twice": (
        [{"vector_names": ["v", "v"], "vector_sizes": [1, 1], "vector_data": b"\0" * 8}],
        "context[0].vector_names[1]",
    ),
    "an empty name": (
        [{"numeric_names": ["a", ""], "numeric_values": [1, 2]}],
        "context[0].numeric_names[1]",
    ),
    "a vector without a name": (
        [{"vector_names": [""], "vector_sizes": [1], "vector_data": b"\0" * 4}],
        "context[0].vector_names[0]",
    ),
    **{
        f"number {x}": (
            [{"numeric_names": ["a", "b"], "numeric_values": [1.0, x]}],
            "context[0].numeric_values[1]",
        )
        for x in (nan, inf, -inf, 1e300, 1.0000001e6)
    },
    **{
        f"element {x}": (
            [{"vector_names": ["v"], "vector_sizes": [2], "vector_data": floats([x, 1.0])}],
            "context[0].vector_data[0]",
        )
        for x in (nan, inf, 1e30)
    },
}


@pytest.mark.parametrize(("groups", "field"), BAD_CONTEXT.values(), ids=BAD_CONTEXT.keys())
def test_bad_contexts_are_refused(groups: list[dict[str, Any]], field: str) -> None:
    with pytest.raises(FeatureError) as refused:
        encode_context([Features(**group) for group in groups])
    assert refused.value.field == field


BAD_ACTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "counts for too few actions": (
        {"numeric_counts": [1], "numeric_names": ["a"], "numeric_values": [1.0]},
        "numeric_counts",
    ),
    "names without counts": (
        {"numeric_names": ["a"], "numeric_values": [1.0]},
        "numeric_counts",
    ),
    "counts of more names": (
        {"categorical_counts": [1, 1], "categorical_names": ["a"], "categorical_values": ["x"]},
        "categorical_counts",
    ),
    "a number twice in one action": (
        {
            "numeric_counts": [1, 2],
            "numeric_names": ["a", "a", "a"],
            "numeric_values": [1.0, 2.0, 3.0],
        },
        "numeric_names[2]",
    ),
    "vectors of one action only": (
        {"vector_size": 2, "vector_data": floats([1.0, 2.0])},
        "vector_data",
    ),
    "NaN in the second action's vector": (
        {"vector_size": 1, "vector_data": floats([1.0, nan])},
        "vector_data[1]",
    ),
    "a number too great": (
        {"numeric_counts": [0, 1], "numeric_names": ["a"], "numeric_values": [-1e300]},
        "numeric_values[0]",
    ),
}


@pytest.mark.parametrize(("group", "field"), BAD_ACTIONS.values(), ids=BAD_ACTIONS.keys())
def test_bad_actions_are_refused(group: dict[str, Any], field: str) -> None:
    with pytest.raises(FeatureError) as refused:
        encode_actions(["a", "b"], [ActionFeatures(namespace="ok"), ActionFeatures(**group)])
    assert refused.value.field == f"action_features[1].{field}"


def test_the_limit_of_magnitude_can_be_set() -> None:
    message = Features(numeric_names=["a"], numeric_values=[2.0])
    with pytest.raises(FeatureError, match="at most 1"):
        encode_context([message], magnitude=1.0)
    assert encode_context([message], magnitude=2.0).value.tolist() == [2.0]


@given(st.data())
def test_take_is_the_actions_one_by_one(data: st.DataObject) -> None:
    things = data.draw(st.lists(NAMED, min_size=1, max_size=5))
    actions = encode_actions([f"id{k}" for k in range(len(things))], [actions_message("", things)])
    order = data.draw(st.lists(st.integers(0, len(things) - 1), max_size=6))
    taken = actions.take(np.array(order, np.intp))
    assert taken.ids == tuple(f"id{k}" for k in order)
    for place, k in enumerate(order):
        assert as_bytes(taken.of(place)) == as_bytes(actions.of(k))
