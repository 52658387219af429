"""Decisions with their final rewards, in the order in which the fold learns them: the fold without its model.

Nothing is learned here, so this takes no policy's library and a fraction of the time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.fold.fold import AppFold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rankd.v1 import log_pb2 as pb
    from server.fold.joiner import Joined
    from server.fold.records import LogRecord
    from server.fold.settings import FoldSettings
    from server.fold.verify import LogSource


@dataclass(frozen=True, slots=True)
class JoinedRow:
    """One decision whose window has closed with something to learn."""

    record: LogRecord  # the Decision's
    decision: pb.Decision
    rewards: dict[int, float]  # slot number -> final reward, defaults filled in


class JoinFold(AppFold):
    """One app's log, joined as the fold joins it. What becomes final is handed out by `rows`.

    Decisions of an app that only logs are joined too. In a trimmed log the rows begin where the oldest checkpoint stands.
    """

    def __init__(self, source: LogSource, app: str) -> None:
        super().__init__(app, source.read, lambda _: b"")
        self._source = source
        self._closed: list[Joined] = []
        base = source.base(app)
        if base is not None:
            self.restore(base)

    def rows(self) -> Iterator[JoinedRow]:
        """Every decision that is final by the end of the log. To be called once.

        Raises:
            LogError: the log cannot be read on.
        """
        for record in self._source.records(self.version):
            self.step(record)
            for joined in self._closed:
                decided = self._source.read(joined.at)
                yield JoinedRow(decided, decided.decision(), joined.rewards)
            self._closed.clear()

    def _learn(self, sequence: int, closed: Iterable[Joined]) -> None:
        self._closed.extend(closed)

    def _starting_model(self, epoch: pb.Epoch, settings: FoldSettings, record: LogRecord) -> None:
        return None

    def _load(self, settings: FoldSettings, state: bytes) -> None:
        return None
