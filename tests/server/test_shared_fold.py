"""Whatever happens to nodes, clocks and the broker: one history, no reward lost to an outage, no window open for ever."""

from __future__ import annotations

import random
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policies import state_sha256
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold.envelope import seal, unseal
from tests.server.scribe import Scribe
from tests.server.topics import Topic
from tests.server.virtual_cluster import (
    PATIENCE,
    RULES,
    SECOND,
    Cluster,
    Reader,
    bits,
    config_of,
    epoch_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from server.fold.settings import FoldSettings
    from tests.server.virtual_cluster import Learner, Node

# Seconds after which every window has closed, once all nodes have sent what they had: wait, lateness, a Tick so that every
# stream is heard until then, one so that its place in the order is certain, and half a second of way.
CLOSED = (RULES.wait_us + RULES.lateness_us) / SECOND + 2.5


# -- schedules -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outage:
    what: str  # cut, dead or broker
    who: str
    start: float
    seconds: float


@dataclass(frozen=True)
class Event:
    start: float
    decided: str
    delay: float | None  # of the reward, in seconds
    rewarded: str


@dataclass(frozen=True)
class Plan:
    partitions: int
    seed: int
    outages: Sequence[Outage]
    events: Sequence[Event]

    @property
    def ends(self) -> float:
        return max(
            [0.0, *(o.start + o.seconds for o in self.outages), *(e.start + 2 for e in self.events)]
        )

    def cluster(self, learners: str = "a", rules: FoldSettings = RULES, **more: int) -> Cluster:
        """The cluster, to which all this is going to happen."""
        cluster = Cluster(3, self.partitions, rules, learners, self.seed, **more)
        for outage in self.outages:
            node = cluster.nodes[outage.who]
            begin, end = {
                "cut": (node.cut, node.mend),
                "dead": (node.die, node.start),
                "broker": (cluster.broker_down, cluster.broker_back),
            }[outage.what]
            cluster.after(outage.start, begin)
            cluster.after(outage.start + outage.seconds, end)
        for n, event in enumerate(self.events):
            happens = _event(cluster, f"e{n}", event)
            cluster.after(event.start, happens)
        return cluster


def _event(cluster: Cluster, event_id: str, event: Event) -> Callable[[], None]:
    return lambda: cluster.event(event.decided, event_id, event.delay, event.rewarded)


def tenths(low: float, high: float) -> st.SearchStrategy[float]:
    return st.integers(round(10 * low), round(10 * high)).map(lambda n: n / 10)


WHO = st.sampled_from("abc")


def plans(
    what: str = "cut dead broker", seconds: tuple[float, float] = (1, 60), most: int = 4
) -> st.SearchStrategy[Plan]:
    """Rewards come within their window, in true time."""
    outages = st.builds(Outage, st.sampled_from(what.split()), WHO, tenths(0, 40), tenths(*seconds))
    events = st.builds(Event, tenths(0, 60), WHO, st.none() | tenths(0, 2), WHO)
    return st.builds(
        Plan,
        st.sampled_from([1, 2, 4]),
        st.integers(0, 9),
        st.lists(outages, max_size=most),
        st.lists(events, min_size=1, max_size=15),
    )


def busy(cluster: Cluster, events: int, seconds: float, seed: int = 1, who: str = "abc") -> None:
    """That many events from now on, all with rewards, by any nodes."""
    rng = random.Random(seed)
    first = len(cluster.decided)
    for n in range(events):
        event = Event(0, rng.choice(who), rng.uniform(0, 1.9), rng.choice(who))
        cluster.after(rng.uniform(0, seconds), _event(cluster, f"busy-{first}-{seed}-{n}", event))


def all_is_joined(reader: Reader) -> None:
    """Every reward took part, every decision is learned, once, and with its own reward."""
    cluster, counters = reader.cluster, reader.counters
    assert (counters["late_rewards"], counters["dangling_rewards"]) == (0, 0)
    assert counters["rewards"] == counters["joined"] == len(cluster.told)
    assert counters["matured"] == counters["decisions"] == len(cluster.decided)
    assert reader.pending == 0
    rewarded = {told.event_id for told in cluster.told}
    assert {event for event, reward in reader.learned.items() if reward} == rewarded


# -- one order -------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(plans(), st.sampled_from([1, 2, 4, 8]))
def test_however_the_partitions_are_read_the_fold_is_the_same(plan: Plan, partitions: int) -> None:
    cluster = Plan(partitions, plan.seed, plan.outages, plan.events).cluster()
    cluster.run(plan.ends)
    cluster.settle(5)
    whole = cluster.reader()
    assert bits(whole.fold) == bits(cluster.learners[0].fold), "read as it came, or all at once"
    for seed in range(2):
        again = Reader(cluster)
        again.read(random.Random(seed))
        assert again.log == whole.log
        assert bits(again.fold) == bits(whole.fold)
        assert again.merger.state() == whole.merger.state()


# -- outages ---------------------------------------------------------------------------------------

# b is cut off, then the broker is away for all, and b, which has the reward, is back before a, which has the decision. The
# log's clock has hardly run meanwhile: the reward's window must not open so long ago that it is over when a comes.
REWARD_FIRST = Plan(
    1,
    0,
    [Outage("cut", "b", 1, 22), Outage("broker", "a", 12, 10.5), Outage("cut", "a", 12, 11.5)],
    [Event(14, "a", 0.5, "b")],
)


@settings(max_examples=50)
@given(plans())
@example(REWARD_FIRST)
def test_no_outage_closes_a_window_and_every_window_closes_after_it(plan: Plan) -> None:
    cluster = plan.cluster()
    learner = cluster.learners[0]
    cluster.run(plan.ends + 0.01)
    while any(node.unsent for node in cluster.nodes.values()):
        cluster.run(0.05)
    learner.read()
    before = learner.fold.clock.now_us
    cluster.run(CLOSED)
    all_is_joined(learner)
    assert learner.fold.clock.now_us - before <= (CLOSED + 1) * SECOND
    assert learner.fold.lease.number == 1, "there is nobody else"
    assert not learner.fences


@pytest.mark.parametrize("outage", ["cut", "dead", "broker"])
def test_minutes_of_outage_and_thousands_of_records(outage: str) -> None:
    plan = Plan(4, 1, [Outage(outage, "b", 5, 200), Outage("cut", "c", 100, 60)], [])
    cluster = plan.cluster()
    busy(cluster, 1_000, 190)
    cluster.run(180)
    if outage != "dead":
        assert cluster.nodes["b"].unsent > 400
    cluster.run(plan.ends - 180)
    cluster.settle(10)
    all_is_joined(cluster.learners[0])


@pytest.mark.parametrize("seed", range(4))
def test_a_farewell_that_was_queued_closes_no_window_before_the_rest_of_the_queue(
    seed: int,
) -> None:
    cluster = Cluster(2, 4, seed=seed)
    b = cluster.nodes["b"]
    cluster.after(1, b.cut)
    for n in range(20):
        cluster.after(2 + n / 10, _event(cluster, f"e{n}", Event(0, "a", 1.0, "b")))
    cluster.after(6, b.stop)
    cluster.after(12, b.start)
    cluster.after(12, b.mend)
    cluster.run(12)
    cluster.settle(10)
    all_is_joined(cluster.learners[0])


def test_nobody_waits_for_a_node_that_stopped_in_order() -> None:
    cluster = Cluster(3, 2)
    cluster.run(1)
    cluster.nodes["c"].stop()
    busy(cluster, 20, 5, who="ab")
    cluster.run(7 + CLOSED)
    all_is_joined(cluster.learners[0])
    assert not cluster.learners[0].fences


# -- wrong clocks ----------------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    plans("cut dead", (1, 20), 2),
    st.sampled_from([-3_600, -60, 60, 3_600]),
    st.none() | tenths(1, 50),
    WHO,
)
def test_a_wrong_clock_harms_only_its_own_rewards(
    plan: Plan, off: int, steps_at: float | None, wrong: str
) -> None:
    """From the beginning, or stepping on the way. Clocks that are right differ by some tenths of a second."""
    cluster = plan.cluster()
    for n, node in enumerate(cluster.nodes.values()):
        node.off_us = n * SECOND // 5

    def step() -> None:
        cluster.nodes[wrong].off_us += off * SECOND

    cluster.after(steps_at or 0.0, step)
    cluster.run(plan.ends)
    cluster.settle(CLOSED + 1)
    learner = cluster.learners[0]
    counters, learned = learner.counters, learner.learned
    assert learner.pending == 0
    assert counters["matured"] == counters["decisions"] == len(cluster.decided) == len(learned)
    assert counters["dangling_rewards"] == 0
    for told in cluster.told:
        if wrong not in (told.by, cluster.decided[told.event_id][0]):
            assert learned[told.event_id] != 0.0, f"the reward of {told} is lost"


