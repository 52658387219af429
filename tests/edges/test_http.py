"""What only the Envoy edge speaks: Connect and JSON over HTTP; and gRPC byte by byte, where the official client is too polite."""

from __future__ import annotations

import gzip
import http.client
import json
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from rankd.v1 import decisions_pb2 as api
from server.edges.grpc_frames import frame, gzip_frame
from tests.edges.conftest import CALLS, LIMIT, configured
from tests.edges.test_grpc import journal_stopped
from tests.server.harness import CALL, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON, PROTO = {"content-type": "application/json"}, {"content-type": "application/proto"}
GRPC = {"content-type": "application/grpc", "te": "trailers"}
RANK = "/rankd.v1.Decisions/Rank"
SHOP = "https://shop.example"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    config = configured("envoy", max_in_flight=CALLS, journal_timeout="2s", cors=[SHOP])
    with Service(tmp_path_factory.mktemp("http") / "data", config) as running:
        yield running


def post(
    service: Service, path: str, body: bytes, headers: dict[str, str], method: str = "POST"
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an HTTP/1.1 call."""
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=CALL)
    try:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        named = {name.lower(): value for name, value in reply.getheaders()}
        return reply.status, named, reply.read()
    finally:
        connection.close()


def call(service: Service, path: str, message: Any, **headers: str) -> tuple[int, Any]:
    """Status and reply of a call by JSON."""
    status, _, body = post(service, path, json.dumps(message).encode(), JSON | headers)
    return status, json.loads(body)


ASKED = {"app": "default", "actionIds": ["a", "b"]}


# -- JSON and Connect ------------------------------------------------------------------------------


def test_rank_and_reward_by_json(service: Service) -> None:
    context = [{"numericNames": ["age"], "numericValues": [42]}]
    status, decision = call(service, RANK, {**ASKED, "eventId": "json", "context": context})
    assert status == 200
    assert decision["actionId"] in ("a", "b")
    assert sum(decision["probabilities"]) == pytest.approx(1)
    reward = {"app": "default", "event_id": "json", "value": 1}  # names as in the contract do, too
    status, reply = call(service, "/rankd.v1.Decisions/Reward", reward)
    assert status == 200
    assert int(reply["sequence"]) > 0


def test_connect_with_protobuf(service: Service) -> None:
    request = api.RankRequest(app="default", action_ids=["a", "b"]).SerializeToString()
    headers = PROTO | {"connect-protocol-version": "1", "connect-timeout-ms": "10000"}
    status, named, body = post(service, RANK, request, headers)
    assert (status, named["content-type"]) == (200, "application/proto")
    assert api.RankReply.FromString(body).action_id


def test_admin_by_json(service: Service) -> None:
    status, reply = call(service, "/rankd.v1.Admin/Apps", {})
    assert status == 200
    assert {app["name"] for app in reply["apps"]} == {"default", "broken"}


@pytest.mark.parametrize(
    ("message", "status", "code", "text"),
    [
        ({**ASKED, "app": "nothing"}, 404, "not_found", "app: no app"),
        ({"app": "default"}, 400, "invalid_argument", "action_ids: "),
        ({**ASKED, "actionIdz": []}, 400, "invalid_argument", "actionIdz"),
        ({**ASKED, "k": "many"}, 400, "invalid_argument", "Failed to parse k field"),
        ([], 400, "invalid_argument", "must be a JSON object"),
    ],
)
def test_errors(service: Service, message: Any, status: int, code: str, text: str) -> None:
    got, error = call(service, RANK, message)
    assert (got, error["code"]) == (status, code)
    assert text in error["message"]


def test_bodies_that_are_none(service: Service) -> None:
    for body, headers in (
        (b"{", JSON),
        (b"\xff\xfe", JSON),
        (b"[" * 100_000, JSON),
        (b"\xff", PROTO),
        (b"not gzip", JSON | {"content-encoding": "gzip"}),
        (gzip.compress(b"{}")[:-4], JSON | {"content-encoding": "gzip"}),
    ):
        status, _, reply = post(service, RANK, body, headers)
        assert (status, json.loads(reply)["code"]) == (400, "invalid_argument"), body[:20]


def test_what_is_no_call(service: Service) -> None:
    for path, method, headers, status in (
        ("/", "GET", {}, 404),
        ("/rankd.v1.Decisions/Nothing", "POST", JSON, 404),
        (RANK, "GET", {}, 405),
        (RANK, "OPTIONS", {}, 405),
        (RANK, "POST", {"content-type": "text/plain"}, 415),
        (RANK, "POST", {"content-type": "application/json; charset=latin-1"}, 415),
        (RANK, "POST", {"content-type": "application/grpc-web"}, 415),
        (RANK, "POST", {"content-type": "application/connect+json"}, 415),
        (RANK, "POST", JSON | {"content-encoding": "br"}, 501),
        (RANK, "POST", JSON | {"connect-protocol-version": "2"}, 400),
        (RANK, "POST", JSON | {"connect-timeout-ms": "soon"}, 400),
        ("/rankd.v1.Decisions/RankStream", "POST", JSON, 501),
    ):
        got, named, body = post(service, path, b"{}" if method == "POST" else b"", headers, method)
        assert got == status, (path, method, headers, body)
        assert named["content-type"] == "application/json"
        assert json.loads(body)["message"]


def test_too_large(service: Service) -> None:
    for headers in (JSON, PROTO):
        status, _, body = post(service, RANK, b"x" * (LIMIT + 1), headers)
        assert (status, json.loads(body)["code"]) == (413, "resource_exhausted")
    bomb = gzip.compress(bytes(100 * LIMIT))
    assert len(bomb) < LIMIT
    status, _, body = post(service, RANK, bomb, JSON | {"content-encoding": "gzip"})
    assert (status, json.loads(body)["code"]) == (413, "resource_exhausted")


def test_compression(service: Service) -> None:
    body = gzip.compress(json.dumps({**ASKED, "actionIds": [f"a{i}" for i in range(200)]}).encode())
    headers = JSON | {"content-encoding": "gzip", "accept-encoding": "br, gzip"}
    status, named, reply = post(service, RANK, body, headers)
    assert (status, named["content-encoding"]) == (200, "gzip")
    assert len(json.loads(gzip.decompress(reply))["ranking"]) == 200


def test_deadline(service: Service) -> None:
    with journal_stopped(service):
        status, error = call(service, RANK, ASKED, **{"connect-timeout-ms": "300"})
    assert (status, error["code"]) == (504, "deadline_exceeded")


def test_unavailable(service: Service) -> None:
    with journal_stopped(service):
        status, error = call(service, RANK, ASKED)
    assert (status, error["code"]) == (503, "unavailable")


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_http_2(service: Service) -> None:
    command = [
        "curl",
        "-sS",
        "--http2-prior-knowledge",
        "--max-time",
        "20",
        "-w",
        "%{http_version}",
    ]
    body = json.dumps(ASKED)
    url = f"http://127.0.0.1:{service.port}{RANK}"
    arguments = [*command, "-H", "content-type: application/json", "-d", body, url]
    output = subprocess.run(
        arguments, check=True, capture_output=True, text=True, timeout=60
    ).stdout
    assert output.endswith("}2")
    assert json.loads(output[:-1])["actionId"]


# -- browsers --------------------------------------------------------------------------------------


def preflight(service: Service, origin: str) -> tuple[int, dict[str, str]]:
    asks = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,connect-protocol-version",
    }
    status, named, _ = post(service, RANK, b"", asks, "OPTIONS")
    return status, {n: v for n, v in named.items() if n.startswith("access-control")}


def test_a_page_that_may_call(service: Service) -> None:
    status, allowed = preflight(service, SHOP)
    assert status == 200
    assert allowed["access-control-allow-origin"] == SHOP
    assert "POST" in allowed["access-control-allow-methods"]
    assert "content-type" in allowed["access-control-allow-headers"]
    for message, expected in ((ASKED, 200), ({}, 404)):
        path = RANK if expected == 200 else "/nothing"
        body = json.dumps(message).encode()
        status, named, _ = post(service, path, body, JSON | {"origin": SHOP})
        assert status == expected
        assert named["access-control-allow-origin"] == SHOP  # errors can be read, too


def test_a_page_that_may_not(service: Service) -> None:
    status, allowed = preflight(service, "https://evil.example")
    assert (status, allowed) == (405, {})
    headers = JSON | {"origin": "https://evil.example"}
    _, named, _ = post(service, RANK, json.dumps(ASKED).encode(), headers)
    assert "access-control-allow-origin" not in named


# -- gRPC, byte by byte ----------------------------------------------------------------------------


def grpc_call(service: Service, body: bytes, path: str = RANK, **headers: str) -> dict[str, str]:
    """The headers of a call that is refused without a body: they have its status."""
    _, named, _ = post(service, path, body, GRPC | headers)
    return named


GOOD = api.RankRequest(app="default", action_ids=["a", "b"]).SerializeToString()


def test_the_server_keeps_the_deadline(service: Service) -> None:
    with journal_stopped(service):
        named = grpc_call(service, frame(GOOD), **{"grpc-timeout": "300m"})
    assert named["grpc-status"] == "4"


def test_an_unknown_encoding(service: Service) -> None:
    named = grpc_call(service, frame(GOOD), **{"grpc-encoding": "snappy"})
    assert named["grpc-status"] == "12"
    assert "gzip" in named["grpc-accept-encoding"]


def test_who_compresses_gets_it_compressed(service: Service) -> None:
    headers = GRPC | {"grpc-encoding": "gzip"}
    for body in (gzip_frame(GOOD), frame(GOOD)):
        _, named, reply = post(service, RANK, body, headers)
        assert named["grpc-encoding"] == "gzip"
        assert reply[0] == 1
        assert api.RankReply.FromString(gzip.decompress(reply[5:])).action_id
    _, named, reply = post(service, RANK, frame(GOOD), GRPC | {"grpc-accept-encoding": "gzip"})
    assert "grpc-encoding" not in named
    assert reply[0] == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 13),
        (frame(GOOD)[:-1], 13),
        (frame(GOOD)[:3], 13),
        (b"\1" + frame(GOOD)[1:], 13),  # compressed, it says, but not how
        (b"\7" + frame(GOOD)[1:], 13),
        (b"\0\xff\xff\xff\xff", 8),
    ],
)
def test_frames_that_are_none(service: Service, body: bytes, status: int) -> None:
    assert grpc_call(service, body)["grpc-status"] == str(status)


def test_compressed_messages_that_are_none(service: Service) -> None:
    encoded = {"grpc-encoding": "gzip"}
    for message in (b"nothing", gzip.compress(GOOD)[:-9]):
        named = grpc_call(service, b"\1" + frame(message)[1:], **encoded)
        assert named["grpc-status"] == "13"
    bomb = b"\1" + frame(gzip.compress(bytes(100 * LIMIT)))[1:]
    assert grpc_call(service, bomb, **encoded)["grpc-status"] == "8"


def test_a_timeout_that_is_none(service: Service) -> None:
    for timeout in ("soon", "1", "S", "123456789S"):
        assert grpc_call(service, frame(GOOD), **{"grpc-timeout": timeout})["grpc-status"] == "13"


def test_a_call_whose_body_never_comes_has_its_deadline(service: Service) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=CALL) as caller:
        head = (f"POST {RANK} HTTP/1.1", "host: here", "content-type: application/grpc")
        rest = ("transfer-encoding: chunked", "grpc-timeout: 200m", "", "")
        caller.sendall("\r\n".join(head + rest).encode())
        assert b"grpc-status: 4" in caller.recv(4096)
