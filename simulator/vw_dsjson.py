"""Vowpal Wabbit on its own log format, as `vw --dsjson` would replay it: VW parses each line, with its own namespaces, and
nothing is standardised and no floor mixed in. So figures are those of VW's progressive loss, with the sign of a reward.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from vowpalwabbit import Workspace

from policies import PolicyError
from policies.sampler import Purpose, uniform
from policies.types import Scored
from simulator.life import ONLINE
from simulator.targets import TRAINED_ON_LOG

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulator.logs.events import Decided, Matured

_REDUCTION = "--cb_explore_adf"


class VwDsjson:
    """A VW command line that learns every row of a dsjson log.

    Args:
        name: for reports.
        args: VW's options; --cb_explore_adf is added where it is missing.

    Raises:
        PolicyError: VW refuses the options, or they are for slots.
    """

    estimand = TRAINED_ON_LOG

    def __init__(self, name: str, args: str) -> None:
        self.name = name
        if "--ccb_explore_adf" in args:
            raise PolicyError(f"{name}: slots of a dsjson log are not replayed through VW's parser")
        if _REDUCTION not in args.split():
            args = f"{_REDUCTION} {args}"
        try:
            self._vw: Any = Workspace(f"{args} --dsjson --quiet")
        except RuntimeError as error:
            raise PolicyError(f"{name}: VW refuses {args!r}: {error}") from error

    def pmf(self, decision: Decided) -> NDArray[np.float64]:
        examples = self._parsed(decision)
        try:
            given = self._vw.predict(examples)
        finally:
            self._vw.finish_example(examples)
        found: NDArray[np.float64] = np.array(given, np.float64)
        found /= found.sum()  # VW's float32 probabilities sum to 1 within 1e-6
        return found

    def learn(self, matured: Matured) -> None:
        examples = self._parsed(matured.decision)
        try:
            self._vw.learn(examples)
        finally:
            self._vw.finish_example(examples)

    def _parsed(self, decision: Decided) -> Any:
        return self._vw.parse(json.dumps(self._line(decision)))

    def _line(self, decision: Decided) -> dict[str, Any]:
        """What VW is to read."""
        if not isinstance(decision.raw, dict):
            raise PolicyError(f"{self.name}: decision {decision.key} is no line of a dsjson log")
        return decision.raw


class VwLive(VwDsjson):
    """A VW command line that lives through the rows of a dsjson log which it would have made itself: see `simulator.online`.

    It learns a line with its own probability in place of the logged one, as if it had written the log.

    Args:
        name: for reports.
        args: as of VwDsjson.
        salt: of the random bits that accept rows; must not be the one that the log was drawn with.

    Raises:
        PolicyError: VW refuses the options, or they are for slots.
    """

    estimand = ONLINE
    mixture = ""  # it mixes no policies

    def __init__(self, name: str, args: str, salt: bytes = b"online") -> None:
        super().__init__(name, args)
        self._salt = salt

    def score(self, decision: Decided) -> Scored:
        """What it answers."""
        pmf = self.pmf(decision)
        return Scored(pmf, pmf)

    def bits(self, decision: Decided) -> float:
        """Uniform in [0, 1), for whether this row is accepted."""
        return uniform(self._salt, Purpose.DRAW, decision.slot, decision.key)

    def _line(self, decision: Decided) -> dict[str, Any]:
        line = super()._line(decision)
        if "_label_probability" not in line:
            return line
        return {**line, "_label_probability": decision.propensity}
