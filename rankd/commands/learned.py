"""What a saved model has learned already of the log that it is replayed on: such rows are scored for none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import typer

from rankd.commands import fail
from server.fold.records import LogRecord
from simulator.logs import Matured
from simulator.logs.handed_on import HandedOn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from rankd.commands.saved import Saved
    from simulator.logs import Decided, Event, Log
    from simulator.replay import Pass
    from simulator.sample import Sample


def learned_until(models: Sequence[Saved], log: Log) -> int:
    """The last record of this log that one of the models may have learned, 0 if none: what comes after can be scored honestly.

    Ends the command where a model of this very log does not say how much of it it has learned.
    """
    from simulator.logs.rankd_log import RankdLog

    own = log.first_settings() if isinstance(log, RankdLog) else None
    until = 0
    for model in models:
        if own is None or (own.app, own.salt) != (model.settings.app, model.settings.salt):
            typer.echo(
                f"note: --policy {model.spec}: this log does not tell whether the model has learned rows of it; "
                "where it has, the estimate is too good",
                err=True,
            )
        elif model.version == 0:
            fail(
                f"--policy {model.spec}: the model is of this log's app, and does not say which records it has learned: it "
                "would be scored on them. Give FOLDER@VERSION, or what `rankd models export` writes"
            )
        until = max(until, model.version if own is not None else 0)
    return until


class Learned(HandedOn):
    """A log that notes which rows were decided up to a record, so that they can be left out of what is concluded.

    Args:
        until: the number of that record; 0 where there is none.
    """

    def __init__(self, log: Log, until: int) -> None:
        super().__init__(log)
        self._until = until
        self.decided = self.matured = 0  # of those
        self._places: dict[tuple[str, int], int] = {}  # of decisions that wait for their rewards
        self._rows: list[
            tuple[int, bool]
        ] = []  # place of the decision, whether a model may have learned it

    def __iter__(self) -> Iterator[Event]:
        if not self._until:
            yield from self.log
            return
        for place, event in enumerate(self.log):
            if isinstance(event, Matured):
                decision = event.decision
                old = self._old(decision)
                self._rows.append((self._places.pop((decision.key, decision.slot), place), old))
                self.matured += old
            else:
                self._places[event.key, event.slot] = place
                self.decided += self._old(event)
            yield event

    def _old(self, decision: Decided) -> bool:
        return isinstance(decision.raw, LogRecord) and decision.raw.sequence <= self._until

    def rows(self, sample: Sample) -> Sample:
        """Those that no model had learned."""
        return sample.rows(self._kept) if self.matured else sample

    @property
    def _kept(self) -> NDArray[np.bool_]:
        """Of the rows of a replay, which are in the order of their decisions."""
        return np.array([not old for _, old in sorted(self._rows)], np.bool_)

    def rest(self, found: Pass) -> Pass:
        """What no model had learned. Policies that learn have learned the rows before, as the saved ones had."""
        if not self.matured:
            return found
        kept = self._kept
        replayed = [
            replace(one, sample=one.sample.rows(kept), actions=one.actions[kept])
            for one in found.replayed
        ]
        typer.echo(
            f"note: {self.matured:,} of {found.matured:,} rows were decided before the saved model (record {self._until:,}): they are "
            "learned by policies that learn, and scored for none",
            err=True,
        )
        decided, matured = found.decided - self.decided, found.matured - self.matured
        return replace(found, replayed=replayed, decided=decided, matured=matured)
