"""More robust doubly robust: DR whose reward model was fitted to make DR's variance small.

Farajtabar, Chow & Ghavamzadeh (2018), "More Robust Doubly Robust Off-policy Evaluation" (arXiv:1802.03493).

Given x, and with delta(a) = r - q(x, a), the variance of DR's w delta(a) over a ~ mu is delta' Omega delta with
Omega = diag(pi^2 / mu) - pi pi'. Its diagonal, sum_a pi(a)^2 (1 - mu(a)) / mu(a) delta(a)^2, is what a regression can
minimise: in logged rows, where a comes with probability mu(a), by least squares with weights pi^2 (1 - mu) / mu^2 =
w^2 (1 - mu). For a deterministic pi, the paper's own case, the rest of Omega is 0 and nothing is lost; the weight is its
(1 - mu) / mu^2 on rows that pi agrees with. For others the cross terms between actions are left out.

obp has pi and not its square in the weight. They agree for a deterministic pi only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from simulator.estimators.dr import DR

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from simulator.sample import Column


def mrdr_weight(pi: ArrayLike, mu: ArrayLike) -> Column:
    """The weight of each logged row in the reward model's least squares, w^2 (1 - mu), [n].

    0 where pi would not have taken the action, and where mu = 1: there DR's variance does not depend on q.

    Args:
        pi: pi(a), [n].
        mu: mu(a), [n], each in (0, 1].

    >>> mrdr_weight([1.0, 0.5, 0.0], [0.5, 0.25, 0.25]).tolist()
    [2.0, 3.0, 0.0]
    """
    target, logged = np.asarray(pi, np.float64), np.asarray(mu, np.float64)
    w = target / logged
    weight: Column = w * w * (1 - logged)
    return weight


@dataclass(frozen=True, slots=True)
class MRDR(DR):
    """DR on a sample whose q comes from a model fitted with `mrdr_weight`, on rows other than these.

    From the sample alone it cannot tell whether that is so: it is DR by another name.
    """

    name: ClassVar[str] = "mrdr"
