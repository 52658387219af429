"""What happens when things go wrong on the way. The fake service is told to fail; sending and waiting are real."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import stamina

from rankd import AsyncClient, Client
from rankd.calls import FIRST_BACKOFF, LAST_BACKOFF, ActivateCall, RankCall, RankManyCall
from rankd.errors import (
    BatchError,
    DeadlineExceeded,
    InternalError,
    InvalidArgument,
    RankdError,
    ResourceExhausted,
    Unavailable,
)
from rankd.v1 import decisions_pb2 as pb
from tests.client.fake_service import Failure, FakeService

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rankd import Decision, RankArgs
    from tests.client.conftest import Connect

Code = grpc.StatusCode
ACTIONS = ["a", "b", "c"]
OUTAGES = [Code.RESOURCE_EXHAUSTED, Code.INTERNAL, Code.UNKNOWN]


def pushback(milliseconds: str) -> Failure:
    return Failure(Code.RESOURCE_EXHAUSTED, metadata=(("grpc-retry-pushback-ms", milliseconds),))


@pytest.fixture
def client(connect: Connect, fake: FakeService) -> Client:
    return connect(fake.address)


# Retries


def test_a_rank_is_retried_as_the_same_event(client: Client, fake: FakeService) -> None:
    fake.fail(Code.UNAVAILABLE, Code.UNAVAILABLE)
    decision = client.rank({"age": 31}, ACTIONS)
    first, second, third = fake.attempts("Rank")
    assert first == second == third
    assert first.event_id == decision.event_id


def test_a_lost_answer_is_asked_for_again(client: Client, fake: FakeService) -> None:
    """The service has decided, but its reply does not arrive: the retry must not decide anew."""
    fake.failures.append(Failure(Code.UNAVAILABLE, carried_out=True))
    decision = client.rank({}, ACTIONS)
    [stored] = fake.decisions.values()
    assert decision.decision_id == stored.decision_id


def test_a_reward_is_retried_as_the_same_reward_and_grows_older(
    client: Client, fake: FakeService
) -> None:
    decision = client.rank({}, ACTIONS)
    # The second attempt may come at once, but the third waits for 30 ms: then the reward is as old as that.
    fake.failures += [Failure(Code.UNAVAILABLE), pushback("30")]
    client.reward(decision, 1.0, age=5.0)
    attempts = fake.attempts("Reward")
    assert len({(reward.event_id, reward.reward_id) for reward in attempts}) == 1
    assert {reward.decision_id for reward in attempts} == {decision.decision_id}
    ages = [reward.age_ms for reward in attempts]
    assert ages[0] >= 5000
    assert ages == sorted(ages)
    assert ages[2] - ages[1] >= 29  # rounded


def test_an_activation_is_retried(client: Client, fake: FakeService) -> None:
    fake.fail(Code.UNAVAILABLE)
    assert client.activate("event-1") == 1
    assert [request.event_id for request in fake.attempts("Activate")] == ["event-1"] * 2


@pytest.mark.parametrize(
    "code",
    [
        Code.INVALID_ARGUMENT,
        Code.NOT_FOUND,
        Code.ALREADY_EXISTS,
        Code.RESOURCE_EXHAUSTED,
        Code.INTERNAL,
        Code.UNKNOWN,
        Code.PERMISSION_DENIED,
    ],
)
def test_what_a_retry_cannot_help_is_tried_once(
    client: Client, fake: FakeService, code: grpc.StatusCode
) -> None:
    fake.fail(code)
    with pytest.raises(RankdError, match=f"told to fail with {code.name}") as caught:
        client.rank({}, ACTIONS)
    assert caught.value.code == code.value[0]
    assert caught.value.event_id == fake.attempts("Rank")[0].event_id
    assert len(fake.seen) == 1


def test_an_overloaded_service_that_says_when_is_tried_again(
    client: Client, fake: FakeService
) -> None:
    fake.failures.append(pushback("1"))
    assert client.rank({}, ACTIONS).action in ACTIONS
    assert len(fake.seen) == 2


@pytest.mark.parametrize("value", ["-1", "soon"])
def test_a_service_that_says_never_is_tried_once(
    client: Client, fake: FakeService, value: str
) -> None:
    fake.failures.append(pushback(value))
    with pytest.raises(ResourceExhausted):
        client.rank({}, ACTIONS)
    assert len(fake.seen) == 1


def test_a_service_that_says_too_late_is_tried_once(client: Client, fake: FakeService) -> None:
    fake.failures.append(pushback("3600000"))
    with pytest.raises(ResourceExhausted) as caught:
        client.rank({}, ACTIONS)
    assert caught.value.retry_after == 3600
    assert len(fake.seen) == 1


def test_errors_carry_the_ids_that_make_another_try_safe(client: Client, fake: FakeService) -> None:
    fake.fail(Code.INTERNAL)
    with pytest.raises(InternalError) as caught:
        client.reward("event-1", 1.0)
    assert caught.value.event_id == "event-1"
    assert caught.value.reward_id == fake.attempts("Reward")[0].reward_id


def test_retries_can_be_switched_off(client: Client, fake: FakeService, stamina_off: None) -> None:
    fake.fail(Code.UNAVAILABLE)
    with pytest.raises(Unavailable):
        client.rank({}, ACTIONS)
    assert len(fake.seen) == 1


@pytest.fixture
def stamina_off() -> Iterator[None]:
    stamina.set_active(False)
    yield
    stamina.set_active(True)


def test_waits_grow_but_stay_within_their_bounds() -> None:
    random.seed(1)
    call = ActivateCall(pb.ActivateRequest(), 3600.0, None)
    longest = []
    for attempt in range(1, 12):
        call.attempts = attempt
        longest.append(max(float(call.wait(Unavailable("away"))) for _ in range(1000)))
    bounds = [min(LAST_BACKOFF, FIRST_BACKOFF * 2**n) for n in range(11)]
    assert all(0.9 * bound < wait <= bound for wait, bound in zip(longest, bounds, strict=True))


# Deadlines


def test_each_attempt_has_what_the_ones_before_left() -> None:
    call = ActivateCall(pb.ActivateRequest(), 60.0, None)
    first = call.begin()
    time.sleep(0.01)
    assert 60.0 >= first > call.begin() + 0.009


def test_an_attempt_is_never_longer_than_what_is_left() -> None:
    assert ActivateCall(pb.ActivateRequest(), 60.0, 5.0).begin() == 5.0
    assert ActivateCall(pb.ActivateRequest(), 5.0, 60.0).begin() <= 5.0
    late = ActivateCall(pb.ActivateRequest(), 0.001, None)
    time.sleep(0.002)
    assert late.begin() == 0.0


def test_a_call_has_its_own_timeout(client: Client, fake: FakeService) -> None:
    for call in calls(client, timeout=15.0):
        call()
    # gRPC tells the service a timeout that it has rounded up, here to seconds.
    assert [0 < seen.seconds_left <= 16.0 for seen in fake.seen] == [True] * 4


def calls(client: Client, timeout: float) -> list[Callable[[], object]]:
    return [
        lambda: client.rank({}, ACTIONS, timeout=timeout),
        lambda: client.rank_many([{"context": {}, "actions": ACTIONS}], timeout=timeout),
        lambda: client.reward("event-1", 1.0, timeout=timeout),
        lambda: client.activate("event-1", timeout=timeout),
    ]


@pytest.mark.parametrize("which", range(4))
def test_a_service_that_does_not_answer_is_given_up(
    client: Client, fake: FakeService, which: int
) -> None:
    fake.failures += [Failure(None)] * 8
    with pytest.raises(DeadlineExceeded):
        calls(client, timeout=0.05)[which]()


def test_an_attempt_that_hangs_is_not_waited_for(connect: Connect, fake: FakeService) -> None:
    client = connect(fake.address, attempt_timeout=0.5)
    fake.failures.append(Failure(None, carried_out=True))
    decision = client.rank({}, ACTIONS)
    assert len(fake.seen) == 2
    assert decision.decision_id == fake.decisions[decision.event_id].decision_id


@pytest.mark.usefixtures("one_attempt")
def test_a_service_that_is_not_there_is_unavailable(connect: Connect, nowhere: str) -> None:
    for call in calls(connect(nowhere), timeout=60.0):
        with pytest.raises(Unavailable):
            call()


# Default actions


def test_a_default_stands_in_for_a_service_that_is_not_there(
    connect: Connect, nowhere: str
) -> None:
    decision = connect(nowhere, timeout=0.1).rank({}, ACTIONS, default_action="b")
    assert decision.is_default
    assert decision.action == "b"
    assert decision.probabilities == ()


@pytest.mark.parametrize("code", OUTAGES)
def test_a_default_stands_in_for_a_service_that_fails(
    client: Client, fake: FakeService, code: grpc.StatusCode
) -> None:
    fake.fail(code)
    decision = client.rank({}, ACTIONS, default_action="b")
    assert decision.is_default
    assert decision.event_id == fake.attempts("Rank")[0].event_id


def test_a_default_stands_in_for_a_late_answer(client: Client, fake: FakeService) -> None:
    fake.failures += [Failure(None)] * 8
    assert client.rank({}, ACTIONS, default_action="b", timeout=0.05).is_default


@pytest.mark.parametrize("code", [Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.ALREADY_EXISTS])
def test_a_default_hides_no_mistake_of_the_caller(
    client: Client, fake: FakeService, code: grpc.StatusCode
) -> None:
    fake.fail(code)
    with pytest.raises(RankdError):
        client.rank({}, ACTIONS, default_action="b")


def test_a_default_is_not_used_without_need(client: Client, fake: FakeService) -> None:
    fake.fail(Code.UNAVAILABLE)
    assert not client.rank({}, ACTIONS, default_action="b").is_default


def test_nothing_is_sent_about_a_default(client: Client, fake: FakeService) -> None:
    fake.fail(Code.INTERNAL)
    decision = client.rank({}, ACTIONS, default_action="b")
    fake.seen.clear()
    assert client.reward(decision, 1.0) is None
    assert client.activate(decision) is None
    assert fake.seen == []


def test_a_client_can_have_a_rule_for_defaults(connect: Connect, fake: FakeService) -> None:
    def decide(**settings: Any) -> Decision:
        fake.fail(Code.INTERNAL)
        client = connect(fake.address, **settings)
        return client.rank({}, ACTIONS, exclude=["a"], default_action=None)

    assert decide(default_action="first").action == "b"
    assert decide(default_action=max).action == "c"
    assert decide(default_action=random.choice).action in {"b", "c"}


def test_a_call_overrules_its_clients_rule(connect: Connect, fake: FakeService) -> None:
    fake.fail(Code.INTERNAL)
    client = connect(fake.address, default_action="first")
    assert client.rank({}, ACTIONS, default_action="b").action == "b"


def test_a_default_that_cannot_be_is_told_before_the_outage(
    connect: Connect, fake: FakeService
) -> None:
    with pytest.raises(InvalidArgument, match="default_action: 'z' is not among the eligible"):
        connect(fake.address).rank({}, ACTIONS, default_action="z")
    with pytest.raises(InvalidArgument, match="default_action: 'a' is not among the eligible"):
        connect(fake.address).rank({}, ACTIONS, exclude=["a"], default_action="a")
    with pytest.raises(InvalidArgument, match="default_action: 'z' is not among the eligible"):
        connect(fake.address, default_action=lambda _: "z").rank({}, ACTIONS)
    assert fake.seen == []


# Many at once


def requests(*event_ids: str) -> list[RankArgs]:
    return [{"context": {}, "actions": ACTIONS, "event_id": event_id} for event_id in event_ids]


def asked(fake: FakeService) -> list[list[str]]:
    return [[item.event_id for item in batch.requests] for batch in fake.attempts("RankBatch")]


def test_only_what_failed_is_asked_for_again(client: Client, fake: FakeService) -> None:
    fake.item_failures["y"] = deque([Code.UNAVAILABLE, Code.UNAVAILABLE])
    decisions = client.rank_many(requests("x", "y", "z"))
    assert [decision.event_id for decision in decisions] == ["x", "y", "z"]
    assert asked(fake) == [["x", "y", "z"], ["y"], ["y"]]


def test_what_cannot_be_decided_does_not_hide_what_was(client: Client, fake: FakeService) -> None:
    fake.item_failures = {"x": deque([Code.INTERNAL]), "y": deque([Code.UNAVAILABLE])}
    with pytest.raises(
        BatchError, match=r"1 of 3 requests failed; requests\[0\]: told to"
    ) as caught:
        client.rank_many(requests("x", "y", "z"))
    failed, *decisions = caught.value.results
    assert isinstance(failed, InternalError)
    assert failed.event_id == "x"
    assert [item.event_id for item in decisions] == ["y", "z"]
    assert asked(fake) == [["x", "y", "z"], ["y"]]


def test_defaults_fill_the_gaps(client: Client, fake: FakeService) -> None:
    fake.item_failures = {"x": deque([Code.INTERNAL])}
    x, y = requests("x", "y")
    decisions = client.rank_many([{**x, "default_action": "c"}, y])
    assert [decision.is_default for decision in decisions] == [True, False]
    assert decisions[0].action == "c"


@pytest.mark.usefixtures("one_attempt")
def test_defaults_for_a_service_that_is_not_there(connect: Connect, nowhere: str) -> None:
    x, y = requests("x", "y")
    client = connect(nowhere)
    with pytest.raises(BatchError) as caught:
        client.rank_many([{**x, "default_action": "c"}, y])
    first, second = caught.value.results
    assert not isinstance(first, RankdError)
    assert first.is_default
    assert isinstance(second, Unavailable)
    everything = connect(nowhere, default_action="first").rank_many([x, y])
    assert [decision.is_default for decision in everything] == [True, True]


def test_a_wrong_request_is_named_before_anything_is_sent(
    client: Client, fake: FakeService
) -> None:
    with pytest.raises(InvalidArgument, match=r"^requests\[1\]: context\['x'\]: must be a finite"):
        client.rank_many([*requests("x"), {"context": {"x": float("nan")}, "actions": ACTIONS}])
    with pytest.raises(TypeError, match=r"^requests\[0\]: .*unexpected keyword argument 'colour'"):
        client.rank_many([{"context": {}, "actions": ACTIONS, "colour": 1}])  # type: ignore[typeddict-unknown-key]
    assert fake.seen == []


# Apps


def test_which_app_is_asked(connect: Connect, fake: FakeService) -> None:
    client = connect(fake.address, app="shop")
    decision = client.rank({}, ACTIONS)
    other = client.rank({}, ACTIONS, app="default")
    assert (decision.app, other.app) == ("shop", "default")
    client.reward(decision, 1.0)
    client.reward(other, 1.0)
    client.reward("event-1", 1.0)
    client.reward(other, 1.0, app="shop")
    client.activate(other)
    client.activate("event-1", app="")
    client.rank_many([*requests("x"), {**requests("y")[0], "app": "default"}])
    assert [request.app for request in fake.attempts("Rank")] == ["shop", "default"]
    assert [request.app for request in fake.attempts("Reward")] == [
        "shop",
        "default",
        "shop",
        "shop",
    ]
    assert [request.app for request in fake.attempts("Activate")] == ["default", ""]
    [batch] = fake.attempts("RankBatch")
    assert [request.app for request in batch.requests] == ["shop", "default"]


# Connections


def test_channels_take_turns(connect: Connect, fake: FakeService) -> None:
    client = connect(fake.address, channels=2)
    for _ in range(6):
        client.rank({}, ACTIONS)
    peers = [seen.peer for seen in fake.seen]
    assert len(set(peers)) == 2
    assert peers[:2] * 3 == peers


def test_one_channel_is_one_connection(client: Client, fake: FakeService) -> None:
    for _ in range(6):
        client.rank({}, ACTIONS)
    assert len({seen.peer for seen in fake.seen}) == 1


def test_a_retry_goes_by_another_channel(connect: Connect, fake: FakeService) -> None:
    fake.fail(Code.UNAVAILABLE)
    connect(fake.address, channels=2).rank({}, ACTIONS)
    assert len({seen.peer for seen in fake.seen}) == 2


def test_a_service_that_restarts_is_found_again(client: Client, fake: FakeService) -> None:
    before = client.rank({}, ACTIONS)
    fake.stop()
    fake.start()
    assert client.rank({}, ACTIONS, event_id=before.event_id) == before


def test_channel_options_can_be_added(connect: Connect, fake: FakeService) -> None:
    client = connect(fake.address, options=[("grpc.max_receive_message_length", 100)])
    with pytest.raises(ResourceExhausted, match="larger than max"):
        client.rank({}, [f"action-{i}" for i in range(100)])


def test_large_replies_pass(client: Client) -> None:
    """6 MB: more than gRPC's own limit of 4 MiB."""
    actions = [f"{i:0>256}" for i in range(1000)]
    decisions = client.rank_many([{"context": {}, "actions": actions}] * 24)
    assert {len(decision.ranking) for decision in decisions} == {1000}


