"""Contextual bandits: pmf reads, learn writes, state carries.

Algorithms load on first use, so that a program pays only for the libraries of the policies that it runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from policies.model import Model, ModelSpec, state_sha256
from policies.policy import Policy, PolicyError, PolicySettings
from policies.types import ActionSet, Features, Interaction, Scored

if TYPE_CHECKING:
    from policies.epsilon_greedy import EpsilonGreedy
    from policies.linucb import LinUCB
    from policies.river import River
    from policies.uniform import Uniform
    from policies.vw import VW

_LAZY = {
    "EpsilonGreedy": "policies.epsilon_greedy",
    "LinUCB": "policies.linucb",
    "River": "policies.river",
    "Uniform": "policies.uniform",
    "VW": "policies.vw",
}

__all__ = [
    "VW",
    "ActionSet",
    "EpsilonGreedy",
    "Features",
    "Interaction",
    "LinUCB",
    "Model",
    "ModelSpec",
    "Policy",
    "PolicyError",
    "PolicySettings",
    "River",
    "Scored",
    "Uniform",
    "state_sha256",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'policies' has no attribute {name!r}")
