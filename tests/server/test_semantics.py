"""Rank, Reward and Activate mean what they say, on a service with two workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from rankd.v1 import decisions_pb2 as api
from rankd.v1 import log_pb2 as pb
from rankd.v1.decisions_pb2_grpc import DecisionsStub
from server.sections import Edge
from tests.server.harness import CALL, REPOSITORY, Service, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

BRIEF = {"wait": "1s"}
APPS: dict[str, Any] = {
    "plain": {"reward": BRIEF},
    "patient": {},
    "hurried": {"reward": BRIEF},
    "apprentice": {"reward": BRIEF, "mode": "apprentice"},
    "logging": {"reward": BRIEF, "mode": "logging_only"},
    "greedy": {"min_exploration": 0, "allow_deterministic": True},
    "by_slot": {
        "policy": {"type": "vw", "args": "--ccb_explore_adf --squarecb -l 2 -q 0i"},
        "reward": "always_sent",
    },
    **{
        how: {"reward": {**BRIEF, "aggregation": how, "default": -1.0}}
        for how in ("earliest", "last", "sum", "max", "mean")
    },
}
CONFIG = {"server": {"workers": 2}, "apps": APPS, "log": {"lateness": "100ms"}}


@pytest.fixture(scope="module", params=get_args(Edge))
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    config = {**CONFIG, "server": {"workers": 2, "edge": request.param}}
    with Service(tmp_path_factory.mktemp("semantics") / "data", config) as running:
        yield running


def rank(
    service: Service, app: str = "patient", timeout: float = CALL, **fields: Any
) -> api.RankReply:
    request = api.RankRequest(**{"app": app, "action_ids": ["a", "b", "c"], **fields})
    reply: api.RankReply = service.decisions.Rank(request, timeout=timeout)
    return reply


def reward(service: Service, app: str, event_id: str, value: float, **fields: Any) -> int:
    request = api.RewardRequest(app=app, event_id=event_id, value=value, **fields)
    sequence: int = service.decisions.Reward(request, timeout=CALL).sequence
    return sequence


def code_of(call: Any, *arguments: Any, **named: Any) -> grpc.StatusCode:
    """The status that the call fails with."""
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **named)
    return caught.value.code()


def sums(service: Service, app: str) -> dict[str, float]:
    status = service.status(app)
    return dict(zip(status.sum_names, status.sum_values, strict=True))


# -- Rank ------------------------------------------------------------------------------------------


def test_a_reply_tells_all_about_the_decision(service: Service) -> None:
    reply = rank(service, event_id="told", excluded_ids=["b"])
    assert reply.event_id == "told"
    assert reply.action_id == reply.ranking[0]
    assert sorted(reply.ranking) == ["a", "c"]
    assert list(reply.probabilities) == [0.5, 0.5]
    assert not reply.slot_ids
    node, _, sequence = reply.decision_id.rpartition(":")
    (record,) = [r for r in service.records(pb.KIND_DECISION) if r.event_id == "told"]
    assert (record.node, record.sequence) == (node, int(sequence))
    decision = record.decision()
    assert (decision.epoch, decision.model_version) == (reply.epoch, reply.model_version)
    assert list(decision.pmf) == [0.5, 0.0, 0.5]


def test_ids_are_made_where_none_is_given(service: Service) -> None:
    made = {rank(service).event_id for _ in range(10)}
    assert len(made) == 10
    assert all(len(event_id) == 32 for event_id in made), "128 bits in hex"


def connected(service: Service, role: str) -> int:
    """How many connections of clients a process has (Linux)."""
    process = Path("/proc") / str(service.pids()[role])
    links = {os.readlink(link) for link in (process / "fd").iterdir()}
    tables = [process / "net" / name for name in ("tcp", "tcp6")]
    rows = [line.split() for table in tables for line in table.read_text().splitlines()]
    port, established = f":{service.port:04X}", "01"
    ours = (r for r in rows if r[1].endswith(port) and r[3] == established)
    return sum(f"socket:[{r[9]}]" in links for r in ours)


def test_a_retry_gets_the_stored_decision_from_any_worker(service: Service) -> None:
    request = api.RankRequest(app="patient", event_id="again", action_ids=list("abcdefgh"))
    request.context.add(numeric_names=["x"], numeric_values=[1])
    first = service.decisions.Rank(request, timeout=CALL)
    stubs = [DecisionsStub(service.connect()) for _ in range(16)]  # type: ignore[no-untyped-call]
    assert [stub.Rank(request, timeout=CALL) for stub in stubs] == [first] * len(stubs)
    if sys.platform == "linux":
        assert connected(service, "worker-0") > 0
        assert connected(service, "worker-1") > 0
    batch = api.RankBatchRequest(requests=[request, request])
    assert list(service.decisions.RankBatch(batch, timeout=CALL).replies) == [first, first]
    assert list(service.decisions.RankStream(iter([request]), timeout=CALL)) == [first]
    decided = [r for r in service.records(pb.KIND_DECISION) if r.event_id == "again"]
    assert len(decided) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"action_ids": ["a", "c", "b"]},
        {"excluded_ids": ["c"]},
        {"k": 2},
        {"defer_activation": True},
        {"context": [{"numeric_names": ["x"], "numeric_values": [1]}]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_same_id_on_another_question_already_exists(
    service: Service, change: dict[str, Any]
) -> None:
    asked: dict[str, Any] = {"event_id": f"taken {change}"[:99]}
    first = rank(service, **asked)
    before = service.kinds()
    assert code_of(rank, service, **asked, **change) == grpc.StatusCode.ALREADY_EXISTS
    assert service.kinds() == before
    assert rank(service, **asked) == first
    batch = api.RankBatchRequest()
    batch.requests.add(app="patient", action_ids=["a"])
    batch.requests.add(app="patient", action_ids=["q"], **asked)
    good, taken = service.decisions.RankBatch(batch, timeout=CALL).replies
    assert good.action_id == "a"
    assert taken.error.code == 6
    assert taken.error.message.startswith("event_id: ")


def test_the_same_id_in_another_app_is_another_event(service: Service) -> None:
    replies = [rank(service, app, event_id="shared") for app in ("patient", "greedy")]
    assert replies[0].decision_id != replies[1].decision_id


def test_an_event_twice_in_a_batch(service: Service) -> None:
    batch = api.RankBatchRequest()
    for ids in (["a", "b"], ["a", "b"], ["b", "a"]):
        batch.requests.add(app="patient", event_id="twins", action_ids=ids)
    one, two, other = service.decisions.RankBatch(batch, timeout=CALL).replies
    assert one == two
    assert other.error.code == 6


@pytest.mark.parametrize("asked", [{"slot_ids": ["top", "side", "foot"]}, {"k": 3}])
def test_slots_are_filled_without_replacement(service: Service, asked: dict[str, Any]) -> None:
    """Each slot's probability is that of its action given the slots before it."""
    ids = list("abcdef")
    for i in range(20):
        reply = rank(service, action_ids=ids, event_id=f"slots {asked} {i}", **asked)
        assert list(reply.slot_ids) == asked.get("slot_ids", ["0", "1", "2"])
        assert list(reply.slot_action_ids) == list(reply.ranking[:3])
        assert reply.action_id == reply.slot_action_ids[0]
        assert reply.sampler == "plackett-luce"
        assert sorted(reply.ranking) == ids
        left = 1.0
        for p, given in zip(reply.probabilities, reply.slot_probabilities, strict=False):
            assert given == pytest.approx(p / left, abs=1e-12)
            left -= p


