"""Several policies live through one log, several times each: what `rankd replay --estimand online` does, from Python."""

from __future__ import annotations

from array import array
from dataclasses import asdict, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from policies import ModelSpec
from simulator.decisions import Decisions
from simulator.evaluation import mean
from simulator.life import Online, Refused, average, estimate, versus
from simulator.logs import Decided, DsjsonLog, open_log
from simulator.logs.handed_on import HandedOn
from simulator.met import check_range, rewards_met
from simulator.online import Live, lives
from simulator.reports.given import LivesInput
from simulator.reward_models import Progressive
from simulator.specs import policy_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from simulator.logs import Event, Log
    from simulator.online import Player


_SLATES = "decisions have several slots, whose rewards are not independent"


class Lives(LivesInput):
    """What policies would earn live, from one log."""

    def to_dict(self, seconds: float | None = None) -> dict[str, Any]:
        """The object that `rankd replay --estimand online --json` prints, with the seconds that it took where they are given."""
        own = self.logged
        took = {} if seconds is None else {"seconds": seconds}
        rows = [self._row(each) | took for each in self.policies]
        summary: dict[str, Any] = {
            "logged": {"value": own.value, "low": own.low, "high": own.high, "n": self.rows}
        }
        return {**summary, "decisions": self.decided, "policies": rows}

    def html(self) -> str:
        """A page that needs nothing else."""
        from simulator.reports import lives_html

        return lives_html(self)

    def markdown(self) -> str:
        """A table for a pull request."""
        from simulator.reports import lives_markdown

        return lives_markdown(self)

    def _row(self, each: Online | Refused) -> dict[str, Any]:
        row: dict[str, Any] = {"policy": each.name, "n": self.rows, "estimand": each.estimand}
        row["estimators"] = {each.method: asdict(estimate(each))}
        row["vs_logged"] = {"estimator": each.method} | asdict(versus(each, self.alpha))
        for what in ("rounds", "acceptance", "cut", "lives"):
            row[what] = getattr(each, what) if isinstance(each, Online) else None
        return row


def live(
    log: Log | str | PathLike[str],
    policies: Sequence[str],
    *,
    seeds: int = 5,
    reward_range: tuple[float, float] | None = None,
    min_exploration: float = 0.05,
    standardise: bool = True,
    reward_model: str = "linucb",
    alpha: float = 0.05,
    progress: Callable[[int], None] | None = None,
) -> Lives:
    """What policies would earn live, beginning untrained, in as many rounds as the log has for them; see `simulator.online`.

    >>> from simulator import ArraysLog
    >>> rng = np.random.default_rng(1)
    >>> x, action = rng.standard_normal((2_000, 2)), rng.integers(2, size=2_000)
    >>> reward = (action == (x[:, 0] > 0)).astype(float)
    >>> log = ArraysLog({"context": x, "action": action, "reward": reward, "pi_b": np.full((2_000, 2), 0.5)})
    >>> linucb, = live(log, ["linucb"]).policies
    >>> linucb.method, linucb.value > 0.9, 900 < linucb.rounds < 1_100
    ('rejection', True, True)

    Args:
        log: a file, or what `simulator.open_log` gives.
        policies: as the command line spells them.
        seeds: how often each lives through the log, all in one pass.
        reward_range: (lowest, highest) reward that can be; as the log says, or else as it has them, which policies then know beforehand.
        min_exploration: share of decisions that is spread over all actions.
        standardise: whether numbers are standardised on the way, as in the service.
        reward_model: the policy whose expectations DR-ns uses.
        alpha: in (0, 1), the share of logs whose interval may miss the value.
        progress: called with the number of rows so far.

    Raises:
        PolicyError: a policy's settings are wrong, or the reward model expects no rewards.
        LogFormatError: the log is not what its format says.
        ValueError: a reward is outside the range that was given.
    """
    log = open_log(log) if isinstance(log, (str, PathLike)) else log
    limits = reward_range or log.reward_range or rewards_met(log)
    settings: dict[str, Any] = {
        "standardise": standardise,
        "min_exploration": min_exploration,
        "reward_range": limits,
    }
    # The first is that of `online`, so that one life here is the one there.
    salts = [b"online" if seed == 0 else b"online %d" % seed for seed in range(seeds)]
    players = [_player(spec, settings, log, salt) for spec in policies for salt in salts]
    model = Progressive(ModelSpec(policy_of(reward_model, "--reward-model"), **settings).build())
    heard = _Heard(log)
    found = lives(heard, players, model, alpha=alpha, progress=progress)
    if reward_range is not None:
        check_range(heard.rewards, reward_range)
    each = [_one(found[k : k + seeds], alpha) for k in range(0, len(found), seeds)]
    own = mean(np.array(heard.rewards), alpha)
    if heard.slates:
        own = replace(own, low=None, high=None, interval="", reason=_SLATES)
    return Lives(log.name, own, each, heard.decided, len(heard.rewards), alpha)


class _Heard(HandedOn):
    """A log that remembers what it told."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.decided = 0
        self.rewards = array("d")
        self.slates = False  # whether a decision had several slots
        self._decisions = Decisions()

    def __iter__(self) -> Iterator[Event]:
        for event in self.log:
            if isinstance(event, Decided):
                self.decided += 1
                self._decisions.number(event)
                self.slates = self.slates or self._decisions.slots > 1
            else:
                self.rewards.append(event.reward)
            yield event


def _player(spec: str, settings: Mapping[str, Any], log: Log, salt: bytes) -> Player:
    name, _, args = spec.partition(":")
    if name == "vw" and args and isinstance(log, DsjsonLog):
        from simulator.vw_dsjson import VwLive

        return VwLive(spec, args, salt)
    return Live(spec, ModelSpec(policy_of(spec), **settings), salt)


def _one(found: Sequence[Online | Refused], alpha: float) -> Online | Refused:
    """Of one policy's lives. One that was refused might have gone either way, so the others are not taken for all."""
    told = [each for each in found if isinstance(each, Online)]
    refusals = [each for each in found if isinstance(each, Refused)]
    return refusals[0] if refusals else average(told, alpha)
