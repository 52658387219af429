"""Vowpal Wabbit on its own log format, as `vw --dsjson` would replay it: VW parses each line, with its own namespaces, and
nothing is standardised and no floor mixed in. So figures are those of VW's progressive loss, with the sign of a reward.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from vowpalwabbit import Workspace

from policies import PolicyError
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
        if not isinstance(decision.raw, dict):
            raise PolicyError(f"{self.name}: decision {decision.key} is no line of a dsjson log")
        return self._vw.parse(json.dumps(decision.raw))
