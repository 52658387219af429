"""Models, reports and the board travel between nodes by way of Redis, whatever happens to it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from server.files import replace
from server.redis import relay
from server.redis.seal import checked, sign
from tests.redis.harness import KEY, SECONDS, Keys, Node, prefix, snapshot
from tests.server.harness import eventually
from tests.services.proxy import Proxy
from tests.services.redis import RedisServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from server.redis.register import Version
    from tests.services.redis import RunningRedis

SECRET = bytes.fromhex(KEY)


@pytest.fixture
def nodes(tmp_path: Path, redis_server: RunningRedis, keys: Keys) -> Iterator[list[Node]]:
    """Two nodes whose relays run."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(Node(tmp_path / name, redis_server.url, keys.prefix))
            for name in ("one", "two")
        ]


def wait_version(node: Node, version: Version, app: str = "default") -> None:
    eventually(
        f"version {version}, not {node.version(app)}", lambda: node.version(app) == version, SECONDS
    )


def wait(what: str, probe: Callable[[], object]) -> None:
    eventually(what, probe, SECONDS)


# -- models ----------------------------------------------------------------------------------------


def test_a_model_goes_from_one_node_to_the_other_and_back(nodes: list[Node]) -> None:
    one, two = nodes
    for n in range(1, 20):
        source, target = (one, two) if n % 2 else (two, one)
        source.publish((1, 1, n), policy=b"%d" % n * 1000)
        wait_version(target, (1, 1, n))
        assert (
            target.folder.snapshot("default").read_bytes()
            == source.folder.snapshot("default").read_bytes()
        )


def test_a_model_of_eight_megabytes_travels_whole(nodes: list[Node]) -> None:
    one, two = nodes
    one.publish((1, 1, 1), policy=bytes(range(256)) * (8 << 12))
    wait_version(two, (1, 1, 1))
    assert two.model() == one.model()


def test_a_lower_lease_wins_nowhere(nodes: list[Node]) -> None:
    """A learner that does not know that its lease is over publishes what it has learned since."""
    owner, zombie = nodes
    owner.publish((2, 1, 10))
    wait_version(zombie, (2, 1, 10))
    for n in (11, 1_000):
        zombie.publish((1, 1, n))
        wait_version(zombie, (2, 1, 10))
    assert owner.version() == (2, 1, 10)


def test_every_app_has_a_model_of_its_own(
    tmp_path: Path, redis_server: RunningRedis, keys: Keys
) -> None:
    apps = ("news", "shop", "shop.2")
    one = Node(tmp_path / "one", redis_server.url, keys.prefix, apps=apps)
    two = Node(tmp_path / "two", redis_server.url, keys.prefix, apps=apps)
    with one, two:
        for n, app in enumerate(apps, 1):
            one.publish((1, 1, n), app)
        for n, app in enumerate(apps, 1):
            wait_version(two, (1, 1, n), app)
            model = two.model(app)
            assert model is not None
            assert model.app == app


def test_a_damaged_file_is_restored(nodes: list[Node]) -> None:
    one, two = nodes
    one.publish((1, 1, 1))
    wait_version(two, (1, 1, 1))
    replace(two.folder.snapshot("default"), b"damaged", durable=False)
    wait_version(two, (1, 1, 1))


def test_a_node_that_comes_later_gets_the_model(
    nodes: list[Node], tmp_path: Path, redis_server: RunningRedis, keys: Keys
) -> None:
    nodes[0].publish((1, 1, 1))
    wait_version(nodes[1], (1, 1, 1))
    with Node(tmp_path / "three", redis_server.url, keys.prefix) as three:
        wait_version(three, (1, 1, 1))


def test_a_wiped_redis_gets_the_model_back_from_any_node(
    nodes: list[Node], tmp_path: Path, redis_server: RunningRedis, keys: Keys
) -> None:
    one, two = nodes
    one.publish((3, 2, 1))
    wait_version(two, (3, 2, 1))
    one.stop()
    for name in keys.all():
        keys.delete(name.removeprefix(f"{keys.prefix}:"))
    with Node(tmp_path / "three", redis_server.url, keys.prefix) as three:
        wait_version(three, (3, 2, 1))


# -- forged ----------------------------------------------------------------------------------------


