"""What is to be done, and when each call is due: known before the first one is sent, so no answer can move it.

A generator that waits for an answer before it sends the next call slows down with the service, and the calls that it then does not
send are the ones that would have waited longest ("coordinated omission"). Here a call is due at its time whatever happened
before, and its latency counts from there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Plan:
    """The load of one process."""

    target: str  # host:port
    app: str
    seconds: float
    rate: float  # calls a second, of all processes together
    closed: int  # calls in flight in this process, each sent when the one before it is answered; 0: at `rate`
    connections: int
    actions: int
    features: int
    rewards: float  # share of answered calls that are rewarded
    low: float  # of rewards
    high: float
    timeout: float  # seconds for a call
    process: int = 0
    processes: int = 1

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def due(plan: Plan) -> Iterator[float]:
    """Seconds after the start at which this process sends its calls; processes take turns.

    >>> from dataclasses import replace
    >>> two = Plan("", "", 2.0, 2.5, 0, 1, 1, 1, 0, 0, 1, 1, processes=2)
    >>> list(due(two)), list(due(replace(two, process=1)))
    ([0.0, 0.8, 1.6], [0.4, 1.2])
    """
    number = plan.process
    while (at := number / plan.rate) < plan.seconds:
        yield at
        number += plan.processes


def shares(whole: int, parts: int) -> list[int]:
    """The whole in as many parts, as equal as can be.

    >>> shares(8, 3)
    [3, 3, 2]
    """
    return [whole // parts + (i < whole % parts) for i in range(parts)]