def test_a_closed_client_says_so(connect: Connect, fake: FakeService) -> None:
    client = connect(fake.address)
    client.rank({}, ACTIONS)
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.rank({}, ACTIONS)


def test_closing_opens_nothing(connect: Connect, fake: FakeService) -> None:
    client = connect(fake.address)
    client.close()
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.rank({}, ACTIONS)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"timeout": 0}, "timeout: is 0; must be"),
        ({"timeout": float("inf")}, "timeout: is inf; must be"),
        ({"attempt_timeout": -1}, "attempt_timeout: is -1; must be"),
        ({"channels": 0}, "channels: is 0; must be at least 1"),
        ({"default_action": "a"}, "default_action: is 'a'; a client's is 'first' or a function"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    connect: Connect, nowhere: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        connect(nowhere, **settings)
    assert str(caught.value).startswith(words)


def test_times_that_make_no_sense_are_refused(client: Client, fake: FakeService) -> None:
    with pytest.raises(InvalidArgument, match="timeout: is nan"):
        client.rank({}, ACTIONS, timeout=float("nan"))
    with pytest.raises(InvalidArgument, match="age: is -1"):
        client.reward("event-1", 1.0, age=-1)
    assert fake.seen == []


# What one of the two clients has for itself


def test_both_clients_have_the_same_calls() -> None:
    for name in ("__init__", "rank", "rank_many", "reward", "activate", "close"):
        one, other = getattr(Client, name), getattr(AsyncClient, name)
        assert inspect.signature(one) == inspect.signature(other), name


def test_clients_are_context_managers(fake: FakeService) -> None:
    async def use() -> None:
        async with AsyncClient(fake.address) as client:
            await client.rank({}, ACTIONS, timeout=60.0)
        with pytest.raises(RuntimeError, match="the client is closed"):
            await client.rank({}, ACTIONS)

    with Client(fake.address) as client:
        client.rank({}, ACTIONS, timeout=60.0)
    with pytest.raises(RuntimeError, match="the client is closed"):
        client.rank({}, ACTIONS)
    asyncio.run(use())
    assert len(fake.seen) == 2


def test_threads_share_a_client(fake: FakeService) -> None:
    with Client(fake.address, timeout=60.0, channels=2) as client, ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: client.rank({"n": i}, ACTIONS), range(100)))
    assert len({decision.event_id for decision in made}) == len(fake.decisions) == 100
    assert len({seen.peer for seen in fake.seen}) == 2


