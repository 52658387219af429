"""The loop that predicts, for two events at a time: what is read of a regression serves both, and sums, each of which waits for its last term, run side by side.

To be compiled, as those in `kernels`; the bits are those of one event after the other.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def predict_pairs(  # noqa: C901  # one function, as calls of compiled functions cost
    inverse: Any,
    theta: Any,
    which: Any,
    members: Any,
    at: Any,
    known: Any,
    x: Any,
    prior: Any,
    mean: Any,
    variance: Any,
) -> None:
    """`Kernels.predict` for an even number of events."""
    n, d = x.shape[2], theta.shape[1]
    row, row2 = np.empty(d), np.empty(d)
    inside, inside2 = np.empty(n), np.empty(n)
    for m in range(members.shape[0]):
        k, b = members[m], which[m]
        r = m if x.shape[1] > 1 else 0
        square, weights, columns = inverse[b], theta[b], at[r]
        for e in range(0, x.shape[0], 2):
            own, own2 = x[e, r], x[e + 1, r]
            for i in range(n):
                inside[i] = own[i] if known[r, i] else 0.0
                inside2[i] = own2[i] if known[r, i] else 0.0
            weight = weights[columns[0]]
            total, total2 = weight * inside[0], weight * inside2[0]
            for i in range(1, n):
                weight = weights[columns[i]]
                total += weight * inside[i]
                total2 += weight * inside2[i]
            mean[e, k], mean[e + 1, k] = total, total2
            first, v1, w1 = square[columns[0]], inside[0], inside2[0]
            for j in range(d):
                row[j], row2[j] = first[j] * v1, first[j] * w1
            fours = 1 + (n - 1) // 4 * 4
            for i in range(1, fours, 4):
                first, v1, w1 = square[columns[i]], inside[i], inside2[i]
                second, v2, w2 = square[columns[i + 1]], inside[i + 1], inside2[i + 1]
                third, v3, w3 = square[columns[i + 2]], inside[i + 2], inside2[i + 2]
                fourth, v4, w4 = square[columns[i + 3]], inside[i + 3], inside2[i + 3]
                for j in range(d):
                    part = row[j] + first[j] * v1
                    part2 = row2[j] + first[j] * w1
                    part += second[j] * v2
                    part2 += second[j] * w2
                    part += third[j] * v3
                    part2 += third[j] * w3
                    row[j], row2[j] = part + fourth[j] * v4, part2 + fourth[j] * w4
            for i in range(fours, n):
                first, v1, w1 = square[columns[i]], inside[i], inside2[i]
                for j in range(d):
                    row[j] += first[j] * v1
                    row2[j] += first[j] * w1
            j, is_known = columns[0], known[r, 0]
            total = own[0] * (row[j] if is_known else own[0] * prior)
            total2 = own2[0] * (row2[j] if is_known else own2[0] * prior)
            for i in range(1, n):
                j, is_known = columns[i], known[r, i]
                total += own[i] * (row[j] if is_known else own[i] * prior)
                total2 += own2[i] * (row2[j] if is_known else own2[i] * prior)
            variance[e, k], variance[e + 1, k] = max(0.0, total), max(0.0, total2)
