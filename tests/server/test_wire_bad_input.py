"""Bad input over the wire: refused in words that name the field, with nothing logged, nothing learned, nothing leaked."""

from __future__ import annotations

import math
import re
import struct
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import pytest

from policies import state_sha256
from rankd.v1 import admin_pb2
from rankd.v1 import decisions_pb2 as api
from tests.server.harness import CALL, Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from google.protobuf.message import Message

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED

LONG = "é" * 129  # 258 bytes
NUL = "nul\0"
# What only the inside of the server knows: modules, files, objects, numpy's and Python's own words.
INTERNALS = re.compile(
    r"Traceback|File \"|\.py\b|\bserver\.|\bpolicies\.|0x[0-9a-f]+|Error\b|numpy|Exception|internal"
)

CONFIG = {
    "apps": {
        "shop": {"salt": "5a" * 16},
        # Windows that close while a test waits.
        "brief": {"reward": {"wait": "1s"}},
        "odd": {"salt": "77" * 16, "policy": {"type": "linucb"}, "reward": "always_sent"},
        "plain": {"salt": "77" * 16, "policy": {"type": "linucb"}, "reward": "always_sent"},
        "odd-vw": {"salt": "77" * 16, "policy": {"type": "vw"}, "reward": "always_sent"},
        "plain-vw": {"salt": "77" * 16, "policy": {"type": "vw"}, "reward": "always_sent"},
    },
    "log": {"lateness": "200ms"},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(tmp_path_factory.mktemp("bad") / "data", CONFIG) as running:
        yield running


def floats(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def rank() -> api.RankRequest:
    """A good request with some of everything."""
    request = api.RankRequest(app="shop", action_ids=["a", "b", "c"], excluded_ids=["c"])
    request.context.add(
        numeric_names=["age", "hour"],
        numeric_values=[33, 12],
        categorical_names=["country"],
        categorical_values=["no"],
        vector_names=["taste"],
        vector_sizes=[2],
        vector_data=floats(1, 2),
    )
    request.action_features.add(
        numeric_counts=[1, 1, 1],
        numeric_names=["price"] * 3,
        numeric_values=[1, 2, 3],
        categorical_counts=[1, 0, 0],
        categorical_names=["brand"],
        categorical_values=["x"],
        vector_size=2,
        vector_data=floats(1, 2, 3, 4, 5, 6),
    )
    return request


def reward(**fields: Any) -> api.RewardRequest:
    return api.RewardRequest(**{"app": "shop", "event_id": "unknown", "value": 0.5, **fields})


def activate(**fields: Any) -> api.ActivateRequest:
    return api.ActivateRequest(**{"app": "shop", "event_id": "unknown", **fields})


Change: TypeAlias = "Callable[[Any], object]"
Call: TypeAlias = "Callable[..., object]"


def changed(change: Change) -> api.RankRequest:
    request = rank()
    change(request)
    return request


def fields_of(where: str, change: Change) -> api.RankRequest:
    """The good request with a change to its first group of context or action features."""
    return changed(lambda request: change(getattr(request, where)[0]))


def fill(values: Any, *new: Any) -> None:
    """Puts other values into a repeated field."""
    del values[:]
    values.extend(new)


def numbers() -> Iterator[tuple[str, api.RankRequest, str]]:
    """Numbers that are not finite or too great, everywhere that a number can be."""
    for bad in (math.nan, math.inf, -math.inf, 1e300, -1.0001e6):
        request = rank()
        request.context[0].numeric_values[1] = bad
        yield f"context {bad}", request, "context[0].numeric_values[1]: is "
        request = rank()
        request.action_features[0].numeric_values[2] = bad
        yield f"action {bad}", request, "action_features[0].numeric_values[2]: is "
    for bad in (math.nan, math.inf, 1e30):
        request = rank()
        request.context[0].vector_data = floats(bad, 1)
        yield f"context vector {bad}", request, "context[0].vector_data[0]: is "
        request = rank()
        request.action_features[0].vector_data = floats(1, 2, 3, 4, 5, bad)
        yield f"action vector {bad}", request, "action_features[0].vector_data[5]: is "


def ids() -> Iterator[tuple[str, Message, str]]:
    """Ids that are empty, twice there, too long or hold a NUL, for every field that is an id."""
    for name, bad in (("long", LONG), ("NUL", NUL)):
        event = api.RankRequest(app="shop", action_ids=["a"], event_id=bad)
        yield f"event_id {name}", event, "event_id: "
        for field in ("event_id", "slot_id", "reward_id", "decision_id"):
            yield f"reward {field} {name}", reward(**{field: bad}), f"{field}: "
        yield f"activate {name}", activate(event_id=bad), "event_id: "
    for name, bad in (("long", LONG), ("NUL", NUL), ("empty", ""), ("duplicate", "a")):
        actions = api.RankRequest(app="shop", action_ids=["a", "b", bad])
        yield f"action_ids {name}", actions, "action_ids[2]: "
        slots = api.RankRequest(app="shop", action_ids=["a", "b", "c"], slot_ids=["a", bad])
        yield f"slot_ids {name}", slots, "slot_ids[1]: "
        excluded = api.RankRequest(app="shop", action_ids=["a", "b"], excluded_ids=["a", bad])
        yield f"excluded_ids {name}", excluded, "excluded_ids[1]: "
    yield "reward event_id empty", reward(event_id=""), "event_id: is empty"
    yield "activate empty", activate(event_id=""), "event_id: is empty"
    for bad in ("node", "node:", ":1", "node:-1", "node:1.5", "node:٣", f"node:{2**63}"):
        yield f"decision_id {bad}", reward(decision_id=bad), "decision_id: is not one that Rank"


def choices() -> Iterator[tuple[str, Message, str]]:
    """Nothing to choose, too much to choose from, or more asked than there is."""
    many = [f"a{i}" for i in range(1_001)]
    for name, fields, message in (
        ("no actions", {}, "action_ids: is empty"),
        ("1001 actions", {"action_ids": many}, "action_ids: has 1001 actions; at most 1000"),
        (
            "all excluded",
            {"action_ids": ["a", "b"], "excluded_ids": ["b", "a"]},
            "excluded_ids: excludes every action",
        ),
        (
            "excluded is no action",
            {"action_ids": ["a", "b"], "excluded_ids": ["c"]},
            "excluded_ids[0]: is not one of action_ids",
        ),
        (
            "slots and k",
            {"action_ids": ["a", "b"], "slot_ids": ["x"], "k": 1},
            "k: cannot be given together with slot_ids",
        ),
        (
            "k beyond eligible",
            {"action_ids": ["a", "b", "c"], "excluded_ids": ["c"], "k": 3},
            "k: asks for 3 of 2 eligible",
        ),
        ("k beyond reason", {"action_ids": ["a"], "k": 2**32 - 1}, "k: asks for 4294967295 of 1"),
        (
            "slots beyond eligible",
            {"action_ids": ["a", "b"], "slot_ids": ["x", "y", "z"]},
            "slot_ids: asks for 3 of 2",
        ),
    ):
        yield name, api.RankRequest(app="shop", **fields), message


# What is wrong with a group of features, and the field that is named.
ANY_GROUP: dict[str, tuple[Change, str]] = {
    "values": (lambda g: g.numeric_values.append(1), "numeric_values"),
    "names": (lambda g: g.numeric_names.append("x"), "numeric_values"),
    "categories": (lambda g: g.categorical_names.append("x"), "categorical_values"),
    "vector cut": (lambda g: setattr(g, "vector_data", g.vector_data[:-1]), "vector_data"),
    "vector gone": (lambda g: setattr(g, "vector_data", b""), "vector_data"),
    "empty name": (lambda g: g.numeric_names.__setitem__(1, ""), "numeric_names[1]"),
    "empty category": (lambda g: g.categorical_names.__setitem__(0, ""), "categorical_names[0]"),
}
CONTEXT: dict[str, tuple[Change, str]] = {
    "name twice": (lambda c: fill(c.numeric_names, "age", "age"), "numeric_names[1]"),
    "vector sizes": (lambda c: c.vector_sizes.append(1), "vector_sizes"),
}
ACTIONS: dict[str, tuple[Change, str]] = {
    "too few counts": (lambda f: f.numeric_counts.pop(), "numeric_counts"),
    "sum of counts": (lambda f: fill(f.numeric_counts, 1, 1, 2), "numeric_counts"),
    "counts beyond all": (lambda f: fill(f.numeric_counts, 2**32 - 1, 1, 1), "numeric_counts"),
    "category counts": (lambda f: fill(f.categorical_counts, 0, 0, 0), "categorical_counts"),
    "vector size": (lambda f: setattr(f, "vector_size", 2**32 - 1), "vector_data"),
    "name twice": (lambda f: fill(f.numeric_counts, 2, 1, 0), "numeric_names[1]"),
}


def shapes() -> Iterator[tuple[str, api.RankRequest, str]]:
    """Parallel arrays that do not match, and names that come twice or not at all."""
    for where, special in (("context", CONTEXT), ("action_features", ACTIONS)):
        for name, (change, field) in (ANY_GROUP | special).items():
            yield f"{where} {name}", fields_of(where, change), f"{where}[0].{field}: "
        twice = rank()
        getattr(twice, where).add()
        yield f"{where} namespace twice", twice, f"{where}[1].namespace: '' comes twice"
    request = rank()
    del request.excluded_ids[:]
    fill(request.action_ids, *(f"a{i}" for i in range(1000)))
    fill(request.context[0].numeric_names, *(f"n{i}" for i in range(1001)))
    fill(request.context[0].numeric_values, *range(1001))
    yield "too many features", request, "context: has 1004 features for each of 1000 actions"


def apps_and_values() -> Iterator[tuple[str, Message, str]]:
    for bad in (1.0001, -2.0, math.nan, math.inf, -math.inf, 1e300):
        yield f"reward {bad}", reward(value=bad), "value: is "
    for make in (lambda **f: api.RankRequest(action_ids=["a"], **f), reward, activate):
        kind = make(app="").DESCRIPTOR.name
        yield f"{kind} without app", make(app=""), "app: is empty, and this server has several"
        yield f"{kind} unknown app", make(app="nowhere"), "app: no app 'nowhere'"
        yield f"{kind} app beyond names", make(app=LONG + NUL), "app: no app "


def batches() -> Iterator[tuple[str, Message, str]]:
    """One bad request refuses the whole batch, and is named."""
    good = api.RankRequest(app="shop", action_ids=["a", "b"])
    nan = fields_of("context", lambda c: fill(c.numeric_values, 1, math.nan))
    for bad, message in (
        (api.RankRequest(app="shop"), "requests[1].action_ids: is empty"),
        (nan, "requests[1].context[0].numeric_values[1]: is nan"),
        (api.RankRequest(app="nowhere", action_ids=["a"]), "requests[1].app: no app"),
    ):
        yield message, api.RankBatchRequest(requests=[good, bad, good]), message
    rewards = api.RewardBatchRequest(rewards=[reward(), reward(), reward(value=9)])
    yield "reward batch", rewards, "rewards[2].value: is 9.0"
    rewards = api.RewardBatchRequest(rewards=[reward(app="nowhere"), reward()])
    yield "reward batch, app", rewards, "rewards[0].app: no app"
    yield "1001 requests", api.RankBatchRequest(requests=[good] * 1_001), "requests: has 1001"
    yield "1001 rewards", api.RewardBatchRequest(rewards=[reward()] * 1_001), "rewards: has 1001"


CASES = [*numbers(), *ids(), *choices(), *shapes(), *apps_and_values(), *batches()]


class Untouched:
    """Inside, a call is refused; afterwards the log and the model are what they were, and the service answers."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def __enter__(self) -> None:
        self.kinds = self.service.kinds()
        self.state = state_sha256(self.service.published("shop").policy)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            return
        assert self.service.kinds() == self.kinds
        assert state_sha256(self.service.published("shop").policy) == self.state
        reply = self.service.decisions.Rank(rank(), timeout=CALL)
        assert reply.action_id in {"a", "b"}
        assert self.service.kinds() - self.kinds == {"KIND_DECISION": 1}


def method(service: Service, name: str) -> Any:
    """A method of Decisions that takes any bytes."""
    return service.channel.unary_unary(
        f"/rankd.v1.Decisions/{name}", request_serializer=None, response_deserializer=None
    )


def refused(service: Service, call: Call, *arguments: Any) -> tuple[grpc.StatusCode, str]:
    """Code and text of the error that a call ends with; it tells nothing that is nobody's business."""
    with Untouched(service), pytest.raises(grpc.RpcError) as caught:
        call(*arguments, timeout=CALL)
    text = caught.value.details() or ""
    assert not INTERNALS.search(text), text
    return caught.value.code(), text


@pytest.mark.parametrize(("request_", "message"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_refused(service: Service, request_: Message, message: str) -> None:
    call = method(service, request_.DESCRIPTOR.name.removesuffix("Request"))
    code, text = refused(service, call, request_.SerializeToString())
    assert text.startswith(message)
    assert code == (NOT_FOUND if "no app" in message else INVALID)


METHODS = ["Rank", "RankBatch", "Reward", "RewardBatch", "Activate"]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "data",
    [
        b"\xff\xff\xff\xff",
        b"\x0a\x05shop",  # cut short
        b"\x0a\x04sh\xffp",  # field 1 is text or a message, and this is neither
        b"\x0b\x0b\x0b",  # groups that never end
        b"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",  # a length beyond 64 bits
    ],
    ids=["noise", "cut short", "not UTF-8", "open groups", "length"],
)
def test_malformed_bytes(service: Service, name: str, data: bytes) -> None:
    code, text = refused(service, method(service, name), data)
    assert code == INVALID
    assert text == f"request: is not a valid {name}Request"


@pytest.mark.parametrize("name", METHODS)
def test_five_megabytes(service: Service, name: str) -> None:
    data = api.RankRequest(event_id="x" * (5 << 20)).SerializeToString()
    code, text = refused(service, method(service, name), data)
    assert code == EXHAUSTED
    assert "larger than max" in text


def test_an_error_about_a_long_name_still_arrives(service: Service) -> None:
    """Its text travels in a header, which may not be longer than a few kilobytes."""
    request = rank()
    request.context.add(namespace="🂡" * 50_000)
    request.context.add(namespace="🂡" * 50_000)
    code, text = refused(service, service.decisions.Rank, request)
    assert code == INVALID
    assert text.startswith("context[2].namespace: '🂡🂡")


def test_orders_of_an_operator(service: Service) -> None:
    """Admin calls are checked as well."""
    pb, admin = admin_pb2, service.admin
    for call, request, expected, message in (
        (admin.Status, pb.StatusRequest(app="nowhere"), NOT_FOUND, "app: "),
        (admin.ListModels, pb.ListModelsRequest(app=""), INVALID, "app: "),
        (admin.Pin, pb.PinRequest(app="shop", model_version=99), NOT_FOUND, "model_version: 99"),
        (admin.RollBack, pb.RollBackRequest(app="shop", model_version=99), NOT_FOUND, "model_v"),
        (admin.Promote, pb.PromoteRequest(app="shop", model=b"junk"), INVALID, "model: "),
        (admin.ExportModel, pb.ExportModelRequest(app="nowhere"), NOT_FOUND, "app: "),
    ):
        code, text = refused(service, call, request)
        assert code == expected
        assert text.startswith(message)


def test_a_bad_request_in_a_stream_is_answered_in_its_place(service: Service) -> None:
    bad = fields_of("context", lambda c: fill(c.numeric_values, 1, math.nan))
    requests = [rank(), bad, rank(), b"\xff\xff", api.RankRequest(app="nowhere"), rank()]
    call: Any = service.channel.stream_stream(
        "/rankd.v1.Decisions/RankStream",
        request_serializer=lambda r: r if isinstance(r, bytes) else r.SerializeToString(),
        response_deserializer=api.RankReply.FromString,
    )
    before = service.kinds()
    replies = list(call(iter(requests), timeout=CALL))
    found = [(reply.error.code, reply.error.message.split(":")[0]) for reply in replies]
    good = (0, "")
    assert found == [
        good,
        (3, "context[0].numeric_values[1]"),
        good,
        (3, "request"),
        (5, "app"),
        good,
    ]
    for reply in replies:
        assert bool(reply.error.code) != bool(reply.decision_id)
    assert service.kinds() - before == {"KIND_DECISION": 3}


def test_what_is_at_the_limit_is_accepted(service: Service) -> None:
    request = api.RankRequest(app="shop", event_id="é" * 128)
    request.action_ids.extend(f"{i:0256}" for i in range(1_000))
    request.context.add(numeric_names=["x", "y"], numeric_values=[1e6, -1e6])
    reply = service.decisions.Rank(request, timeout=CALL)
    assert len(reply.ranking) == 1_000
    assert abs(sum(reply.probabilities) - 1) < 1e-12
    for value in (-1.0, 1.0):
        service.decisions.Reward(reward(event_id="at the limit", value=value), timeout=CALL)


def test_an_unknown_event_is_dangling_after_a_window(service: Service) -> None:
    """It may only be early: refusing it would lose it."""
    service.decisions.Reward(reward(app="brief", event_id="nobody's"), timeout=CALL)
    counters = service.wait_counters("brief", dangling_rewards=1)
    assert counters["rewards"] == 1
    assert counters["joined"] == counters["matured"] == 0


# Sorted, because the order of action ids decides which of them a draw falls on.
ODD = sorted(
    ["|", "a|b", "a:1", "a b", "a\nb", "\n", "\t", "🦆", "|a:1 |b", "'", '"', "\x7f", "é", "\u202e"]
)
PLAIN = [f"name {i:02}" for i in range(len(ODD))]


@pytest.mark.parametrize("kind", ["", "-vw"])
def test_odd_names_are_only_names(service: Service, kind: str) -> None:
    """Called by other names, the same features lead to the same probabilities: they touch nothing but themselves.

    The second app learns the same events with plain names. Afterwards both are asked about a feature that neither of
    the names belongs to, and about every name in turn.
    """

    def ask(app: str, names: list[str], event: int, shown: list[int]) -> api.RankReply:
        request = api.RankRequest(app=app, event_id=f"event {event}", action_ids=names[:3])
        context = request.context.add(numeric_names=["age"], numeric_values=[event % 7])
        context.namespace = "n" + names[event % 3]  # VW goes by the first letter
        context.categorical_names.extend(names[i] for i in shown)
        context.categorical_values.extend(names[-1 - i] for i in shown)
        features = request.action_features.add(namespace="n" + names[4])
        features.numeric_counts.extend([1, 1, 1])
        features.numeric_names.extend(names[5:8])
        features.numeric_values.extend([event % 5, 1, -1])
        reply: api.RankReply = service.decisions.Rank(request, timeout=CALL)
        return reply

    apps = {f"odd{kind}": ODD, f"plain{kind}": PLAIN}
    for event in range(30):
        for app, names in apps.items():
            reply = ask(app, names, event, [event % len(names), (event * 5 + 1) % len(names)])
            value = (names.index(reply.action_id) == event % 3) * 1.0
            request = api.RewardRequest(app=app, event_id=reply.event_id, value=value)
            service.wait_served(service.decisions.Reward(request, timeout=CALL).sequence, app)
    for probe, shown in enumerate([[], *([i] for i in range(len(ODD)))]):
        pmfs = []
        for app, names in apps.items():
            reply = ask(app, names, 1_000 + probe, shown)
            order = {name: i for i, name in enumerate(names)}
            pairs = zip(reply.ranking, reply.probabilities, strict=True)
            pmfs.append(dict(sorted((order[a], p) for a, p in pairs)))
        assert pmfs[0] == pytest.approx(pmfs[1], abs=1e-4)  # VW adds up float32, in another order
        assert len(set(pmfs[0].values())) > 1, "they have learned something"


def test_the_log_is_whole_after_all_that(service: Service) -> None:
    found = service.verify()
    assert (found.mismatches, found.unverifiable) == (0, 0), found.first_mismatch
    assert found.verified > 100