# -- gone for good ---------------------------------------------------------------------------------


def test_a_node_that_is_gone_is_waited_for_as_long_as_its_lease_and_may_come_back() -> None:
    cluster = Cluster(3, 4, node_lease=20 * SECOND)
    learner, c = cluster.learners[0], cluster.nodes["c"]
    c.cut()
    for n in range(10):
        cluster.event("abc"[n % 3], f"e{n}", 1.0, "cab"[n % 3])
    cluster.run(2)
    c.die()
    cluster.run(17)
    assert not learner.fences
    assert learner.counters["matured"] == 0, "its rewards may still come"
    cluster.run(5)
    assert [who for _, who in learner.fences] == ["c"]
    sent = [event for event, (who, _) in cluster.decided.items() if who != "c"]
    assert set(learner.learned) == set(sent), "what it had not sent is known to nobody"

    c.start()
    c.mend()
    cluster.run(CLOSED + 2)
    lost = sum(
        (told.by == "c") != (cluster.decided[told.event_id][0] == "c") for told in cluster.told
    )
    assert lost > 0
    assert _misses(learner) == lost, "others waited in vain, and so did their rewards"
    assert learner.counters["joined"] == len(cluster.told) - lost
    assert set(learner.learned) == set(cluster.decided)

    c.cut()  # and it is waited for again
    busy(cluster, 20, 5)
    cluster.run(10)
    c.mend()
    cluster.run(CLOSED + 1)
    assert _misses(learner) == lost
    assert learner.pending == 0
    assert len(learner.learned) == len(cluster.decided) == 30


