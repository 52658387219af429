"""A small decision problem for the contract suite: everything that a request may hold, and a reward that can be learned.

Requests are kept as they would be sent, by name, so that a check can reorder or rename them before they are encoded.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from policies.features import encode_actions, encode_context
from policies.policy import PolicyError
from policies.sampler import Purpose, draw, seed, uniform
from policies.types import Interaction

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from policies.model import Model, ModelSpec
    from policies.types import ActionSet, Features, Scored

T = TypeVar("T")

SALT = b"rankd contract suite"
ROUNDS = 60  # enough for every action to be tried and every feature to be seen
IDS = ("a", "b", "c", "d", "e")


@dataclass(frozen=True)
class Named:
    """The features of one thing, by name."""

    numbers: dict[str, float] = field(default_factory=dict)
    categories: dict[str, str] = field(default_factory=dict)
    vector: tuple[float, ...] = ()


@dataclass(frozen=True)
class Request:
    """One event: the context by namespace, the actions by id. The order of the dicts is that of the request."""

    event_id: str
    context: dict[str, Named]
    actions: dict[str, Named]
    namespace: str = "item"  # of the actions' features

    def encode(self) -> tuple[Features, ActionSet]:
        """The context and the actions, as a policy gets them."""
        context = [_Group(space, [named]) for space, named in self.context.items()]
        group = _Group(self.namespace, list(self.actions.values()))
        return encode_context(context), encode_actions(tuple(self.actions), [group])

    @property
    def seed(self) -> int:
        """The seed of the policy's own pmf."""
        return seed(SALT, Purpose.POLICY, 0, self.event_id)


class _Group:
    """The features of K things in one namespace, in the flat arrays of rankd.v1."""

    def __init__(self, namespace: str, things: Sequence[Named]) -> None:
        self.namespace = namespace
        self.numeric_counts = [len(thing.numbers) for thing in things]
        self.numeric_names = [name for thing in things for name in thing.numbers]
        self.numeric_values = [value for thing in things for value in thing.numbers.values()]
        self.categorical_counts = [len(thing.categories) for thing in things]
        self.categorical_names = [name for thing in things for name in thing.categories]
        self.categorical_values = [value for thing in things for value in thing.categories.values()]
        self.vector_size = len(things[0].vector) if things else 0
        self.vector_names = ["v"] if self.vector_size else []
        self.vector_sizes = [self.vector_size] if self.vector_size else []
        self.vector_data = np.array([thing.vector for thing in things], "<f4").tobytes()


@dataclass(frozen=True)
class Round:
    """A request, what was played and what it earned."""

    request: Request
    pmf: dict[str, float]
    chosen: str
    reward: float

    def encode(self) -> Interaction:
        """The interaction, as a model gets it."""
        context, actions = self.request.encode()
        pmf = np.array([self.pmf[a] for a in actions.ids])
        return Interaction(context, actions, actions.ids.index(self.chosen), pmf, self.reward)

    def with_request(self, change: Callable[[Request], Request]) -> Round:
        """The same round of a changed request, whose action ids are the same."""
        return replace(self, request=change(self.request))


def request(number: int, ids: Sequence[str] = IDS) -> Request:
    """The request of this number, with numbers, categories and vectors, for context and actions, in two namespaces."""
    random = Random(number)  # noqa: S311  # a simulation; nothing secret depends on it
    device = "phone" if random.random() < 0.75 else "desktop"
    user = Named({"age": random.gauss(40, 10), "visits": random.random()}, {"device": device})
    default = Named({"hour": random.uniform(0, 24)}, {}, (random.random(), random.random()))
    actions = {
        a: Named(
            {"price": random.gauss(10, 3), "stock": random.randrange(100)},
            {"genre": f"g{IDS.index(a[0]) % 2}"},
            (random.random(), -0.5),
        )
        for a in ids
    }
    return Request(f"event-{number}", {"user": user, "": default}, actions)


def ask(model: Model, request: Request) -> Scored:
    """What the model answers."""
    context, actions = request.encode()
    return model.pmf(context, actions, request.seed)


def play(model: Model, rounds: int, number: int = 0, ids: Sequence[str] = IDS) -> list[Round]:
    """Lets the model decide and learn, as a server does: each round has some of the actions, a and b always.

    Action a is the best of the phones, b of the desktops: they pay the top of the reward range in 9 of 10 rounds and the
    bottom otherwise, all other actions in 1 of 10. Phones are 3 of 4. So the best action without a look at the context
    gets 0.7 of the range, with it 0.9, and chance about 0.3.
    """
    random = Random(number)  # noqa: S311  # a simulation; nothing secret depends on it
    low, high = model.spec.reward_range
    played = []
    for t in range(rounds):
        some = [a for a in ids if a in "ab" or random.random() < 0.8] or list(ids)
        asked = request(1_000_000 * (number + 1) + t, some)
        scored = ask(model, asked)
        u = uniform(SALT, Purpose.DRAW, 0, asked.event_id)
        chosen = some[draw(scored.pmf, u)]
        best = "a" if asked.context["user"].categories["device"] == "phone" else "b"
        paid = random.random() < (0.9 if chosen == best else 0.1)
        pmf = dict(zip(some, scored.pmf.tolist(), strict=True))
        played.append(Round(asked, pmf, chosen, high if paid else low))
        model.learn([played[-1].encode()])
    return played


def trained(spec: ModelSpec, rounds: int = ROUNDS) -> Model:
    model = spec.build()
    play(model, rounds)
    return model


def learned(spec: ModelSpec, log: Iterable[Round]) -> Model:
    model = spec.build()
    model.learn([played.encode() for played in log])
    return model


def assert_distribution(scored: Scored, count: int, spec: ModelSpec) -> None:
    pmf: NDArray[np.float64] = scored.pmf
    assert pmf.shape == (count,), f"the pmf has shape {pmf.shape} for {count} actions"
    assert np.isfinite(pmf).all(), f"a probability is not finite: {pmf}"
    least = spec.min_exploration / count
    assert pmf.min() >= least * (1 - 1e-12), f"{pmf.min()} is below the floor, {least}: {pmf}"
    assert abs(pmf.sum() - 1) <= 1e-12, f"probabilities sum to {pmf.sum()!r}"
    assert scored.scores.shape == (count,), f"scores {scored.scores.shape} for {count} actions"
    assert np.isfinite(scored.scores).all(), f"a score is not finite: {scored.scores}"


def assert_same(got: Scored, expected: Scored, what: str) -> None:
    for part in ("pmf", "scores"):
        new, old = getattr(got, part), getattr(expected, part)
        assert new.tobytes() == old.tobytes(), f"{what}: {part} {new} instead of {old}"


def assert_refused(what: str, call: Callable[[T], object], argument: T) -> None:
    try:
        call(argument)
    except PolicyError:
        return
    except Exception as error:
        raise AssertionError(f"{what}: raised {error!r} instead of PolicyError") from error
    raise AssertionError(f"{what}: was accepted")