def test_tasks_share_a_client(fake: FakeService) -> None:
    async def use() -> list[Decision]:
        async with AsyncClient(fake.address, timeout=60.0, channels=2) as client:
            return await asyncio.gather(*(client.rank({"n": i}, ACTIONS) for i in range(100)))

    assert len({decision.event_id for decision in asyncio.run(use())}) == 100
    assert len({seen.peer for seen in fake.seen}) == 2


def test_an_async_client_can_be_made_before_there_is_a_loop(fake: FakeService) -> None:
    client = AsyncClient(fake.address, timeout=60.0)

    async def use() -> None:
        async with client:
            await client.rank({}, ACTIONS)

    asyncio.run(use())
    assert len(fake.seen) == 1


def test_an_async_client_stays_in_its_loop(fake: FakeService) -> None:
    """Otherwise gRPC waits for ever."""
    client = AsyncClient(fake.address, timeout=60.0)
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(client.rank({}, ACTIONS))
        with pytest.raises(RuntimeError, match="works in one event loop; make one for each"):
            second.run(client.rank({}, ACTIONS))
        first.run(client.close())


@pytest.mark.parametrize("failures", [[Failure(None)], [Failure(Code.UNAVAILABLE), Failure(None)]])
def test_a_cancelled_call_ends(fake: FakeService, failures: list[Failure]) -> None:
    """In its first attempt, and in one that stamina's loop makes."""
    fake.failures += failures

    async def use() -> None:
        async with AsyncClient(fake.address, timeout=60.0, default_action="first") as client:
            task = asyncio.create_task(client.rank({}, ACTIONS))
            while len(fake.seen) < len(failures):  # noqa: ASYNC110  # the service is in a thread
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(use())


