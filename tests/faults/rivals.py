"""Two servers that answer one event differently, because one of them does not hear of the other."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import ExitStack
from itertools import count
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


class _Servers:
    """Two servers, and what is expected of the events that both were asked about."""

    def __init__(self, first: Client, second: Client, seed: int) -> None:
        self.first, self.second = first, second
        self._rng = random.Random(seed)
        self.shown: dict[str, str] = {}  # event -> the decision that is to be learned
        self.void: list[str] = []
        self.differing = 0  # events with two actions

    def ask(self, event_id: str) -> list[Decision]:
        """One after the other."""
        context = {action: self._rng.gauss(0, 1) for action in ACTIONS}
        clients = (self.first, self.second)
        return [client.rank(context, list(ACTIONS), event_id=event_id) for client in clients]

    def wait_agreed(self, name: str) -> None:
        """While they hear of each other the second answers with what the first has decided."""
        tries = count()

        def agreed() -> bool:
            one, other = self.ask(f"{name}-{next(tries)}")
            return one == other

        eventually("both servers to give the same decision", agreed)

    def _differ(self, event_id: str) -> list[Decision]:
        one, other = self.ask(event_id)
        assert one.decision_id != other.decision_id
        self.differing += one.action != other.action
        return [one, other]

    def disagree(self, number: int) -> None:
        """One event for each way of rewarding."""
        for i in range(2):
            answers = self._differ(f"shown-{number}-{i}")
            # By way of the server that did not decide it, too.
            (self.first, self.second)[number % 2].reward(answers[i], 0.5, reward_id="r")
            self.shown[answers[i].event_id] = answers[i].decision_id
        one, _ = self._differ(f"unnamed-{number}")
        self.first.reward(one.event_id, 0.5, reward_id="r")  # an event_id alone names no decision
        one, other = self._differ(f"both-{number}")
        for decision in (one, other):
            self.second.reward(decision, 0.5, reward_id=decision.decision_id)
        self.void += [f"unnamed-{number}", f"both-{number}"]


def rivals(folder: Path, rounds: int, seed: int) -> Outcome:
    """The reward's decision_id tells which decision was shown; an event without it is void, and counted."""
    with Cluster(folder, SETTINGS, proxied=("server-1",)) as cluster, ExitStack() as stack:
        first, second = (
            stack.enter_context(Client(f"127.0.0.1:{node.port}", timeout=30, attempt_timeout=2))
            for node in cluster.servers
        )
        servers = _Servers(first, second, seed)
        with Load([cluster.servers[0].port], seed=seed) as load:
            servers.wait_agreed("before")
            cluster.redis_proxy.refuse()
            stale = cluster.nodes["server-1"].published(APP).model_version

            def learned_on() -> bool:
                return cluster.nodes["server-0"].published(APP).model_version > stale + 200

            eventually("the other server to get newer models", learned_on)
            for i in range(rounds * _EVENTS):
                servers.disagree(i)
            cluster.redis_proxy.heal()
            servers.wait_agreed("after")
        settle(cluster, load)

        def over() -> bool:
            status = cluster.owner().status(APP)
            return status.pending == 0 and status.lag_records == 0

        eventually("every window to close", over)
        counters = cluster.owner().counters(APP)
        outcome = check(cluster, "two answers to one event", load)
        merged = Merged.of(APP, read_topic(cluster.kafka.bootstrap, TOPIC))

    learned = {each.event_id: each for each in merged.learned()}
    for event_id, decision_id in servers.shown.items():
        each = learned[event_id]
        assert (each.decision_id, each.rewards) == (decision_id, {0: 0.5})
    unknown = [event_id for event_id in servers.void if event_id in learned]
    assert not unknown, f"{unknown} were learned, and nobody knows as what"
    # Those that differed while the servers had yet to hear of each other were not rewarded, and are void, too.
    decisions = Counter(r.event_id for r in merged.log if r.kind == pb.KIND_DECISION)
    void = [event for event, n in decisions.items() if n > 1 and event not in servers.shown]
    assert counters["void"] == len(void)
    assert servers.differing > 0, "no two answers differed"
    outcome.injected = len(servers.shown) + len(servers.void)
    outcome.note = f"{servers.differing} with different actions; {counters['void']} events void"
    return outcome