def _misses(reader: Reader) -> int:
    return reader.counters["late_rewards"] + reader.counters["dangling_rewards"]


@settings(max_examples=20)
@given(plans(seconds=(1, 60)))
def test_outages_beyond_the_lease_lose_no_decision_and_stop_nothing(plan: Plan) -> None:
    cluster = plan.cluster(node_lease=5 * SECOND)
    cluster.run(plan.ends)
    cluster.settle(CLOSED + 2)
    reader = cluster.reader()
    counters = reader.counters
    assert reader.pending == 0
    assert set(reader.learned) == set(cluster.decided)
    assert counters["rewards"] == len(cluster.told)
    took = ("joined", "late_rewards", "dangling_rewards", "duplicate_rewards")
    assert sum(counters[name] for name in took) == len(cluster.told)
    assert bits(reader.fold) == bits(cluster.learners[0].fold)


# -- epochs ----------------------------------------------------------------------------------------


def varied(**changes: object) -> FoldSettings:
    return RULES.model_copy(update=changes)


@settings(max_examples=25)
@given(
    plans(most=2),
    st.lists(st.tuples(tenths(0, 60), st.sampled_from("ab")), min_size=1, max_size=4),
)
def test_epochs_of_several_learners_make_one_history(
    plan: Plan, changes: list[tuple[float, str]]
) -> None:
    """Configurations change at any time, and differ between the learners, of which each may be cut off."""
    cluster = plan.cluster(learners="ab", rules=varied(checkpoint_every=7))
    for n, (start, letter) in enumerate(changes):
        cluster.after(start, _wants(cluster, letter, n))
    cluster.run(max(plan.ends, *(start for start, _ in changes), 0.0))
    # A Config that came by just before another's Epoch is written again.
    cluster.settle(CLOSED + PATIENCE / SECOND + 3)
    a, b = cluster.learners
    assert bits(a.fold) == bits(b.fold)
    assert a.owns != b.owns
    assert a.fold.settings == (a if a.owns else b).settings, "the owner's configuration is in force"
    assert not a.fold.holds
    all_is_joined(a)
    assert [at for at, _ in a.fold.learned] == [at for at, _ in b.fold.learned]


def _wants(cluster: Cluster, letter: str, n: int) -> Callable[[], None]:
    learner = next(learner for learner in cluster.learners if learner.node.letter == letter)

    def change() -> None:
        # A carried state, or a fresh one.
        update = (
            {"min_exploration": 0.1 + n / 100}
            if n % 2
            else {"policy": {"type": "linucb", "alpha": n + 0.5}}
        )
        learner.settings = learner.settings.model_copy(update=update)

    return change