def test_a_forged_model_reaches_no_file_and_is_replaced(nodes: list[Node], keys: Keys) -> None:
    one, two = nodes
    one.publish((1, 1, 1), policy=b"good")
    wait_version(two, (1, 1, 1))
    name = keys.name("model", "default")
    numbers = {"lease": 2**63, "epoch": 1, "published_at": 1}
    evil = snapshot((2**63, 1, 1), policy=b"evil")
    for data in (sign(bytes(32), name, evil), evil, b"", sign(SECRET, name + "x", evil)):
        keys.write("model", "default", **numbers, data=data)
        wait("the honest model", lambda: keys.read("model", "default")["lease"] == b"1")
    one.publish((1, 1, 2), policy=b"better")
    wait_version(two, (1, 1, 2))
    wait("the count", lambda: one.board()["forged"] + two.board()["forged"] >= 4)
    for node in nodes:
        model = node.model()
        assert model is not None
        assert model.policy == b"better"


def test_a_node_with_another_key_can_neither_give_nor_take(
    nodes: list[Node], tmp_path: Path, redis_server: RunningRedis, keys: Keys
) -> None:
    """Both replace the other's model, but not as fast as they can, and each says it once for each value."""
    one, two = nodes
    one.publish((1, 1, 1), policy=b"ours")
    wait_version(two, (1, 1, 1))
    with Node(tmp_path / "strange", redis_server.url, keys.prefix, key="cd" * 32) as stranger:
        wait("its refusal", lambda: stranger.board().get("forged"))
        assert stranger.version() is None
        stranger.publish((9, 9, 9), policy=b"theirs")
        wait("our refusal", lambda: one.board()["forged"] or two.board()["forged"])
        one.publish((1, 1, 2), policy=b"ours")
        wait_version(two, (1, 1, 2))
        assert stranger.version() == (9, 9, 9)


# -- Redis comes and goes --------------------------------------------------------------------------


@pytest.fixture
def server(can_start_redis: None, tmp_path: Path) -> Iterator[RedisServer]:
    """One that may be broken."""
    with RedisServer(tmp_path / "redis") as made:
        yield made


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", server.port) as made:
        yield made


@pytest.mark.parametrize("fault", ["killed", "paused", "refusing", "cut off", "wiped", "reset"])
def test_the_relays_outlive_a_redis(
    tmp_path: Path, server: RedisServer, proxy: Proxy, fault: str
) -> None:
    """Lost and found are told once each; what was published meanwhile arrives when it is back."""
    faults: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "killed": (server.kill, server.start),
        "paused": (server.pause, server.resume),
        "refusing": (proxy.refuse, proxy.heal),
        "cut off": (proxy.cut, proxy.heal),
        "wiped": (server.flush, lambda: None),
        "reset": (proxy.reset, lambda: None),
    }
    begin, end = faults[fault]
    lasting = fault not in ("wiped", "reset")
    url = f"redis://127.0.0.1:{proxy.port}/0"
    shared = prefix()
    with capture_logs() as logs:
        one, two = Node(tmp_path / "one", url, shared), Node(tmp_path / "two", url, shared)
        with one, two:
            one.publish((1, 1, 1))
            wait_version(two, (1, 1, 1))
            wait("both boards", lambda: one.connected() and two.connected())
            begin()
            if lasting:
                wait("both lost", lambda: not one.connected() and not two.connected())
            one.publish((1, 1, 2))
            end()
            wait_version(two, (1, 1, 2))
            wait("both boards", lambda: one.connected() and two.connected())
            with Node(tmp_path / "three", url, shared) as three:
                wait_version(three, (1, 1, 2))
    told = [entry["event"] for entry in logs]
    if lasting:
        assert sum("is lost" in event for event in told) == 2, told
        assert sum("is there" in event for event in told) == 5, told


def test_a_relay_that_finds_no_redis_waits_for_one(tmp_path: Path, server: RedisServer) -> None:
    server.kill()
    one, two = (Node(tmp_path / name, server.url, "r") for name in ("one", "two"))
    with one, two:
        one.publish((1, 1, 1))
        wait("a board", one.board)
        assert one.board()["redis"] is False
        server.start()
        wait_version(two, (1, 1, 1))


def test_a_redis_that_refuses_writes_counts_as_lost(tmp_path: Path, server: RedisServer) -> None:
    with Keys(server.url, "r") as keys, Node(tmp_path / "one", server.url, "r") as one:
        wait("the board", one.connected)
        keys.configure("maxmemory", "1")
        wait("it to be lost", lambda: not one.connected())
        keys.configure("maxmemory", "0")
        wait("the board", one.connected)


def test_stopping_does_not_wait_for_redis(tmp_path: Path, server: RedisServer) -> None:
    with Node(tmp_path / "one", server.url, "r") as one:
        wait("the board", one.connected)
        server.pause()
    server.resume()


def test_a_stop_is_obeyed_at_any_moment(
    tmp_path: Path, redis_server: RunningRedis, keys: Keys
) -> None:
    """A cancellation that gets lost would leave a task group waiting for ever."""
    for i in range(40):
        with Node(tmp_path / "one", redis_server.url, keys.prefix) as one:
            one.publish((1, 1, i + 1))
            time.sleep(0.002 * i)


