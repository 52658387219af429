"""Kill -9 at random moments, under load: `python -m tests.crash --rounds 50 --policy linucb`.

Clients rank and reward all the time and write down every answer. In each round one process, or all of them, is killed.
In the end the log is held against what the clients were told, and the model against an uninterrupted fold of the log.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import stamina

from policies import state_sha256
from rankd import Client, RankdError
from rankd.v1 import log_pb2 as pb
from server.fold.fold import AppFold
from server.fold.verify import verify
from server.learning.source import FolderSource
from tests.server.harness import Service

if TYPE_CHECKING:
    from rankd import Decision

POLICIES = {
    "linucb": {"type": "linucb", "alpha": 0.5},
    "vw": {"type": "vw"},
    "river": {"type": "river"},
}
VICTIMS = ("learner", "writer", "worker-0", "worker-1", "everything")
ACTIONS = ("a", "b", "c", "d")


@dataclass
class History:
    """What one client was told."""

    decisions: list[tuple[dict[str, float], Decision]] = field(default_factory=list)  # and context
    rewards: list[tuple[str, str, int]] = field(default_factory=list)  # event, reward_id, sequence
    failed: int = 0  # calls without an answer; they may or may not be in the log
    error: str = ""  # the last of these


@dataclass
class Outcome:
    """What a run has shown."""

    kills: int
    decisions: int
    rewards: int
    failed: int
    error: str
    learned: int
    verified: int
    longest_recovery: float  # seconds from a kill until all processes served again


def run(policy: str, rounds: int, seed: int, folder: Path) -> Outcome:
    """Runs and checks.

    Raises:
        AssertionError: something acknowledged is missing, changed or learned twice; says what.
    """
    config = {
        "server": {"workers": 2},
        # Often enough that every kind of moment is met; what is lost is read again.
        "learner": {"checkpoint_every": 150},
        "apps": {
            "default": {"policy": POLICIES[policy], "reward": {"min": 0, "always_sent": True}}
        },
    }
    rng = random.Random(seed)
    histories = [History() for _ in range(3)]
    stop = threading.Event()
    with Service(folder, config) as service:
        clients = [
            threading.Thread(target=_load, args=(service.port, i, seed, history, stop))
            for i, history in enumerate(histories)
        ]
        for client in clients:
            client.start()
        try:
            recovery = _kill(service, rng, rounds)
        finally:
            stop.set()
            for client in clients:
                client.join()
        _retries_get_the_same_answer(service, histories)
        last = service.status().log_records
        service.wait_folded(last)
        learned = service.wait_counters(decisions=_count(service, pb.KIND_DECISION))["matured"]
        service.stop()
        _log_has_what_was_acknowledged(service, histories)
        verified = _model_is_the_fold_of_the_log(service, learned)
    decisions = sum(len(history.decisions) for history in histories)
    rewards = sum(len(history.rewards) for history in histories)
    failed = sum(history.failed for history in histories)
    error = next((history.error for history in histories if history.error), "")
    return Outcome(rounds, decisions, rewards, failed, error, learned, verified, recovery)


def _load(port: int, number: int, seed: int, history: History, stop: threading.Event) -> None:
    rng = random.Random(1000 * seed + number)
    with Client(f"127.0.0.1:{port}", timeout=30.0, attempt_timeout=2.0) as client:
        for i in range(1_000_000):
            if stop.is_set():
                return
            x = [rng.gauss(0, 1) for _ in ACTIONS]
            try:
                context = dict(zip(ACTIONS, x, strict=True))
                decision = client.rank(context, list(ACTIONS), event_id=f"client-{number}-{i}")
                history.decisions.append((context, decision))
                value = float(x[ACTIONS.index(decision.action)] == max(x))
                sequence = client.reward(decision, value, reward_id=f"reward-{number}-{i}")
                assert sequence is not None
                history.rewards.append((decision.event_id, f"reward-{number}-{i}", sequence))
            except RankdError as error:
                history.failed += 1
                history.error = repr(error)
            time.sleep(0.002)


def _kill(service: Service, rng: random.Random, rounds: int) -> float:
    """Kills `rounds` times; returns the longest time that it took to come back, in seconds."""
    longest = 0.0
    for i in range(rounds):
        time.sleep(rng.uniform(0.05, 0.6))
        victim = VICTIMS[i % len(VICTIMS)] if i < len(VICTIMS) else rng.choice(VICTIMS)
        started = time.monotonic()
        if victim == "everything":
            service.kill_all()
            service.launch()
        else:
            service.kill9(victim)
        if rng.random() < 0.25 and victim != "everything":
            # Another one before the first is back.
            other = rng.choice([v for v in VICTIMS[:-1] if v != victim])
            service.kill9(other)
        service.wait_serving()
        longest = max(longest, time.monotonic() - started)
    return longest


def _count(service: Service, kind: pb.Kind) -> int:
    return len(service.records(kind))


def _retries_get_the_same_answer(service: Service, histories: list[History]) -> None:
    with Client(f"127.0.0.1:{service.port}", timeout=30.0) as client:
        for history in histories:
            for context, told in history.decisions[:: max(1, len(history.decisions) // 20)]:
                again = client.rank(context, list(ACTIONS), event_id=told.event_id)
                assert again == told, f"{told.event_id}: told {told}, a retry got {again}"


def _log_has_what_was_acknowledged(service: Service, histories: list[History]) -> None:
    records = {record.sequence: record for record in service.records()}
    events = [r.event_id for r in records.values() if r.kind == pb.KIND_DECISION]
    assert len(events) == len(set(events)), "an event has two decisions"
    for history in histories:
        for _, told in history.decisions:
            record = records[int(told.decision_id.rpartition(":")[2])]
            logged = record.decision()
            assert (record.event_id, record.decision_id) == (told.event_id, told.decision_id)
            ranking = tuple(logged.action_ids[k] for k in logged.ranking)
            assert ranking == told.ranking, (
                f"{told.event_id}: told {told.ranking}, logged {ranking}"
            )
            assert tuple(logged.pmf[k] for k in logged.ranking) == told.probabilities
        for event_id, reward_id, sequence in history.rewards:
            record = records[sequence]
            reward = pb.Reward.FromString(record.payload)
            assert (record.event_id, reward.reward_id) == (event_id, reward_id)


def _model_is_the_fold_of_the_log(service: Service, learned: int) -> int:
    """Returns the number of decisions verified."""
    published = service.published()
    with closing(FolderSource(service.folder)) as source:
        fold = AppFold("default", source.read, source.artefact)
        sha256 = ""
        for record in source.records(0):
            fold.step(record)
            if fold.version == published.model_version:
                assert fold.model is not None
                sha256 = state_sha256(fold.model.state())
        assert sha256 == state_sha256(published.policy), "the published model is not the log's"
        assert fold.joiner is not None
        # Every rewarded event is learned once: as often as an uninterrupted fold does, and never twice.
        rewarded = {r.event_id for r in source.records(0) if r.kind == pb.KIND_REWARD}
        assert learned == fold.joiner.counters["matured"] <= len(rewarded)
        assert fold.report.sums["n"] == learned
        result = verify(source)
    assert result.mismatches == 0, result.first_mismatch
    assert result.unverifiable == 0
    return result.verified


def main() -> int:
    """Runs from the command line; exit code 1 if anything was lost, doubled or changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--policy", choices=POLICIES, default="linucb")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    stamina.instrumentation.set_on_retry_hooks([])  # retries are what this is about
    with tempfile.TemporaryDirectory() as folder:
        try:
            outcome = run(arguments.policy, arguments.rounds, arguments.seed, Path(folder) / "data")
        except AssertionError as error:
            print(f"FAILED: {error}", file=sys.stderr)
            return 1
    print(
        f"{arguments.policy}: {outcome.kills} kills, {outcome.decisions} decisions and {outcome.rewards} rewards "
        f"acknowledged, lost 0, doubled 0; {outcome.failed} calls failed {outcome.error}; {outcome.learned} learned, "
        f"{outcome.verified} verified, mismatches 0; longest recovery {outcome.longest_recovery:.1f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
