"""Object graphs survive being saved, to the bit and to their sharing; the same graph gives the same bytes; forgeries run nothing."""

from __future__ import annotations

import json
import math
import os
import pickle
import random
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from functools import partial
from hashlib import sha256
from importlib import import_module
from statistics import NormalDist
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river.utils import VectorDict

from policies import PolicyError
from policies.river.objects import decode, encode

# As Any: River annotates some of its functions, and not others.
naive_bayes, optim, proba, rules, stats, tree = (
    cast("Any", import_module(f"river.{name}"))
    for name in ("naive_bayes", "optim", "proba", "rules", "stats", "tree")
)

HEAD = b"rankd.objects.1\n"


def forge(steps: list[Any], root: object = None) -> bytes:
    """Bytes with a right digest, whatever is in them."""
    body = json.dumps([steps, root]).encode()
    return HEAD + sha256(body).digest() + body


def again(value: Any) -> Any:
    """The value after a round trip, which is checked to be canonical."""
    data = encode(value)
    copy = decode(data)
    assert encode(copy) == data
    return copy


VALUES = [
    None,
    True,
    0,
    -(2**200),
    0.1,
    5e-324,
    math.inf,
    -math.inf,
    "",
    "\ud800 |: 🎉\0",
    b"\0\xff",
    (),
    (1, (2.0, ("x", None))),
    frozenset({1, "a", (2, 3)}),
    [],
    [[1], {}],
    {1: "int", "1": "str", True + 1: "two", (1, 2): "tuple", None: "none"},
    {3, 1, 2},
    deque([1, 2, 3], maxlen=3),
    Counter("abca"),
    OrderedDict(b=1, a=2),
    defaultdict(list, {1: [2]}),
    NormalDist(1.0, 2.0),
    int,
    defaultdict,
]


# Not by repr: a set's order is another in each process.
@pytest.mark.parametrize(
    "value", VALUES, ids=[f"{n} {type(value).__name__}" for n, value in enumerate(VALUES)]
)
def test_values_survive(value: object) -> None:
    copy = again(value)
    assert copy == value
    assert type(copy) is type(value)


def test_minus_zero_and_nan_survive() -> None:
    zero, nan = again([-0.0, math.nan])
    assert math.copysign(1, zero) == -1
    assert math.isnan(nan)


def test_what_containers_do_next_survives() -> None:
    bounded, numbers = again((deque([1, 2], maxlen=2), defaultdict(partial(defaultdict, float))))
    bounded.append(3)
    assert list(bounded) == [2, 3]
    numbers["a"]["b"] += 1.5
    assert numbers == {"a": {"b": 1.5}}


@pytest.mark.parametrize("dtype", ["?", "i1", "<i8", "<u4", "<f4", "<f8"])
def test_numpy_survives(dtype: str) -> None:
    grid = np.arange(6).reshape(2, 3).astype(dtype)
    for array in (grid, grid.T, grid[:, ::2], grid[:0], grid[1, 1, ...]):
        copy = again(array)
        assert copy.dtype == array.dtype
        assert np.array_equal(copy, array)
        assert copy.flags.writeable
        assert copy.flags.f_contiguous == array.flags.f_contiguous or not array.flags.contiguous
    assert type(again(grid[1, 1])) is type(grid[1, 1])


def test_random_numbers_go_on() -> None:
    twister, old = random.Random(7), np.random.RandomState(7)
    twister.gauss(0, 1), old.normal()  # each keeps a second number for later
    copies = again([twister, old])
    assert [twister.gauss(0, 1) for _ in range(700)] == [copies[0].gauss(0, 1) for _ in range(700)]
    assert old.normal(size=700).tolist() == copies[1].normal(size=700).tolist()


def test_sharing_and_cycles_survive() -> None:
    shared = [1]
    loop: dict[str, Any] = {"a": shared, "b": (shared,)}
    loop["self"] = loop
    copy = again(loop)
    copy["a"].append(2)
    assert copy["b"] == ([1, 2],)
    assert copy["self"] is copy


def test_depth_has_no_limit() -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    assert len(again(deep)) == 1


