"""The builders, read back by the service's own decoder (policies.features)."""

from __future__ import annotations

import enum
from array import array
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.features import encode_actions, encode_context, feature_index
from rankd.errors import InvalidArgument
from rankd.features import action_features, context_features

if TYPE_CHECKING:
    from policies import Features


class Colour(enum.StrEnum):
    RED = "red"


def number(role: str, name: str, space: str = "") -> int:
    return feature_index(role, "n", space, name)


def category(role: str, name: str, value: str, space: str = "") -> int:
    return feature_index(role, "s", space, name, value)


def element(role: str, name: str, i: int, space: str = "") -> int:
    return feature_index(role, "v", space, name, str(i))


def as_dict(features: Features) -> dict[int, float]:
    return dict(zip(features.index.tolist(), features.value.tolist(), strict=True))


def context(values: dict[str, Any]) -> dict[int, float]:
    return as_dict(encode_context(context_features(values)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (31, {number("c", "x"): 31.0}),
        (-0.5, {number("c", "x"): -0.5}),
        (np.float32(0.25), {number("c", "x"): 0.25}),
        (np.int64(7), {number("c", "x"): 7.0}),
        (True, {category("c", "x", "true"): 1.0}),
        (False, {category("c", "x", "false"): 1.0}),
        (np.bool_(True), {category("c", "x", "true"): 1.0}),
        ("Rome", {category("c", "x", "Rome"): 1.0}),
        ("", {category("c", "x", ""): 1.0}),
        (Colour.RED, {category("c", "x", "red"): 1.0}),
        (["a", "b"], {category("c", "x", "a"): 1.0, category("c", "x", "b"): 1.0}),
        ({"b", "a"}, {category("c", "x", "a"): 1.0, category("c", "x", "b"): 1.0}),
        (np.array(["a", "b"]), {category("c", "x", "a"): 1.0, category("c", "x", "b"): 1.0}),
        ([1, 0.5], {element("c", "x", 0): 1.0, element("c", "x", 1): 0.5}),
        ((1.0, 2.0), {element("c", "x", 0): 1.0, element("c", "x", 1): 2.0}),
        (array("f", [1.0, 2.0]), {element("c", "x", 0): 1.0, element("c", "x", 1): 2.0}),
        (np.array([3, 4]), {element("c", "x", 0): 3.0, element("c", "x", 1): 4.0}),
        (np.arange(4.0)[::-2], {element("c", "x", 0): 3.0, element("c", "x", 1): 1.0}),
        (np.array([True, False]), {element("c", "x", 0): 1.0, element("c", "x", 1): 0.0}),
        ({"visits": 3}, {number("c", "visits", "x"): 3.0}),
        ({"tag": "t"}, {category("c", "tag", "t", "x"): 1.0}),
        ({"v": [1.0]}, {element("c", "v", 0, "x"): 1.0}),
        (None, {}),
        ([], {}),
        (np.array([]), {}),
        ({}, {}),
    ],
    # A set has another order in each process, and its test must not have another name.
    ids=lambda value: repr(sorted(value) if isinstance(value, set) else value),
)
def test_what_a_value_becomes(value: object, expected: dict[int, float]) -> None:
    assert context({"x": value}) == expected


def test_a_context_with_everything() -> None:
    values = {
        "age": 31,
        "city": "Rome",
        "taste": [0.5, 1.5],
        "mood": [2.0],
        "user": {"visits": 3, "city": "Oslo"},
    }
    assert context(values) == {
        number("c", "age"): 31.0,
        category("c", "city", "Rome"): 1.0,
        element("c", "taste", 0): 0.5,
        element("c", "taste", 1): 1.5,
        element("c", "mood", 0): 2.0,
        number("c", "visits", "user"): 3.0,
        category("c", "city", "Oslo", "user"): 1.0,
    }


def test_each_action_gets_its_own_features() -> None:
    actions: dict[str, Any] = {
        "a": {"price": 2, "image": {"pixels": [1.0, 2.0]}},
        "b": {"tags": ["x", "y"], "image": {"pixels": [3.0, 4.0], "wide": True}},
        "c": {"price": 5.0, "new": False, "image": {"pixels": np.array([5, 6])}},
    }
    coded = encode_actions(list(actions), action_features(actions))
    rows = [as_dict(coded.take(np.array([k])).features) for k in range(len(actions))]
    assert rows == [
        {
            number("a", "price"): 2.0,
            element("a", "", 0, "image"): 1.0,
            element("a", "", 1, "image"): 2.0,
        },
        {
            category("a", "tags", "x"): 1.0,
            category("a", "tags", "y"): 1.0,
            category("a", "wide", "true", "image"): 1.0,
            element("a", "", 0, "image"): 3.0,
            element("a", "", 1, "image"): 4.0,
        },
        {
            number("a", "price"): 5.0,
            category("a", "new", "false"): 1.0,
            element("a", "", 0, "image"): 5.0,
            element("a", "", 1, "image"): 6.0,
        },
    ]


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=3)
PLAIN = st.one_of(
    st.floats(-1e6, 1e6), st.integers(-10, 10), st.text(st.characters(codec="utf-8"), max_size=3)
)
ROWS = st.lists(
    st.none()
    | st.dictionaries(NAMES, PLAIN | st.dictionaries(NAMES, PLAIN, max_size=3), max_size=4),
    min_size=1,
    max_size=5,
)


