"""The fold: one app's records, in log order, become one model.

At every multiple of `checkpoint_every` records the model is put through its own saved state, whether or not anybody saves
it. So a learner that resumes from a checkpoint is at the same bits as one that never stopped, even for
libraries whose models come back from disk slightly changed.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError

from policies import state_sha256
from policies.registry import same_shape
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold import joiner_columns, joiner_state
from server.fold.clock import LogClock, Times
from server.fold.event import RewardEntry
from server.fold.joiner import Joiner
from server.fold.records import LogError, LogRecord, event_key, parse_decision_id
from server.fold.report import Report
from server.fold.settings import FoldSettings
from server.fold.shapes import Shapes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from policies import Model
    from server.fold.clock import Stream
    from server.fold.joiner import Joined


# Kinds of the records that open an epoch, of all that are about the fold and not about events, and of those about neither.
_OPENING = frozenset({pb.KIND_CONFIG, pb.KIND_EPOCH})
_GOVERNING = _OPENING | {pb.KIND_FENCE, pb.KIND_LEASE}
_PASSED_BY = frozenset({pb.KIND_TICK, pb.KIND_ARTEFACT, pb.KIND_ERASURE})
# Decisions that are kept as they were read, for the rewards that follow on their heels: so many at most, and none of more
# bytes than this; 16 MB.
_RECENT = 4_096
_RECENT_BYTES = 4 << 10


class AppFold:
    """State of one app after `version` records of the log.

    Args:
        app: name of the app; records of other apps pass by, those without an app count for all.
        read: the log's record of a sequence that the fold has seen before.
        artefact: the canonical policy state of that sha256.
    """

    def __init__(
        self, app: str, read: Callable[[int], LogRecord], artefact: Callable[[str], bytes]
    ) -> None:
        self.app = app
        self._read = read
        self._artefact = artefact
        self.version = 0
        self.epoch = 0
        self.changed_at = 0  # version at which the policy last changed
        self.bases_since = 0  # the epoch since which logged bases are those that are mixed now
        self.settings: FoldSettings | None = None
        self.libraries: list[str] = []
        self.model: Model | None = None
        self.joiner: Joiner | None = None
        self.clock = LogClock(0)
        self.lease = pb.Lease()  # who may publish; number 0: nobody yet
        self.lease_renewed_us = 0  # on the log's own clock
        self.report = Report()
        self.pinned: pb.Promotion | None = None
        self._reloaded_at = 0  # the last boundary at which the model was put through its own state
        self._proposed: dict[str, FoldSettings] = {}  # Config records that no Epoch has taken up
        self._recent: dict[int, bytes] = {}  # sequence -> a decision's payload, oldest first
        self._shapes = Shapes()
        # Of the last record: most come from the same journal as the one before.
        self._node, self._partition = "", 0
        self._stream: Stream | None = None
        self._held: list[Joined] = []  # to be learned when one has

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
            if record.node != self._node or record.partition != self._partition:
                self._node, self._partition = record.node, record.partition
                self._stream = (record.folder, record.partition) if record.node else None
            times = self.clock.advance(record.log_time_us, self._stream, record.lag_us)
            # An Epoch names the state that it starts from, which its writer knew before Config and Epoch were
            # stamped: windows that these stamps close are learned with the record after them.
            joiner = self.joiner
            if joiner is not None and joiner.due(times.due) and record.kind not in _OPENING:
                self._learn(record.sequence, joiner.close_due(times.due))
            self._take(record, times)
        self.version = record.sequence

    def _take(self, record: LogRecord, times: Times) -> None:
        kind = record.kind
        if kind in _PASSED_BY:
            return
        if kind in _GOVERNING:
            self._govern(record)
        elif self.joiner is None:
            if record.node:
                raise LogError(f"record {record.sequence}: app {self.app!r} has no epoch yet")
            # Of a producer that was earlier than the app: there is no decision that it could be about.
        elif kind == pb.KIND_DECISION:
            self._decision(self.joiner, record, times.at)
        elif kind == pb.KIND_REWARD:
            self._reward(self.joiner, record, times.at)
        elif kind == pb.KIND_ACTIVATION:
            self._activation(self.joiner, record, times.at)
        elif kind == pb.KIND_PROMOTION:
            self._promote(record.message(pb.Promotion), record.sequence)
        else:
            raise LogError(f"record {record.sequence}: unknown kind {kind}; upgrade rankd")

    def _govern(self, record: LogRecord) -> None:
        """What is about the fold, and not about events."""
        if record.kind == pb.KIND_CONFIG:
            self._config(record.message(pb.Config))
        elif record.kind == pb.KIND_EPOCH:
            self._open_epoch(record.message(pb.Epoch), record)
        elif record.kind == pb.KIND_FENCE:
            folder = record.message(pb.Fence).folder
            # A journal's farewell comes by every partition, each behind what the journal has sent there.
            own = record.folder == folder
            self.clock.fence(folder, record.partition if own else None)
        else:
            self._take_lease(record.message(pb.Lease))

    def _decision(self, joiner: Joiner, record: LogRecord, now: int) -> None:
        payload = record.payload
        if len(payload) <= _RECENT_BYTES:
            self._recent[record.sequence] = payload
            if len(self._recent) > _RECENT:
                del self._recent[next(iter(self._recent))]
        shape = self._shapes.of(payload)
        if shape is not None:
            slots, deferred = shape.slots, shape.deferred
        else:
            decision = record.decision()
            slots, deferred = tuple(decision.slot_ids), decision.defer_activation
        closed = joiner.decision(
            event_key(record.event_id),
            record.place,
            record.sequence,
            record.origin_us,
            slots,
            deferred,
            now,
        )
        self._learn(record.sequence, closed)

    def _reward(self, joiner: Joiner, record: LogRecord, now: int) -> None:
        reward = record.message(pb.Reward)
        if not record.node and not self._in_range(reward.value):
            joiner.counters["out_of_range"] += 1
            return
        key = blake2b(reward.reward_id.encode(), digest_size=16, person=b"rankd.reward").digest()
        shown = parse_decision_id(reward.decision_id)
        entry = RewardEntry(key, reward.slot_id, reward.value, record.origin_us, shown)
        self._learn(record.sequence, joiner.reward(event_key(record.event_id), entry, now))

    def _activation(self, joiner: Joiner, record: LogRecord, now: int) -> None:
        cause = record.message(pb.Activation).cause
        delivered = cause != pb.Activation.CAUSE_UNDELIVERED
        by_client = cause == pb.Activation.CAUSE_CLIENT
        key = event_key(record.event_id)
        self._learn(record.sequence, joiner.activation(key, delivered, by_client, now))

    def _in_range(self, value: float) -> bool:
        """Servers refuse what is out of range before it is logged; other producers' rewards are judged here."""
        settings = self.settings
        return settings is None or settings.reward_min <= value <= settings.reward_max

    def _learn(self, sequence: int, closed: Iterable[Joined]) -> None:
        if self.holds:
            self._held.extend(closed)
            return
        for joined in closed:
            assert self.model is not None
            if self.settings is None or self.settings.mode == "logging_only":
                continue
            payload = self._recent.pop(joined.at, None) or self._read(joined.at).payload
            try:
                learned, facts = self._shapes.read(payload, joined.rewards)
                if facts.epoch < self.bases_since:
                    learned = [replace(each, bases=None) for each in learned]
                self.model.learn(learned)
                if 0 in joined.rewards:
                    self.report.add(facts, joined.rewards[0])
            except (DecodeError, ValueError, IndexError, ArithmeticError) as error:
                # rankd never wrote it so, or a policy cannot calculate with what it wrote
                raise LogError(f"decision {joined.at} cannot be learned: {error}") from error
            if learned:
                self.changed_at = sequence

    @property
    def faithful(self) -> bool:
        """Whether the libraries installed here are those that the epoch was folded with."""
        return self.settings is None or self.libraries == self.settings.required_libraries()

    # -- epochs and promotions ---------------------------------------------------------------------

    @property
    def holds(self) -> bool:
        """Whether a Config waits for its Epoch. Until then what would be learned is held back.

        So the state that the Epoch names is the one in which its writer, who may be far away, saw the Config.
        """
        return bool(self._proposed)

    @property
    def proposed(self) -> list[FoldSettings]:
        """The settings in Configs that no Epoch has taken up."""
        return list(self._proposed.values())

    def _take_lease(self, lease: pb.Lease) -> None:
        """The first with the next number has it; its owner renews it, or lets go."""
        renewed = lease.number == self.lease.number and lease.owner == self.lease.owner
        if renewed or lease.number == self.lease.number + 1:
            self.lease = lease
            self.lease_renewed_us = self.clock.now_us

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
        unlike = self.settings is None or self.settings.sha256() != epoch.config_sha256
        if imported and (unlike or self.holds):
            return  # ordered under settings that had just been replaced, or are about to be
        if epoch.number <= self.epoch and not imported:
            return  # two that took each other for gone opened it; the first has it
        settings = self._proposed.get(epoch.config_sha256, self.settings)
        if settings is None or settings.sha256() != epoch.config_sha256:
            raise LogError(f"record {record.sequence}: its Config is not in the log")
        if epoch.number != self.epoch + 1 and not imported:
            raise LogError(f"record {record.sequence}: epoch {epoch.number} after {self.epoch}")
        model = self._starting_model(epoch, settings, record)
        self.epoch, self.settings, self.model = self.epoch + 1, settings, model
        # Checkpoints of rankd before `bases_since` lack it, and are followed by other libraries: Auto's version is one.
        if epoch.start == pb.Epoch.START_FRESH or self.libraries != list(epoch.libraries):
            self.bases_since = self.epoch
        self.libraries = list(epoch.libraries)
        self.pinned = None  # a pin holds within its epoch
        self._proposed.clear()
        self.changed_at = record.sequence
        self.clock.cap_us = settings.clock_cap_us
        if self.joiner is None:
            self.joiner = Joiner(settings.join_rules())
        self.joiner.rules = settings.join_rules()
        held, self._held = self._held, []
        self._learn(record.sequence, held)

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
            here = list(epoch.libraries) == settings.required_libraries()
            if here and self.faithful:
                raise LogError(
                    f"record {record.sequence}: epoch {epoch.number} starts from state "
                    f"{epoch.state_sha256[:12]}, the fold has {found[:12]}"
                )
            # Other library versions made that state: take it as it was recorded.
            model = settings.spec().load(self._artefact(epoch.state_sha256))
        return model

    def _promote(self, promotion: pb.Promotion, sequence: int) -> None:
        unpin = promotion.action == pb.Promotion.ACTION_UNPIN
        if (promotion.epoch != self.epoch or self.holds) and not unpin:
            return  # ordered in an epoch that had just ended, or is about to
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
        if self.settings is None or self.model is None or self.holds:
            return
        every = self.settings.checkpoint_every
        boundary = (sequence - 1) // every * every
        if boundary > self._reloaded_at:
            self.model = self.model.reload()
            self._reloaded_at = boundary

    def due(self) -> bool:
        """Whether the log stands at a place where a checkpoint may be taken."""
        if self.settings is None or self.holds:
            return False
        return self.version % self.settings.checkpoint_every == 0

    def checkpoint(self) -> internal_pb2.Checkpoint:
        """The state as a message. Only at a place that is `due`, so that resuming equals not having stopped."""
        whole = internal_pb2.Checkpoint()
        for piece in self.pieces():
            whole.MergeFrom(piece)
        return whole

    def pieces(self) -> Iterator[internal_pb2.Checkpoint]:
        """The same in pieces, as a million pending events make it large: the first, and events to be merged into it."""
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
            bases_since=self.bases_since,
            config_json=self.settings.canonical(),
            libraries=self.libraries,
            policy=self.model.state(),
            clock_us=self.clock.now_us,
            order_time_us=self.clock.order_us or 0,
            oldest_needed=self.version + 1 if oldest is None else oldest,
            report_json=self.report.dump(),
            watermark_us=self.clock.due_us,
            lease=self.lease,
            lease_renewed_us=self.lease_renewed_us,
        )
        for (folder, partition), heard in sorted(self.clock.heard_us.items()):
            checkpoint.streams.add(folder=folder, partition=partition, heard_us=heard)
        if self.pinned is not None:
            checkpoint.pinned.CopyFrom(self.pinned)
        yield checkpoint
        for part in joiner_state.dump(self.joiner):
            yield internal_pb2.Checkpoint(joiner_parts=[part])

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
        rules = settings.join_rules()
        if checkpoint.joiner_parts:
            self.joiner = joiner_state.load(rules, checkpoint.joiner_parts)
        else:
            self.joiner = joiner_columns.load(rules, checkpoint.joiner)
        self.settings = settings
        self.version, self.epoch = checkpoint.version, checkpoint.epoch
        self._reloaded_at = checkpoint.version
        self.changed_at = checkpoint.changed_at
        self.bases_since = checkpoint.bases_since
        self.libraries = list(checkpoint.libraries)
        self.clock = LogClock(settings.clock_cap_us, checkpoint.clock_us, checkpoint.order_time_us)
        if checkpoint.streams or checkpoint.watermark_us:
            heard = [((s.folder, s.partition), s.heard_us) for s in checkpoint.streams]
            self.clock.restore(checkpoint.watermark_us, heard)
        self.lease.CopyFrom(checkpoint.lease)
        self.lease_renewed_us = checkpoint.lease_renewed_us
        self.report = Report.load(checkpoint.report_json)
        self.pinned = checkpoint.pinned if checkpoint.HasField("pinned") else None
        proposed = [FoldSettings.model_validate_json(text) for text in checkpoint.proposed_json]
        self._proposed = {settings.sha256(): settings for settings in proposed}  # by version 0.1.0
