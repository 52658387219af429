"""gRPC by the official client: codes, deadlines, metadata, compression, limits, streams, health, reflection."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from rankd.calls import PUSHBACK
from rankd.v1 import admin_pb2
from rankd.v1 import decisions_pb2 as api
from rankd.v1 import log_pb2 as pb
from tests.edges.conftest import CALLS, LIMIT
from tests.server.harness import CALL, Service, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

Code = grpc.StatusCode
RANK = "/rankd.v1.Decisions/Rank"


def asked(event: str = "", **fields: Any) -> api.RankRequest:
    return api.RankRequest(
        **{"app": "default", "event_id": event, "action_ids": ["a", "b"]} | fields
    )


def refused(call: Any, *arguments: Any, **named: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **{"timeout": CALL, **named})
    return caught.value.code(), caught.value.details() or ""


def raw(service: Service, path: str) -> Any:
    """A method that takes and gives bytes."""
    return service.channel.unary_unary(path)


def versions(service: Service, app: str) -> list[admin_pb2.ModelVersion]:
    """The app's models; none as long as the learner has not reported."""
    try:
        asked_for = admin_pb2.ListModelsRequest(app=app)
        return list(service.admin.ListModels(asked_for, timeout=CALL).models)
    except grpc.RpcError:
        return []


@contextmanager
def journal_stopped(service: Service) -> Iterator[None]:
    service.signal("writer", signal.SIGSTOP)
    try:
        yield
    finally:
        service.signal("writer", signal.SIGCONT)


# -- codes -----------------------------------------------------------------------------------------


def test_ok(service: Service) -> None:
    reply = service.decisions.Rank(asked("fine"), timeout=CALL)
    assert reply.event_id == "fine"
    reward = api.RewardRequest(app="default", event_id="fine", value=1.0)
    assert service.decisions.Reward(reward, timeout=CALL).sequence
    batch = api.RewardBatchRequest(rewards=[reward, reward])
    assert len(service.decisions.RewardBatch(batch, timeout=CALL).sequences) == 2
    activation = api.ActivateRequest(app="default", event_id="fine")
    assert service.decisions.Activate(activation, timeout=CALL).sequence


def test_invalid_argument(service: Service) -> None:
    code, text = refused(service.decisions.Rank, asked(action_ids=[]))
    assert code == Code.INVALID_ARGUMENT
    assert text.startswith("action_ids")


def test_a_message_of_any_text_arrives(service: Service) -> None:
    """Percent signs, controls and other alphabets in the error's text, which travels in a header."""
    code, text = refused(service.decisions.Rank, asked(app="50% äöü\u2028\n漢字"))
    assert code == Code.NOT_FOUND
    assert "50% äöü\\u2028\\n漢字" in text


def test_a_long_message_is_cut(service: Service) -> None:
    code, text = refused(
        service.decisions.Rank, asked(action_ids=["a", "漢" * 80], excluded_ids=["漢" * 80 + "b"])
    )
    assert code == Code.INVALID_ARGUMENT
    assert len(text) <= 500


def test_not_found(service: Service) -> None:
    code, text = refused(service.decisions.Rank, asked(app="nothing"))
    assert (code, text) == (Code.NOT_FOUND, "app: no app 'nothing' on this server")


def test_already_exists(service: Service) -> None:
    service.decisions.Rank(asked("taken"), timeout=CALL)
    code, _ = refused(service.decisions.Rank, asked("taken", action_ids=["c"]))
    assert code == Code.ALREADY_EXISTS


def test_failed_precondition(service: Service) -> None:
    """A version of an epoch that is over can be neither pinned nor rolled back to."""
    app = "broken"
    requests = [asked(app=app, action_ids=["a"]) for _ in range(20)]
    service.decisions.RankBatch(api.RankBatchRequest(requests=requests), timeout=CALL)
    # The newest is what is served, which goes on; those before are kept.
    eventually("a checkpoint", lambda: len(versions(service, app)) > 1)
    old = versions(service, app)[0].model_version
    exported = service.admin.ExportModel(admin_pb2.ExportModelRequest(app=app), timeout=CALL)
    order = admin_pb2.PromoteRequest(app=app, model=exported.model)
    promoted = service.admin.Promote(order, timeout=CALL)
    service.wait_served(promoted.sequence, app)
    for call, asked_for in (
        (service.admin.Pin, admin_pb2.PinRequest),
        (service.admin.RollBack, admin_pb2.RollBackRequest),
    ):
        code, text = refused(call, asked_for(app=app, model_version=old))
        assert code == Code.FAILED_PRECONDITION, text
        assert text.startswith(f"model_version: {old} belongs to epoch 1")


