"""Starting, stopping, falling over: what was said holds, and nothing else has happened."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2

from policies import state_sha256
from rankd.v1 import admin_pb2
from rankd.v1 import decisions_pb2 as api
from rankd.v1 import log_pb2 as pb
from rankd.v1.decisions_pb2_grpc import DecisionsStub
from server.fold.fold import AppFold
from server.learning.source import FolderSource
from tests.server.harness import CALL, PATIENCE, REPOSITORY, Service, eventually, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IDS = ["a", "b", "c"]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Not started; stopped in the end."""
    made = Service(tmp_path / "data")
    try:
        yield made
    finally:
        made.stop()


def request(event: object, **fields: Any) -> api.RankRequest:
    return api.RankRequest(event_id=f"event {event}", action_ids=IDS, **fields)


def rank(service: Service, event: object) -> api.RankReply:
    reply: api.RankReply = service.decisions.Rank(request(event), timeout=CALL)
    return reply


def reward(service: Service, event: object, value: float, **fields: Any) -> int:
    asked = api.RewardRequest(event_id=f"event {event}", value=value, **fields)
    sequence: int = service.decisions.Reward(asked, timeout=CALL).sequence
    return sequence


def folded(service: Service, through: int | None = None) -> AppFold:
    """An uninterrupted fold of the log, or of its first records."""
    with closing(FolderSource(service.folder)) as source:
        fold = AppFold("default", source.read, source.artefact)
        for record in islice(source.records(0), through):
            fold.step(record)
        return fold


def sha256(fold: AppFold) -> str:
    assert fold.model is not None
    return state_sha256(fold.model.state())


# -- stopping and starting -------------------------------------------------------------------------


def test_what_was_decided_outlives_the_service(service: Service) -> None:
    """A stop, a killed supervisor, a power cut: the same event gets the same decision; rewards still join."""
    service.start({"apps": {"default": {"reward": "always_sent"}}})
    told = {event: rank(service, event) for event in range(20)}
    service.restart()
    assert {event: rank(service, event) for event in told} == told
    for event in range(10):
        reward(service, event, 1.0, reward_id="r")
    service.kill9("supervisor")
    service.start()  # its children have ended by themselves, or hand over
    for event in range(20):
        reward(service, event, 1.0, reward_id="r")
    service.kill_all()
    service.start()
    assert {event: rank(service, event) for event in told} == told
    counters = service.wait_counters(matured=20, rewards=30)
    assert counters["duplicate_rewards"] == 10
    learned = sha256(folded(service))
    eventually(
        "the model that is served to be the fold of the log",
        lambda: state_sha256(service.published().policy) == learned,
    )
    found = service.verify()
    assert (found.verified, found.mismatches) == (20, 0), found.first_mismatch


def test_sigterm_lets_running_calls_finish(service: Service) -> None:
    """They wait for the journal when the order to stop comes; new ones are turned away."""
    service.start({"server": {"workers": 2}})
    stubs = [DecisionsStub(service.connect()) for _ in range(4)]  # type: ignore[no-untyped-call]
    for i, stub in enumerate(stubs):
        stub.Rank(request(i), timeout=CALL)
    service.signal("writer", signal.SIGSTOP)
    calls = [
        stub.Rank.future(request(f"{i} {j}"), timeout=CALL)
        for i, stub in enumerate(stubs)
        for j in range(8)
    ]
    # A refused call is answered at once, and after those that the connection carried before it.
    for stub in stubs:
        with pytest.raises(grpc.RpcError):
            stub.Rank(api.RankRequest(), timeout=CALL)
    service.terminate()
    eventually("the workers to drain", lambda: service.tail(10_000).count('"draining"') == 2)
    assert not any(call.done() for call in calls)
    service.signal("writer", signal.SIGCONT)
    replies = [call.result() for call in calls]
    assert service.wait_stopped() == 0
    with pytest.raises(grpc.RpcError) as caught:
        stubs[0].Rank(request("too late"), timeout=2)
    assert caught.value.code() in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
    logged = {r.decision_id: r.event_id for r in service.records(pb.KIND_DECISION)}
    assert {reply.decision_id: reply.event_id for reply in replies}.items() <= logged.items()
    assert not service.records(pb.KIND_ACTIVATION), "all of them were delivered"


@pytest.mark.parametrize("role", ["writer", "learner", "worker-0"])
def test_stopping_while_it_starts(service: Service, role: str) -> None:
    """Whatever is being started at that moment ends too."""
    service.launch()
    eventually(f"the {role}'s start", lambda: role in service.pids())
    assert service.stop() == 0


