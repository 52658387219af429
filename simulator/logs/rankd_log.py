"""rankd's own log, joined as the learner joins it: a data folder, a topic or an export that somebody has opened.

Decisions come where their records stand in the log; their rewards come where the fold would learn them. Actions are in the order
in which policies see them, by id, and are those that could be chosen. A decision that never matures (not activated, void,
still open at the end) comes once. What was open at the beginning of a trimmed log comes when its reward is final.
"""

from __future__ import annotations

from collections import Counter
from math import inf
from typing import TYPE_CHECKING

from policies import PolicyError
from rankd.v1 import log_pb2 as pb
from server.exports.jsonl import ExportSource
from server.fold.decide import PLACKETT_LUCE
from server.fold.interactions import interactions
from server.fold.joined import JoinFold
from server.fold.records import LogError
from server.fold.settings import FoldSettings
from simulator.logs.events import Decided, LogFormatError, Matured, Skipped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.fold.joiner import Joined
    from server.fold.records import LogRecord
    from server.fold.verify import LogSource
    from simulator.logs.events import Event

# The joiner's counters of what gives no event, or none of the second kind.
_PASSED_OVER = {
    "dangling_rewards": Skipped.DANGLING,
    "not_activated": Skipped.NOT_ACTIVATED,
    "duplicate_rewards": "duplicate_rewards",
    "late_rewards": "late_rewards",
    "out_of_range": "out_of_range",
    "unrewarded": "unrewarded",
    "undelivered": "undelivered",
    "void": "void",
}


class RankdLog:
    """One app of an opened log: see `events.Log`. `Decided.key` is the decision_id, `raw` the LogRecord.

    Events at rest are kept as places in the log, as the learner keeps them; payloads are read again.

    Args:
        source: for instance server.learning.source.FolderSource, or server.exports.jsonl.ExportSource.
        app: may be left out where there is one.
        name: for messages.

    Raises (also while iterating):
        LogFormatError: the log cannot be read, or has no such app.
    """

    def __init__(self, source: LogSource, app: str | None = None, name: str = "log") -> None:
        apps = source.apps()
        if app is None and len(apps) == 1:
            app = apps[0]
        if app is None or app not in apps:
            found = ", ".join(apps) or "none"
            said = "choose one with app=" if app is None else f"no app {app!r}"
            raise LogFormatError(f"{name}: {said}; it has {found}")
        self.name = name
        self.app = app
        self.counters: Counter[str] = Counter()
        self._source = source
        self._range: tuple[float, float] | None = None
        self._fold: _Replay | None = None  # of the pass that began last

    @property
    def deadline(self) -> float:
        """Log clock in microseconds, by which the last of the windows that were opened so far closes: see `simulator.waiting.Windowed`."""
        return inf if self._fold is None else self._fold.deadline

    @property
    def closed_to(self) -> float:
        """Log clock in microseconds, up to which what the windows held has been given."""
        return -inf if self._fold is None else self._fold.closed_to

    @property
    def reward_range(self) -> tuple[float, float] | None:
        """The app's, as the settings in the log say. Where they changed, what all that were met so far allow together."""
        if self._range is None:
            try:
                settings = self.first_settings()
            except LogError as error:
                raise _refused(self.name, error) from error
            if settings is not None:
                self._widen(settings)
        return self._range

    def first_settings(self) -> FoldSettings | None:
        """Those that the log begins with; None of an app that has none yet."""
        base = self._source.base(self.app)
        if base is not None and base.config_json:
            return FoldSettings.model_validate_json(base.config_json)
        for record in self._source.records(0 if base is None else base.version):
            if record.kind == pb.KIND_CONFIG and record.app == self.app:
                return FoldSettings.model_validate_json(record.message(pb.Config).json)
        return None

    def __iter__(self) -> Iterator[Event]:
        self.counters = Counter()
        fold = self._fold = _Replay(self._source, self.app)
        settings = None
        try:
            for event in fold.events():
                if fold.settings is not settings and fold.settings is not None:
                    settings = fold.settings
                    self._widen(settings)
                yield event
            if isinstance(self._source, ExportSource) and not self._source.complete:
                self.counters[Skipped.CUT_SHORT] = 1
        except LogError as error:
            raise _refused(self.name, error) from error
        finally:
            if fold.settings is not None:
                self._widen(fold.settings)
            self._count(fold)

    def _count(self, fold: JoinFold) -> None:
        if fold.joiner is None:
            return
        found = {
            ours: fold.joiner.counters[theirs]
            for theirs, ours in _PASSED_OVER.items()
            if fold.joiner.counters[theirs]
        }
        if fold.joiner.open:
            found["open"] = fold.joiner.open  # decisions whose window is open at the end
        self.counters.update(found)

    def _widen(self, settings: FoldSettings) -> None:
        low, high = self._range or (settings.reward_min, settings.reward_max)
        self._range = min(low, settings.reward_min), max(high, settings.reward_max)