def test_internal_tells_nothing_but_a_number(service: Service) -> None:
    asked_for = admin_pb2.ListModelsRequest(app="broken")
    eventually("the learner to have reported", lambda: versions(service, "broken"))
    folder = service.folder.checkpoints("broken") / f"{1:020}.ckpt"
    folder.mkdir(parents=True)
    code, text = refused(service.admin.ListModels, asked_for)
    folder.rmdir()
    assert code == Code.INTERNAL, text
    assert text.startswith("internal error ")
    assert str(folder) not in text
    assert text.split()[2].rstrip(";") in service.tail(20_000)


def test_unavailable_while_the_journal_is_silent(service: Service) -> None:
    with journal_stopped(service):
        code, text = refused(service.decisions.Rank, asked())
    assert code == Code.UNAVAILABLE
    assert text.endswith("retry")


def test_resource_exhausted_with_too_many_calls(service: Service) -> None:
    with journal_stopped(service):
        calls = [service.decisions.Rank.future(asked(), timeout=CALL) for _ in range(CALLS + 10)]
        errors = [call.exception() for call in calls]
    assert {error.code() for error in errors} == {Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE}
    for error in errors:
        pushback = dict(error.trailing_metadata() or ()).get(PUSHBACK)
        if error.code() == Code.RESOURCE_EXHAUSTED:
            assert pushback is not None, "who is refused is told when to come again"
            assert 0 < int(pushback) < 60_000
        else:
            assert pushback is None

    def well() -> bool:
        try:
            return bool(service.decisions.Rank(asked(), timeout=CALL))
        except grpc.RpcError:
            return False

    eventually("the journal to have caught up", well)


def test_unimplemented(service: Service) -> None:
    for path in ("/rankd.v1.Decisions/Nothing", "/nothing.Nowhere/Rank"):
        code, _ = refused(raw(service, path), b"")
        assert code == Code.UNIMPLEMENTED


def test_malformed(service: Service) -> None:
    code, text = refused(raw(service, RANK), b"\xff\xff")
    assert (code, text) == (Code.INVALID_ARGUMENT, "request: is not a valid RankRequest")


def test_an_empty_message_is_a_message(service: Service) -> None:
    code, _ = refused(raw(service, RANK), b"")
    assert code == Code.INVALID_ARGUMENT
    assert raw(service, "/rankd.v1.Admin/Apps")(b"", timeout=CALL)


@pytest.mark.parametrize("size", [LIMIT + 1, 5 * LIMIT, 40 * LIMIT])
def test_too_large(service: Service, size: int) -> None:
    code, _ = refused(raw(service, RANK), bytes(size))
    assert code == Code.RESOURCE_EXHAUSTED
    service.decisions.Rank(asked(), timeout=CALL)


def test_just_not_too_large(service: Service) -> None:
    """Comes in many pieces, and is read to its end."""
    code, _ = refused(raw(service, RANK), b"\xff" * LIMIT)
    assert code == Code.INVALID_ARGUMENT


# -- time ------------------------------------------------------------------------------------------


def undelivered(service: Service, event: str) -> bool:
    return any(
        pb.Activation.FromString(record.payload).cause == pb.Activation.CAUSE_UNDELIVERED
        for record in service.records(pb.KIND_ACTIVATION)
        if record.event_id == event
    )


def test_deadline(service: Service) -> None:
    with journal_stopped(service):
        code, _ = refused(service.decisions.Rank, asked("late"), timeout=1.0)
        # The server has read that the caller gave up: it has read what came later by the same connection.
        refused(service.decisions.Rank, asked(app="nothing"))
    assert code == Code.DEADLINE_EXCEEDED
    eventually("the log to say that nobody saw it", lambda: undelivered(service, "late"))


# -- headers and compression -----------------------------------------------------------------------


def test_metadata(service: Service) -> None:
    metadata = (("x-request-id", "42"), ("x-trace-bin", bytes(range(256))), ("x-empty", ""))
    reply, call = service.decisions.Rank.with_call(asked("tagged"), timeout=CALL, metadata=metadata)
    assert reply.event_id == "tagged"
    assert call.code() == Code.OK


