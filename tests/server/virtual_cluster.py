"""Several nodes, a broker and a topic, without a process or a socket: a simulation in true time that nobody else sees.

Every node has a journal, stamped by its own wall clock, and ships it as the shipper does; the broker stamps what it gets.
Learners read the topic, merge and fold it, and see to lease, epochs and fences as `server.learning.shared` does.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING

from policies import state_sha256
from policies.registry import libraries
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold import joiner_state
from server.fold.fold import AppFold
from server.fold.merge import Merger
from server.fold.records import LogRecord
from server.journal.store import LogTime
from server.kafka.rounds import Position, compose, message, places
from tests.server.scribe import SETTINGS, Scribe, random_request
from tests.server.topics import APP, MS, START_US, Topic, folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from google.protobuf.message import Message

    from server.fold.joiner import Joined
    from server.fold.settings import FoldSettings

SECOND = 1_000_000
# Windows of two seconds: every outage here is far longer.
RULES = SETTINGS.model_copy(update={"clock_cap_us": 2 * SECOND})
LEARNER_LEASE = 5 * SECOND
NODE_LEASE = 300 * SECOND
# A learner writes again what it has not seen come by for so long.
PATIENCE = 10 * SECOND
# The longest that a batch is under way; what the shipper counts as waiting, to be on the safe side.
TRANSIT = 100 * MS


@cache
def payloads() -> list[bytes]:
    """Decisions as servers log them, under the settings of the scribe."""
    scribe, rng = Scribe(), random.Random(7)
    made = (scribe.rank(f"e{n}", random_request(rng)) for n in range(60))
    return [record.payload for record in made if not record.decision().defer_activation]


@dataclass(frozen=True)
class Told:
    """A reward that a client told, in true time."""

    reward_id: str
    event_id: str
    by: str
    at_us: int


class Node:
    """A data folder with its journal, and the processes that write and ship it."""

    def __init__(self, cluster: Cluster, letter: str, tick_at_us: int) -> None:
        self.letter, self.folder = letter, folder(letter)
        self.journal: list[LogRecord] = []
        self.position = Position(internal_pb2.Shipped())
        self.off_us = 0  # of its wall clock
        self.running, self.connected = False, True
        self.learner: Learner | None = None
        self._cluster = cluster
        self._incarnation = 0
        self._shipping = False  # a round is planned
        self._saved = self.position.message()  # the position that a restart begins from
        self.start()
        cluster.at(tick_at_us, self._tick)

    # -- clocks ------------------------------------------------------------------------------------

    @property
    def wall_us(self) -> int:
        return self._cluster.now_us + self.off_us

    def start(self) -> None:
        """Its processes start, upon whatever is in the journal."""
        if self.running:
            return
        self._clock = LogTime(lambda: self.wall_us * 1_000, lambda: self._cluster.now_us * 1_000)
        if self.journal:
            self._clock.seen(self.journal[-1].log_time_us)
        self._incarnation = max(self._incarnation + 1, self._clock.now_us() // SECOND)
        self.running = True
        self.position = Position(self._saved)
        self.plan()

    def die(self) -> None:
        """All its processes at once. What the journal holds is there when they come back."""
        if self.running:
            self.break_off()
            self.running = False

    def stop(self) -> None:
        """In order: it says goodbye, which is sent if it can be."""
        if self.running:
            self.append(pb.KIND_FENCE, payload=pb.Fence(folder=self.folder), app="")
            self.ship_all()
            self.running = False

    def cut(self) -> None:
        """It does not reach the broker any more."""
        if self.connected:
            self.break_off()
            self.connected = False

    def mend(self) -> None:
        self.connected = True
        self.plan()

    def break_off(self) -> None:
        """A round is under way just now: some partitions get it, and nobody hears of that."""
        if self._reaches and self._cluster.rng.random() < 0.5:
            self._round(broken=True)

    # -- journal -----------------------------------------------------------------------------------

    def append(
        self,
        kind: pb.Kind,
        event_id: str = "",
        payload: Message | bytes = b"",
        app: str = APP,
    ) -> LogRecord:
        """The writer's part."""
        assert self.running
        data = payload if isinstance(payload, bytes) else payload.SerializeToString()
        number = len(self.journal) + 1
        node = f"{self.folder}.{self._incarnation}"
        stamp = self._clock.now_us()
        record = LogRecord(number, kind, app, event_id, self.wall_us, stamp, node, number - 1, data)
        self.journal.append(record)
        self.plan()
        return record

    def _tick(self) -> None:
        if self.running:
            self.append(pb.KIND_TICK, app="")
        self._cluster.at(self._cluster.now_us + SECOND, self._tick)

    # -- shipping ----------------------------------------------------------------------------------

    @property
    def _reaches(self) -> bool:
        return self.running and self.connected and self._cluster.broker_up

    @property
    def unsent(self) -> int:
        return len(self.journal) - self.position.sequence

    def plan(self, at_us: int = 0) -> None:
        if not self._shipping and self._reaches and self.unsent:
            self._shipping = True
            soon = self._cluster.now_us + self._cluster.rng.randrange(1, 50) * MS
            self._cluster.at(max(at_us, soon), self._ship)

    def _ship(self) -> None:
        self._shipping = False
        if self._reaches and self.unsent:
            broken = self._cluster.rng.random() < 0.02  # an answer is lost
            self.plan(self._round(broken))

    def ship_all(self) -> None:
        """At once, if the broker is there."""
        while self._reaches and self.unsent:
            self._round()

    def _round(self, broken: bool = False) -> int:
        """Ships the next records, by the shipper's own code; returns when the last partition has its batch."""
        cluster = self._cluster
        chosen = compose(
            islice(self.journal, self.position.sequence, None),
            self.position,
            lambda record: places(record, str, [APP], cluster.partitions),
            1 << 20,
        )
        end = cluster.now_us
        if chosen is None:
            return end
        clock = max(self.wall_us, self.journal[-1].log_time_us)
        for place, copies in sorted(chosen.copies.items(), key=lambda _: cluster.rng.random()):
            if broken and cluster.rng.random() < 0.5:
                continue
            stamp = cluster.now_us + cluster.rng.randrange(1, 50) * MS
            for record, previous in copies:
                value = message(record, previous, clock, TRANSIT)[1]
                cluster.topic.write(value, place[1], stamp)
            end = max(end, stamp)
            if not broken:
                self.position.sequences[place] = copies[-1][0].sequence
                self.position.offsets[place] = len(cluster.topic.partitions[place[1]]) - 1
        if not broken:
            self.position.sequence = chosen.through
            if cluster.rng.random() < 0.5:  # reported, and kept with the next transaction
                self._saved = self.position.message()
        return end


