"""q for each row from all rows but those of its fold: for logs whose rows are independent.

Chernozhukov, Chetverikov, Demirer, Duflo, Hansen, Newey & Robins (2018), "Double/Debiased Machine Learning for Treatment and
Structural Parameters", section 3 (DML2: all rows count in one mean). Each row's q comes from a share 1 - 1/K of the
log, where a progressive model has seen half of it on average.

Rows after t may be used for q at t only where they say nothing of t's draw. They do where the log's policy learned, since
its later actions and propensities hang on what came of row t, and where the target learns, whose later pmfs do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from policies.sampler import Purpose, seed
from simulator.logs.deciding_model import deciding_model
from simulator.logs.events import Decided

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from simulator.logs.events import Log, Matured
    from simulator.reward_models.reward_model import RewardModel

_SALT = b"cross-fit"
# A pmf whose entries differ by no more is uniform: a model that only ever plays so has taught nothing to its propensities.
_ROUNDING = 1e-9


class CrossFitted:
    """K models, each of which has learned the rows outside its fold and is asked about those within.

    A decision's fold is a hash of its name, so that all slots of one decision are in one fold, and a second pass finds it
    without keeping a row.

    Args:
        models: one for each fold, two at least, trained by `of`.
    """

    def __init__(self, models: Sequence[RewardModel]) -> None:
        if len(models) < 2:
            raise ValueError(f"{len(models)} folds: cross-fitting needs two at least")
        self._models = models

    @classmethod
    def of(
        cls,
        log: Log,
        build: Callable[[], RewardModel],
        folds: int = 5,
        progress: Callable[[int], None] | None = None,
    ) -> Self:
        """Trained in one pass over the log, in its order; no row is kept.

        What is assumed: that rows are independent given their contexts, so that neither the log's policy nor the target learned
        from them. A log that names the model of each decision is checked; of others the caller must know it.

        Args:
            log: read once, from its beginning; a replay reads it again.
            build: an untrained model.
            folds: K. Training takes K - 1 lessons for each row.
            progress: called after each matured row with their number.

        Raises:
            LogFormatError: the log is not what its format says.
            ValueError: fewer than two folds, or the log's policy learned while it logged.
        """
        fitted = cls([build() for _ in range(folds)])
        models: set[str | None] = set()
        uniform = True
        matured = 0
        for event in log:
            if isinstance(event, Decided):
                models.add(deciding_model(event))
                uniform = uniform and _uniform(event)
                if len(models) > 1 and not uniform:
                    raise ValueError(
                        "several models made the decisions of this log, so its policy learned while it logged, and rows after a "
                        "decision know what came of it: cross-fitting is for independent rows. Take the progressive model "
                        "(no --cross-fit), or the rows of one model"
                    )
                continue
            fold = fitted.fold(event.decision)
            for number, model in enumerate(fitted._models):
                if number != fold:
                    model.learn(event)
            matured += 1
            if progress is not None:
                progress(matured)
        return fitted

    def fold(self, decision: Decided) -> int:
        """In which of the K folds the decision is."""
        return seed(_SALT, Purpose.EXPERIMENT, 0, decision.decision_key) % len(self._models)

    def expected(self, decision: Decided) -> NDArray[np.float64]:
        """q [K], from the model that has not seen the decision.

        Raises:
            PolicyError: the model expects no rewards.
        """
        return self._models[self.fold(decision)].expected(decision)

    def learn(self, matured: Matured) -> None:
        """Nothing: all is learned."""


def _uniform(decision: Decided) -> bool:
    pmf = decision.pmf
    return pmf is not None and float(pmf.max() - pmf.min()) <= _ROUNDING