def _refused(name: str, error: LogError) -> LogFormatError:
    """The error with the log's name, which those of an export have already."""
    text = str(error)
    return LogFormatError(text if text.startswith(name) else f"{name}: {text}")


class EventFold(JoinFold):
    """The joining fold, which also makes events of records."""

    def __init__(self, source: LogSource, app: str) -> None:
        self._by_epoch: dict[int, FoldSettings] = {}
        self._mixtures: dict[int, str] = {}  # by epoch, of those that were asked for
        super().__init__(source, app)
        self.base = self.version
        self._note_epoch()

    def decisions(self, record: LogRecord) -> list[Decided]:
        """The slots of a Decision record.

        Raises:
            LogError: rankd never wrote it so.
        """
        slots = range(len(record.decision().slot_probabilities))
        return [event.decision for event in self._matured(record, dict.fromkeys(slots, 0.0))]

    def final(self, joined: Joined) -> Iterator[Event]:
        """The slots of a decision that is final, after the decision itself if that was made before the log begins.

        Raises:
            LogError: rankd never wrote it so.
        """
        record = self._source.read(joined.at)
        if record.sequence <= self.base:
            yield from self.decisions(record)
        yield from self._matured(record, joined.rewards)

    def _open_epoch(self, epoch: pb.Epoch, record: LogRecord) -> None:
        super()._open_epoch(epoch, record)
        self._note_epoch()

    def _note_epoch(self) -> None:
        if self.settings is not None:
            self._by_epoch[self.epoch] = self.settings

    def _mixture(self, epoch: int) -> str:
        """What was mixed in that epoch; "" where the log does not reach back to it, or its policy is not known here."""
        settings = self._by_epoch.get(epoch)
        if settings is None:
            return ""
        if epoch not in self._mixtures:
            try:
                self._mixtures[epoch] = settings.spec().mixture
            except PolicyError:
                self._mixtures[epoch] = ""
        return self._mixtures[epoch]

    def _matured(self, record: LogRecord, rewards: dict[int, float]) -> list[Matured]:
        """The slots of a Decision record that have a reward (slot number -> reward), in slot order."""
        try:
            decision = record.decision()
            if (
                not min(decision.pmf, default=0.0) >= 0.0
            ):  # what has no mass would pass for a baseline's turn
                raise ValueError(f"a probability is {min(decision.pmf)}: must be >= 0")
            one_pmf = decision.sampler == PLACKETT_LUCE
            mixture = self._mixture(decision.epoch) if decision.base_probabilities else ""
            found = zip(sorted(rewards), interactions(decision, rewards), strict=True)
            return [
                Matured(
                    Decided(
                        record.decision_id,
                        slot,
                        one.context,
                        one.actions,
                        one.chosen,
                        one.pmf,
                        one.propensity,
                        one.bases,
                        record,
                        one_pmf=one_pmf,
                        at=record.sequence,
                        time_us=record.log_time_us,
                        mixture=mixture,
                    ),
                    one.reward,
                )
                for slot, one in found
            ]
        except (ValueError, IndexError) as error:
            raise LogError(f"decision {record.sequence} cannot be read: {error}") from error


class _Replay(EventFold):
    """The joining fold, which also hands out decisions when they come."""

    deadline = 0
    closed_to = -1

    def events(self) -> Iterator[Event]:
        """To be iterated once. Raises LogError: the log cannot be read on."""
        for record in self._source.records(self.base):
            due = self.clock.due_us
            self.step(record)
            closed, self._closed = self._closed, []
            if record.kind == pb.KIND_DECISION and record.app == self.app:
                self._opened()
                yield from self.decisions(record)
            for joined in closed:
                yield from self.final(joined)
            # These two close no window: see AppFold.step. Any other closes those that were due before it, or more.
            if record.app in ("", self.app) and record.kind not in (pb.KIND_CONFIG, pb.KIND_EPOCH):
                self.closed_to = due

    def _opened(self) -> None:
        """Notes how long the window of a decision may be open. An earlier one may be longer, if settings have changed."""
        if self.joiner is not None:
            rules = self.joiner.rules
            ends = self.clock.now_us + rules.wait_us + rules.lateness_us
            self.deadline = max(self.deadline, ends)
