"""policies-05: is each action drawn as often as its logged probability says, and is that Thompson sampling's probability?

Why: every estimate from the log divides by these probabilities.

What: every registered policy, with its defaults and in the telling variants of the contract suite, learns a small problem
(`policies.check_problem`). Then it answers some requests, and of each answer actions are drawn the way the service does it:
`sampler.uniform` of an event id, `sampler.draw`; 10^6 draws a policy in all. Pearson's chi-square holds the counts against the
probabilities that would have been logged, over all requests and actions at once. Where a request has an action that is
expected less than 5 times, such actions are counted together.

The probabilities of Thompson policies are held against brute force: 10^6 draws of all scores from the posterior, which is written
down here once more from its definition, for standard deviations whose ratios go up to 1,000.

Writes docs/calibration.md. Everything is seeded: the same report each time. Exit code 1 if a p-value is below 10^-4 or a Thompson
probability is off by more than .005.

    python -m benchmarks.calibration
    python -m benchmarks.calibration --draws 10000 --only linucb --out report.md
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import chi2

from benchmarks.players import encoded
from benchmarks.reports import missing, result, table
from policies import Interaction
from policies.check_problem import request, trained
from policies.features import with_slot
from policies.pack import pack
from policies.registry import create, names, restore
from policies.sampler import Purpose, draw, uniform
from tests.policies.test_contract import SPECS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from policies import ModelSpec

DRAWS = 1_000_000
REQUESTS = 20
LEAST_P = 1e-4
MOST_ERROR = 0.005
# Of the first request of all: the contract suite trains on those with other numbers.
_FIRST = 500
OUT = Path(__file__).parents[1] / "docs" / "calibration.md"


@dataclass(frozen=True, slots=True)
class Counted:
    """One policy's draws, held against its probabilities."""

    label: str
    requests: int
    draws: int
    p_value: float
    largest: float  # greatest |share drawn - probability| of an action of a request


def count(label: str, draws: int) -> Counted:
    """Trains, asks, draws and counts."""
    spec: ModelSpec = SPECS[label]
    model = trained(spec)
    each = draws // REQUESTS
    statistic, freedom, largest = 0.0, 0, 0.0
    for number in range(REQUESTS):
        asked = request(_FIRST + number)
        context, actions = asked.encode()
        if model.slotwise:
            context = with_slot(context, "top")
        pmf = model.pmf(context, actions, asked.seed).pmf
        salt = f"calibration {label}".encode()[:64]
        drawn = np.zeros(len(pmf))
        for i in range(each):
            u = uniform(salt, Purpose.DRAW, 0, f"{asked.event_id}/{i}")
            drawn[draw(pmf, u)] += 1
        largest = max(largest, float(np.abs(drawn / each - pmf).max()))
        found, free = chi_square(drawn, pmf * each)
        statistic += found
        freedom += free
    p = float(chi2.sf(statistic, freedom)) if freedom else float(statistic == 0)
    return Counted(label, REQUESTS, each * REQUESTS, p, largest)


def chi_square(drawn: NDArray[np.float64], expected: NDArray[np.float64]) -> tuple[float, int]:
    """(statistic, degrees of freedom). What is impossible and drawn all the same makes it infinite.

    >>> chi_square(np.array([60.0, 40.0]), np.array([50.0, 50.0]))
    (4.0, 1)
    """
    if drawn[expected == 0].any():
        return float("inf"), 1
    rare = expected < 5
    counts = np.append(drawn[~rare], drawn[rare].sum())
    means = np.append(expected[~rare], expected[rare].sum())
    counts, means = counts[means > 0], means[means > 0]
    return float(((counts - means) ** 2 / means).sum()), len(means) - 1


@dataclass(frozen=True, slots=True)
class Held:
    """A Thompson policy's probabilities for K actions, held against brute force."""

    label: str
    case: str
    actions: int
    sd_ratio: float  # of the widest and the narrowest posterior
    error: float  # greatest |probability - share of draws in which the action was best|


@dataclass(frozen=True, slots=True)
class Arms:
    """K actions, how many rewards each had, and their mean."""

    case: str
    count: NDArray[np.int64]  # [K]
    mean: NDArray[np.float64]  # [K] in [0, 1]


