"""Decisions read by where their numbers stand are the decisions that protobuf reads, to the bit."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from rankd.v1 import log_pb2 as pb
from server.fold import kept
from server.fold.decide import PER_SLOT
from server.fold.fold import AppFold
from server.fold.interactions import interactions
from server.fold.records import LogError
from server.fold.shapes import Shapes, facts_of
from tests.server.scribe import APP, Scribe

if TYPE_CHECKING:
    from collections.abc import Callable

    from policies import Interaction


def bits(found: list[Interaction]) -> list[tuple[object, ...]]:
    """All that policies can see of interactions."""
    return [
        (
            *(
                array.tobytes()
                for part in (each.context, each.actions.features)
                for array in (part.index, part.value, part.namespace, part.numeric)
            ),
            each.context.value.dtype,
            each.actions.ids,
            each.actions.start.tolist(),
            each.chosen,
            each.pmf.tobytes(),
            each.reward,
            None if each.bases is None else each.bases.tobytes(),
        )
        for each in found
    ]


def drawn(rng: random.Random, ids: list[str], **more: object) -> pb.Decision:
    """A decision of one of a few shapes, with numbers of its own."""
    decision = pb.Decision(
        action_ids=ids,
        pmf=[rng.random() for _ in ids],
        sampler="plackett-luce",
        epoch=rng.choice([1, 300]),
        model_version=rng.randrange(1 << 40),
        request_hash=rng.randbytes(16),
        preferred=rng.randrange(len(ids)),
        **more,  # type: ignore[arg-type]
    )
    free = [k for k, name in enumerate(ids) if name not in decision.excluded_ids]
    for k in set(range(len(ids))) - set(free):
        decision.pmf[k] = 0.0
    decision.ranking[:] = rng.sample(free, len(free))
    decision.slot_probabilities.append(decision.pmf[decision.ranking[0]])
    return decision


def plain(rng: random.Random) -> pb.Decision:
    decision = drawn(rng, ["b", "a", "c"])
    decision.context.add(
        numeric_names=["x", "y", "a much longer name"],
        numeric_values=[rng.gauss(0, 1), 0.0, -rng.random() * 1e9],
    )
    return decision


def everything(rng: random.Random) -> pb.Decision:
    """Two groups of each kind, with vectors and categories, and actions left out."""
    ids = [f"action-{k}" for k in range(5)]
    decision = drawn(rng, ids, excluded_ids=["action-3"], base_probabilities=[rng.random()] * 2)
    for space, country in (("", "no"), ("user", "pt")):
        decision.context.add(
            namespace=space,
            numeric_names=["y", "x"],
            numeric_values=[rng.gauss(0, 1), 2.0],
            categorical_names=["country", "tag", "tag"],
            categorical_values=[country, "a", "b"],
            vector_names=["e", "d"],
            vector_sizes=[3, 2],
            vector_data=np.array([rng.random() for _ in range(5)], "<f4").tobytes(),
        )
        decision.action_features.add(
            namespace=space,
            numeric_counts=[1, 0, 2, 0, 1],
            numeric_names=["price", "price", "age", "age"],
            numeric_values=[rng.gauss(0, 1) for _ in range(4)],
            categorical_counts=[0, 1, 0, 0, 0],
            categorical_names=["colour"],
            categorical_values=["blue"],
            vector_size=2,
            vector_data=np.array([rng.random() for _ in range(10)], "<f4").tobytes(),
        )
    return decision


def categories_only(rng: random.Random) -> pb.Decision:
    decision = drawn(rng, ["a"], slot_ids=["top"], defer_activation=True)
    decision.context.add(categorical_names=["day"], categorical_values=["monday"])
    return decision


def nothing(rng: random.Random) -> pb.Decision:
    return drawn(rng, ["z", "y"])


def baseline(rng: random.Random) -> pb.Decision:
    decision = plain(rng)
    decision.slot_probabilities[:] = [1.0]
    return decision


def impossible(rng: random.Random) -> pb.Decision:
    """The chosen action had no probability: as apps were logged that only log."""
    decision = plain(rng)
    decision.pmf[:] = [0.0, 0.0, 0.0]
    return decision


def two_slots(rng: random.Random) -> pb.Decision:
    decision = drawn(rng, ["a", "b", "c"], slot_ids=["top", "side"])
    decision.slot_probabilities.append(0.5)
    return decision


def by_slot(rng: random.Random) -> pb.Decision:
    decision = plain(rng)
    decision.sampler = PER_SLOT
    return decision


def many(rng: random.Random) -> pb.Decision:
    return drawn(rng, [f"{k:03}" for k in range(150)])


SHAPED = [plain, everything, categories_only, nothing, baseline, impossible]
OTHERS = [two_slots, by_slot, many]


@pytest.mark.parametrize("kind", [*SHAPED, *OTHERS], ids=lambda kind: kind.__name__)
def test_a_shape_reads_what_protobuf_reads(kind: Callable[[random.Random], pb.Decision]) -> None:
    rng, known = random.Random(7), Shapes()
    for _ in range(30):
        decision = kind(rng)
        payload = decision.SerializeToString()
        shape = known.of(payload)
        assert (shape is not None) == (kind in SHAPED)
        if shape is not None:
            assert shape.slots == tuple(decision.slot_ids)
            assert shape.deferred == decision.defer_activation
        for rewards in ({0: rng.random()}, {}):
            found, facts = known.read(payload, rewards)
            assert bits(found) == bits(list(interactions(decision, rewards)))
            assert list(facts.pmf) == list(decision.pmf)
            assert facts[1:] == facts_of(decision)[1:]


def test_shapes_are_told_apart() -> None:
    """In turn, and each is made once."""
    rng, known = random.Random(3), Shapes()
    for _ in range(20):
        for kind in SHAPED:
            decision = kind(rng)
            found, _ = known.read(decision.SerializeToString(), {0: 1.0})
            assert bits(found) == bits(list(interactions(decision, {0: 1.0})))
    # `baseline` and `impossible` have the shape of `plain`.
    assert known.kept.made == len(SHAPED) - 2


def test_a_name_is_no_place_for_a_number() -> None:
    """Names and categories that look like numbers, or like the bytes in front of them, are what they are."""
    rng, known = random.Random(4), Shapes()
    for name in ("\x1a\x08AAAAAAAA", "\x1a\x08BBBBBBBB"):
        for _ in range(3):
            decision = drawn(rng, ["a", "b"])
            decision.context.add(
                numeric_names=[name],
                numeric_values=[rng.random()],
                categorical_names=["A" * 8],
                categorical_values=[name],
            )
            found, _ = known.read(decision.SerializeToString(), {0: 1.0})
            assert bits(found) == bits(list(interactions(decision, {0: 1.0})))


@pytest.mark.parametrize(
    ("name", "tried"),
    [(lambda n: f"name {n:04}", 32), (lambda n: "name" + "x" * n, 256)],
    ids=["of one length", "of all lengths"],
)
def test_what_comes_only_once_is_given_up_until_it_comes_again(
    name: Callable[[int], str], tried: int
) -> None:
    """Contexts whose names are ever new: hardly any more shapes are made, and what is read is right."""
    rng, known = random.Random(5), Shapes()
    for n in range(1_000):
        decision = drawn(rng, ["a", "b"])
        decision.context.add(numeric_names=[name(n)], numeric_values=[rng.random()])
        found, _ = known.read(decision.SerializeToString(), {0: 1.0})
        assert bits(found) == bits(list(interactions(decision, {0: 1.0})))
    assert known.kept.made == tried + (1_000 - tried) // 256
    same = drawn(rng, ["a", "b"]).SerializeToString()
    assert any(known.of(same) for _ in range(257)), "one in 256 is tried"


def test_what_never_comes_again_does_not_live_on_what_does() -> None:
    """Two kinds in turn. One comes again and again; of the other no more shapes are made, however useful the first one's is."""
    rng, known = random.Random(8), Shapes()
    same = drawn(rng, ["a", "b", "c"])
    same.context.add(numeric_names=["a longer name"], numeric_values=[1.0])
    for n in range(2_000):
        assert known.of(same.SerializeToString()) or n == 0
        other = drawn(rng, ["a", "b"])
        other.context.add(numeric_names=[f"name {n:04}"], numeric_values=[rng.random()])
        known.of(other.SerializeToString())
    assert known.kept.made == 1 + 32 + (2_000 - 32) // 256