def test_dicts_keep_their_order() -> None:
    assert list(again({2: 0, 1: 0})) == [2, 1]
    assert encode({2: 0, 1: 0}) != encode({1: 0, 2: 0})


def test_sets_and_attributes_have_none() -> None:
    assert encode({8, 0, 16}) == encode({16, 8, 0})
    assert encode(set("rankd")) == encode(set("dknar"))
    one, other = stats.Mean(), stats.Mean()
    attributes = vars(one)
    vars(other).clear()
    vars(other).update(reversed(attributes.items()))
    assert list(vars(other)) != list(attributes)
    assert encode(one) == encode(other)


def test_equal_strings_give_equal_bytes_where_pickles_differ() -> None:
    part = "feature"
    same, equal = [part, part], [part, "".join(list(part))]
    assert same == equal
    assert pickle.dumps(same) != pickle.dumps(equal)
    assert encode(same) == encode(equal)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
KEYS = st.integers() | st.text() | st.floats(allow_nan=False) | st.tuples(st.integers(), st.text())


@given(
    st.recursive(
        SCALARS,
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(KEYS, inner)
            | st.sets(KEYS)
            | st.frozensets(KEYS)
            | st.lists(inner).map(tuple)
            | st.lists(inner).map(deque)
        ),
        max_leaves=20,
    )
)
def test_any_graph_survives(value: object) -> None:
    # NaN is unlike itself, and repr tells -0.0 from 0.0, but the order of a set is not part of it.
    assert encode(again(value)) == encode(value)


def test_river_survives() -> None:
    vector: Any = VectorDict({3: 1.5, 1: -2.0}, optim.initializers.Zeros())
    copy = again(vector)
    assert list(copy.items()) == [(3, 1.5), (1, -2.0)]
    assert copy[99] == 0.0  # what it starts from

    window = again(stats.RollingQuantile(q=0.5, window_size=3))
    for x in (1.0, 2.0, 9.0, 9.0):
        window.update(x)
    assert window.get() == 9.0


def test_random_bits_that_nobody_seeded_are_left_out() -> None:
    one, other = proba.Gaussian(), proba.Gaussian()
    assert one._rng.getstate() != other._rng.getstate()
    assert encode(one) == encode(other)
    seeded = proba.Gaussian(seed=1)
    copy = again(seeded)
    seeded.update(1.0), copy.update(1.0)
    assert seeded.sample() == copy.sample()


