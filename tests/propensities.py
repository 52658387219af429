"""Were actions drawn as often as the log says? `python -m tests.propensities --events 100000`

Every policy ranks its own app's events over the wire, with exclusions, retries and slots. Then an export of the log is
asked, event by event: what was drawn, and with which probability.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import defaultdict
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2

from policies.registry import names
from policies.sampler import Purpose, seed, uniform
from rankd.v1 import decisions_pb2 as api
from rankd.v1 import features_pb2
from rankd.v1 import log_pb2 as pb
from server.exports.jsonl import ExportSource, write_jsonl
from server.learning.source import FolderSource
from tests.server.harness import CALL, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BATCH = 250
ACTIONS = ("a", "b", "c", "d", "e")


@dataclass
class Found:
    """One policy's draws, held against the logged probabilities."""

    events: int
    draws: int
    largest_z: float  # over actions, of sum(drawn - logged probability)
    p_value: float  # chi-square over all actions at once
    worst_sum: float  # largest |sum of a pmf - 1|
    slot_correlation_z: float  # between the random numbers of an event's first and second slot
    policy_correlation_z: float  # between those of the draw and the policy's seed


def run(events: int, folder: Path, random_seed: int = 1) -> dict[str, Found]:
    """Ranks `events` events for each policy, exports the log, and counts."""
    policies = names()
    rewards = {"min": 0, "always_sent": True}
    # A salt of its own for each, and the same in every run: all draws then are.
    apps = {
        name: {"policy": {"type": name}, "reward": rewards, "salt": _salt_of(random_seed, name)}
        for name in policies
    }
    config = {"apps": apps}
    with Service(folder, config) as service:
        for name in policies:
            _rank(service, name, events, random.Random(f"{random_seed}/{name}"))
        service.stop()
        path = folder.with_name("export.jsonl")
        with closing(FolderSource(service.folder)) as log, path.open("wb") as out:
            write_jsonl(log, out)
    source = ExportSource(path)
    return {name: _count(source, name) for name in policies}


def _salt_of(random_seed: int, name: str) -> str:
    return blake2b(f"{random_seed}/{name}".encode(), digest_size=32).hexdigest()


