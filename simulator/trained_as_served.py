"""Another policy in the place of the one that ran, with a server's recorded lags (`simulator.logs.served`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from policies import PolicyError
from policies.sampler import Purpose, seed
from simulator.logs.events import LogFormatError
from simulator.served import record_of
from simulator.targets import TRAINED_ON_LOG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from policies import ModelSpec, Scored
    from policies.model import Model
    from simulator.logs.events import Decided, Matured
    from simulator.logs.served import ServedLog


class TrainedAsServed:
    """A policy that learns every matured row, and that is, at each decision, as old as the model that decided.

    It goes through what the served policy went through: it answers from a copy that was loaded from its state, it is reloaded where
    the learner reloads (`AppFold`), its random bits are the server's, and slots after the first share what is left of one pmf. Everything but
    the policy itself is the app's, as the log's settings say. So the served policy's own configuration gives the
    logged pmfs, to the bit. A policy that expects no rewards goes without the app's watch for drift in residuals. Models that were
    imported, or rolled back to, are the served policy's: this one goes on.

    Args:
        name: for reports.
        policy: {"type": name, setting: value ...}.
        log: the log that is replayed, which says where it stands.
        changes: of the ModelSpec's other fields: name -> value.
    """

    estimand = TRAINED_ON_LOG

    def __init__(
        self,
        name: str,
        policy: Mapping[str, object],
        log: ServedLog,
        changes: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self._policy = policy
        self._log = log
        self._changes = dict(changes or {})
        self._model: Model | None = None
        self._mixture = ""
        self._loaded: Model | None = None  # None: something was learned since
        self._epoch = -1
        self._reloaded_at = 0
        self._first: tuple[str, tuple[str, ...], Scored] | None = None

    @property
    def model(self) -> Model:
        """As it is now, newer than what it answers from."""
        return self._current()

    def pmf(self, decision: Decided) -> NDArray[np.float64]:
        model = self._current()
        if self._loaded is None:
            self._loaded = model.spec.load(model.state())
        record = record_of(decision)
        if decision.slot and not model.slotwise:
            return self._rest(decision)
        bits = seed(self._salt, Purpose.POLICY, decision.slot, record.event_id)
        scored = self._loaded.pmf(decision.context, decision.actions, bits)
        self._first = decision.key, decision.actions.ids, scored
        return scored.pmf

    def learn(self, matured: Matured) -> None:
        model = self._current()
        settings = self._log.settings
        every = settings.checkpoint_every if settings is not None else 1
        boundary = (self._log.at - 1) // every * every
        if boundary > self._reloaded_at:
            model = self._model = model.reload()
            self._reloaded_at = boundary
        model.learn([matured.decision.interaction(matured.reward, self._mixture)])
        self._loaded = None

    @property
    def _salt(self) -> bytes:
        settings = self._log.settings
        return b"" if settings is None else bytes.fromhex(settings.salt)

    def _current(self) -> Model:
        """The model, under the settings of the epoch."""
        if self._model is None or self._epoch != self._log.epoch:
            spec = self._spec()
            self._model = spec.build() if self._model is None else spec.load(self._model.state())
            self._epoch, self._loaded, self._mixture = self._log.epoch, None, spec.mixture
        return self._model

    def _spec(self) -> ModelSpec:
        settings = self._log.settings
        if settings is None:
            raise LogFormatError(
                f"{self._log.name}: a decision was made before the app had a model"
            )
        spec = replace(settings.spec(), policy=self._policy, **self._changes)
        try:
            spec.build()
        except PolicyError:
            return replace(spec, drift=None)  # if it was another fault, building it will say so
        return spec

    def _rest(self, decision: Decided) -> NDArray[np.float64]:
        """What the slots before left of the first one's pmf; the best action, if they left nothing: see `server.fold.decide`."""
        assert self._first is not None
        key, ids, scored = self._first
        assert key == decision.key
        index = {name: k for k, name in enumerate(ids)}
        kept = [index[name] for name in decision.actions.ids]
        left = scored.pmf[kept]
        mass = float(np.add.accumulate(left)[-1])
        if mass > 0:
            return left / mass
        best = np.zeros(len(left))
        best[np.argmax(scored.scores[kept])] = 1.0
        return best
