"""Does the world still behave as it did? A detector watches every interaction that is learned, and says when things got worse.

What it watches is an *error*: how far the reward is from the highest one (`on: reward`), or from what the policy expected just
before it learned (`on: residual`), in shares of the reward range. The mean of residuals stays 0 under many a change, so it
is their absolute value that is watched. See `detectors`.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from policies.pack import pack, unpack
from policies.policy import PolicyError

if TYPE_CHECKING:
    from policies.detectors import DriftSettings

# Of these settings the detector knows nothing: they may change under way.
_FREE = frozenset({"action", "rounds", "exploration", "min_rounds"})


class Monitor:
    """A detector, and what it has said so far.

    State: four numbers, and those of the detector; see there.
    """

    def __init__(self, settings: DriftSettings, reward_range: tuple[float, float]) -> None:
        self.settings = settings
        self._low, self._high = reward_range
        self.learned = 0  # interactions watched
        self.detections = 0
        self.last = 0  # `learned` when the last detection was; 0 if there was none
        self.restarted = 0  # `learned` when the policy was last replaced; 0 if it never was
        # As bytes until it is needed: servers never need it, and so need not load River.
        self._detector: Any = None
        self._saved: bytes | None = None

    def watch(self, reward: float, expected: float | None) -> bool:
        """Takes in an interaction that is about to be learned.

        Args:
            reward: finite.
            expected: what the policy expects of the chosen action; None with `on: reward`.

        Returns:
            Whether the policy should be replaced by an untrained one before it learns.

        Raises:
            PolicyError: the saved detector is not one of these settings.
        """
        detector = self._ready()
        self.learned += 1
        if not self.settings.worse(detector, self._error(reward, expected)):
            return False
        self.detections += 1
        self.last = self.learned
        if self.settings.action != "restart":
            return False
        if self.restarted and self.learned - self.restarted < self.settings.min_rounds:
            return False
        self.restarted = self.learned
        return True

    def _error(self, reward: float, expected: float | None) -> float:
        gap = self._high - reward if expected is None else abs(reward - expected)
        share = gap / (self._high - self._low)
        return min(max(share, 0.0), 1.0) if isfinite(share) else 1.0

    @property
    def recent(self) -> bool:
        """Whether the last detection was less than `rounds` interactions ago."""
        return self.last > 0 and self.learned < self.last + self.settings.rounds

    def floor(self, min_exploration: float) -> float:
        """The floor that holds now, in [0, 1]."""
        if self.settings.action == "explore" and self.recent:
            return max(min_exploration, self.settings.exploration)
        return min_exploration

    def report(self) -> dict[str, Any]:
        """What an operator wants to know, as JSON types."""
        exploring = self.settings.action == "explore" and self.recent
        return {
            "detector": self._made_with()["detector"],
            "on": self.settings.on,
            "action": self.settings.action,
            "learned": self.learned,
            "detections": self.detections,
            "last": self.last,
            "recent": self.recent,
            "exploring_until": self.last + self.settings.rounds if exploring else 0,
            "restarted": self.restarted,
        }

    def state(self) -> bytes:
        """Canonical bytes."""
        from policies.river.objects import encode

        if self._detector is not None:
            self._saved = encode(self._detector)
        counts = [self.learned, self.detections, self.last, self.restarted]
        saved = np.frombuffer(self._saved or b"", np.uint8)
        return pack(
            {"made_with": self._made_with()},
            {"counts": np.array(counts, np.int64), "detector": saved},
        )

    @classmethod
    def from_state(
        cls, settings: DriftSettings, reward_range: tuple[float, float], state: bytes
    ) -> Self:
        """The monitor whose state this is; a new one, if it was one with another detector.

        Raises:
            PolicyError: it is not a state of a monitor.
        """
        self = cls(settings, reward_range)
        header, arrays = unpack(state)
        kinds = {name: (array.dtype.kind, array.ndim) for name, array in arrays.items()}
        if kinds != {"counts": ("i", 1), "detector": ("u", 1)} or set(header) != {"made_with"}:
            raise PolicyError(f"not a state of a drift monitor: {header}")
        counts = arrays["counts"].tolist()
        if len(counts) != 4:
            raise PolicyError(f"not a state of a drift monitor: counts {counts}")
        if header["made_with"] != self._made_with():
            return self
        learned, detections, last, restarted = counts
        if not (0 <= detections <= learned and 0 <= restarted <= last <= learned):
            raise PolicyError(f"not a state of a drift monitor: counts {counts}")
        self.learned, self.detections, self.last, self.restarted = counts
        self._saved = arrays["detector"].tobytes() or None
        return self

    def _ready(self) -> Any:
        if self._detector is None:
            self._detector = self.settings.make()
            if self._saved is not None:
                from policies.river.objects import decode

                detector = decode(self._saved)
                if type(detector) is not type(self._detector):
                    raise PolicyError(f"drift: the saved detector is a {type(detector).__name__}")
                self._detector = detector
        return self._detector

    def _made_with(self) -> dict[str, object]:
        """What the detector was made with, and what its errors are shares of."""
        settings = self.settings.model_dump(mode="json", exclude=set(_FREE))
        return {**settings, "reward_range": [self._low, self._high]}
