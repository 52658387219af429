"""What a learner owes to a log that only its own service writes: epochs, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from server.journal.client import JournalBusyError, JournalFullError, JournalMovedError
from server.learning.epochs import announce, config_record, epoch_record, in_force, wanted

if TYPE_CHECKING:
    from threading import Event

    from server.config import Config
    from server.journal.client import BlockingJournal
    from server.learning.app import LearnerApp

log = structlog.get_logger("learner")

# A full disk is tried again after this many seconds.
_RETRY_SECONDS = 1.0


class SoleDuties:
    """Opens an epoch where the configuration asks for one. Config and Epoch stand side by side in the log: they are
    appended on the condition that it has not grown since the state that the Epoch names was computed."""

    def __init__(self, app: LearnerApp, config: Config, journal: BlockingJournal) -> None:
        self._app = app
        self._config = config
        self._journal = journal
        self._settled = False

    def attend(self, caught_up: bool, stop: Event) -> bool:
        if self._settled or not caught_up:
            return False
        settings = wanted(self._app, self._config)
        if in_force(self._app, settings) and not self._app.fold.holds:
            self._settled = True
            return False
        epoch, _ = epoch_record(self._app, settings)
        records = [config_record(self._app, settings), epoch]
        try:
            self._journal.append(records, expected_last=self._app.fold.version)
            announce(self._app, settings, epoch)
        except JournalMovedError:
            pass  # a Tick came in between: fold it and try again
        except (JournalFullError, JournalBusyError) as error:
            log.error("cannot open an epoch", app=self._app.name, error=str(error))
            stop.wait(_RETRY_SECONDS)
        return True

    def lease(self) -> int | None:
        return 0

    def status(self) -> dict[str, Any]:
        return {}

    def leave(self) -> None:
        pass
