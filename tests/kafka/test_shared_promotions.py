"""An operator's orders where learners share a log: what they refer to travels in the log itself."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import grpc
import pytest

from policies import state_sha256
from rankd import Client
from rankd.v1 import admin_pb2 as api
from server.fold.verify import verify
from server.kafka.source import TopicSource
from tests.faults.cluster import APP, TOPIC, Cluster
from tests.server.harness import CALL, Service, eventually

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("can_start_kafka", "can_start_redis")


def learn(server: Service, count: int = 150) -> None:
    with Client(f"127.0.0.1:{server.port}", timeout=CALL) as client:
        for i in range(count):
            decision = client.rank({"x": float(i % 3)}, ["a", "b", "c"])
            client.reward(decision, float(decision.action == "a"))


def matured(cluster: Cluster) -> int:
    return cluster.owner().counters(APP)["matured"]


def wait_served(cluster: Cluster, sha256: str) -> None:
    def everywhere() -> bool:
        return all(state_sha256(node.published().policy) == sha256 for node in cluster.servers)

    eventually(f"state {sha256[:8]} on all servers", everywhere)


def test_orders_reach_all_and_can_be_verified_from_the_topic_alone(tmp_path: Path) -> None:
    settings = {"learner": {"checkpoint_every": 50, "keep_checkpoints": 500}}
    with Cluster(tmp_path, settings, learners=2) as cluster:
        server, owner = cluster.servers[0], cluster.owner()
        learn(server)
        eventually("150 to be learned", lambda: matured(cluster) == 150)
        with pytest.raises(grpc.RpcError) as caught:
            server.admin.ListModels(api.ListModelsRequest(), timeout=CALL)
        assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "learner" in (caught.value.details() or "")

        models = owner.admin.ListModels(api.ListModelsRequest(), timeout=CALL).models
        old = models[len(models) // 2]
        pinned = owner.admin.Pin(api.PinRequest(model_version=old.model_version), timeout=CALL)
        wait_served(cluster, pinned.state_sha256)
        learn(server, 30)
        owner.admin.Unpin(api.UnpinRequest(), timeout=CALL)
        request = api.RollBackRequest(model_version=old.model_version)
        rolled = owner.admin.RollBack(request, timeout=CALL)
        wait_served(cluster, rolled.state_sha256)
        exported = owner.admin.ExportModel(api.ExportModelRequest(), timeout=CALL).model
        promoted = owner.admin.Promote(api.PromoteRequest(model=exported), timeout=CALL)
        wait_served(cluster, promoted.state_sha256)
        learn(server, 30)
        eventually("210 to be learned", lambda: matured(cluster) == 210)
        # The one that stands by has folded the same, from the artefacts in the log.
        states = {learner.published().epoch for learner in cluster.learners}
        assert states == {2}
        with closing(TopicSource(f"kafka://{cluster.kafka.bootstrap}/{TOPIC}")) as source:
            found = verify(source)
        assert (found.mismatches, found.unverifiable) == (0, 0), found.first_mismatch
        assert found.verified >= 200