def _generator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda x: x, "lambda"),
        (_generator(), "generator"),
        (os.system, "system"),
        (math, "module"),
        (sys.__stdout__, "TextIOWrapper"),
        (os.environ, "_Environ"),
        (pickle.loads, "loads"),
        (eval, "eval"),
        (type, "builtins:type"),
        (object(), "builtins:object"),
        ([].append, "append"),
        (np.array([None]), "ndarray"),
        (np.array(["text"]), "ndarray"),
        (np.random.default_rng(1), "Generator"),
        ({random.Random(1)}, "a set of objects"),
        (iter([1]), "list_iterator"),
        (10**5000, "digits"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_cannot_be_saved_is_refused(value: object, what: str) -> None:
    with pytest.raises(PolicyError, match=f"cannot be saved: .*{what}"):
        encode({"deep": [value]})


def test_a_refusal_says_where() -> None:
    model = naive_bayes.GaussianNB()
    model.gaussians = defaultdict(partial(defaultdict, lambda: proba.Gaussian()))
    with pytest.raises(
        PolicyError, match=r"lambda>' in partial in defaultdict in GaussianNB in list$"
    ):
        encode([model])


DANGEROUS: dict[str, tuple[list[Any], Any]] = {
    "call of a function": ([["call", "os:system", "true"]], None),
    "call of a class": ([["call", "subprocess:Popen", "true"]], None),
    "new builtin": ([["new", "builtins:object"]], None),
    "eval": ([], ["function", "builtins:eval"]),
    "getattr": ([], ["function", "builtins:getattr"]),
    "import": ([["call", "builtins:__import__", "os"]], None),
    "a module never imported": ([["new", "antigravity:x"]], ["class", "this:d"]),
    "a class's function": ([], ["function", "river.utils.math:dot"]),
    "a module as a class": ([["new", "river.utils:math"]], None),
    "what a module imported": ([["new", "river.tree.base:pd.DataFrame"]], None),
    "River's downloads": ([["new", "river.datasets.phishing:Phishing"]], None),
    "River's files": ([["new", "river.stream.cache:Cache"]], None),
    "River's files, again": ([["new", "river.bandit.datasets.news:NewsArticles"]], None),
    "a constructor of River's": ([["call", "river.stats.mean:Mean"]], None),
    "a method of a list": ([["list"]], ["method", [0], "append"]),
    "a method that Python reserves": (
        [["new", "river.stats.mean:Mean"]],
        ["method", [0], "__init__"],
    ),
    "a class for an attribute": (
        [
            ["new", "river.stats.mean:Mean"],
            ["attributes", 0, "__class__", ["class", "builtins:int"]],
        ],
        None,
    ),
    "a slot that is none": (
        [["new", "river.stats.mean:Mean"], ["slots", 0, "__dict__", ["tuple"]]],
        None,
    ),
    "attributes of a list": ([["list"], ["attributes", 0, "a", 1]], None),
    "state of an array": (
        [
            ["array", "<f8", [0], "C", ""],
            ["state", 0, ["tuple", 1, ["tuple", 9], "<f8", False, "x"]],
        ],
        None,
    ),
    "an array of objects": ([["array", "|O", [1], "C", "AAAAAAAAAAA="]], None),
    "a shape beyond the data": ([["array", "<f8", [9], "C", "AAAAAAAAAAA="]], None),
    "random bits beyond their end": ([["twister", "AAAA" * 832, 2**40, 0, 0.0]], None),
    "an object that comes later": ([["list"], ["items", 0, [1]]], None),
    "an object before the first": ([["list"]], [-1]),
    "a mapping": ([], {"a": 1}),
    "an unknown step": ([["exec", "1"]], None),
    "an unknown value": ([], ["code", "1"]),
    "rust, cut short": (
        [["new", "river._river_rust.stats:RsEWMean", 0.5], ["state", 0, ["bytes", "AAAA"]]],
        None,
    ),
    "no steps": (3, None),  # type: ignore[dict-item]
}


@pytest.mark.parametrize(("steps", "root"), DANGEROUS.values(), ids=DANGEROUS.keys())
def test_forgeries_are_refused(
    steps: list[Any], root: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[object] = []
    for module, name in (("os", "system"), ("subprocess", "Popen"), ("builtins", "eval")):
        monkeypatch.setattr(f"{module}.{name}", lambda *args: called.append(args))
    before = set(sys.modules)
    with pytest.raises(PolicyError, match="saved objects are refused"):
        decode(forge(steps, root))
    assert not called
    assert {name for name in set(sys.modules) - before if not name.startswith("river")} == set()


def test_damage_is_refused() -> None:
    data = encode([1.5, {"a": (True, None)}, naive_bayes.GaussianNB()])
    for size in range(len(data)):
        with pytest.raises(PolicyError, match="damaged"):
            decode(data[:size])
    for bit in range(8 * len(data)):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(PolicyError, match="damaged"):
            decode(bytes(bad))
    with pytest.raises(PolicyError, match="damaged"):
        decode(data + b" ")


@pytest.mark.parametrize(
    "model",
    [tree.HoeffdingTreeRegressor(grace_period=50), rules.AMRules(n_min=50)],
    ids=lambda model: type(model).__name__,
)
def test_slots_and_functions_within_trees_survive(model: Any) -> None:
    numbers = random.Random(1)
    rows = [{j: numbers.gauss(0, 1) for j in range(3)} for _ in range(400)]
    for row in rows[:300]:
        model.learn_one(row, float(row[0] > 0) + row[1])
    copy = again(model)
    for row in rows[300:]:
        model.learn_one(row, float(row[0] > 0))
        copy.learn_one(row, float(row[0] > 0))
    assert encode(copy) == encode(model)
