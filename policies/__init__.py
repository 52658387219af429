"""Contextual bandits: pmf reads, learn writes, state carries.

Algorithms load on first use, so that a program pays only for the libraries of the policies that it runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from policies.alike import Alike
from policies.model import Model, ModelSpec, state_sha256
from policies.policy import About, Policy, PolicyError, PolicySettings
from policies.types import ActionSet, Features, Interaction, Scored

if TYPE_CHECKING:
    from policies.factors.mf import MF
    from policies.hashed.logistic_ts import LogisticTS
    from policies.hashed.sgd import SGD
    from policies.kernel.regression import KernelRegression
    from policies.linear.lints import LinTS
    from policies.linear.linucb import LinUCB
    from policies.meta.auto import Auto
    from policies.plain.epsilon_greedy import EpsilonGreedy
    from policies.plain.exp3 import Exp3
    from policies.plain.kl_ucb import KLUCB
    from policies.plain.softmax import Softmax
    from policies.plain.thompson_beta import ThompsonBeta
    from policies.plain.thompson_gaussian import ThompsonGaussian
    from policies.plain.ucb1 import UCB1
    from policies.river.fm import FM
    from policies.river.policy import River
    from policies.uniform import Uniform
    from policies.vw.policy import VW

_LAZY = {
    "Auto": "policies.meta.auto",
    "KernelRegression": "policies.kernel.regression",
    "EpsilonGreedy": "policies.plain.epsilon_greedy",
    "Exp3": "policies.plain.exp3",
    "KLUCB": "policies.plain.kl_ucb",
    "Softmax": "policies.plain.softmax",
    "ThompsonBeta": "policies.plain.thompson_beta",
    "ThompsonGaussian": "policies.plain.thompson_gaussian",
    "UCB1": "policies.plain.ucb1",
    "LinTS": "policies.linear.lints",
    "LinUCB": "policies.linear.linucb",
    "LogisticTS": "policies.hashed.logistic_ts",
    "MF": "policies.factors.mf",
    "SGD": "policies.hashed.sgd",
    "FM": "policies.river.fm",
    "River": "policies.river.policy",
    "Uniform": "policies.uniform",
    "VW": "policies.vw.policy",
}

__all__ = [
    "FM",
    "KLUCB",
    "MF",
    "SGD",
    "UCB1",
    "VW",
    "About",
    "ActionSet",
    "Alike",
    "Auto",
    "EpsilonGreedy",
    "Exp3",
    "Features",
    "Interaction",
    "KernelRegression",
    "LinTS",
    "LinUCB",
    "LogisticTS",
    "Model",
    "ModelSpec",
    "Policy",
    "PolicyError",
    "PolicySettings",
    "River",
    "Scored",
    "Softmax",
    "ThompsonBeta",
    "ThompsonGaussian",
    "Uniform",
    "state_sha256",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'policies' has no attribute {name!r}")