def arms() -> Iterator[Arms]:
    """Problems for policies on means, from the easy to those that break a shared grid."""
    rng = np.random.default_rng(5)
    yield Arms("nothing known", np.zeros(5, np.int64), np.zeros(5))
    yield Arms("alike", np.full(5, 100), np.array([0.50, 0.52, 0.48, 0.51, 0.50]))
    yield Arms("20, of all ages", 2 ** np.arange(20), rng.uniform(0.45, 0.55, 20))
    one_new = np.append(np.full(19, 600), 0)
    yield Arms("19 old and close, one new", one_new, np.append(rng.normal(0.5, 0.02, 19), 0.0))
    two_new = np.array([999_999] * 8 + [10_000, 0, 0])
    yield Arms("8 settled, two new", two_new, np.append(np.linspace(0.499, 0.501, 8), [0.5, 0, 0]))


def hold_means(name: str, draws: int) -> Iterator[Held]:
    """thompson_beta or thompson_gaussian, with a prior that counts as one reward of .5."""
    for given in arms():
        k = len(given.count)
        known = given.count > 0
        context, actions = encoded(k, 1, named=False)
        header = {
            "policy": name,
            "ids": [a for a, is_known in zip(actions.ids, known, strict=True) if is_known],
        }
        arrays = {"mean": given.mean[known], "count": given.count[known].astype(np.int64)}
        policy = restore({"type": name}, (0.0, 1.0), pack(header, arrays))
        weight = given.count + 1.0
        mean = (given.count * given.mean + 0.5) / weight
        rng = np.random.default_rng(7)
        if name == "thompson_beta":
            a, b = 1.0 + weight * mean, 1.0 + weight * (1.0 - mean)
            sd = np.sqrt(a * b / ((a + b) ** 2 * (a + b + 1.0)))
            won = _wins(draws, lambda n, a=a, b=b, rng=rng: rng.beta(a, b, (n, len(a))))
        else:
            sd = 0.5 / np.sqrt(weight)
            won = _wins(draws, lambda n, m=mean, s=sd, rng=rng: rng.normal(m, s, (n, len(m))))
        pmf = policy.pmf(context, actions, 0).pmf
        error = float(np.abs(pmf - won).max())
        yield Held(name, given.case, k, float(sd.max() / sd.min()), error)


def hold_lints(draws: int) -> Iterator[Held]:
    """lints, disjoint, with ridge 1 and scale 1: theta_a ~ N(A^-1 b, A^-1), A = I + sum x x', x with a constant 1.

    Brute force draws theta, not scores.
    """
    k, d = 6, 3
    for far in (1.0, 30.0, 1_000.0):
        rng = np.random.default_rng(11)
        policy = create({"type": "lints", "scale": 1.0}, (-10.0, 10.0))
        context, actions = encoded(k, d, named=False)
        pmf = np.full(k, 1.0 / k)
        # The greater `far`, the less is left to learn of all actions but the last, of which nothing is known.
        inverse, total = np.stack([np.eye(d + 1)] * k), np.zeros((k, d + 1))
        for _ in range(12):
            for a in range(k - 1):
                x = far * rng.normal(size=d)
                reward = float(x.sum() * 0.01 / far + 0.001 * rng.normal())
                policy.learn([Interaction(context.with_value(x), actions, a, pmf, reward)])
                one = np.append(x, 1.0)
                inverse[a] = np.linalg.inv(np.linalg.inv(inverse[a]) + np.outer(one, one))
                total[a] += reward * one
        x = rng.normal(size=d) * max(1.0, 0.2 * far)
        one = np.append(x, 1.0)
        theta = np.einsum("kij,kj->ki", inverse, total)
        root = np.linalg.cholesky(inverse).astype(np.float64)

        def scores(
            n: int,
            theta: NDArray[np.float64] = theta,
            root: NDArray[np.float64] = root,
            one: NDArray[np.float64] = one,
            rng: np.random.Generator = rng,
        ) -> NDArray[np.float64]:
            z = rng.normal(size=(n, k, d + 1))
            drawn: NDArray[np.float64] = (theta + np.einsum("kij,nkj->nki", root, z)) @ one
            return drawn

        sd = np.sqrt(np.einsum("i,kij,j->k", one, inverse, one))
        found = policy.pmf(context.with_value(x), actions, 0).pmf
        error = float(np.abs(found - _wins(draws, scores)).max())
        yield Held("lints", f"x of length {far:g}", k, float(sd.max() / sd.min()), error)