def test_slots_may_have_probabilities_of_their_own(service: Service) -> None:
    """Of a policy that looks at slots. The last test verifies them."""
    for i in range(20):
        asked: dict[str, Any] = {"event_id": f"by slot {i}", "slot_ids": ["top", "foot"]}
        reply = rank(service, "by_slot", **asked)
        assert reply.sampler == "per-slot"
        assert list(reply.slot_action_ids) == list(reply.ranking[:2])
        assert rank(service, "by_slot", **asked) == reply
        for slot, action in zip(reply.slot_ids, reply.slot_action_ids, strict=True):
            paid = float(action == "a" and slot == "foot")
            reward(service, "by_slot", reply.event_id, paid, slot_id=slot)
    service.wait_counters("by_slot", matured=20)


def test_a_deterministic_app_fills_its_slots_too(service: Service) -> None:
    reply = rank(service, "greedy", action_ids=["a", "b", "c", "d"], k=4)
    assert sorted(reply.slot_action_ids) == ["a", "b", "c", "d"]
    assert rank(service, "greedy", k=1).slot_action_ids == []


def test_a_stream_answers_in_order(service: Service) -> None:
    requests = [
        api.RankRequest(app="patient", event_id=f"stream {i}", action_ids=["a", "b"])
        for i in range(300)
    ]
    replies = service.decisions.RankStream(iter(requests), timeout=CALL)
    assert [reply.event_id for reply in replies] == [r.event_id for r in requests]


