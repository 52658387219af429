"""A policy that lives in an environment, as a trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from policies import ModelSpec
from policies.registry import libraries, settings_of
from simulator.environments import environment_of
from simulator.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from simulator.environments import Environment
    from simulator.simulation import Run

_POINTS = 100  # of a curve that is kept; a plot shows no more
# An environment that is still at hand when the next trial of it begins: data sets take long to load.
_KEPT = 4


@dataclass(frozen=True, slots=True)
class Play:
    """One policy in one environment with one seed. Policies with one seed see the same rounds, so they can be paired.

    Raises, when run:
        EnvironmentSpecError: there is no such environment.
        PolicyError: the policy's settings are wrong, or it cannot play there.
    """

    environment: str
    """As `environment_of` takes it."""
    policy: Mapping[str, Any]
    """{"type": name, setting: value ...}."""
    rounds: int
    """At most; a data set has only so many."""
    seed: int
    standardise: bool = True
    min_exploration: float = 0.05
    data: str = ""
    """Of a data set: the digest of its rows (`fingerprint.data_digest`), since what a file holds may change."""
    cache: Path | None = field(default=None, compare=False)
    """Where downloads are kept."""

    @property
    def facts(self) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "data": self.data,
            "policy": policy_facts(self.policy),
            "rounds": self.rounds,
            "seed": self.seed,
            "standardise": self.standardise,
            "min_exploration": self.min_exploration,
        }

    def run(self, progress: Callable[[float], None] | None = None) -> dict[str, Any]:
        """{"rounds", "reward": mean, "regret": total, "curve": {"round", "reward", "regret"}}; the curve is cumulative, at up
        to 100 rounds."""
        world = _load(self.environment, self.cache, self.data)
        spec = ModelSpec(self.policy, self.standardise, self.min_exploration, world.reward_range)
        tell = None if progress is None else lambda n: progress(n / self.rounds)
        (played,) = simulate(world, [("", spec)], self.rounds, self.seed, tell)
        return _told(played)


def _told(played: Run) -> dict[str, Any]:
    points = points_of(len(played.reward))
    return {
        "rounds": len(played.reward),
        "reward": float(played.reward.mean()),
        "regret": float(played.regret.sum()),
        "curve": {
            "round": (points + 1).tolist(),
            "reward": played.cumulative_reward[points].tolist(),
            "regret": played.cumulative_regret[points].tolist(),
        },
    }


def points_of(rounds: int) -> NDArray[np.intp]:
    """The rounds, from 0, at which a curve is kept; the last is among them."""
    return np.unique(np.linspace(0, rounds - 1, min(rounds, _POINTS)).astype(np.intp))


@lru_cache(_KEPT)
def _load(environment: str, cache: Path | None, data: str) -> Environment:  # noqa: ARG001  # other data is loaded anew
    """The environment that a spec asks for, loaded once in a process."""
    return environment_of(environment, cache)


def policy_facts(policy: Mapping[str, Any]) -> dict[str, Any]:
    """All that a policy depends on: its settings with defaults written out, and the versions of what computes it.

    >>> policy_facts({"type": "uniform"})["settings"]
    {'type': 'uniform'}

    Raises:
        PolicyError: its settings are wrong.
    """
    cls, settings = settings_of(policy)
    return {
        "settings": {"type": cls.name, **settings.model_dump(mode="json")},
        "libraries": libraries(policy),
    }
