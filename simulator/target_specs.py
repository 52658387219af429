"""The target that a policy's specification stands for, on a given log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies import ModelSpec
from simulator.logs.dsjson import DsjsonLog
from simulator.targets import FROZEN, Frozen, Trained

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from simulator.logs import Log
    from simulator.targets import Target


def target_of(
    name: str,
    policy: Mapping[str, Any],
    log: Log,
    estimand: str,
    settings: Mapping[str, Any],
    *,
    vw_parser: bool = True,
) -> Target:
    """A policy that is trained on the log, or stays as it begins. VW on dsjson is trained through VW's own parser.

    Args:
        name: for reports.
        policy: its configuration.
        estimand: "trained_on_log" or "frozen".
        settings: of its ModelSpec: standardise, min_exploration, reward_range.
        vw_parser: whether VW may be asked through its own parser; it then answers decision by decision and always learns.

    Raises:
        PolicyError: the configuration is wrong.
        ValueError: there is no such estimand.
    """
    if estimand not in (FROZEN, Trained.estimand):
        raise ValueError(
            f"estimand {estimand!r}: there is none here; known are {Trained.estimand}, {FROZEN}"
        )
    args = policy.get("args") if policy["type"] == "vw" else None
    if args and vw_parser and isinstance(log, DsjsonLog) and estimand != FROZEN:
        from simulator.vw_dsjson import VwDsjson  # it loads VW

        return VwDsjson(name, str(args))
    model = ModelSpec(dict(policy), **settings)
    return Frozen(name, model.build()) if estimand == FROZEN else Trained(name, model)
