"""Two servers that answer one event differently, because one of them does not hear of the other."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rankd import Client
from rankd.v1 import log_pb2 as pb
from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, TOPIC, Cluster
from tests.faults.load import ACTIONS, Load
from tests.faults.topic import Merged, read_topic
from tests.server.harness import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from rankd import Decision

# A default that no reward has tells what was learned without one.
SETTINGS = {
    "apps": {APP: {"reward": {"min": -1, "default": -1, "always_sent": False, "wait": "3s"}}}
}
# Events that each of the four ways of rewarding gets in a round.
_EVENTS = 5


def rivals(folder: Path, rounds: int, seed: int) -> Outcome:
    """The reward's decision_id tells which decision was shown; an event without it is void, and counted."""
    rng = random.Random(seed)
    expected: dict[str, tuple[str, float] | None] = {}  # event -> decision_id and reward; None: void
    differing = 0
    with Cluster(folder, SETTINGS, proxied=("server-1",)) as cluster, ExitStack() as stack:
        first, second = (
            stack.enter_context(Client(f"127.0.0.1:{node.port}", timeout=30, attempt_timeout=2))
            for node in cluster.servers
        )

        def ask(event_id: str) -> tuple[Decision, Decision]:
            context = {action: rng.gauss(0, 1) for action in ACTIONS}
            one, other = (
                client.rank(context, list(ACTIONS), event_id=event_id) for client in (first, second)
            )
            return one, other

        def together(name: str) -> None:
            """While they hear of each other the second answers with what the first has decided."""
            tries = iter(range(1_000_000))

            def agreed() -> bool:
                one, other = ask(f"{name}-{next(tries)}")
                return one == other

            eventually("both servers to give the same decision", agreed)

        with Load([cluster.servers[0].port], seed=seed) as load:
            together("before")
            cluster.redis_proxy.refuse()
            stale = cluster.nodes["server-1"].published(APP).model_version

            def learned_on() -> bool:
                return cluster.nodes["server-0"].published(APP).model_version > stale + 200

            eventually("the other server to get newer models", learned_on)
            for i in range(rounds * _EVENTS):
                shown_here, shown_there, unnamed, both = (
                    (f"{name}-{i}", ask(f"{name}-{i}"))
                    for name in ("here", "there", "unnamed", "both")
                )
                for _, (one, other) in (shown_here, shown_there, unnamed, both):
                    assert one.decision_id != other.decision_id
                    differing += one.action != other.action
                for (event_id, answers), which in ((shown_here, 0), (shown_there, 1)):
                    # By way of the server that did not decide it, too.
                    (second if i % 2 else first).reward(answers[which], 0.5, reward_id="r")
                    expected[event_id] = (answers[which].decision_id, 0.5)
                # An event_id alone is sent without any decision_id.
                first.reward(unnamed[0], 0.5, reward_id="r")
                expected[unnamed[0]] = None
                for decision in both[1]:
                    second.reward(decision, 0.5, reward_id=decision.decision_id)
                expected[both[0]] = None
            cluster.redis_proxy.heal()
            together("after")
        settle(cluster, load)

        def over() -> bool:
            status = cluster.owner().status(APP)
            return status.pending == 0 and status.lag_records == 0

        eventually("every window to close", over)
        counters = cluster.owner().counters(APP)
        outcome = check(cluster, "two answers to one event", load)
        merged = Merged.of(APP, read_topic(cluster.kafka.bootstrap, TOPIC))

    learned = {each.event_id: each for each in merged.learned()}
    for event_id, wanted in expected.items():
        if wanted is None:
            assert event_id not in learned, f"{event_id} was learned, and nobody knows as what"
        else:
            each = learned[event_id]
            assert (each.decision_id, each.rewards) == (wanted[0], {0: wanted[1]})
    # Answers that differed before each had heard of the other were not rewarded, and are void, too.
    decisions: dict[str, set[str]] = {}
    for record in merged.log:
        if record.kind == pb.KIND_DECISION:
            decisions.setdefault(record.event_id, set()).add(record.decision_id)
    void = [event for event in decisions if len(decisions[event]) > 1 and not expected.get(event)]
    assert counters["void"] == len(void)
    assert differing > 0, "no two answers differed"
    outcome.injected = len(expected)
    outcome.note = f"{differing} with different actions; {counters['void']} void"
    return outcome