@pytest.mark.parametrize("partitions", [1, 4])
def test_resuming_from_any_checkpoint_equals_never_having_stopped(partitions: int) -> None:
    """With leases, epochs, fences, nodes that stop and come back, and one that is gone."""
    rules = varied(checkpoint_every=3)
    cluster = Cluster(3, partitions, rules, "ab", node_lease=10 * SECOND)
    busy(cluster, 60, 40)
    a, b, c = cluster.nodes.values()
    for seconds, action in (
        (3, _wants(cluster, "a", 1)),
        (6, c.die),
        (9, a.cut),
        (16, a.mend),
        (22, c.start),
        (25, b.stop),
        (26, a.stop),
        (27, c.stop),
        (30, b.start),
        (31, a.start),
        (31, _wants(cluster, "b", 2)),
        (32, c.start),
    ):
        cluster.after(seconds, action)
    cluster.run(40)
    cluster.settle(10)
    whole = Reader(cluster)
    whole.keep_checkpoints = True
    whole.read()
    fold = whole.fold
    assert fold.epoch > 1
    assert fold.lease.number > 1
    assert pb.KIND_FENCE in {record.kind for record in whole.log}
    assert len(whole.checkpoints) > len(whole.log) / 5
    rng = random.Random(partitions)
    for version in rng.sample(sorted(whole.checkpoints), 12):
        resumed = whole.empty_fold()
        resumed.restore(unseal(internal_pb2.Checkpoint, seal(whole.checkpoints[version])))
        for record in whole.log[version:]:
            resumed.step(record)
            kept = whole.checkpoints.get(record.sequence)
            if kept is not None and rng.random() < 0.05:
                assert resumed.checkpoint() == kept
        assert bits(resumed) == bits(fold), f"resumed from {version}"
    for version, kept in whole.checkpoints.items():
        resumed = whole.empty_fold()
        resumed.restore(kept)
        assert resumed.checkpoint() == kept, f"saved at {version} and loaded"


def holding(order: Sequence[tuple[str, str]], promote: bool = False) -> Learner:
    """Two learners, of which each takes the other for gone, write Configs (C) and Epochs (E) in this order.

    Meanwhile windows close. Neither setting has to do with what is learned.
    """
    cluster = Cluster(2, 2, learners="ab", seed=4)
    learners = dict(zip("ab", cluster.learners, strict=True))
    wants = {
        "a": varied(partitions=2, skew_us=2 * SECOND),
        "b": varied(partitions=2, skew_us=3 * SECOND),
    }
    epochs: dict[str, pb.Epoch] = {}
    for n in range(16):
        cluster.after(n / 2, _event(cluster, f"e{n}", Event(0, "ab"[n % 2], 0.7, "ba"[n % 2])))
    cluster.run(2)
    for learner in learners.values():
        learner.idle = True
    for what, who in order:
        learner = learners[who]
        learned, matured = len(learner.learned), learner.counters["matured"]
        held = learner.fold.holds
        if promote and held:
            promotion = pb.Promotion(
                action=pb.Promotion.ACTION_ROLL_BACK, epoch=learner.fold.epoch, state_sha256="?"
            )
            learner.node.append(pb.KIND_PROMOTION, payload=promotion)
        if what == "C":
            learner.node.append(pb.KIND_CONFIG, payload=config_of(wants[who]))
        else:
            learner.node.append(pb.KIND_EPOCH, payload=epochs[who])
        cluster.run(1.5)
        if what == "C":
            assert learner.fold.holds
            epochs[who] = epoch_of(learner.fold, wants[who], cluster.artefacts)
            if held:
                assert learner.counters["matured"] > matured
                assert len(learner.learned) == learned, "kept back"
    cluster.run(8 + CLOSED)
    a, b = cluster.learners
    assert bits(a.fold) == bits(b.fold) == bits(cluster.reader().fold)
    all_is_joined(a)
    if order:
        first = next(step for step in order if step[0] == "E")[1]
        last = order[-1][1]  # opens another epoch if its Config came after the first Epoch
        again = order.index(("C", last)) > order.index(("E", first))
        assert a.fold.epoch == 2 + again
        assert a.fold.settings == wants[last if again else first]
    return a