@pytest.mark.parametrize("how", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_request(service: Service, how: grpc.Compression) -> None:
    ids = [f"action {i:04}" for i in range(1000)]
    reply = service.decisions.Rank(asked(action_ids=ids), timeout=CALL, compression=how)
    assert sorted(reply.ranking) == ids


def test_compressed_streams(service: Service) -> None:
    requests = [asked(f"packed {i}", action_ids=["a" * 200, "b" * 200]) for i in range(5)]
    replies = service.decisions.RankStream(
        iter(requests), timeout=CALL, compression=grpc.Compression.Gzip
    )
    assert [reply.event_id for reply in replies] == [f"packed {i}" for i in range(5)]


# -- streams ---------------------------------------------------------------------------------------


def test_a_stream_answers_in_order(service: Service) -> None:
    """More requests than are worked on at a time; one in seven is wrong."""
    requests = [
        asked(f"stream {i}", action_ids=[] if i % 7 == 3 else ["a", "b"]) for i in range(200)
    ]
    replies = list(service.decisions.RankStream(iter(requests), timeout=CALL))
    assert len(replies) == 200
    for i, reply in enumerate(replies):
        if i % 7 == 3:
            assert reply.error.code == Code.INVALID_ARGUMENT.value[0]
        else:
            assert reply.event_id == f"stream {i}"


def test_a_stream_answers_before_its_end(service: Service) -> None:
    more = threading.Event()

    def requests() -> Iterator[api.RankRequest]:
        yield asked("first")
        assert more.wait(CALL)
        yield asked("second")

    replies = service.decisions.RankStream(requests(), timeout=CALL)
    assert next(replies).event_id == "first"
    more.set()
    assert [reply.event_id for reply in replies] == ["second"]


def test_a_stream_of_nothing(service: Service) -> None:
    assert list(service.decisions.RankStream(iter(()), timeout=CALL)) == []


def test_a_malformed_message_in_a_stream(service: Service) -> None:
    call: Any = service.channel.stream_stream("/rankd.v1.Decisions/RankStream")
    replies = [
        api.RankReply.FromString(reply)
        for reply in call(iter([b"\xff", asked("good").SerializeToString()]), timeout=CALL)
    ]
    assert replies[0].error.code == Code.INVALID_ARGUMENT.value[0]
    assert replies[1].event_id == "good"


def test_a_message_too_large_in_a_stream(service: Service) -> None:
    call: Any = service.channel.stream_stream("/rankd.v1.Decisions/RankStream")
    code, _ = refused(lambda **named: list(call(iter([bytes(LIMIT + 1)]), **named)))
    assert code == Code.RESOURCE_EXHAUSTED


# -- other services --------------------------------------------------------------------------------


def test_health(service: Service) -> None:
    for name in ("", "rankd.v1.Decisions", "rankd.v1.Admin"):
        reply = service.health.Check(health_pb2.HealthCheckRequest(service=name), timeout=CALL)
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    unknown = health_pb2.HealthCheckRequest(service="nothing")
    assert refused(service.health.Check, unknown)[0] == Code.NOT_FOUND


def test_health_is_watched(service: Service) -> None:
    status = health_pb2.HealthCheckResponse
    watch = service.health.Watch(health_pb2.HealthCheckRequest(), timeout=CALL)
    assert next(watch).status == status.SERVING
    service.kill9("writer")
    assert next(watch).status == status.NOT_SERVING
    assert next(watch).status == status.SERVING
    watch.cancel()
    unknown = service.health.Watch(health_pb2.HealthCheckRequest(service="nothing"), timeout=CALL)
    assert next(unknown).status == status.SERVICE_UNKNOWN
    unknown.cancel()


def test_health_list(service: Service) -> None:
    """By the wire alone: the client's library does not have this method yet."""
    reply = raw(service, "/grpc.health.v1.Health/List")(b"", timeout=CALL)
    serving = health_pb2.HealthCheckResponse(status=1).SerializeToString()
    for name in (b"", b"rankd.v1.Decisions", b"rankd.v1.Admin"):
        entry = bytes((10, len(name))) + name + bytes((18, len(serving))) + serving
        assert bytes((10, len(entry))) + entry in reply


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection(service: Service, version: str) -> None:
    request = reflection_pb2.ServerReflectionRequest
    call = service.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=request.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    questions = [
        request(list_services=""),
        request(file_containing_symbol="rankd.v1.Decisions"),
        request(file_by_filename="rankd/v1/features.proto"),
        request(file_containing_symbol="rankd.v1.Nothing"),
        request(all_extension_numbers_of_type="rankd.v1.RankRequest"),
    ]
    listed, symbol, file, missing, extensions = call(iter(questions), timeout=CALL)
    names = {each.name for each in listed.list_services_response.service}
    assert names >= {"rankd.v1.Decisions", "rankd.v1.Admin", "grpc.health.v1.Health"}
    files = [
        descriptor_pb2.FileDescriptorProto.FromString(each)
        for each in symbol.file_descriptor_response.file_descriptor_proto
    ]
    assert files[0].name == "rankd/v1/decisions.proto"
    assert {"rankd/v1/features.proto"} < {each.name for each in files}
    assert len(file.file_descriptor_response.file_descriptor_proto) == 1
    assert missing.error_response.error_code == Code.NOT_FOUND.value[0]
    assert extensions.all_extension_numbers_response.base_type_name == "rankd.v1.RankRequest"
