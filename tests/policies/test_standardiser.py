"""Running moments against numpy's over all data, and what standardisation leaves alone."""

from __future__ import annotations

import numpy as np
import pytest

from policies import ActionSet, Features, Interaction, ModelSpec, PolicyError, standardise
from policies.standardise import CLIP, Standardiser, kernel


def numbers(**values: float) -> Features:
    """Named numbers; the names' first letters are their indices."""
    index = np.array(sorted(ord(name) for name in values), np.uint64)
    value = np.array([values[chr(i)] for i in index.tolist()], np.float64)
    return Features(index, value, np.full(len(index), 99, np.uint8), np.ones(len(index), np.bool_))


def interaction(context: Features, *actions: Features) -> Interaction:
    start = np.concatenate(([0], np.cumsum([len(a) for a in actions]))).astype(np.intp)
    both = Features(
        np.concatenate([a.index for a in (*actions, NOTHING)]),
        np.concatenate([a.value for a in (*actions, NOTHING)]),
        np.concatenate([a.namespace for a in (*actions, NOTHING)]),
        np.concatenate([a.numeric for a in (*actions, NOTHING)]),
    )
    ids = tuple(f"a{k}" for k in range(len(actions)))
    return Interaction(context, ActionSet(ids, start, both), 0, np.ones(1), 0.0)


NOTHING = numbers()


def learned(*interactions: Interaction) -> Standardiser:
    standardiser = Standardiser()
    for each in interactions:
        standardiser.learn(each)
    return standardiser


def test_by_hand() -> None:
    """1, 2 and 6 have mean 3 and variance (4 + 1 + 9) / 3 = 14 / 3."""
    three = learned(*(interaction(numbers(x=x)) for x in (1.0, 2.0, 6.0)))
    assert three.transform(numbers(x=5.0)).value == pytest.approx([2.0 / np.sqrt(14 / 3)])


def test_against_numpy_over_contexts_and_actions() -> None:
    random = np.random.default_rng(1)
    data = random.normal(1e5, 3.0, (50, 7))  # a mean much greater than the deviation
    standardiser = learned(
        *(interaction(numbers(x=row[0]), *(numbers(x=v, y=-v) for v in row[1:])) for row in data)
    )
    arrays = standardiser.arrays()
    assert arrays["index"].tolist() == [ord("x"), ord("y")]
    assert arrays["count"].tolist() == [350, 300]
    assert arrays["mean"] == pytest.approx([data.mean(), -data[:, 1:].mean()], rel=1e-13)
    expected = [data.var() * 350, data[:, 1:].var() * 300]
    assert arrays["m2"] == pytest.approx(expected, rel=1e-9)


def test_at_once_equals_one_by_one() -> None:
    """Ten actions in one interaction, or ten interactions: the same moments but for rounding."""
    values = np.random.default_rng(2).normal(size=10)
    at_once = learned(interaction(NOTHING, *(numbers(x=v) for v in values))).arrays()
    singly = learned(*(interaction(NOTHING, numbers(x=v)) for v in values)).arrays()
    for name, array in at_once.items():
        assert array == pytest.approx(singly[name], rel=1e-13), name


@pytest.mark.parametrize("constant", [0.1, 1e6, -3.3, 0.0])
def test_a_constant_never_seems_to_vary(constant: float) -> None:
    """0.1 + 0.1 + 0.1 is not 0.3, but the mean of equal values is that value all the same."""
    same = numbers(x=constant)
    standardiser = learned(*(interaction(same, *[same] * k) for k in range(1, 12)))
    assert standardiser.arrays()["m2"].tolist() == [0.0]
    assert standardiser.transform(same).value.tolist() == [0.0]


def test_what_is_not_known_is_0() -> None:
    standardiser = learned(interaction(numbers(x=1.0)))
    assert standardiser.transform(numbers(x=5.0, y=5.0)).value.tolist() == [0.0, 0.0]
    assert Standardiser().transform(numbers(x=5.0)).value.tolist() == [0.0]


def test_outliers_are_clipped() -> None:
    standardiser = learned(*(interaction(numbers(x=x)) for x in (-1.0, 1.0)))
    assert standardiser.transform(numbers(x=1e6)).value.tolist() == [CLIP]
    assert standardiser.transform(numbers(x=-1e6)).value.tolist() == [-CLIP]


def test_categories_and_vectors_stay_as_they_are() -> None:
    mixed = Features(
        np.array([1, 2, 3], np.uint64),
        np.array([7.0, 1.0, 0.25]),
        np.full(3, 99, np.uint8),
        np.array([True, False, False]),
    )
    standardiser = learned(interaction(mixed), interaction(mixed.with_value(mixed.value + 2)))
    assert standardiser.arrays()["index"].tolist() == [1]
    assert standardiser.transform(mixed).value.tolist() == [-1.0, 1.0, 0.25]
    assert mixed.value.tolist() == [7.0, 1.0, 0.25], "the input was written to"


def test_transform_learns_nothing() -> None:
    standardiser = learned(interaction(numbers(x=1.0)), interaction(numbers(x=2.0)))
    before = {name: array.copy() for name, array in standardiser.arrays().items()}
    standardiser.transform(numbers(x=9.0, y=1.0))
    for name, array in standardiser.arrays().items():
        assert array.tobytes() == before[name].tobytes(), name


