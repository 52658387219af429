"""Which logs a learner reads, and what it owes to each: put together from the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from server.journal.client import BlockingJournal
from server.learning.app import LearnerApp
from server.learning.checkpoints import Checkpoints
from server.learning.learner import Duties, Feed
from server.learning.shared import SharedDuties
from server.learning.sole import SoleDuties

if TYPE_CHECKING:
    from collections.abc import Callable

    from server.config import Config
    from server.files import DataFolder
    from server.learning.log import Log, MergedLog

# Seconds that a learner waits for the journal to take a record. The writer restarts in half a second.
_JOURNAL_SECONDS = 10.0


def journal_feed(
    config: Config, folder: DataFolder, reader: Log, apps: list[str], trims: bool
) -> Feed:
    """The journal of a service that shares its log with nobody.

    Args:
        trims: whether this process is the one that trims it, for all configured apps.
    """
    journal = BlockingJournal(folder.socket, _JOURNAL_SECONDS)
    folded: list[tuple[LearnerApp, Duties]] = []
    for name in apps:
        app = LearnerApp(name, reader, config, folder)
        folded.append((app, SoleDuties(app, config, journal)))
    every = [_checkpoints(config, folder, name) for name in sorted(config.apps)]
    return Feed(reader, journal.trim if trims else None, folded, every)


def merged_feed(
    config: Config,
    folder: DataFolder,
    reader: MergedLog,
    trim: Callable[[int], object],
    app: str,
    me: str,
) -> Feed:
    """An app's topic, merged by the follower.

    Args:
        me: UUID of this node's folder.
    """
    learner = LearnerApp(app, reader, config, folder, merged=reader)
    journal = BlockingJournal(folder.socket, _JOURNAL_SECONDS)
    duties = SharedDuties(learner, config, journal, me, folder.following(app))
    return Feed(reader, trim, [(learner, duties)], [_checkpoints(config, folder, app)])


def _checkpoints(config: Config, folder: DataFolder, app: str) -> Checkpoints:
    return Checkpoints(folder.checkpoints(app), config.learner.keep_checkpoints)
