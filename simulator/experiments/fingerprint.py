"""What data is, in a few letters: so that results are never taken for those of other data."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.environments.delayed import Delayed
from simulator.logs.events import Decided

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from policies import ActionSet, Features
    from simulator.environments import Environment, Round
    from simulator.logs.events import Log


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass over a log tells of it."""

    decided: int
    """Decisions."""
    matured: int
    """Those whose reward was final."""
    low: float
    """Least reward; 0 if there are none."""
    high: float
    """Greatest reward; 0 if there are none."""
    digest: str
    """Of everything that policies and estimators see. Of a LogRecord (`Decided.raw`) it has what was decoded, not the bytes: those are
    other ones where a log was exported and read in."""

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON has them."""
        return {"decided": self.decided, "matured": self.matured, "digest": self.digest}


def survey(log: Log, progress: Callable[[int], None] | None = None) -> Survey:
    """Reads a log once.

    Args:
        progress: called after each decision with their number.

    Raises:
        LogFormatError: the log is not what its format says.
    """
    print_ = _Fingerprint()
    decided = matured = 0
    low, high = float("inf"), float("-inf")
    for event in log:
        if isinstance(event, Decided):
            decided += 1
            print_.text(event.key)
            if event.slate:  # rows that belong together have wider intervals
                print_.text(event.slate)
            print_.numbers(event.slot, event.chosen, event.propensity, event.weight)
            print_.features(event.context)
            print_.actions(event.actions)
            if event.pmf is not None:
                print_.array(event.pmf)
            if event.bases is not None:
                print_.text("bases")  # or they could be another's pmf
                print_.array(event.bases)
                print_.text(event.mixture)
            if isinstance(event.raw, (str, dict)):  # what policies with a parser of their own read
                print_.text(str(event.raw))
            if progress is not None:
                progress(decided)
            continue
        matured += 1
        low, high = min(low, event.reward), max(high, event.reward)
        print_.text(event.decision.key)
        print_.numbers(event.decision.slot, event.reward)
    if not matured:
        low = high = 0.0
    return Survey(decided, matured, low, high, print_.hex())


def data_digest(world: Environment) -> str:
    """The fingerprint of a data set's rows; "" of a world that has none, which is its settings."""
    while isinstance(world, Delayed):  # as its rounds are another's
        world = world.of
    if not isinstance(world, Sized):
        return ""
    print_ = _Fingerprint()
    rounds: Iterator[Round] = world.rounds(np.random.default_rng(0))
    for each in rounds:
        print_.features(each.context)
        print_.actions(each.actions)
        print_.array(each.mean)
    return print_.hex()


class _Fingerprint:
    """A digest of what is fed in, in order; what has a length is preceded by it."""

    def __init__(self) -> None:
        self._digest = blake2b(digest_size=16)

    def text(self, text: str) -> None:
        data = text.encode()
        self._digest.update(len(data).to_bytes(8, "little") + data)

    def numbers(self, *numbers: float) -> None:
        self.array(np.array(numbers, np.float64))

    def array(self, values: np.ndarray[Any, Any]) -> None:
        self._digest.update(len(values).to_bytes(8, "little"))
        self._digest.update(np.ascontiguousarray(values).tobytes())

    def features(self, features: Features) -> None:
        self.array(features.index)
        self.array(features.value)
        self.array(features.namespace)
        self.array(features.numeric)

    def actions(self, actions: ActionSet) -> None:
        self.text("\0".join(actions.ids))
        self.array(actions.start)
        self.features(actions.features)

    def hex(self) -> str:
        return self._digest.hexdigest()
