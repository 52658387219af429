"""The fold: one app's records, in log order, become one model.

At every multiple of `checkpoint_every` records the model is put through its own saved state, whether or not anybody saves
it. So a learner that resumes from a checkpoint is at the same bits as one that never stopped, even for
libraries whose models come back from disk slightly changed.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from policies import state_sha256
from policies.registry import libraries, same_shape
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold import joiner_state
from server.fold.clock import LogClock
from server.fold.interactions import interactions
from server.fold.joiner import Joiner, RewardEntry
from server.fold.records import LogError, LogRecord, event_key, parse_decision_id
from server.fold.report import Report
from server.fold.settings import FoldSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from policies import Model
    from server.fold.joiner import Joined, Place


class AppFold:
    """State of one app after `version` records of the log.

    Args:
        app: name of the app; records of other apps pass by, those without an app count for all.
        read: the log's record at a place that the fold has seen before.
        artefact: the canonical policy state of that sha256.
    """

    def __init__(
        self, app: str, read: Callable[[Place], LogRecord], artefact: Callable[[str], bytes]
    ) -> None:
        self.app = app
        self._read = read
        self._artefact = artefact
        self.version = 0
        self.epoch = 0
        self.changed_at = 0  # version at which the policy last changed
        self.settings: FoldSettings | None = None
        self.libraries: list[str] = []
        self.model: Model | None = None
        self.joiner: Joiner | None = None
        self.clock = LogClock(0)
        self.report = Report()
        self.pinned: pb.Promotion | None = None
        self._reloaded_at = 0  # the last boundary at which the model was put through its own state
        self._proposed: dict[str, FoldSettings] = {}  # Config records that no Epoch has taken up

    # -- reading the log ---------------------------------------------------------------------------

    def step(self, record: LogRecord) -> None:
        """Folds the next record.

        Raises:
            LogError: the log cannot be read on. The fold must not be used any further.
        """
        if record.sequence <= self.version:
            raise LogError(f"record {record.sequence} after {self.version}: the log must rise")
        if record.app in ("", self.app):
            self._reload_before(record.sequence)
            now = self.clock.advance(record.log_time_us)
            # An Epoch names the state that it starts from, which its writer knew before Config and Epoch were
            # stamped: windows that these stamps close are learned with the record after them.
            if self.joiner is not None and record.kind not in (pb.KIND_CONFIG, pb.KIND_EPOCH):
                self._learn(record.sequence, self.joiner.close_due(now))
            self._take(record, now)
        self.version = record.sequence

    def _take(self, record: LogRecord, now: int) -> None:
        if record.kind == pb.KIND_CONFIG:
            self._config(record.message(pb.Config))
        elif record.kind == pb.KIND_EPOCH:
            self._open_epoch(record.message(pb.Epoch), record)
        elif record.kind == pb.KIND_TICK:
            pass
        elif self.joiner is None:
            raise LogError(f"record {record.sequence}: app {self.app!r} has no epoch yet")
        elif record.kind == pb.KIND_DECISION:
            self._decision(self.joiner, record, now)
        elif record.kind == pb.KIND_REWARD:
            self._reward(self.joiner, record, now)
        elif record.kind == pb.KIND_ACTIVATION:
            cause = record.message(pb.Activation).cause
            delivered = cause != pb.Activation.CAUSE_UNDELIVERED
            by_client = cause == pb.Activation.CAUSE_CLIENT
            key = event_key(record.event_id)
            self._learn(record.sequence, self.joiner.activation(key, delivered, by_client, now))
        elif record.kind == pb.KIND_PROMOTION:
            self._promote(record.message(pb.Promotion), record.sequence)
        elif record.kind != pb.KIND_ERASURE:
            raise LogError(f"record {record.sequence}: unknown kind {record.kind}; upgrade rankd")

    def _decision(self, joiner: Joiner, record: LogRecord, now: int) -> None:
        decision = record.decision()
        closed = joiner.decision(
            event_key(record.event_id),
            (record.node, record.sequence),
            record.origin_us,
            tuple(decision.slot_ids),
            decision.defer_activation,
            now,
        )
        self._learn(record.sequence, closed)

    def _reward(self, joiner: Joiner, record: LogRecord, now: int) -> None:
        reward = record.message(pb.Reward)
        key = blake2b(reward.reward_id.encode(), digest_size=16, person=b"rankd.reward").digest()
        shown = parse_decision_id(reward.decision_id)
        entry = RewardEntry(key, reward.slot_id, reward.value, record.origin_us, shown)
        self._learn(record.sequence, joiner.reward(event_key(record.event_id), entry, now))

    def _learn(self, sequence: int, closed: Iterable[Joined]) -> None:
        for joined in closed:
            assert self.model is not None
            if self.settings is None or self.settings.mode == "logging_only":
                continue
            decision = self._read(joined.decision).decision()
            try:
                learned = list(interactions(decision, joined.rewards))
                self.model.learn(learned)
                if 0 in joined.rewards:
                    self.report.add(decision, joined.rewards[0])
            except (ValueError, IndexError) as error:  # rankd never wrote it so
                node, place = joined.decision
                raise LogError(f"decision {node}:{place} cannot be learned: {error}") from error
            if learned:
                self.changed_at = sequence

    @property
    def faithful(self) -> bool:
        """Whether the libraries installed here are those that the epoch was folded with."""
        return self.settings is None or self.libraries == libraries(self.settings.policy)

    # -- epochs and promotions ---------------------------------------------------------------------

    def _config(self, config: pb.Config) -> None:
        settings = FoldSettings.model_validate_json(config.json)
        if settings.sha256() != config.sha256:
            raise LogError(f"a Config of app {self.app!r} does not match its sha256")
        self._proposed[config.sha256] = settings

    def start_of_epoch(self, settings: FoldSettings) -> tuple[pb.Epoch.Start, Model]:
        """How an epoch under these settings would start from here: carried on if the state still fits, else fresh."""
        if self.model is None or self.settings is None:
            return pb.Epoch.START_FRESH, settings.spec().build()
        if not same_shape(self.settings.policy, settings.policy):
            return pb.Epoch.START_FRESH, settings.spec().build()
        return pb.Epoch.START_CARRIED, settings.spec().load(self.model.state())

    def _open_epoch(self, epoch: pb.Epoch, record: LogRecord) -> None:
        imported = epoch.start == pb.Epoch.START_ARTEFACT
        if imported and (self.settings is None or self.settings.sha256() != epoch.config_sha256):
            return  # ordered under settings that had just been replaced
        settings = self._proposed.get(epoch.config_sha256, self.settings)
        if settings is None or settings.sha256() != epoch.config_sha256:
            raise LogError(f"record {record.sequence}: its Config is not in the log")
        if epoch.number != self.epoch + 1 and not imported:
            raise LogError(f"record {record.sequence}: epoch {epoch.number} after {self.epoch}")
        model = self._starting_model(epoch, settings, record)
        self.epoch, self.settings, self.model = self.epoch + 1, settings, model
        self.libraries = list(epoch.libraries)
        self.pinned = None  # a pin holds within its epoch
        self._proposed.clear()
        self.changed_at = record.sequence
        self.clock.cap_us = settings.clock_cap_us
        if self.joiner is None:
            self.joiner = Joiner(settings.join_rules())
        self.joiner.rules = settings.join_rules()

    def _starting_model(
        self, epoch: pb.Epoch, settings: FoldSettings, record: LogRecord
    ) -> Model | None:
        """The model that the epoch starts with, checked against the state that the log names."""
        if epoch.start == pb.Epoch.START_ARTEFACT:
            model = settings.spec().load(self._artefact(epoch.state_sha256))
        elif epoch.start == pb.Epoch.START_CARRIED and self.model is not None:
            model = settings.spec().load(self.model.state())
        else:
            model = settings.spec().build()
        found = state_sha256(model.state())
        if found != epoch.state_sha256:
            here = list(epoch.libraries) == libraries(settings.policy)
            if here and self.faithful:
                raise LogError(
                    f"record {record.sequence}: epoch {epoch.number} starts from state "
                    f"{epoch.state_sha256[:12]}, the fold has {found[:12]}"
                )
            # Other library versions made that state: take it as it was recorded.
            model = settings.spec().load(self._artefact(epoch.state_sha256))
        return model

    def _promote(self, promotion: pb.Promotion, sequence: int) -> None:
        if promotion.epoch != self.epoch and promotion.action != pb.Promotion.ACTION_UNPIN:
            return  # ordered in an epoch that had just ended
        if promotion.action == pb.Promotion.ACTION_ROLL_BACK:
            assert self.settings is not None
            self.model = self._load(self.settings, self._artefact(promotion.state_sha256))
        elif promotion.action == pb.Promotion.ACTION_PIN:
            self.pinned = promotion
        elif promotion.action == pb.Promotion.ACTION_UNPIN:
            self.pinned = None
        self.changed_at = sequence

    def _load(self, settings: FoldSettings, state: bytes) -> Model | None:
        return settings.spec().load(state)

    # -- checkpoints -------------------------------------------------------------------------------

    def _reload_before(self, sequence: int) -> None:
        """Reloads the model if a checkpoint lies between the last record of this app and the next."""
        if self.settings is None or self.model is None:
            return
        every = self.settings.checkpoint_every
        boundary = (sequence - 1) // every * every
        if boundary > self._reloaded_at:
            self.model = self.model.reload()
            self._reloaded_at = boundary

    def due(self) -> bool:
        """Whether the log stands at a place where a checkpoint may be taken."""
        return self.settings is not None and self.version % self.settings.checkpoint_every == 0

    def checkpoint(self) -> internal_pb2.Checkpoint:
        """The state as a message. Only at a place that is `due`, so that resuming equals not having stopped."""
        assert self.settings is not None
        assert self.model is not None
        assert self.joiner is not None
        self._reload_before(self.version + 1)
        oldest = joiner_state.oldest_pending(self.joiner)
        checkpoint = internal_pb2.Checkpoint(
            app=self.app,
            version=self.version,
            epoch=self.epoch,
            changed_at=self.changed_at,
            config_json=self.settings.canonical(),
            libraries=self.libraries,
            policy=self.model.state(),
            joiner=joiner_state.dump(self.joiner),
            clock_us=self.clock.now_us,
            order_time_us=self.clock.order_us or 0,
            oldest_needed=self.version + 1 if oldest is None else oldest,
            report_json=self.report.dump(),
            proposed_json=[proposed.canonical() for proposed in self._proposed.values()],
        )
        if self.pinned is not None:
            checkpoint.pinned.CopyFrom(self.pinned)
        return checkpoint

    def restore(self, checkpoint: internal_pb2.Checkpoint) -> None:
        """Takes on the state of a checkpoint. One without settings only says where an app begins in a trimmed log.

        Raises:
            PolicyError: its policy state is not one of its own settings' policy.
        """
        if not checkpoint.config_json:
            self.version = checkpoint.version
            return
        settings = FoldSettings.model_validate_json(checkpoint.config_json)
        self.model = self._load(settings, checkpoint.policy)
        self.joiner = joiner_state.load(settings.join_rules(), checkpoint.joiner)
        self.settings = settings
        self.version, self.epoch = checkpoint.version, checkpoint.epoch
        self._reloaded_at = checkpoint.version
        self.changed_at = checkpoint.changed_at
        self.libraries = list(checkpoint.libraries)
        self.clock = LogClock(settings.clock_cap_us, checkpoint.clock_us, checkpoint.order_time_us)
        self.report = Report.load(checkpoint.report_json)
        self.pinned = checkpoint.pinned if checkpoint.HasField("pinned") else None
        proposed = [FoldSettings.model_validate_json(text) for text in checkpoint.proposed_json]
        self._proposed = {settings.sha256(): settings for settings in proposed}
