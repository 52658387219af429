"""Writes estimators_golden.json: 50 rows, and what every estimator must say of them.

Run: python tests/simulator/make_estimators_golden.py

The expected values do not come from the code under test, nor from its formulas: rows are Python loops over exact
fractions, sums over actions are taken action by action from whole pmfs, and where a paper writes an estimator otherwise
than we do (SWITCH: a sum over the actions on either side of tau), it is the paper's way that is followed.
"""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).parent
CLIP, TAU, LAMBDA = 3, 2, 5
Pmf = list[Fraction]


def pmf(rng: random.Random) -> Pmf:
    """Four probabilities in twentieths; each is at least 1/20."""
    cuts = sorted(rng.sample(range(1, 20), 3))
    return [Fraction(b - a, 20) for a, b in zip([0, *cuts], [*cuts, 20], strict=True)]


def main() -> None:
    rng = random.Random(2011)
    rows = []
    for _ in range(50):
        mu, pi = pmf(rng), pmf(rng)
        q = [Fraction(rng.randrange(0, 101), 100) for _ in range(4)]
        a = rng.choices(range(4), [float(p) for p in mu])[0]
        rows.append((mu, pi, q, a, Fraction(rng.randrange(-4, 9), 4)))

    n = len(rows)
    ips = clipped = dm = dr = switch = dros = Fraction(0)
    weights = weighted = residual = Fraction(0)
    for mu, pi, q, a, r in rows:
        w = pi[a] / mu[a]
        ips += w * r
        clipped += min(w, Fraction(CLIP)) * r
        expected = sum((pi[b] * q[b] for b in range(4)), Fraction(0))
        dm += expected
        dr += expected + w * (r - q[a])
        for b in range(4):
            if pi[b] / mu[b] > TAU:
                switch += pi[b] * q[b]  # the direct method where the weight is too great
            else:
                switch += pi[b] * q[b] + (w * (r - q[b]) if a == b else 0)  # DR where it is not
        dros += expected + LAMBDA * w / (w * w + LAMBDA) * (r - q[a])
        weights, weighted, residual = weights + w, weighted + w * r, residual + w * (r - q[a])
    expected_values = {
        "ips": ips / n,
        "clipped": clipped / n,
        "snips": weighted / weights,
        "dm": dm / n,
        "dr": dr / n,
        "mrdr": dr / n,
        "sndr": dm / n + residual / weights,
        "switch-dr": switch / n,
        "dros": dros / n,
    }
    golden = {
        "settings": {
            "clipped": {"clip": CLIP},
            "switch-dr": {"tau": TAU},
            "dros": {"lambda_": LAMBDA},
        },
        "expected": {name: float(value) for name, value in expected_values.items()},
        "rows": {
            "reward": [float(r) for _, _, _, _, r in rows],
            "mu": [float(mu[a]) for mu, _, _, a, _ in rows],
            "pi": [float(pi[a]) for _, pi, _, a, _ in rows],
            "q_logged": [float(q[a]) for _, _, q, a, _ in rows],
            "q_pi": [float(sum(pi[b] * q[b] for b in range(4))) for _, pi, q, _, _ in rows],
        },
    }
    (HERE / "estimators_golden.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