class Cluster:
    """Nodes "a", "b", "c" ... and one topic.

    Args:
        learners: letters of the nodes that learn.
        seed: of everything that is not said: when rounds are sent, and which of them fail.
    """

    def __init__(
        self,
        nodes: int = 2,
        partitions: int = 1,
        settings: FoldSettings = RULES,
        learners: str = "a",
        seed: int = 0,
        node_lease: int = NODE_LEASE,
    ) -> None:
        self.rng = random.Random(seed)  # of what happens between nodes and broker
        self.clients = random.Random(seed)  # of what is asked and told
        self.now_us = self.start_us = START_US
        self.partitions, self.node_lease = partitions, node_lease
        self.settings = settings.model_copy(update={"partitions": partitions})
        self.broker_up = True
        self.topic = Topic([[] for _ in range(partitions)])
        self.artefacts: dict[str, bytes] = {}
        self.decided: dict[str, tuple[str, int]] = {}  # event -> (node, when)
        self.told: list[Told] = []
        self._due: list[tuple[int, int, Callable[[], object]]] = []
        self._planned = 0
        self.nodes = {
            letter: Node(self, letter, self.now_us + self.rng.randrange(1_000) * MS)
            for letter in "abcdefgh"[:nodes]
        }
        self.learners = [Learner(self, self.nodes[letter]) for letter in learners]
        for standby in self.learners[1:]:  # the first has the lease
            standby.idle = True
        while not self._begun():
            self.run(0.1)
        for standby in self.learners[1:]:
            standby.idle = False

    def _begun(self) -> bool:
        """Whether there is a first epoch, and every stream has been heard once: nobody waits for a stranger."""
        fold = self.learners[0].fold
        streams = self.partitions * len(self.nodes)
        return fold.epoch > 0 and len(fold.clock.heard_us) == streams

    # -- time --------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Seconds since the beginning."""
        return (self.now_us - self.start_us) / SECOND

    def at(self, time_us: int, action: Callable[[], object]) -> None:
        self._planned += 1
        heapq.heappush(self._due, (time_us, self._planned, action))

    def after(self, seconds: float, action: Callable[[], object]) -> None:
        """That many seconds from now."""
        self.at(self.now_us + round(seconds * SECOND), action)

    def run(self, seconds: float) -> None:
        until = self.now_us + round(seconds * SECOND)
        while self._due and self._due[0][0] <= until:
            time_us, _, action = heapq.heappop(self._due)
            self.now_us = max(self.now_us, time_us)
            action()
        self.now_us = until

    def settle(self, seconds: float = 30.0) -> None:
        """Everything works again, for long enough."""
        self.broker_up = True
        for node in self.nodes.values():
            node.start()
            node.mend()
        self.run(seconds)
        assert not any(node.unsent > 10 for node in self.nodes.values())
        for learner in self.learners:
            learner.read()

    def broker_down(self) -> None:
        for node in self.nodes.values():
            node.break_off()
        self.broker_up = False

    def broker_back(self) -> None:
        self.broker_up = True
        for node in self.nodes.values():
            node.plan()

    # -- clients -----------------------------------------------------------------------------------

    def some(self, letter: str) -> Node | None:
        """That node, or the next one that runs."""
        letters = list(self.nodes)
        first = letters.index(letter)
        running = (self.nodes[name] for name in letters[first:] + letters[:first])
        return next((node for node in running if node.running), None)

    def decide(self, letter: str, event_id: str) -> str:
        """Returns the decision_id; empty where nobody was there to decide."""
        node = self.some(letter)
        if node is None:
            return ""
        payload = self.clients.choice(payloads())
        record = node.append(pb.KIND_DECISION, event_id, payload)
        self.decided[event_id] = node.letter, self.now_us
        return record.decision_id

    def reward(
        self, letter: str, event_id: str, reward_id: str = "", decision_id: str = ""
    ) -> None:
        node = self.some(letter)
        if node is None or event_id not in self.decided:
            return
        told = Told(reward_id or f"r{len(self.told)}", event_id, node.letter, self.now_us)
        value = self.clients.choice([-1.0, 0.5, 1.0])
        reward = pb.Reward(value=value, reward_id=told.reward_id, decision_id=decision_id)
        node.append(pb.KIND_REWARD, event_id, reward)
        self.told.append(told)

    def event(self, letter: str, event_id: str, delay: float | None, rewarder: str) -> None:
        """A decision, and a reward after that many seconds."""
        self.decide(letter, event_id)
        if delay is not None:
            self.after(delay, lambda: self.reward(rewarder, event_id))

    # -- what comes of it --------------------------------------------------------------------------

    def reader(self) -> Reader:
        """A reader of the whole topic, from its beginning."""
        reader = Reader(self)
        reader.read()
        return reader