@pytest.mark.parametrize(("app", "learns"), [("apprentice", True), ("logging", False)])
def test_the_baseline_is_played_where_the_mode_says_so(
    service: Service, app: str, learns: bool
) -> None:
    untrained = service.published(app).policy
    preferred = Counter[int]()
    for i in range(20):
        reply = rank(service, app, event_id=f"{app} {i}", excluded_ids=["a"])
        assert list(reply.ranking) == ["b", "c"]
        assert list(reply.probabilities) == [1.0, 0.0]
        sequence = reward(service, app, reply.event_id, 1.0)
    for record in service.records(pb.KIND_DECISION):
        if record.app == app:
            preferred[record.decision().preferred] += 1
    assert preferred[1] > 0, "the log tells what the policy would have done"
    assert preferred[2] > 0
    service.wait_counters(app, matured=20)
    eventually("publication", lambda: not learns or service.published(app).model_version > sequence)
    assert (service.published(app).policy != untrained) == learns
    assert sums(service, app)["n"] == (20 if learns else 0)


# -- Reward and Activate ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rewarded(service: Service) -> None:
    """In every app with an aggregation: three rewards in log order 0.25, 0.5, -0.25, whose order by age is another."""
    for app in ("earliest", "last", "sum", "max", "mean"):
        rank(service, app, event_id="e")
        rank(service, app, event_id="silent")
        for value, age in ((0.25, 0), (0.5, 60_000), (-0.25, 30_000)):
            reward(service, app, "e", value, age_ms=age)


@pytest.mark.usefixtures("rewarded")
@pytest.mark.parametrize(
    ("app", "expected"),
    [("earliest", 0.5), ("last", 0.25), ("sum", 0.5), ("max", 0.5), ("mean", 0.5 / 3)],
)
def test_aggregation_and_default(service: Service, app: str, expected: float) -> None:
    service.wait_counters(app, matured=2, joined=3, defaulted=1)
    found = sums(service, app)
    assert found["n"] == 2
    assert found["r"] == pytest.approx(expected - 1.0), "the silent event has got the default"


