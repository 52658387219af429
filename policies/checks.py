"""The contract that every policy keeps, as plain functions: whoever writes a policy can run them, in any test framework.

    >>> check_policy({"type": "uniform"})

Each check takes a ModelSpec, builds models of it, and raises AssertionError where the contract is broken. Everything
is seeded: a check that passes once passes always.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from math import inf, nan, sqrt
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from policies.check_alike import together_equals_alone
from policies.check_problem import (
    IDS,
    ROUNDS,
    SALT,
    Named,
    ask,
    assert_distribution,
    assert_refused,
    assert_same,
    learned,
    play,
    request,
    trained,
)
from policies.check_state import (
    damaged_state_is_refused,
    foreign_state_is_refused,
    processes_agree,
    resumed_equals_uninterrupted,
    state_round_trips,
)
from policies.model import ModelSpec
from policies.sampler import Purpose, draw, uniform

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from policies.check_problem import Request

_NASTY = "|: \n\t=\u2028🎉 |x y:7 'z"  # would be other features, were names ever parsed


def check_policy(config: Mapping[str, object], **spec: object) -> None:
    """Runs all checks on the policy of this configuration.

    Args:
        config: {"type": name, setting: value ...}, of an installed policy.
        spec: further fields of ModelSpec.

    Raises:
        AssertionError: it breaks its contract; the message says how.
        PolicyError: there is no such policy, or it refuses these settings.
    """
    for check in CHECKS:
        check(ModelSpec(config, **spec))  # type: ignore[arg-type]


def pmf_is_a_distribution(spec: ModelSpec) -> None:
    """K probabilities that sum to 1, each at least its share of the floor; K finite scores. Trained or not."""
    model = spec.build()
    for stage in range(2):
        for t in range(20):
            asked = request(t, IDS[: 1 + t % 5])
            assert_distribution(ask(model, asked), len(asked.actions), spec)
        if stage == 0:
            play(model, ROUNDS)


def pmf_changes_no_state(spec: ModelSpec) -> None:
    """Only learn does."""
    model = trained(spec)
    before = model.state()
    for t in range(20):
        ask(model, request(t))
    assert model.state() == before, "pmf changed the state"
    model.learn([])
    assert model.state() == before, "learning from nothing changed the state"


def pmf_repeats(spec: ModelSpec) -> None:
    """The same request with the same seed has the same answer, whatever was asked in between, here and in a copy."""
    model = trained(spec)
    copy = model.reload()
    asked = request(1)
    first = ask(model, asked)
    for t in range(20):
        ask(model, request(t, IDS[: 1 + t % 5]))
    assert_same(ask(model, asked), first, "asked again after other requests")
    assert_same(ask(copy, asked), first, "asked of a model that was loaded from the state")


def input_is_left_alone(spec: ModelSpec) -> None:
    """What is handed in belongs to the caller: pmf and learn write nothing into it."""
    policy = trained(spec).policy
    interaction = play(spec.build(), 1)[0].encode()
    before = deepcopy(interaction)
    policy.pmf(interaction.context, interaction.actions, 1)
    policy.learn([interaction])
    for name, old, new in (
        ("context", before.context, interaction.context),
        ("actions", before.actions.features, interaction.actions.features),
    ):
        for part in ("index", "value", "namespace", "numeric"):
            same = np.array_equal(getattr(old, part), getattr(new, part))
            assert same, f"{name}.{part} was written to"
    assert np.array_equal(before.pmf, interaction.pmf), "the interaction's pmf was written to"


def batch_equals_single(spec: ModelSpec) -> None:
    """One learn with many interactions equals many with one, for the model and for the policy within."""
    log = [played.encode() for played in play(spec.build(), ROUNDS)]
    one, many = spec.build(), spec.build()
    for interaction in log:
        one.learn([interaction])
    many.learn(log[:7])
    many.learn(log[7:])
    assert one.state() == many.state(), "the model depends on how interactions are batched"
    single, batch = spec.build().policy, spec.build().policy
    for interaction in log:
        single.learn([interaction])
    batch.learn(log[:7])
    batch.learn(log[7:])
    assert single.state() == batch.state(), "the policy depends on how interactions are batched"


def feature_order_is_irrelevant(spec: ModelSpec) -> None:
    """Namespaces and names in another order change no bit, of an answer or of the state."""

    def backwards(asked: Request) -> Request:
        return replace(
            asked,
            context={space: _backwards(asked.context[space]) for space in reversed(asked.context)},
            actions={a: _backwards(named) for a, named in asked.actions.items()},
        )

    log = play(spec.build(), ROUNDS)
    model, other = learned(spec, log), learned(spec, [x.with_request(backwards) for x in log])
    asked = request(1)
    assert_same(ask(model, backwards(asked)), ask(model, asked), "features in another order")
    assert model.state() == other.state(), "learning depends on the order of features"


def action_order_is_irrelevant(spec: ModelSpec) -> None:
    """Actions in another order have the same probabilities and scores, and teach the same, bit by bit."""

    def backwards(asked: Request) -> Request:
        return replace(asked, actions={a: asked.actions[a] for a in reversed(asked.actions)})

    log = play(spec.build(), ROUNDS)
    model, other = learned(spec, log), learned(spec, [x.with_request(backwards) for x in log])
    for t, stage in enumerate((spec.build(), model)):
        asked = request(t)
        scored, back = ask(stage, asked), ask(stage, backwards(asked))
        scored = replace(scored, pmf=scored.pmf[::-1], scores=scored.scores[::-1])
        assert_same(back, scored, "actions in another order")
    assert model.state() == other.state(), "learning depends on the order of actions"


def other_actions_are_irrelevant(spec: ModelSpec) -> None:
    """What is expected of an action, and its score, have the same bits whichever others are asked about."""
    log = [played.with_request(_wide) for played in play(spec.build(), ROUNDS)]
    for model in (spec.build(), learned(spec, log)):
        for t in range(4):
            asked = _wide(request(t))
            expected, scored = model.expected(*asked.encode()), ask(model, asked)
            for ids in ("a", "b", "c", "d", "e", "ab", "de", "ace", "bcde"):
                some = replace(asked, actions={a: asked.actions[a] for a in ids})
                of = [IDS.index(a) for a in ids]
                if expected is not None:
                    found = model.expected(*some.encode())
                    same = found is not None and found.tobytes() == expected[of].tobytes()
                    assert same, f"expects {found} of {ids} alone, {expected[of]} among others"
                if not model.policy.scores_jointly:
                    scores, whole = ask(model, some).scores, scored.scores[of]
                    same = scores.tobytes() == whole.tobytes()
                    assert same, f"scores of {ids} are {scores} alone, {whole} among others"


def actions_come_and_go(spec: ModelSpec) -> None:
    """Actions never seen get their share; ones that are gone are not missed."""
    model = spec.build()
    for number, ids in enumerate(("abc", "bcd", "e", "de", "abcde")):
        asked = request(number, ids)
        assert_distribution(ask(model, asked), len(ids), spec)
        play(model, 10, number, ids)
    assert_distribution(ask(model, request(0)), len(IDS), spec)


def one_action_is_certain(spec: ModelSpec) -> None:
    """Where there is no choice the probability is 1, exactly, and learning goes on."""
    model = spec.build()
    for stage in (model, trained(spec)):
        scored = ask(stage, request(1, ["c"]))
        assert_distribution(scored, 1, spec)
        assert scored.pmf.tolist() == [1.0], f"the pmf of one action is {scored.pmf}"
    play(model, 10, ids=["c"])
    assert_distribution(ask(model, request(2)), len(IDS), spec)


def features_are_optional(spec: ModelSpec) -> None:
    """Contexts without features, actions without, both; some actions with and some without."""
    nothing = Named()

    def no_context(asked: Request) -> Request:
        return replace(asked, context={})

    def no_actions(asked: Request) -> Request:
        return replace(asked, actions=dict.fromkeys(asked.actions, nothing))

    def neither(asked: Request) -> Request:
        return no_context(no_actions(asked))

    def some(asked: Request) -> Request:
        named = {a: replace(x, vector=()) for a, x in asked.actions.items()}
        return replace(asked, actions={**named, "a": nothing})

    for change in (no_context, no_actions, neither, some):
        log = [played.with_request(change) for played in play(spec.build(), 20)]
        model = learned(spec, log)
        for stage in (spec.build(), model, trained(spec)):
            asked = change(request(1))
            assert_distribution(ask(stage, asked), len(IDS), spec)
        assert spec.load(model.state()).state() == model.state(), f"no round trip: {change}"


def names_are_only_names(spec: ModelSpec) -> None:
    """Names with separators, white space or emoji touch no other feature: all is as with plain names.

    Sums run in another order then, as other names have other hashes, so that the last bits may differ.
    """

    def nasty(named: Named) -> Named:
        numbers = {name + _NASTY: x for name, x in named.numbers.items()}
        return Named(
            numbers, {k + _NASTY: x + _NASTY for k, x in named.categories.items()}, named.vector
        )

    def renamed(asked: Request) -> Request:
        return replace(
            asked,
            context={space + _NASTY: nasty(named) for space, named in asked.context.items()},
            actions={a + _NASTY: nasty(named) for a, named in asked.actions.items()},
            namespace=asked.namespace + _NASTY,
        )

    log = play(spec.build(), ROUNDS)
    model = learned(spec, log)
    other = learned(
        spec,
        [
            replace(
                played,
                request=renamed(played.request),
                pmf={a + _NASTY: p for a, p in played.pmf.items()},
                chosen=played.chosen + _NASTY,
            )
            for played in log
        ],
    )
    for t in range(10):
        asked = request(t)
        plain, odd = ask(model, asked), ask(other, renamed(asked))
        close = np.allclose(plain.scores, odd.scores, rtol=1e-3, atol=1e-3)
        assert close, f"scores with plain names {plain.scores}, with odd names {odd.scores}"
        close = np.allclose(plain.pmf, odd.pmf, atol=1e-2)
        assert close, f"pmf with plain names {plain.pmf}, with odd names {odd.pmf}"


def poison_is_refused(spec: ModelSpec) -> None:
    """An interaction that would spoil the model for ever is refused with PolicyError, before any of its batch is learned."""
    model = trained(spec)
    good = play(spec.build(), 1)[0].encode()
    before = model.state()
    for reward in (nan, inf, -inf):
        assert_refused(f"reward {reward}", model.learn, [good, replace(good, reward=reward)])
    for p in (0.0, -0.5, nan, 1.5):
        pmf = good.pmf.copy()
        pmf[good.chosen] = p
        assert_refused(f"propensity {p}", model.learn, [good, replace(good, pmf=pmf)])
    assert model.state() == before, "a refused batch changed the state"


def extremes_do_no_harm(spec: ModelSpec) -> None:
    """Features at the encoder's limits, rewards at the ends of their range, at propensities as small as they get."""
    model = spec.build()
    log = play(spec.build(), ROUNDS)
    for t, played in enumerate(log):
        edge = Named({"age": (1e6, -1e6, 0.0, 1e-300)[t % 4]}, {}, (1e6, -1e6))
        pmf = {**played.pmf, played.chosen: 1e-6}
        asked = replace(played.request, context={"user": edge})
        asked = replace(asked, actions=dict.fromkeys(asked.actions, edge))
        reward = spec.reward_range[t % 2]
        model.learn([replace(played, request=asked, pmf=pmf, reward=reward).encode()])
        assert_distribution(ask(model, asked), len(asked.actions), spec)
    assert_distribution(ask(model, request(1)), len(IDS), spec)
    assert spec.load(model.state()).state() == model.state(), "the state does not round trip"