def test_the_process_runs_until_it_is_told_to_stop(tmp_path: Path, server: RedisServer) -> None:
    node = Node(tmp_path / "one", server.url, "r")
    loops: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def process() -> None:
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        await relay.run(node.config, node.folder, stop)

    thread = threading.Thread(target=lambda: asyncio.run(process()))
    thread.start()
    wait("the board", node.connected)
    loop, stop = loops[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(SECONDS)
    assert not thread.is_alive()


# -- the learner's report --------------------------------------------------------------------------


def report(node: Node, lease: int, folded: int, owner: bool = True, **more: Any) -> None:
    """What the learner of the node says of itself."""
    said = {"app": "default", "lease": lease, "folded": folded, "owner": owner, **more}
    replace(node.folder.status("default"), json.dumps(said).encode(), durable=False)


def reported(node: Node) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(node.folder.status("default").read_bytes())
    except FileNotFoundError:
        return {}
    return said


def test_servers_have_the_owners_report_and_never_an_older_one(
    tmp_path: Path, redis_server: RunningRedis, keys: Keys
) -> None:
    url, shared = redis_server.url, keys.prefix
    owner = Node(tmp_path / "owner", url, shared, role="learner")
    standby = Node(tmp_path / "standby", url, shared, role="learner")
    server = Node(tmp_path / "server", url, shared, role="server")
    with owner, standby, server:
        report(standby, 1, 900, owner=False)
        report(owner, 1, 500, mode="online")
        wait("the report", lambda: reported(server).get("folded") == 500)
        assert reported(server) == reported(owner)
        # The standby takes over; the old owner does not know it yet.
        report(standby, 2, 600)
        wait("the new owner's", lambda: reported(server).get("lease") == 2)
        report(owner, 1, 10_000)
        report(standby, 2, 700)
        wait("the new owner's", lambda: reported(server).get("folded") == 700)
        assert reported(owner)["lease"] == 1, "learners keep their own"
        keys.write("status", "default", lease=99, folded=1, data=b"forged")
        report(standby, 2, 800)
        wait("the honest one", lambda: reported(server).get("folded") == 800)


# -- the board -------------------------------------------------------------------------------------


def test_every_node_sees_what_all_say_of_themselves(nodes: list[Node]) -> None:
    one, two = nodes
    service = {"host": "10.0.0.7", "port": 6000, "pids": {"supervisor": 4711, "writer": 4712}}
    replace(one.folder.service, json.dumps(service).encode(), durable=False)
    replace(one.folder.shipped, b'{"sequence": 12}', durable=False)
    one.publish((1, 2, 3))
    wait("the model on both", lambda: two.board().get("nodes", {}).get(one.name, {}).get("models"))

    def said() -> Any:
        return two.board()["nodes"][one.name]

    wait("the address", lambda: said()["host"] == "10.0.0.7:6000")
    wait("what was shipped", lambda: said()["shipped"])
    found = said()
    assert abs(found.pop("at") - time.time()) < SECONDS
    assert found == {
        "host": "10.0.0.7:6000",
        "role": "all",
        "pid": 4711,
        "journal": 0,
        "shipped": {"sequence": 12},
        "models": {"default": [1, 2, 3]},
    }
    wait("each other", lambda: set(one.board()["nodes"]) == {one.name, two.name})


def test_nodes_that_are_silent_for_a_day_and_forged_entries_go(
    nodes: list[Node], keys: Keys
) -> None:
    name = keys.name("nodes")

    def entry(node: str, age: float) -> bytes:
        return sign(SECRET, f"{name}/{node}", json.dumps({"at": time.time() - age}).encode())

    yesterday, lately = entry("old", 86_500), entry("recent", 86_000)
    moved = entry("other", 0)
    keys.write("nodes", old=yesterday, recent=lately, forged=b"x" * 99, stolen=moved)
    ours = {node.name for node in nodes}
    wait("the others to go", lambda: set(keys.read("nodes")) == {*ours, "recent"})
    wait("the board", lambda: set(nodes[0].board()["nodes"]) == {*ours, "recent"})
    assert json.loads(checked(SECRET, f"{name}/recent", lately))["at"] > 0
    assert nodes[0].board()["forged"] + nodes[1].board()["forged"] >= 2


def test_a_board_of_another_type_is_replaced(nodes: list[Node], keys: Keys) -> None:
    wait("the board", lambda: all(node.connected() for node in nodes))
    keys.set("nodes", value="a string")
    wait("a new one", lambda: keys.is_hash("nodes") and len(keys.read("nodes")) == 2)