ORDERS = [
    order
    for order in permutations([("C", "a"), ("C", "b"), ("E", "a"), ("E", "b")])
    if all(order.index(("C", who)) < order.index(("E", who)) for who in "ab")
]


@pytest.mark.parametrize("promote", [False, True], ids=["", "promotions"])
def test_what_closes_between_config_and_epoch_is_learned_after_it_whoever_wins(
    promote: bool,
) -> None:
    undisturbed = holding(())
    for order in ORDERS:
        learner = holding(order, promote)
        assert state(learner) == state(undisturbed), order
        assert [reward for _, reward in learner.learned.items()] == [
            reward for _, reward in undisturbed.learned.items()
        ]


def state(reader: Reader) -> str:
    assert reader.fold.model is not None
    return state_sha256(reader.fold.model.state())


def test_an_epoch_that_lost_may_come_as_late_as_it_likes() -> None:
    """The losing learner was cut off before its Epoch was sent, and comes back when others have been opened."""
    cluster = Cluster(2, 2, learners="ab")
    a, b = cluster.learners
    busy(cluster, 40, 30, who="ab")
    a.settings = varied(partitions=2, reward_default=0.1)
    while a.node.journal[-1].kind != pb.KIND_EPOCH:
        assert cluster.now < 30
        cluster.run(0.001)
    a.node.connected = False  # at once: nothing of it gets through
    cluster.run(1)
    unsent = a.node.journal[a.node.position.sequence :]
    assert pb.KIND_EPOCH in [record.kind for record in unsent]
    b.settings = varied(partitions=2, reward_default=0.2)
    cluster.run(15)
    b.settings = varied(partitions=2, reward_default=0.3)
    cluster.run(5)
    assert b.owns
    assert b.fold.epoch == 3
    a.node.mend()
    cluster.run(10 + CLOSED)
    assert bits(a.fold) == bits(b.fold)
    assert (a.fold.epoch, a.fold.settings) == (3, b.settings)
    assert len(a.learned) == len(cluster.decided)
    assert a.counters["late_rewards"] == a.counters["dangling_rewards"] == 0


# -- leases ----------------------------------------------------------------------------------------


def leases(reader: Reader) -> list[tuple[int, str]]:
    """(number, letter of the owner), each once, as the log's records granted them."""
    fold, granted = reader.empty_fold(), [(0, "")]
    for record in reader.log:
        fold.step(record)
        now = (fold.lease.number, fold.lease.owner[:1])
        if now != granted[-1]:
            granted.append(now)
    return granted[1:]


def test_the_first_next_number_wins_and_old_numbers_change_nothing() -> None:
    cluster = Cluster(3, 2)
    cluster.learners[0].idle = True
    a, b, c = cluster.nodes.values()

    def write(node: Node, number: int, released: bool = False) -> tuple[int, str, bool, int]:
        lease = pb.Lease(number=number, owner=node.folder, released=released)
        node.append(pb.KIND_LEASE, payload=lease)
        cluster.run(1.3)
        fold = cluster.learners[0].fold
        return fold.lease.number, fold.lease.owner[0], fold.lease.released, fold.lease_renewed_us

    assert write(a, 1)[:3] == (1, "a", False)
    assert write(b, 1)[:2] == (1, "a"), "taken"
    assert write(b, 3)[:2] == (1, "a"), "nobody had 2"
    before = write(b, 2)
    assert before[:2] == (2, "b")
    assert write(c, 2) == before, "the first has it"
    assert write(a, 1) == before, "a zombie's renewal"
    assert write(a, 1, released=True) == before, "and what it lets go is not its own"
    renewed = write(b, 2)
    assert renewed[:3] == before[:3]
    assert renewed[3] > before[3]
    assert write(b, 2, released=True)[:3] == (2, "b", True)
    assert write(c, 3)[:3] == (3, "c", False)


@settings(max_examples=15)
@given(plans("broker", (1, 120), 3))
def test_an_outage_of_the_broker_unseats_nobody(plan: Plan) -> None:
    cluster = plan.cluster(learners="abc")
    cluster.run(plan.ends)
    cluster.settle(CLOSED + 1)
    assert leases(cluster.learners[0]) == [(1, "a")]