def test_what_counts_and_what_does_not(service: Service) -> None:
    """One app's story: retried and late rewards, deferred and activated decisions, seen in its counters."""
    rank(service, "plain", event_id="retried")
    for _ in range(3):
        reward(service, "plain", "retried", 1.0, reward_id="the same")
    reward(service, "plain", "early", 0.5)
    rank(service, "plain", event_id="early")
    for name in ("shown", "never shown"):
        rank(service, "plain", event_id=name, defer_activation=True)
        reward(service, "plain", name, 0.25)
    service.decisions.Activate(api.ActivateRequest(app="plain", event_id="shown"), timeout=CALL)
    rank(service, "plain", event_id="slots", slot_ids=["left", "right"])
    reward(service, "plain", "slots", 0.125, slot_id="right")
    reward(service, "plain", "slots", 1.0, slot_id="nowhere")
    counters = service.wait_counters("plain", matured=4)
    assert counters["duplicate_rewards"] == 2
    assert counters["not_activated"] == 1
    assert counters["late_rewards"] == 0
    assert counters["defaulted"] == 1, "the left slot"
    found = sums(service, "plain")
    assert found["n"] == 4
    assert found["r"] == 1.0 + 0.5 + 0.25 + 0.0, "of first slots: retried, early, shown, slots"
    reward(service, "plain", "retried", 1.0, reward_id="another")
    service.wait_counters("plain", late_rewards=1, dangling_rewards=0, matured=4)


def test_a_window_is_measured_by_origin(service: Service) -> None:
    """A reward that is older than its decision by the client's word is inside; nothing is younger than the window."""
    rank(service, "hurried", event_id="aged")
    reward(service, "hurried", "aged", 1.0, age_ms=2**63)
    counters = service.wait_counters("hurried", matured=1)
    assert counters["joined"] == 1


def test_decision_id_tells_which_decision_was_shown(service: Service) -> None:
    reply = rank(service, event_id="echo")
    reward(service, "patient", "echo", 1.0, decision_id=reply.decision_id, reward_id="r")
    rewards = [r for r in service.records(pb.KIND_REWARD) if r.event_id == "echo"]
    assert pb.Reward.FromString(rewards[0].payload).decision_id == reply.decision_id


# -- delivery --------------------------------------------------------------------------------------


def test_a_reply_that_was_not_delivered_is_not_learned(service: Service) -> None:
    """The client gives up while the journal is slow; the decision gets into the log all the same."""
    delivered = rank(service, "hurried", event_id="delivered", action_ids=["a", "b"])
    before = service.counters("hurried")
    service.signal("writer", signal.SIGSTOP)
    try:
        for event in ("given up", "delivered"):
            asked = {"event_id": event, "action_ids": ["a", "b"], "timeout": 1.5}
            assert code_of(rank, service, "hurried", **asked) == grpc.StatusCode.DEADLINE_EXCEEDED
        call = service.decisions.Rank.future(
            api.RankRequest(app="hurried", event_id="cancelled", action_ids=["a"])
        )
        request = api.RankRequest(app="hurried", event_id="stream", action_ids=["a"])
        stream = service.decisions.RankStream(iter([request]), timeout=1.5)
        with pytest.raises(grpc.RpcError):
            list(stream)
        call.cancel()
    finally:
        service.signal("writer", signal.SIGCONT)
    lost = {"given up", "cancelled", "stream"}
    counters = service.wait_counters("hurried", undelivered=before["undelivered"] + 3)
    assert counters["matured"] == before["matured"] + 1, "what was delivered once is learned"
    activations = [r for r in service.records(pb.KIND_ACTIVATION) if r.app == "hurried"]
    causes = {r.event_id: pb.Activation.FromString(r.payload).cause for r in activations}
    assert {e for e, c in causes.items() if c == pb.Activation.CAUSE_UNDELIVERED} == lost
    again = rank(service, "hurried", event_id="delivered", action_ids=["a", "b"])
    assert again == delivered


def test_a_retry_delivers_what_the_first_call_did_not(service: Service) -> None:
    before = service.counters("hurried")
    service.signal("writer", signal.SIGSTOP)
    try:
        asked = {"event_id": "second try", "timeout": 0.5}
        assert code_of(rank, service, "hurried", **asked) == grpc.StatusCode.DEADLINE_EXCEEDED
    finally:
        service.signal("writer", signal.SIGCONT)
    rank(service, "hurried", event_id="second try")
    counters = service.wait_counters("hurried", matured=before["matured"] + 1)
    assert counters["undelivered"] == before["undelivered"]