class Watched(AppFold):
    """A fold that remembers what it has learned, and in which order."""

    learned: list[tuple[int, dict[int, float]]]  # (sequence of the decision, rewards by slot)

    def _learn(self, sequence: int, closed: Iterable[Joined]) -> None:
        these = list(closed)
        if not self.holds:
            self.learned.extend((joined.at, joined.rewards) for joined in these)
        super()._learn(sequence, these)


class Reader:
    """The merge of the topic, and its fold."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.log: list[LogRecord] = []
        self.checkpoints: dict[int, internal_pb2.Checkpoint] = {}
        self.keep_checkpoints = False
        self.merger = Merger(APP)
        self.fold = self.empty_fold()

    def empty_fold(self) -> Watched:
        artefact = self.cluster.artefacts.__getitem__
        fold = Watched(APP, lambda sequence: self.log[sequence - 1], artefact)
        fold.learned = []
        return fold

    def read(self, rng: random.Random | None = None) -> None:
        """All that the topic holds and whose place is certain.

        Args:
            rng: partitions are read in any turns, in parts, and the merger is made anew now and then.
        """
        partitions = self.cluster.topic.partitions
        before: list[int] = []
        while before != self.merger.offsets or (rng and self._unread()):
            before = offsets = self.merger.offsets
            for partition, offset in enumerate(offsets):
                if rng and rng.random() < 0.5:
                    continue
                most = len(partitions[partition]) if rng is None else rng.randrange(200)
                for there in partitions[partition][offset : offset + most]:
                    self.merger.feed(there)
            for record in self.merger.emit():
                assert isinstance(record, LogRecord), record
                self.take(record)
                if rng and rng.random() < 0.01 and self._unread():
                    break
            if rng and rng.random() < 0.2 and self._unread():
                state = self.merger.state().SerializeToString()
                self.merger = Merger(APP, internal_pb2.MergeState.FromString(state))

    def _unread(self) -> bool:
        offsets = self.merger.offsets
        return any(
            offset < len(there)
            for offset, there in zip(offsets, self.cluster.topic.partitions, strict=False)
        )

    def take(self, record: LogRecord) -> None:
        self.log.append(record)
        self.fold.step(record)
        assert not (self.fold.holds and self.fold.due()), "what is held is in no checkpoint"
        if self.keep_checkpoints and self.fold.due():
            self.checkpoints[self.fold.version] = self.fold.checkpoint()

    @property
    def learned(self) -> dict[str, float]:
        """Event -> the reward of its first slot; each at most once."""
        ids = [self.log[at - 1].event_id for at, _ in self.fold.learned]
        assert len(set(ids)) == len(ids), "nothing is learned twice"
        rewards = [rewards[0] for _, rewards in self.fold.learned]
        return dict(zip(ids, rewards, strict=True))

    @property
    def counters(self) -> dict[str, int]:
        assert self.fold.joiner is not None
        return self.fold.joiner.counters

    @property
    def pending(self) -> int:
        assert self.fold.joiner is not None
        return self.fold.joiner.open


def bits(fold: AppFold) -> tuple[object, ...]:
    """Everything that a fold knows."""
    assert fold.model is not None
    assert fold.joiner is not None
    clock, lease = fold.clock, fold.lease
    return (
        state_sha256(fold.model.state()),
        b"".join(joiner_state.dump(fold.joiner)),
        fold.report.dump(),
        (fold.version, fold.epoch, fold.changed_at),
        (clock.now_us, clock.order_us, clock.due_us, sorted(clock.heard_us.items())),
        (lease.number, lease.owner, lease.released, fold.lease_renewed_us),
    )


class Learner(Reader):
    """Folds along at one node; where it owns the app, it writes what an owner owes (see server/learning/shared.py)."""

    def __init__(self, cluster: Cluster, node: Node) -> None:
        super().__init__(cluster)
        self.node = node
        node.learner = self
        self.settings = cluster.settings  # what its configuration asks for
        self.idle = False  # writes nothing
        self.fences: list[tuple[float, str]] = []  # (seconds, letter) that it has written
        self._written: dict[str, int] = {}
        cluster.at(cluster.now_us + cluster.rng.randrange(200) * MS, self._attend)

    @property
    def owns(self) -> bool:
        lease = self.fold.lease
        return lease.number > 0 and lease.owner == self.node.folder and not lease.released

    def _attend(self) -> None:
        self.cluster.after(0.2, self._attend)
        if not self.node.running:
            self._written.clear()
            return
        current = self.node.connected and self.cluster.broker_up
        if current:
            self.read()
        if self.idle:
            return
        fold = self.fold
        silent = fold.clock.now_us - fold.lease_renewed_us
        if self.owns:
            if silent >= LEARNER_LEASE // 4:
                self._lease("renewal", fold.lease.number, LEARNER_LEASE // 4)
            self._fence()
            self._epoch()
        elif current and (not fold.lease.number or fold.lease.released or silent > LEARNER_LEASE):
            self._lease("bid", fold.lease.number + 1, LEARNER_LEASE)

    def _lease(self, what: str, number: int, again: int) -> None:
        if self._fresh(what, again):
            self.node.append(pb.KIND_LEASE, payload=pb.Lease(number=number, owner=self.node.folder))

    def leave(self) -> None:
        lease = pb.Lease(number=self.fold.lease.number, owner=self.node.folder, released=True)
        self.node.append(pb.KIND_LEASE, payload=lease)

    def _fence(self) -> None:
        for name in self.fold.clock.silent(self.cluster.node_lease):
            if name != self.node.folder and self._fresh(f"fence {name}", PATIENCE):
                self.node.append(pb.KIND_FENCE, payload=pb.Fence(folder=name))
                self.fences.append((self.cluster.now, name[0]))

    def _epoch(self) -> None:
        fold, wanted = self.fold, self.settings
        if not fold.holds and fold.settings == wanted:
            return
        if wanted in fold.proposed:
            if self._fresh(f"epoch {fold.epoch + 1}", PATIENCE):
                self.node.append(
                    pb.KIND_EPOCH, payload=epoch_of(fold, wanted, self.cluster.artefacts)
                )
        elif self._fresh(f"config {wanted.sha256()}", PATIENCE):
            self.node.append(pb.KIND_CONFIG, payload=config_of(wanted))

    def _fresh(self, what: str, again: int) -> bool:
        now = self.cluster.now_us
        if what in self._written and now - self._written[what] < again:
            return False
        self._written[what] = now
        return True


def config_of(settings: FoldSettings) -> pb.Config:
    return pb.Config(json=settings.canonical(), sha256=settings.sha256())


def epoch_of(fold: AppFold, settings: FoldSettings, artefacts: dict[str, bytes]) -> pb.Epoch:
    """What a learner writes whose fold stands there, and holds."""
    start, model = fold.start_of_epoch(settings)
    state = model.state()
    artefacts[state_sha256(state)] = state
    return pb.Epoch(
        number=fold.epoch + 1,
        start=start,
        config_sha256=settings.sha256(),
        state_sha256=state_sha256(state),
        libraries=libraries(settings.policy),
    )
