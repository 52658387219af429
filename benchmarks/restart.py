"""restart-01: how soon a service is back after kill -9, with many decisions whose windows are open.

    python -m benchmarks.restart --pending 100000

Fills a journal over the wire, kills every process, starts again, and prints the seconds until the first Rank is answered
and until the learner has caught up. Then rewards a sample: every one of them has to find its decision.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import grpc

from rankd.v1 import decisions_pb2 as api
from rankd.v1 import features_pb2
from tests.server.harness import Service, eventually

BATCH = 500
SAMPLE = 500
# Seconds that one batch may take on two slow cores.
_TIMEOUT = 60.0
# The goal that the project has set itself, in seconds.
GOAL = 5.0


def _rank(event: int) -> api.RankRequest:
    context = features_pb2.Features(numeric_names=["x"], numeric_values=[event % 17])
    return api.RankRequest(event_id=f"event-{event}", context=[context], action_ids=["a", "b", "c"])


def _answered(service: Service, event: int) -> bool:
    """Whether Rank was answered; a worker without a model yet says that it is unavailable."""
    try:
        service.decisions.Rank(_rank(event), wait_for_ready=True, timeout=_TIMEOUT)
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    return True


def main() -> int:
    """Prints the figures; exit code 1 if the goal is missed or a join is lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pending", type=int, default=100_000)
    pending = parser.parse_args().pending
    with tempfile.TemporaryDirectory() as folder, Service(Path(folder) / "data") as service:
        started = time.monotonic()
        for first in range(0, pending, BATCH):
            batch = [_rank(i) for i in range(first, min(first + BATCH, pending))]
            service.decisions.RankBatch(api.RankBatchRequest(requests=batch), timeout=_TIMEOUT)
        print(f"filled: {pending} decisions in {time.monotonic() - started:.1f} s")
        last = service.status().log_records
        service.wait_folded(last)

        service.kill_all()
        started = time.monotonic()
        service.launch()
        eventually("an answer", lambda: _answered(service, pending), _TIMEOUT)
        answered = time.monotonic() - started
        status = service.wait_folded(last)
        caught_up = time.monotonic() - started

        rewards = [
            api.RewardRequest(event_id=f"event-{i}", value=1.0, reward_id="r")
            for i in range(0, pending, max(1, pending // SAMPLE))
        ]
        service.decisions.RewardBatch(api.RewardBatchRequest(rewards=rewards), timeout=_TIMEOUT)
        joined = service.wait_counters(rewards=len(rewards))["joined"]
        print(
            f"restart with {status.pending} pending: first Rank after {answered:.2f} s, learner caught up after "
            f"{caught_up:.2f} s; {joined} of {len(rewards)} rewards joined"
        )
        return int(answered > GOAL or joined != len(rewards) or status.pending < pending)


if __name__ == "__main__":
    sys.exit(main())