def test_replies_left_in_a_stream_are_not_learned(service: Service) -> None:
    """The client hangs up while decided replies wait to be written: it reads none of them."""
    requests = [
        api.RankRequest(
            app="patient",
            event_id=f"unread {i}",
            action_ids=[f"{i:03}" + "y" * 250 for i in range(1_000)],
        )
        for i in range(64)
    ]

    def logged(kind: pb.Kind) -> list[str]:
        return [r.event_id for r in service.records(kind) if r.event_id.startswith("unread")]

    call = service.decisions.RankStream(iter(requests), timeout=CALL)
    eventually("the journal to have them all", lambda: len(logged(pb.KIND_DECISION)) == 64)
    assert not logged(pb.KIND_ACTIVATION)
    call.cancel()
    # A few may pass as delivered: those that were in the connection's buffers.
    eventually("the log to say so", lambda: len(set(logged(pb.KIND_ACTIVATION))) > 32)


# -- other services --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "rankd.v1.Decisions", "rankd.v1.Admin"])
def test_health(service: Service, name: str) -> None:
    reply = service.health.Check(health_pb2.HealthCheckRequest(service=name), timeout=CALL)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_health_of_what_is_not_there(service: Service) -> None:
    request = health_pb2.HealthCheckRequest(service="nothing")
    assert code_of(service.health.Check, request, timeout=CALL) == grpc.StatusCode.NOT_FOUND


def test_reflection(service: Service) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(service.channel)
    request = reflection_pb2.ServerReflectionRequest
    asked = [request(list_services=""), request(file_containing_symbol="rankd.v1.Decisions")]
    listing, file = stub.ServerReflectionInfo(iter(asked), timeout=CALL)
    names = {s.name for s in listing.list_services_response.service}
    assert {"rankd.v1.Decisions", "rankd.v1.Admin", "grpc.health.v1.Health"} <= names
    assert file.file_descriptor_response.file_descriptor_proto


STRANGER = """
import sys
import grpc
from rankd.v1 import decisions_pb2, decisions_pb2_grpc

assert decisions_pb2.__file__.startswith(sys.argv[2]), decisions_pb2.__file__
with grpc.insecure_channel(sys.argv[1]) as channel:
    stub = decisions_pb2_grpc.DecisionsStub(channel)
    request = decisions_pb2.RankRequest(app="patient", event_id="stranger", action_ids=["a", "b"])
    reply = stub.Rank(request, timeout=20)
    reward = decisions_pb2.RewardRequest(app="patient", event_id=reply.event_id, value=1.0)
    print(reply.action_id, stub.Reward(reward, timeout=20).sequence)
"""


def test_a_client_made_from_the_proto_alone(service: Service, tmp_path: Path) -> None:
    """Not a line of ours but the contract: compiled here, run in a process that finds nothing else."""
    proto = REPOSITORY / "proto"
    sources = [str(path) for path in sorted((proto / "rankd" / "v1").glob("*.proto"))]
    well_known = ["-m", "grpc_tools.protoc", f"-I{proto}", f"--python_out={tmp_path}"]
    command = [sys.executable, *well_known, f"--grpc_python_out={tmp_path}", *sources]
    subprocess.run(command, check=True, timeout=60)
    for package in (tmp_path / "rankd", tmp_path / "rankd" / "v1"):
        (package / "__init__.py").touch()
    script = tmp_path / "stranger.py"
    script.write_text(STRANGER)
    address = f"127.0.0.1:{service.port}"
    ran = subprocess.run(
        [sys.executable, str(script), address, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    action, sequence = ran.stdout.split()
    found = {r.kind: r for r in service.records() if r.event_id == "stranger"}
    assert found[pb.KIND_REWARD].sequence == int(sequence)
    decision = found[pb.KIND_DECISION].decision()
    assert decision.action_ids[decision.ranking[0]] == action


def test_all_of_it_can_be_derived_again(service: Service) -> None:
    found = service.verify()
    assert (found.mismatches, found.unverifiable) == (0, 0), found.first_mismatch