def _rank(service: Service, app: str, events: int, rng: random.Random) -> None:
    for start in range(0, events, BATCH):
        requests = [_request(app, i, rng) for i in range(start, min(start + BATCH, events))]
        retried = rng.sample(requests, len(requests) // 20)
        batch = api.RankBatchRequest(requests=requests + retried)
        replies = service.decisions.RankBatch(batch, timeout=3 * CALL).replies
        told = {reply.event_id: reply for reply in replies[: len(requests)]}
        for reply in replies:
            assert not reply.HasField("error"), reply.error.message
            assert reply == told[reply.event_id], "a retry got another decision"
        # Some events only: a model that learns moves, so that pmfs are of every kind.
        batch_rewards = [
            api.RewardRequest(
                app=app,
                event_id=reply.event_id,
                value=float(rng.random() < (0.8 if reply.action_id == "b" else 0.3)),
                slot_id=slot,
                reward_id=f"r{slot}",
            )
            for reply in told.values()
            for slot in (reply.slot_ids or [""])
            if rng.random() < 0.5
        ]
        service.decisions.RewardBatch(
            api.RewardBatchRequest(rewards=batch_rewards), timeout=3 * CALL
        )


def _request(app: str, i: int, rng: random.Random) -> api.RankRequest:
    ids = rng.sample(ACTIONS, rng.randint(2, len(ACTIONS)))
    excluded = rng.sample(ids, rng.randint(0, len(ids) - 1)) if rng.random() < 0.3 else []
    eligible = len(ids) - len(excluded)
    slots = (
        ["top", "side", "foot"][: rng.randint(1, min(3, eligible))] if rng.random() < 0.4 else []
    )
    context = features_pb2.Features(numeric_names=["x", "y"])
    context.numeric_values.extend([rng.gauss(0, 1), rng.gauss(5, 3)])
    return api.RankRequest(
        app=app,
        event_id=f"{app}-{i}",
        context=[context],
        action_ids=ids,
        excluded_ids=excluded,
        slot_ids=slots,
    )


def _draws(decision: pb.Decision) -> Iterator[tuple[int, dict[int, float]]]:
    """(index drawn, probabilities at that draw) of each slot, from the logged pmf and nothing else."""
    left = {k: p for k, p in enumerate(decision.pmf) if p > 0}
    for slot, told in enumerate(decision.slot_probabilities):
        drawn, mass = decision.ranking[slot], sum(left.values())
        probabilities = {k: p / mass for k, p in left.items()}
        assert abs(probabilities[drawn] - told) < 1e-12, "a slot's probability is not its pmf's"
        yield drawn, probabilities
        del left[drawn]


def _count(source: ExportSource, app: str) -> Found:
    distance = np.zeros(len(ACTIONS))  # sum of drawn - probability
    covariance = np.zeros((len(ACTIONS), len(ACTIONS)))
    events, draws, worst = 0, 0, 0.0
    salt = b""
    us: dict[str, list[float]] = defaultdict(list)
    for record in source.records(0):
        if record.app != app:
            continue
        if record.kind == pb.KIND_CONFIG:
            salt = bytes.fromhex(_salt(record.payload))
        if record.kind != pb.KIND_DECISION:
            continue
        decision = record.decision()
        events += 1
        worst = max(worst, abs(sum(decision.pmf) - 1))
        us["draw"].append(uniform(salt, Purpose.DRAW, 0, record.event_id))
        us["slot"].append(uniform(salt, Purpose.DRAW, 1, record.event_id))
        us["policy"].append(seed(salt, Purpose.POLICY, 0, record.event_id) / 2**64)
        for drawn, probabilities in _draws(decision):
            p = np.zeros(len(ACTIONS))
            for k, probability in probabilities.items():
                p[ACTIONS.index(decision.action_ids[k])] = probability
            distance -= p
            distance[ACTIONS.index(decision.action_ids[drawn])] += 1
            covariance += np.diag(p) - np.outer(p, p)
            draws += 1
    statistic = float(distance @ np.linalg.pinv(covariance, rcond=1e-9) @ distance)
    z = np.abs(distance) / np.sqrt(np.diag(covariance))
    return Found(
        events,
        draws,
        float(z.max()),
        float(chi2.sf(statistic, len(ACTIONS) - 1)),
        worst,
        _correlation_z(np.array(us["draw"]), np.array(us["slot"])),
        _correlation_z(np.array(us["draw"]), np.array(us["policy"])),
    )


def _salt(payload: bytes) -> str:
    """The salt in a Config record."""
    return str(json.loads(pb.Config.FromString(payload).json)["salt"])


def _correlation_z(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(abs(np.corrcoef(a, b)[0, 1]) * np.sqrt(len(a)))


def check(found: Found, app: str, events: int) -> None:
    """Raises AssertionError, naming the policy, where draws and probabilities disagree."""
    assert found.events == events, f"{app}: {found.events} decisions for {events} events"
    assert found.largest_z < 4, f"{app}: {found}"
    assert found.p_value > 1e-4, f"{app}: {found}"
    assert found.worst_sum < 1e-12, f"{app}: {found}"
    assert found.slot_correlation_z < 4, f"{app}: {found}"
    assert found.policy_correlation_z < 4, f"{app}: {found}"


def main() -> int:
    """Runs from the command line; exit code 1 if a propensity is not what was played."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=100_000, help="over all policies")
    events = parser.parse_args().events // len(names())
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for app, found in run(events, Path(folder) / "data").items():
            print(
                f"{app:15} {found.events} events, {found.draws} draws: largest z {found.largest_z:.2f}, "
                f"chi-square p {found.p_value:.3f}, |sum - 1| <= {found.worst_sum:.1e}, "
                f"slots z {found.slot_correlation_z:.2f}, policy seed z {found.policy_correlation_z:.2f}"
            )
            try:
                check(found, app, events)
            except AssertionError as error:
                print(f"FAILED: {error}", file=sys.stderr)
                failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