def test_health_while_the_journal_is_away(service: Service) -> None:
    service.start()
    service.signal("supervisor", signal.SIGSTOP)  # it cannot start another writer
    service.kill9("writer")
    check = health_pb2.HealthCheckRequest(service="rankd.v1.Decisions")
    eventually(
        "health to say so",
        lambda: (
            service.health.Check(check, timeout=CALL).status
            == health_pb2.HealthCheckResponse.NOT_SERVING
        ),
    )
    call = service.decisions.Rank.future(request("patient"), timeout=CALL)
    service.signal("supervisor", signal.SIGCONT)
    assert call.result().action_id in IDS, "a short absence is a pause, not an error"
    service.wait_serving()


def test_open_windows_outlive_a_power_cut(service: Service) -> None:
    """The small form of `benchmarks/restart.py`: decisions that wait are found by rewards that come afterwards."""
    service.start({"learner": {"checkpoint_every": 300}})
    for first in range(0, 2_000, 500):
        batch = [request(event) for event in range(first, first + 500)]
        service.decisions.RankBatch(api.RankBatchRequest(requests=batch), timeout=PATIENCE)
    last = service.status().log_records
    service.wait_folded(last)
    service.kill_all()
    service.start()
    assert service.wait_folded(last).pending == 2_000
    rewards = [
        api.RewardRequest(event_id=f"event {event}", value=1.0) for event in range(0, 2_000, 20)
    ]
    service.decisions.RewardBatch(api.RewardBatchRequest(rewards=rewards), timeout=CALL)
    assert service.wait_counters(rewards=100)["joined"] == 100


