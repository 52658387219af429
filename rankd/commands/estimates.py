"""What the status page says of rewards: three figures with intervals, from the service's running sums alone.

The sums are those of server.fold.report, over the first slot of every learned decision; w is pi(chosen) / propensity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from simulator import Ips, NotIdentifiable, empirical_likelihood_interval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Share of intervals that miss.
ALPHA = 0.05
# An interval wider than this share of what rewards can span says next to nothing.
_TELLING = 0.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure in reward units with its 95% interval; or none, and the reason."""

    meaning: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""  # what to mind; where there is no figure, why


def estimates(sums: Mapping[str, float], reward_range: tuple[float, float]) -> dict[str, Estimate]:
    """The figures by name: reward, baseline, exploration_cost.

    Args:
        sums: see server.fold.report.
        reward_range: (lowest, highest) reward of the app.

    >>> found = estimates({"n": 4.0, "r": 2.0, "rr": 2.0}, (0.0, 1.0))
    >>> found["reward"].value, found["reward"].note
    (0.5, 'not enough data yet')
    """
    log = _Log(sums, reward_range)
    span = reward_range[1] - reward_range[0]
    return {
        "reward": _estimate("mean reward of a learned decision", lambda: log.mean(ALPHA), span),
        "baseline": _estimate(
            "mean reward if the first eligible action were always played (IPS)",
            lambda: log.valued("baseline", ALPHA),
            span,
        ),
        "exploration_cost": _estimate(
            "reward that exploring gives up: the mean of the most probable action (IPS) minus the mean",
            log.exploration_cost,
            span,
        ),
    }


_Figure = tuple[float, float, float]
"""(value, low, high)"""


def _estimate(meaning: str, compute: Callable[[], _Figure], span: float) -> Estimate:
    try:
        value, low, high = compute()
    except NotIdentifiable as reason:
        return Estimate(meaning, note=str(reason))
    note = "not enough data yet" if high - low > _TELLING * span else ""
    return Estimate(meaning, value, low, high, note)


@dataclass(frozen=True, slots=True)
class _Log:
    """Raises NotIdentifiable (all methods) with the reason why there is no figure."""

    sums: Mapping[str, float]
    reward_range: tuple[float, float]

    def mean(self, alpha: float) -> _Figure:
        """What was earned: every weight is 1."""
        n, r, rr = self._rewards()
        return self._figure(Ips(n, n, n, r, r, rr), 1.0, 1.0, alpha)

    def valued(self, target: str, alpha: float) -> _Figure:
        """What a policy that always plays one certain action would have earned."""
        n, *_ = self._rewards()
        keys = [f"{target}.{key}" for key in ("w", "ww", "wr", "wwr", "wwrr", "w_max")]
        if not self.sums.keys() >= set(keys):
            raise NotIdentifiable("the service does not report it")
        *moments, w_max = (self.sums[key] for key in keys)
        # 0 is the weight wherever another action was played.
        return self._figure(Ips(n, *moments), 0.0, max(1.0, w_max), alpha)

    def exploration_cost(self) -> _Figure:
        # Each interval misses half as often, so that both hold together, however the two hang together.
        value, low, high = self.valued("greedy", ALPHA / 2)
        mean, mean_low, mean_high = self.mean(ALPHA / 2)
        return value - mean, low - mean_high, high - mean_low

    def _rewards(self) -> tuple[int, float, float]:
        n, r, rr = int(self.sums.get("n", 0)), self.sums.get("r", 0.0), self.sums.get("rr", 0.0)
        if not n:
            raise NotIdentifiable("no decision has been learned yet")
        greatest = max(map(abs, self.reward_range))
        if rr > n * greatest * greatest * (1 + 1e-9):
            raise NotIdentifiable(
                "rewards add up to more than the app's range, on which an interval rests"
            )
        return n, r, rr

    def _figure(self, ips: Ips, w_min: float, w_max: float, alpha: float) -> _Figure:
        interval = empirical_likelihood_interval(ips, w_min, w_max, self.reward_range, alpha)
        return ips.value, interval.low, interval.high
