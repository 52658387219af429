"""Orders of an operator: pin, unpin, roll back, export, promote; the log tells all of them, and can be derived again."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from policies import state_sha256
from rankd.v1 import admin_pb2 as api
from rankd.v1 import decisions_pb2, internal_pb2
from server.fold.envelope import seal, unseal
from tests.server.harness import CALL, Service, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = {"reward": "always_sent", "policy": {"type": "linucb", "alpha": 0.5}}
LEARNER = {"checkpoint_every": 20, "keep_checkpoints": 500}
CONFIG = {"apps": {"default": APP}, "learner": LEARNER}
IDS = ["a", "b", "c", "d"]
events = itertools.count()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("promotions") / "data", CONFIG) as running:
        yield running


def rank(service: Service) -> decisions_pb2.RankReply:
    request = decisions_pb2.RankRequest(event_id=f"event {next(events)}", action_ids=IDS)
    reply: decisions_pb2.RankReply = service.decisions.Rank(request, timeout=CALL)
    return reply


def learn(service: Service, count: int = 30, best: str = "a") -> int:
    """Decisions that are rewarded and learned; returns the place of the last reward."""
    for _ in range(count):
        reply = rank(service)
        reward = decisions_pb2.RewardRequest(event_id=reply.event_id)
        reward.value = float(reply.action_id == best)
        sequence = service.decisions.Reward(reward, timeout=CALL).sequence
    service.wait_folded(sequence)
    return int(sequence)


def models(service: Service) -> list[api.ModelVersion]:
    return list(service.admin.ListModels(api.ListModelsRequest(), timeout=CALL).models)


def state(service: Service) -> str:
    """Of the model that is served."""
    return state_sha256(service.published().policy)


def wait_state(service: Service, sha256: str) -> None:
    eventually(f"state {sha256[:8]} to be served", lambda: state(service) == sha256)


def code_of(call: Any, request: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(request, timeout=CALL)
    return caught.value.code(), caught.value.details() or ""


def verified(service: Service) -> None:
    found = service.verify()
    assert (found.mismatches, found.unverifiable) == (0, 0), found.first_mismatch


def test_versions_are_listed(service: Service) -> None:
    service.wait_served(learn(service, 60))
    listed = models(service)
    assert [m.model_version for m in listed] == sorted(m.model_version for m in listed)
    assert sum(m.served for m in listed) == 1
    assert listed[-1].served
    assert listed[-1].state_sha256 == state(service)
    assert not any(m.pinned for m in listed)
    kept = [m.model_version for m in listed if m.model_version % 20 == 0]
    assert len(kept) >= 3


def test_a_pinned_version_is_served_while_learning_goes_on(service: Service) -> None:
    learn(service)
    version = models(service)[0]
    order = api.PinRequest(model_version=version.model_version)
    reply = service.admin.Pin(order, timeout=CALL)
    assert reply.state_sha256 == version.state_sha256
    wait_state(service, version.state_sha256)
    learn(service)
    assert state(service) == version.state_sha256
    eventually("the order to be told", lambda: any(m.pinned for m in models(service)))
    (pinned,) = [m for m in models(service) if m.pinned]
    assert (pinned.model_version, pinned.served) == (version.model_version, True)
    service.wait_served(0)
    assert rank(service).model_version == version.model_version
    service.restart()
    assert rank(service).model_version == version.model_version, "a restart does not unpin"
    sequence = service.admin.Unpin(api.UnpinRequest(), timeout=CALL).sequence
    service.wait_served(sequence)
    assert rank(service).model_version >= sequence
    verified(service)


def test_rolling_back_serves_the_old_state_and_learns_on(service: Service) -> None:
    learn(service, best="a")
    version = models(service)[-2]
    service.wait_served(learn(service, best="b"))
    spoiled = state(service)
    reply = service.admin.RollBack(
        api.RollBackRequest(model_version=version.model_version), timeout=CALL
    )
    service.wait_served(reply.sequence)
    assert state(service) == reply.state_sha256 == version.state_sha256 != spoiled
    service.wait_served(learn(service, best="a"))
    assert state(service) != version.state_sha256
    verified(service)


def test_a_version_of_another_epoch_cannot_be_rolled_back_to(service: Service) -> None:
    learn(service)
    version = models(service)[0]
    service.restart({**CONFIG, "apps": {"default": {**APP, "min_exploration": 0.1}}})
    for call, order in (
        (service.admin.RollBack, api.RollBackRequest(model_version=version.model_version)),
        (service.admin.Pin, api.PinRequest(model_version=version.model_version)),
    ):
        code, text = code_of(call, order)
        assert code == grpc.StatusCode.FAILED_PRECONDITION
        assert "export it and promote the file" in text
    verified(service)


def test_an_exported_model_can_be_promoted(service: Service) -> None:
    """Here, after it has been unlearned; learning goes on from it, in a new epoch."""
    service.wait_served(learn(service, best="a"))
    file = service.admin.ExportModel(api.ExportModelRequest(), timeout=CALL).model
    exported = state(service)
    before = rank(service)
    service.wait_served(learn(service, best="b"))
    reply = service.admin.Promote(api.PromoteRequest(model=file), timeout=CALL)
    assert reply.state_sha256 == exported
    service.wait_served(reply.sequence)
    assert state(service) == exported
    assert rank(service).epoch == before.epoch + 1
    service.wait_served(learn(service, best="a"))
    verified(service)


def test_promotions_at_once_are_epochs_one_after_the_other(service: Service) -> None:
    learn(service)
    file = service.admin.ExportModel(api.ExportModelRequest(), timeout=CALL).model
    epoch = rank(service).epoch
    calls = [
        service.admin.Promote.future(api.PromoteRequest(model=file), timeout=CALL) for _ in range(5)
    ]
    last = max(call.result().sequence for call in calls)
    service.wait_served(last)
    assert rank(service).epoch == epoch + 5
    service.restart()
    assert rank(service).epoch == epoch + 5
    verified(service)


def test_what_is_no_model_of_this_app_is_refused(service: Service) -> None:
    file = service.admin.ExportModel(api.ExportModelRequest(), timeout=CALL).model
    flipped = file[:-1] + bytes([file[-1] ^ 1])
    raw = unseal(internal_pb2.Snapshot, file)
    raw.config_json = raw.config_json.replace('"standardise":true', '"standardise":false')
    other_policy = unseal(internal_pb2.Snapshot, file)
    other_policy.policy = b"another"
    before = service.kinds()
    for data in (b"", b"junk", file[:-1], flipped, seal(raw), seal(other_policy)):
        code, text = code_of(service.admin.Promote, api.PromoteRequest(model=data))
        assert code == grpc.StatusCode.INVALID_ARGUMENT
        assert text.startswith("model: ")
    for call, order in (
        (service.admin.Pin, api.PinRequest(model_version=1)),
        (service.admin.RollBack, api.RollBackRequest(model_version=2**63)),
        (service.admin.ExportModel, api.ExportModelRequest(model_version=3)),
    ):
        code, text = code_of(call, order)
        assert code == grpc.StatusCode.NOT_FOUND
        assert text.startswith("model_version: ")
    assert service.kinds() == before