def test_calls_under_way_when_an_async_client_is_closed_say_so(fake: FakeService) -> None:
    """And are not cancelled, which nobody has done: a TaskGroup would take that for an end like any other."""
    fake.failures.append(Failure())

    async def run() -> None:
        client = AsyncClient(fake.address, timeout=60.0)
        call = asyncio.create_task(client.rank({}, ACTIONS))
        while not fake.seen:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await client.close()
        with pytest.raises(RuntimeError, match="closed"):
            await call

    asyncio.run(run())


def test_many_attempts_wait_no_longer_than_some() -> None:
    call = ActivateCall(pb.ActivateRequest(event_id="event"), 1e6, None)
    call.attempts = 5_000
    assert 0.0 <= call.wait(Unavailable("down")) <= LAST_BACKOFF


def test_decisions_that_were_made_are_told_whatever_ends_the_rest() -> None:
    """The first attempt decides one of two; the second is refused as a whole."""
    items = [RankCall(pb.RankRequest(event_id=name), None, 1.0, None) for name in ("one", "two")]
    for item in items:
        item.request.action_ids.append("a")
    call = RankManyCall(items, 1.0, None)
    decided = pb.RankReply(
        event_id="one", action_id="a", ranking=["a"], probabilities=[1.0], decision_id="f.1:1"
    )
    failed = pb.RankReply(error=pb.Error(code=Code.UNAVAILABLE.value[0], message="busy"))
    with pytest.raises(Unavailable):
        call.result(pb.RankBatchReply(replies=[decided, failed]))
    with pytest.raises(BatchError) as caught:
        call.give_up(call.failure(Code.UNAUTHENTICATED.value[0], "token expired"))
    one, two = caught.value.results
    assert getattr(one, "event_id", None) == "one"
    assert isinstance(two, Unavailable)