def _wins(draws: int, scores: Any) -> NDArray[np.float64]:
    """How often [K] each action has the greatest of the scores(n) [n, K]."""
    wins: NDArray[np.float64] = np.zeros(0)
    left = draws
    while left:
        n = min(left, 50_000)  # 8 MB for 20 actions
        drawn = scores(n)
        won = np.bincount(drawn.argmax(axis=1), minlength=drawn.shape[1]).astype(np.float64)
        wins = wins + won if len(wins) else won
        left -= n
    return wins / draws


def hold(name: str, draws: int) -> list[Held]:
    """All cases of one Thompson policy."""
    return list(hold_lints(draws) if name == "lints" else hold_means(name, draws))


def main() -> int:
    """Prints and writes the report; exit code 1 if a probability is not what is played."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=DRAWS, help="for each policy")
    parser.add_argument("--only", default="", help="policies whose label contains this")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    labels = [label for label in SPECS if args.only in label]
    thompson = [
        name
        for name in ("thompson_beta", "thompson_gaussian", "lints")
        if args.only in name and not missing({"type": name})
    ]
    if not args.only:
        assert {label.split()[0] for label in labels} >= set(names())
    with ProcessPoolExecutor(args.processes) as pool:
        counts = [pool.submit(count, label, args.draws) for label in labels]
        helds = [pool.submit(hold, name, args.draws) for name in thompson]
        counted = [each.result() for each in counts]
        held = [one for each in helds for one in each.result()]
    rows = [
        [f"`{c.label}`", c.requests, f"{c.draws:,}", f"{c.p_value:.4f}", f"{c.largest:.5f}"]
        for c in counted
    ]
    heads = ["policy", "requests", "draws", "chi-square p", "greatest error"]
    table(heads, rows)
    print()
    more = [
        [f"`{h.label}`", h.case, h.actions, f"{h.sd_ratio:,.0f}", f"{h.error:.5f}"] for h in held
    ]
    more_heads = ["policy", "case", "actions", "ratio of sd", "greatest error"]
    table(more_heads, more)
    args.out.write_text(_report(heads, rows, more_heads, more, args.draws))
    p, worst = min(c.p_value for c in counted), max((h.error for h in held), default=0.0)
    bars = {
        f"the lowest p is {p:.2g}, at least {LEAST_P:g}": p >= LEAST_P,
        f"the greatest error is {worst:.5f}, at most {MOST_ERROR}": worst <= MOST_ERROR,
    }
    figures = {"p_values": {c.label: c.p_value for c in counted}}
    errors = {f"{h.label}, {h.case}": h.error for h in held}
    return result("policies-05", bars, draws=args.draws, errors=errors, **figures)


def _report(
    heads: list[str],
    rows: list[list[object]],
    more_heads: list[str],
    more: list[list[object]],
    draws: int,
) -> str:
    return f"""# Calibration

Generated by `python -m benchmarks.calibration`; do not edit. Everything is seeded: a run gives the same figures again.

## Is each action drawn as often as its logged probability says?

Each policy learned the contract suite's problem, answered some requests, and was drawn from by the service's own sampler. Pearson's
chi-square over all requests and actions at once; p below {LEAST_P:g} fails. The error is the greatest difference between an
action's share of one request's draws and its probability; chance alone makes it up to about {1.5 / (draws / REQUESTS) ** 0.5:.3f} at {draws // REQUESTS:,} draws a request.

{_markdown(heads, rows)}

## Are Thompson policies' probabilities those of the posterior?

Against {draws:,} draws of all scores from the posterior. Chance alone makes an error of up to {1.5 / draws**0.5:.4f}; more than {MOST_ERROR} fails.

{_markdown(more_heads, more)}
"""


def _markdown(heads: list[str], rows: list[list[object]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    lines += [
        "| " + " | ".join(str(cell).replace("|", r"\|") for cell in row) + " |" for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