def test_a_standby_takes_over_once_and_what_the_old_owner_still_writes_changes_nothing() -> None:
    cluster = Cluster(3, 2, learners="ab")
    a, b = cluster.learners
    a.node.cut()
    cluster.run(3)
    assert not b.owns, "the lease has not run out"
    cluster.run(6)
    assert b.owns
    assert a.owns, "as far as it knows"
    a.settings = varied(partitions=2, wait_us=3 * SECOND)  # which is not what b wants
    cluster.run(20)
    a.node.mend()
    cluster.run(10)
    assert not a.owns
    assert leases(a) == leases(b) == [(1, "a"), (2, "b")]
    assert a.fold.settings == b.settings
    b.leave()
    b.idle = True
    cluster.run(2)
    assert leases(a)[-1] == (3, "a"), "at once"


# -- events that several nodes know of -------------------------------------------------------------


@pytest.mark.parametrize("partitions", [1, 4])
@pytest.mark.parametrize("shown", ["a", "b", ""])
def test_where_two_servers_answered_one_event_the_reward_tells_what_was_shown(
    shown: str, partitions: int
) -> None:
    cluster = Cluster(3, partitions)
    answers = {"a": cluster.decide("a", "e"), "b": ""}
    cluster.nodes["b"].cut()
    answers["b"] = cluster.decide("b", "e")
    cluster.run(0.5)
    cluster.reward("c", "e", decision_id=answers[shown] if shown else "")
    cluster.run(8)  # meanwhile b is waited for
    cluster.settle(CLOSED + 1)
    learner = cluster.learners[0]
    counters = learner.counters
    assert counters["decisions"] == 2
    assert counters["void"] == (not shown)
    assert counters["matured"] == bool(shown)
    assert [learner.log[at - 1].decision_id for at, _ in learner.fold.learned] == [
        answers[name] for name in shown
    ]
    assert learner.pending == 0


@settings(max_examples=15)
@given(plans(most=3), st.data())
def test_a_reward_that_was_told_to_several_servers_counts_once(
    plan: Plan, data: st.DataObject
) -> None:
    cluster = plan.cluster()
    for n, event in enumerate(plan.events):
        for _ in range(data.draw(st.integers(1, 3))):
            who, delay = data.draw(WHO), data.draw(tenths(0.1, 2))
            cluster.after(event.start + delay, _tells(cluster, who, f"e{n}"))
    cluster.run(plan.ends)
    cluster.settle(CLOSED + 1)
    learner = cluster.learners[0]
    counters = learner.counters
    different = {(told.event_id, told.reward_id) for told in cluster.told}
    assert counters["rewards"] == len(cluster.told)
    assert counters["joined"] == len(different)
    assert counters["duplicate_rewards"] == len(cluster.told) - len(different)
    assert counters["late_rewards"] == counters["dangling_rewards"] == 0
    assert counters["matured"] == len(learner.learned) == len(cluster.decided)


def _tells(cluster: Cluster, who: str, event_id: str) -> Callable[[], None]:
    return lambda: cluster.reward(who, event_id, reward_id=f"the reward of {event_id}")


def test_a_reward_may_come_long_before_its_decision() -> None:
    cluster = Cluster(3, 4)
    cluster.nodes["b"].cut()
    for n in range(20):
        cluster.event("b", f"e{n}", 1.0, "c")
    cluster.run(30)
    learner = cluster.learners[0]
    assert learner.counters["rewards"] == 20
    assert learner.counters["decisions"] == learner.counters["joined"] == 0
    cluster.nodes["b"].mend()
    cluster.run(CLOSED)
    all_is_joined(learner)


# -- the log of one journal ------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_a_topic_of_one_journal_folds_like_the_journal_itself(seed: int) -> None:
    scribe = Scribe(RULES)
    for n in range(3):
        scribe.busy(40, seed=10 * seed + n)
        scribe.tick(after_us=[200, 3, 3_600][n] * SECOND)  # outages
        scribe.open_epoch(varied(skew_us=(n + 2) * SECOND))
    reader = Reader(Cluster(1, 1))
    reader.cluster.topic = Topic().ship(scribe.log)
    reader.cluster.artefacts = scribe.artefacts
    reader.fold = reader.empty_fold()
    reader.read()
    assert [(r.sequence, r.number) for r in reader.log] == [
        (n, n) for n in range(1, len(scribe.log) + 1)
    ]
    assert bits(reader.fold) == bits(scribe.folded())
    assert reader.counters["matured"] > 50