def test_a_journal_that_keeps_silent(service: Service) -> None:
    """Calls end in time, and say what to do; decisions that get into the log later were shown to nobody."""
    rewards = {"reward": {"wait": "1s"}}
    server = {"journal_timeout": "500ms", "max_in_flight": 4}
    service.start({"server": server, "apps": {"default": rewards}, "log": {"lateness": "100ms"}})
    service.signal("writer", signal.SIGSTOP)
    calls = [service.decisions.Rank.future(request(i), timeout=CALL) for i in range(8)]
    errors = Counter((call.code(), call.details().split(":")[0]) for call in calls)
    silent = (grpc.StatusCode.UNAVAILABLE, "the journal's writer does not answer; retry")
    many = (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many calls in flight; retry later")
    assert set(errors) == {silent, many}
    gave_up = "could not log that a reply was not delivered"
    eventually("all hope to be lost", lambda: service.tail().count(gave_up) == errors[silent])
    service.signal("writer", signal.SIGCONT)
    told = rank(service, "good")
    service.wait_counters(matured=1, undelivered=errors[silent])
    decided = {r.event_id: r.decision_id for r in service.records(pb.KIND_DECISION)}
    assert len(decided) == errors[silent] + 1
    assert decided[told.event_id] == told.decision_id


# -- one folder, one port --------------------------------------------------------------------------


def test_a_second_service_is_turned_away(service: Service, tmp_path: Path) -> None:
    service.start()
    told = rank(service, 1)
    for folder, port, message in (
        (service.folder.root, free_port(), "is held by another process"),
        (tmp_path / "other", service.port, f"cannot listen on 127.0.0.1:{service.port}"),
    ):
        config = tmp_path / "second.yaml"
        config.write_text(yaml.safe_dump({"server": {"port": port}}))
        command = [sys.executable, "-m", "tests.server.serve", str(folder), str(config)]
        ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 1
        assert message in ran.stderr
    assert rank(service, 1) == told


def test_a_policy_that_cannot_be_built_ends_the_service(service: Service) -> None:
    """Starting it again and again would not help."""
    service.launch(
        {"apps": {"default": {"policy": {"type": "vw", "args": "--cb_explore_adf --x"}}}}
    )
    assert service.wait_stopped() != 0
    assert "apps.default.policy" in service.tail()


# -- a new configuration ---------------------------------------------------------------------------


def models(service: Service) -> list[admin_pb2.ModelVersion]:
    reply = service.admin.ListModels(admin_pb2.ListModelsRequest(), timeout=CALL)
    return list(reply.models)


def test_a_new_configuration_opens_an_epoch(service: Service) -> None:
    """What still fits is carried on, else learning starts afresh. Windows are open while that happens."""
    rewards = {"wait": "1s", "max": 2.0}
    linucb: dict[str, Any] = {"policy": {"type": "linucb", "alpha": 0.5}, "reward": rewards}
    log = {"lateness": "100ms"}
    learner = {"checkpoint_every": 50}

    def use(app: dict[str, Any], number: int) -> pb.Epoch:
        """Restarts under these settings while decisions wait; returns the newest Epoch, once the learner is in that one."""
        for event in range(30):
            rank(service, f"{service.status().epoch} {event}")
        service.restart({"apps": {"default": app}, "log": log, "learner": learner})
        rank(service, f"first of {app}")
        eventually("the epoch to begin", lambda: service.status().epoch == number)
        newest = service.records(pb.KIND_EPOCH)[-1]
        return pb.Epoch.FromString(newest.payload)

    service.start({"apps": {"default": linucb}, "log": log, "learner": learner})
    for event in range(60):
        rank(service, event)
        reward(service, event, event % 2)
    service.wait_counters(matured=60)
    same = use(linucb, 1)
    assert same.number == 1, "nothing has changed"
    carried = use({**linucb, "policy": {"type": "linucb", "alpha": 2.0}}, 2)
    assert (carried.number, carried.start) == (2, pb.Epoch.START_CARRIED)
    first = service.records(pb.KIND_EPOCH)[
        0
    ].sequence  # decisions may come before it, while a learner starts
    untrained = sha256(folded(service, first))
    assert carried.state_sha256 != untrained
    fresh = use({**linucb, "policy": {"type": "epsilon_greedy"}}, 3)
    assert (fresh.number, fresh.start) == (3, pb.Epoch.START_FRESH)
    back = use(linucb, 4)
    assert (back.number, back.start, back.state_sha256) == (4, pb.Epoch.START_FRESH, untrained)
    assert {model.epoch for model in models(service)} >= {4}
    with pytest.raises(grpc.RpcError) as caught:
        reward(service, "x", 3.0)
    assert "accepts -1 to 2" in (caught.value.details() or "")
    eventually("all windows to close", lambda: service.status().pending == 0)
    found = service.verify()
    assert (found.mismatches, found.unverifiable) == (0, 0), found.first_mismatch


# -- time ------------------------------------------------------------------------------------------


def test_an_outage_closes_no_window(service: Service) -> None:
    """It lasts longer than wait and lateness together, and counts as a second; running time then closes them."""
    service.start(
        {
            "apps": {"default": {"reward": {"wait": "3s"}}},
            "log": {"lateness": "500ms", "clock_cap": "1s"},
        }
    )
    batch = api.RankBatchRequest(requests=[request(event) for event in range(50)])
    service.decisions.RankBatch(batch, timeout=CALL)
    service.kill_all()
    before = service.records()[-1]
    eventually("the outage to last", lambda: time.time() - before.log_time_us / 1e6 > 4)
    service.start()
    after = eventually("a tick", lambda: service.records(after=before.sequence))[0]
    assert after.log_time_us - before.log_time_us > 4_000_000
    fold = folded(service, after.sequence)
    assert fold.joiner is not None
    assert fold.joiner.open == 50
    service.wait_counters(matured=50, defaulted=50)


# -- no room ---------------------------------------------------------------------------------------


def rewards_of_no_event(service: Service, count: int) -> None:
    for _ in range(count):
        reward(service, 99_999, 1.0)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
def test_a_full_disk(service: Service) -> None:
    """Calls fail and say why; what was acknowledged stays; with room again the service goes on by itself."""
    service.start({"apps": {"default": {"reward": "always_sent"}}})
    told = {event: rank(service, event) for event in range(20)}
    writer = service.pids()["writer"]
    size = service.folder.journal.with_name("journal.sqlite-wal").stat().st_size
    resource.prlimit(writer, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    refused: list[tuple[grpc.StatusCode, str | None]] = []
    event = 20
    # What is copied into the journal makes room for some more, now and then.
    while len(refused) <= 30:
        try:
            told[event] = rank(service, event)
        except grpc.RpcError as error:
            refused.append((error.code(), error.details()))
        event += 1
        assert event < 5_000
    full = "the journal cannot be written: no room left on the device"
    assert set(refused) == {(grpc.StatusCode.RESOURCE_EXHAUSTED, full)}
    with pytest.raises(grpc.RpcError) as caught:
        rewards_of_no_event(service, 5_000)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    resource.prlimit(writer, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    for each in range(20, event):
        told.setdefault(each, rank(service, each))
    for each in told:
        reward(service, each, 1.0)
    assert service.pids()["writer"] == writer, "it has not even been restarted"
    assert {each: rank(service, each) for each in told} == told
    service.wait_counters(decisions=event, matured=event)
    found = service.verify()
    assert (found.verified, found.mismatches) == (event, 0), found.first_mismatch