def test_no_more_shapes_are_kept_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_SHAPES", 5)
    rng, known = random.Random(6), Shapes()
    for n in range(100):
        decision = drawn(rng, [f"action {n % 12}", "b"])
        found, _ = known.read(decision.SerializeToString(), {0: 1.0})
        assert bits(found) == bits(list(interactions(decision, {0: 1.0})))
        assert known.kept.kept <= 5


@pytest.mark.parametrize("kind", [plain, everything], ids=lambda kind: kind.__name__)
def test_a_number_that_is_none_stops_the_fold(
    kind: Callable[[random.Random], pb.Decision],
) -> None:
    rng, known = random.Random(8), Shapes()
    known.of(kind(rng).SerializeToString())
    decision = kind(rng)
    decision.context[0].numeric_values[0] = float("nan")
    with pytest.raises(ValueError, match=r"nan|NaN"):
        known.read(decision.SerializeToString(), {0: 1.0})


def test_a_payload_that_is_no_decision_is_refused_where_it_stands() -> None:
    scribe = Scribe()
    scribe.busy(5)
    decision = next(r for r in scribe.log if r.kind == pb.KIND_DECISION)
    scribe.edit(decision.sequence, b"\xff" * 20)
    fold = AppFold(APP, scribe.read, scribe.artefact)
    for record in scribe.log[: decision.sequence - 1]:
        fold.step(record)
    with pytest.raises(LogError, match=f"{decision.sequence}: its payload is not a Decision"):
        fold.step(scribe.log[decision.sequence - 1])