def test_beyond_the_capacity_numbers_are_only_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standardise, "CAPACITY", 2)
    rows = [numbers(a=1.0, b=2.0, c=3.0), numbers(a=3.0, b=2.0, c=50.0)]
    standardiser = learned(*map(interaction, rows))
    assert standardiser.arrays()["index"].tolist() == [ord("a"), ord("b")]
    assert standardiser.transform(rows[0]).value.tolist() == [-1.0, 0.0, 3.0]
    assert standardiser.transform(rows[1]).value.tolist() == [1.0, 0.0, CLIP]


def test_arrays_round_trip() -> None:
    standardiser = learned(*(interaction(numbers(x=x, y=x * x)) for x in (1.0, 2.0, 6.0)))
    again = Standardiser.from_arrays(standardiser.arrays())
    asked = numbers(x=0.3, y=5.0)
    assert again.transform(asked).value.tobytes() == standardiser.transform(asked).value.tobytes()


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("index", np.array([2, 1], np.uint64)),
        ("index", np.array([1, 1], np.uint64)),
        ("index", np.array([1, 2], np.int64)),
        ("count", np.array([1.0, 0.0])),
        ("count", np.array([1.0])),
        ("count", np.array([1.0, np.inf])),
        ("mean", np.array([1.0, np.nan])),
        ("mean", np.ones((2, 1))),
        ("m2", np.array([-1.0, 0.0])),
        ("m2", np.array([np.inf, 0.0])),
    ],
)
def test_arrays_that_are_no_moments_are_refused(name: str, bad: np.ndarray) -> None:
    good = learned(interaction(numbers(x=1.0, y=2.0))).arrays()
    with pytest.raises(PolicyError):
        Standardiser.from_arrays({**good, name: bad})
    with pytest.raises(PolicyError):
        Standardiser.from_arrays({key: array for key, array in good.items() if key != name})
    with pytest.raises(PolicyError):
        Standardiser.from_arrays({**good, "more": bad})


def test_compiled_or_not_the_bits_are_the_same() -> None:
    """Numbers that are new, constant, extreme, repeated or mixed with what is no number."""
    assert kernel() is not None
    rng = np.random.default_rng(5)
    both = [Standardiser(), Standardiser(kernel())]
    for n in range(300):
        context = numbers(
            x=rng.normal(), y=3.0, z=float(rng.normal() * 10.0 ** rng.integers(-8, 9))
        )
        if n % 3 == 0:
            context = numbers(**{chr(97 + int(k)): 1.0 + n for k in rng.choice(20, 5, False)})
        if n % 4 == 0:
            context.numeric[0] = False
        actions = [numbers(x=rng.normal(), p=float(n))] * (n % 5 == 0) or [NOTHING]
        each = interaction(context, *actions)
        taken = [standardiser.take(each) for standardiser in both]
        for one, other in zip(*([a, b.features] for a, b in taken), strict=True):
            assert one.value.tobytes() == other.value.tobytes()
        one, other = (standardiser.transform(context).value for standardiser in both)
        assert one.tobytes() == other.tobytes() == taken[0][0].value.tobytes()
        if n % 50 == 0:
            both[1] = Standardiser.from_arrays(both[1].arrays(), kernel())
    for array, same in zip(both[0].arrays().values(), both[1].arrays().values(), strict=True):
        assert array.tobytes() == same.tobytes()


# From 0 and 3e-162 the sum of squares is 4.5e-324, which is written as 5e-324, the smallest number there is: half of it is 0.
TINY = (0.0, 3e-162, 1.5e-162, 1.0)


def test_a_variance_too_small_for_a_number_is_none() -> None:
    """The scale is not known then; compiled or not, at once or with what was not seen."""
    both = [Standardiser(), Standardiser(kernel())]
    for x, known in zip(TINY, (False, False, False, True), strict=True):
        each = interaction(numbers(x=x))
        taken = [standardiser.take(each)[0].value.tolist() for standardiser in both]
        assert taken[0] == taken[1]
        for standardiser in both:
            alone = standardiser.transform(numbers(x=1.0)).value.tolist()
            beside = standardiser.transform(numbers(x=1.0, y=1.0)).value.tolist()
            assert beside == [*alone, 0.0]
            # 0, 0, 0 and 1 have mean 1 / 4 and variance 3 / 16.
            assert alone == (pytest.approx([3**0.5]) if known else [0.0])
    assert both[0].arrays()["m2"].tolist() == both[1].arrays()["m2"].tolist()


@pytest.mark.parametrize("name", ["linucb", "lints", "kernel", "logistic_ts", "sgd", "vw"])
def test_models_learn_from_tiny_numbers(name: str) -> None:
    model = ModelSpec({"type": name}).build()
    for x in TINY:
        each = interaction(numbers(x=x), NOTHING, NOTHING)
        model.learn([Interaction(each.context, each.actions, 0, np.full(2, 0.5), 1.0)])
        for asked in TINY:
            scored = model.pmf(numbers(x=asked), each.actions, 1)
            assert np.isfinite(scored.scores).all()
    assert model.reload().state() == model.state()
