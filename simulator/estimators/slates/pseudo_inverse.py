"""The pseudo-inverse estimator (PI): weights that are right if a slate's reward is a sum over its slots.

Swaminathan et al. (2017), "Off-policy Evaluation for Slate Recommendation" (arXiv:1605.04812).

With 1_s the indicator of slate s over (slot, action) pairs, its reward is taken to be phi_x' 1_s for some phi_x that is
never observed. Then q_pi' Gamma^+ 1_s is the weight of the slate's whole reward, with q_pi = E_pi[1_s] the marginals of
pi and Gamma = E_mu[1_s 1_s']. If mu draws its slots independently of each other, it is sum_l w_l - L + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from simulator.estimators.estimator import Mean
from simulator.estimators.slates.slates import Slates
from simulator.ips import NotIdentifiable

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from simulator.sample import Column

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class PseudoInverse(Mean[Slates]):
    """The mean of the slate's weight times r_1 + ... + r_L.

    The weight is the sum of `Slates.slot_weight` where that is known. Else it is had from marginals, sum_l w_l - L + 1, for a mu
    whose slots are independent, which shows in its conditionals: each equals its marginal. Weights may be negative.
    Needs the reward of the slate only: those of its slots may have been put into any of them.

    >>> PseudoInverse().value(
    ...     Slates.of(reward=[[1, 2]], mu=[[0.5, 0.5]], pi=[[1, 1]], mu_marginal=[[0.5, 0.5]], pi_marginal=[[1, 0.25]])
    ... )
    4.5
    """

    name: ClassVar[str] = "pi"

    def rows(self, sample: Slates) -> Column:
        """Weight of the slate times its reward, [n].

        Raises:
            NotIdentifiable: a marginal is missing, or mu's slots depend on each other and weights are not given.
        """
        if np.isfinite(sample.slot_weight).all():
            given: Column = sample.slot_weight.sum(axis=1) * sample.reward.sum(axis=1)
            return given
        w = sample.marginal_weight()
        alike = np.abs(sample.mu - sample.mu_marginal) <= _ROUNDING  # NaN compares false
        if not alike.all():
            row, slot = (int(index) for index in np.argwhere(~alike)[0])
            raise NotIdentifiable(
                f"row {row}, slot {slot}: the logged conditional is not the marginal, so slots depend on each other, "
                "and the weight needs all pairs of slots and actions (pseudo_inverse_weight); or take rips or sips"
            )
        rows: Column = (w.sum(axis=1) - w.shape[1] + 1) * sample.reward.sum(axis=1)
        return rows


def pseudo_inverse_weight(q_pi: ArrayLike, gamma: ArrayLike, slate: ArrayLike) -> float:
    """The weight q_pi' Gamma^+ 1_s of one slate's whole reward, for any mu.

    Args:
        q_pi: pi's marginals over D pairs of slot and action, [D].
        gamma: how often mu has both of two pairs, [D, D].
        slate: 1 for the pairs of the logged slate, else 0, [D].

    One slot of two actions, where it is IPS:

    >>> round(pseudo_inverse_weight([0.2, 0.8], [[0.5, 0.0], [0.0, 0.5]], [0, 1]), 12)
    1.6

    Raises:
        NotIdentifiable: pi goes where mu never does, so that the weights do not make it up.
        ValueError: shapes do not fit.
    """
    target, pairs, chosen = (np.asarray(a, np.float64) for a in (q_pi, gamma, slate))
    d = len(target)
    if target.shape != (d,) or pairs.shape != (d, d) or chosen.shape != (d,):
        raise ValueError(
            f"q_pi {target.shape}, gamma {pairs.shape}, slate {chosen.shape}: expected [D], [D, D], [D]"
        )
    return float(pseudo_inverse_parts(target, pairs) @ chosen)


def pseudo_inverse_parts(q_pi: Column, gamma: NDArray[np.float64]) -> Column:
    """Gamma^+ q_pi, [D]: what each pair of slot and action adds to the weight of a slate that has it.

    Raises:
        NotIdentifiable: pi goes where mu never does, so that the weights do not make it up.
    """
    solved: Column = np.linalg.pinv(gamma, hermitian=True) @ q_pi
    if not np.allclose(gamma @ solved, q_pi, rtol=0, atol=1e-6):
        raise NotIdentifiable(
            "the policy fills slots in ways that the log's policy never does; log with exploration over all of them"
        )
    return solved
