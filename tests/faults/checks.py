"""What must hold after any fault: all that was acknowledged is in the topic, learned once, and the model is the log's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from policies import state_sha256
from rankd.v1 import log_pb2 as pb
from server.fold.verify import verify
from tests.faults.cluster import APP
from tests.faults.topic import Merged, read_topic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from server.fold.merge import Message
    from tests.faults.cluster import Cluster
    from tests.faults.load import Histories
    from tests.faults.watch import Watch


class CannotInjectError(Exception):
    """The fault cannot be made on this machine; says what it would need. Tests are skipped for it."""


@dataclass
class Outcome:
    """What one fault has shown. Nothing lost, doubled or changed, or there would be none."""

    fault: str
    injected: int = 0
    decisions: int = 0  # acknowledged
    rewards: int = 0
    failed: int = 0  # calls that got no answer in time
    error: str = ""  # of the last of these
    learned: int = 0
    verified: int = 0
    longest_call: float = 0.0  # seconds, retries included
    recovery: float = 0.0  # seconds, the longest
    note: str = ""


def settle(cluster: Cluster, *loads: Histories, app: str = APP) -> None:
    """Waits until the owner has folded everything that was acknowledged."""
    decisions = sum(load.decisions for load in loads)
    rewards = sum(load.rewards for load in loads)
    cluster.wait_learned(decisions, rewards, app=app)


def check(
    cluster: Cluster,
    fault: str,
    *loads: Histories,
    app: str = APP,
    watch: Watch | None = None,
    earlier: Sequence[Message] = (),
) -> Outcome:
    """Holds what clients were told against the topic, and the served model against an uninterrupted fold of it.

    Args:
        watch: saw the servers' models; all of them are held against the fold.
        earlier: what was read of the topic before some of it was deleted.

    Raises:
        AssertionError: something acknowledged is missing, changed, or learned twice; says what.
        LogError: the topic has a hole.
    """
    messages = {(m.partition, m.offset): m for m in earlier}
    messages |= {
        (m.partition, m.offset): m for m in read_topic(cluster.kafka.bootstrap, f"rankd.{app}")
    }
    merged = Merged.of(app, [messages[place] for place in sorted(messages)])
    _all_is_there(merged, loads)
    fold, states = merged.fold()
    assert fold.joiner is not None
    counters = fold.joiner.counters
    for name, node in cluster.nodes.items():
        model = node.published(app)
        if model.model_version <= len(merged.log):  # else beyond what is certain of the topic's end
            version = max((v for v in states if v <= model.model_version), default=0)
            found = states.get(version)
            assert state_sha256(model.policy) == found, f"the model of {name} is not the log's"
    if watch is not None:
        watch.check(states, len(merged.log))
    # Every event is learned once at most, and where nothing is assumed only if it was rewarded.
    assert fold.settings is not None
    learnable = pb.KIND_REWARD if fold.settings.always_sent else pb.KIND_DECISION
    events = {r.event_id for r in merged.log if r.kind == learnable}
    assert counters["matured"] <= len(events), "more was learned than there was"
    assert fold.report.sums["n"] == counters["matured"]
    result = verify(merged)
    assert result.mismatches == 0, result.first_mismatch
    return Outcome(
        fault,
        decisions=sum(load.decisions for load in loads),
        rewards=sum(load.rewards for load in loads),
        failed=sum(load.failed for load in loads),
        error=next((load.error for load in loads if load.error), ""),
        learned=counters["matured"],
        verified=result.verified,
        longest_call=max((h.longest for load in loads for h in load.histories), default=0.0),
    )


def _all_is_there(merged: Merged, loads: tuple[Histories, ...]) -> None:
    decisions = {r.decision_id: r for r in merged.log if r.kind == pb.KIND_DECISION}
    rewards = {
        (r.event_id, pb.Reward.FromString(r.payload).reward_id)
        for r in merged.log
        if r.kind == pb.KIND_REWARD
    }
    for load in loads:
        for history in load.histories:
            for _, told in history.decisions:
                record = decisions.get(told.decision_id)
                assert record is not None, f"decision {told.decision_id} is not in the topic"
                logged = record.decision()
                assert record.event_id == told.event_id
                assert tuple(logged.action_ids[k] for k in logged.ranking) == told.ranking
                assert tuple(logged.pmf[k] for k in logged.ranking) == told.probabilities
            missing = [reward for reward in history.rewards if reward not in rewards]
            assert not missing, f"{len(missing)} rewards are not in the topic: {missing[:3]}"