def many_actions_are_fine(spec: ModelSpec) -> None:
    """A thousand, the service's default limit."""
    ids = [f"{IDS[k % 5]}{k}" for k in range(1000)]
    scored = ask(trained(spec), request(1, ids))
    assert_distribution(scored, len(ids), spec)


def draws_match_the_pmf(spec: ModelSpec) -> None:
    """What is logged as a probability is the frequency with which it is drawn.

    Pearson's chi-square; its tail beyond k + 2 sqrt(k t) + 2t has a probability below e^-t (Laurent & Massart 2000).
    """
    pmf = ask(trained(spec), request(1)).pmf
    n = 20_000
    drawn = [draw(pmf, uniform(SALT, Purpose.DRAW, 0, f"draw-{i}")) for i in range(n)]
    counts = np.bincount(drawn, minlength=len(pmf))
    assert not counts[pmf == 0].any(), f"an action of probability 0 was drawn: {pmf}, {counts}"
    often = pmf * n >= 5  # the approximation needs that; what is rarer is left out
    expected = pmf[often] * n
    chi2 = float(((counts[often] - expected) ** 2 / expected).sum())
    k, t = int(often.sum()), 14.0  # e^-14 < 1e-6
    bound = k + 2 * sqrt(k * t) + 2 * t
    assert chi2 <= bound, f"{n} draws: {counts.tolist()}, expected {expected.tolist()}"