@given(ROWS)
def test_rows_never_mix(rows: list[dict[str, Any] | None]) -> None:
    """Whatever the actions' features, each action has those that it would have as the only action."""
    actions = {str(k): row for k, row in enumerate(rows)}
    coded = encode_actions(list(actions), action_features(actions))
    for k, row in enumerate(rows):
        alone = encode_actions(["0"], action_features({"0": row}))
        assert as_dict(coded.take(np.array([k])).features) == as_dict(alone.features)


def test_a_set_is_sent_in_one_order() -> None:
    """Its own order differs between processes, and the service takes another order for another request."""
    tags = {f"tag-{i}" for i in range(50)}
    [message] = context_features({"tags": tags})
    assert list(message.categorical_values) == sorted(tags)


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"x": float("nan")}, InvalidArgument, "context['x']: must be a finite number"),
        ({"y": 1, "x": float("-inf")}, InvalidArgument, "context['x']: must be a finite number"),
        ({"x": 10**400}, InvalidArgument, "context['x']: must be a finite number"),
        ({"u": {"x": float("inf")}}, InvalidArgument, "context['u']['x']: must be a finite number"),
        ({"x": [1.0, float("nan")]}, InvalidArgument, "context['x']: holds a number that is not"),
        (
            {"x": [1e39]},
            InvalidArgument,
            "context['x']: holds a number that is not finite as float32",
        ),
        ({"x": [[1.0], [2.0]]}, InvalidArgument, "context['x']: has 2 dimensions"),
        ({"x": np.array(3.0)}, InvalidArgument, "context['x']: has 0 dimensions"),
        ({"": 1}, InvalidArgument, "context['']: the name is empty"),
        ({"u": {"": 1}}, InvalidArgument, "context['u']['']: the name is empty"),
        ({"u": {"v": {"x": 1}}}, InvalidArgument, "context['u']['v']: a namespace cannot hold"),
        ({3: 1}, TypeError, "context[3]: the name is a int"),
        ({"x": 1j}, TypeError, "context['x']: a complex is no feature"),
        ({"x": b"raw"}, TypeError, "context['x']: a bytes is no feature"),
        ({"x": {1, 2}}, TypeError, "context['x']: a set is no feature"),
        ({"x": ["a", 1]}, TypeError, "context['x']: mixes str"),
        ({"x": [1.0, None]}, TypeError, "context['x']: is neither"),
        ({"x": [1.0, [2.0]]}, TypeError, "context['x']: is neither"),
        ({"x": [1j]}, TypeError, "context['x']: is neither"),
        ({"x": np.array("text")}, TypeError, "context['x']: is neither"),
        ([("x", 1)], TypeError, "context: is a list; features are a dict"),
    ],
    ids=repr,
)
def test_a_wrong_context_is_named(values: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        context_features(values)
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
    ("actions", "kind", "words"),
    [
        ({"a": {"x": float("nan")}}, InvalidArgument, "actions['a']['x']: must be a finite"),
        ({"a": {}, "b": {"u": {"x": 1e999}}}, InvalidArgument, "actions['b']['u']['x']: must be"),
        ({"a": {"v": [1.0]}, "b": {}}, InvalidArgument, "actions['b']: has 0 vectors;"),
        ({"a": None, "b": {"v": [1.0]}}, InvalidArgument, "actions['a']: has 0 vectors;"),
        ({"a": {"v": [1.0], "w": [2.0]}}, InvalidArgument, "actions['a']: has 2 vectors;"),
        (
            {"a": {"v": [1.0]}, "b": {"v": [1.0, 2.0]}},
            InvalidArgument,
            "actions['b']: has the vector 'v' of 2 numbers where actions['a'] has 'v' of 1;",
        ),
        (
            {"a": {"u": {"v": [1.0]}}, "b": {"u": {"w": [1.0]}}},
            InvalidArgument,
            "actions['b']: has the vector 'w' of 1 numbers in namespace 'u' where",
        ),
        ({"a": ["x"]}, TypeError, "actions['a']: is a list; features are a dict"),
    ],
    ids=repr,
)
def test_wrong_action_features_are_named(actions: Any, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as caught:
        action_features(actions)
    assert str(caught.value).startswith(words)
