"""Worlds to play policies in, whose truth is known: one file for each.

for round in environment_of("linear:actions=5").rounds(np.random.default_rng(1)):
    ...  # a context, actions, what each of them earns
"""

from __future__ import annotations

from simulator.environments.cold_start import ColdStart
from simulator.environments.delayed import Delayed
from simulator.environments.encoding import actions_of, context_of, named
from simulator.environments.environment import Environment, EnvironmentSpecError, Round
from simulator.environments.linear import Linear
from simulator.environments.logistic import Logistic
from simulator.environments.neural import Neural
from simulator.environments.nonstationary import Nonstationary
from simulator.environments.slates import Slates
from simulator.environments.specs import ENVIRONMENTS, environment_of, settings_of

__all__ = [
    "ENVIRONMENTS",
    "ColdStart",
    "Delayed",
    "Environment",
    "EnvironmentSpecError",
    "Linear",
    "Logistic",
    "Neural",
    "Nonstationary",
    "Round",
    "Slates",
    "actions_of",
    "context_of",
    "environment_of",
    "named",
    "settings_of",
]