def it_learns(spec: ModelSpec) -> None:
    """On a problem where chance earns 0.3 it soon earns clearly more. Not asked of uniform."""
    if spec.policy["type"] == "uniform":
        return
    low, high = spec.reward_range
    rewards = [(played.reward - low) / (high - low) for played in play(spec.build(), 600)[-200:]]
    mean = sum(rewards) / len(rewards)
    assert mean > 0.5, f"earns {mean:.2f} of the range after 600 rounds; chance earns 0.3"


CHECKS: tuple[Callable[[ModelSpec], None], ...] = (
    pmf_is_a_distribution,
    pmf_changes_no_state,
    pmf_repeats,
    together_equals_alone,
    input_is_left_alone,
    state_round_trips,
    resumed_equals_uninterrupted,
    batch_equals_single,
    feature_order_is_irrelevant,
    action_order_is_irrelevant,
    other_actions_are_irrelevant,
    actions_come_and_go,
    one_action_is_certain,
    features_are_optional,
    names_are_only_names,
    poison_is_refused,
    extremes_do_no_harm,
    many_actions_are_fine,
    draws_match_the_pmf,
    processes_agree,
    damaged_state_is_refused,
    foreign_state_is_refused,
    it_learns,
)


def _wide(asked: Request) -> Request:
    """With 24 numbers more in its context: numpy adds fewer than eight in one order always."""
    random = Random(asked.event_id)  # noqa: S311  # a simulation; nothing secret depends on it
    more = Named({}, {}, tuple(random.gauss(0, 1) for _ in range(24)))
    return replace(asked, context={**asked.context, "more": more})


def _backwards(named: Named) -> Named:
    numbers = dict(reversed(named.numbers.items()))
    return Named(numbers, dict(reversed(named.categories.items())), named.vector)
