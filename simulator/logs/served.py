"""rankd's own log in the order in which its models were used: a decision comes where its model stood, not where it was made.

A server decides with the newest model that it has, which knows the log up to `model_version`; rewards that became final between
that place and the decision's own were unknown to it. Here each decision comes once the first `model_version` records were folded. So whoever
is asked at a decision, and learns at each reward, is never newer than the model that decided: the lags of publication, of loading,
and of a pinned version are the recorded ones.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, NamedTuple

from rankd.v1 import log_pb2 as pb
from server.fold.records import LogError
from simulator.logs.events import LogFormatError, Matured
from simulator.logs.rankd_log import EventFold, RankdLog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from server.fold.joiner import Joined
    from server.fold.records import LogRecord
    from server.fold.settings import FoldSettings
    from simulator.logs.events import Event


class Lag(NamedTuple):
    """How far a decision's model was behind the log."""

    decisions: int  # that the app made between the model's last record and the decision
    rewards: (
        int  # slots whose reward became final between the two, so that the model did not know it
    )
    seconds: float  # of log time between the two; a model that nothing was learned after is not replaced, and grows old


class ServedLog(RankdLog):
    """One app of an opened log, as `RankdLog`, in the order in which models were used.

    Reads the log twice, and keeps a few numbers for each decision.
    """

    at = 0
    """The number of the record that is being folded, or has just been."""
    epoch = 0
    settings: FoldSettings | None = None
    """Those in force at this place."""
    lags: list[Lag]
    """Of each decision met so far, in the order of the log."""

    def __iter__(self) -> Iterator[Event]:
        self.counters = Counter()
        self.lags = []
        fold = _Fold(self._source, self.app)
        try:
            yield from self._events(fold)
        except LogError as error:
            raise LogFormatError(f"{self.name}: {error}") from error
        finally:
            self._count(fold)

    def _events(self, fold: _Fold) -> Iterator[Event]:
        base = fold.base
        made_by = self._decisions_by_version(base)
        waiting = sorted(made_by, reverse=True)
        stood: dict[int, tuple[int, int, int]] = {}  # version -> decisions, rewards, time
        made = known = now = 0
        for record in self._source.records(fold.version):
            while waiting and waiting[-1] < record.sequence:
                version = waiting.pop()
                stood[version] = made, known, now or record.log_time_us
                for sequence in made_by[version]:
                    yield from fold.decisions(self._source.read(sequence))
            self.at = record.sequence
            fold.step(record)
            self._follow(fold)
            now = record.log_time_us
            for joined in fold.taken():
                for event in fold.final(joined):
                    known += isinstance(event, Matured)
                    yield event
            if _is_decision(record, self.app):
                before = stood[max(record.decision().model_version, base)]
                lag = made - before[0], known - before[1], (now - before[2]) / 1e6
                self.lags.append(Lag(*lag))
                made += 1

    def _decisions_by_version(self, base: int) -> dict[int, list[int]]:
        """Version -> sequences of the decisions that it made. What is older than a trimmed log is taken for its beginning."""
        made_by: dict[int, list[int]] = defaultdict(list)
        for record in self._source.records(base):
            if _is_decision(record, self.app):
                made_by[max(record.decision().model_version, base)].append(record.sequence)
        return made_by

    def _follow(self, fold: _Fold) -> None:
        if fold.settings is not None and fold.settings is not self.settings:
            self._widen(fold.settings)
        self.settings, self.epoch = fold.settings, fold.epoch


class _Fold(EventFold):
    """The joining fold, which also keeps back what the learner would keep back."""

    def taken(self) -> list[Joined]:
        """What has become final since the last time."""
        closed, self._closed = self._closed, []
        return closed

    def _learn(self, sequence: int, closed: Iterable[Joined]) -> None:
        if self.holds:
            self._held.extend(closed)
            return
        super()._learn(sequence, closed)


def _is_decision(record: LogRecord, app: str) -> bool:
    return record.kind == pb.KIND_DECISION and record.app == app
