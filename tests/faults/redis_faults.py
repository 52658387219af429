"""Redis wiped, killed, paused and refusing, and forged values in it: calls go on, models come again, forgeries are refused."""

from __future__ import annotations

import json
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import redis

from rankd.v1 import decisions_pb2 as api
from rankd.v1 import internal_pb2
from server.fold.envelope import seal
from server.redis.seal import ForgedError, checked, sign
from tests.faults.checks import Outcome, check, settle
from tests.faults.cluster import APP, KEY, Cluster
from tests.faults.load import ACTIONS, Load
from tests.faults.watch import Watch, stopped
from tests.server.harness import CALL, eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.server.harness import Service

_MODEL = f"rankd:model:{APP}"
_STATUS = f"rankd:status:{APP}"
_BOARD = "rankd:nodes"
_CHANNEL = "rankd:models"
_SECRET = bytes.fromhex(KEY)
# Greater than any genuine one, so that whoever believed it would keep it for ever.
_HUGE = {"lease": 99, "epoch": 99, "published_at": 10**9}
# Calls of each server while Redis is away, none of which is made a second time.
_CALLS = 10


def redis_faults(folder: Path, rounds: int, seed: int) -> Outcome:
    """No call fails, no server ever has a model that is not the log's, and their models go on rising after each fault."""
    rng = random.Random(seed)
    seconds = 2.0 if rounds < 10 else 30.0
    injected, longest = 0, 0.0
    with Cluster(folder, proxied=("server-0",)) as cluster:
        servers = cluster.servers
        with (
            Watch(servers) as watch,
            Load([node.port for node in servers], seed=seed) as load,
            redis.Redis.from_url(cluster.redis.url, socket_timeout=CALL) as client,
        ):
            first = servers[0].published(APP)
            faults: list[Callable[[], None]] = [
                lambda: _away(cluster, load, client.flushall, lambda: None, seconds),
                lambda: _away(cluster, load, cluster.redis.kill, cluster.redis.start, seconds),
                lambda: _away(cluster, load, cluster.redis.pause, cluster.redis.resume, seconds),
                lambda: _away(
                    cluster, load, cluster.redis_proxy.refuse, cluster.redis_proxy.heal, seconds
                ),
                lambda: _away(
                    cluster, load, cluster.redis_proxy.cut, cluster.redis_proxy.heal, seconds
                ),
                lambda: _model_from_another_server(cluster, client),
                lambda: _noise_on_the_channel(client),
            ]
            faults += [
                lambda make=make: _forged(cluster, client, make(first, rng))  # type: ignore[misc]
                for make in (
                    _unsigned,
                    _of_another_key,
                    _of_another_app,
                    _cut,
                    _flipped,
                    _renumbered,
                )
            ]
            faults += [
                lambda: _wrong_type(cluster, client),
                lambda: _forged_reports(cluster, client),
            ]
            for _ in range(max(1, rounds // 10)):
                rng.shuffle(faults)
                for fault in faults:
                    fault()
                    healed = time.monotonic()
                    watch.wait_newer()
                    longest = max(longest, time.monotonic() - healed)
                    injected += 1
        assert load.failed == 0, f"{load.failed} calls failed: {load.error}"
        settle(cluster, load)
        outcome = check(cluster, "Redis lost, wiped, forged", load, watch=watch)
        models = sum(len(seen) for seen in watch.seen.values())
        forged = _count_forged(cluster)
    note = f"{models:,} models seen on servers, all the log's; {forged} forgeries refused"
    return replace(outcome, injected=injected, recovery=longest, note=note)


# -- Redis away ------------------------------------------------------------------------------------


def _away(
    cluster: Cluster,
    load: Load,
    begin: Callable[[], object],
    end: Callable[[], object],
    seconds: float,
) -> None:
    """Calls are answered meanwhile, each at the first attempt."""
    decisions = load.decisions
    begin()
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for server in cluster.servers:
                _rank(server)
            time.sleep(seconds / _CALLS)
        eventually("decisions without Redis", lambda: load.decisions > decisions)
    finally:
        end()


def _rank(server: Service) -> None:
    request = api.RankRequest(action_ids=ACTIONS)
    # Raises where it fails: nobody tries this one again.
    server.decisions.Rank(request, timeout=CALL)


def _model_from_another_server(cluster: Cluster, client: redis.Redis) -> None:
    """Redis is wiped, the learner's relay does nothing, and a server has lost its model: it gets the other's."""
    learner, (giver, taker) = cluster.learners[0], cluster.servers
    relay = learner.pids()["relay"]
    with stopped(relay):
        eventually("both servers to have the same", lambda: _order(giver) == _order(taker))
        before = _order(giver)
        client.flushall()
        taker.folder.snapshot(APP).unlink()
        eventually("the model again", taker.folder.snapshot(APP).exists)
        # One that the relay sent before it was stopped may still have been on its way to both: newer, never older.
        eventually("the other's model", lambda: _order(taker) == _order(giver))
        assert _order(taker) >= before
        _rank(taker)


def _order(server: Service) -> tuple[int, int, int]:
    model = server.published(APP)
    return model.lease, model.epoch, model.published_at


# -- forgeries -------------------------------------------------------------------------------------


def _other(first: internal_pb2.Snapshot) -> bytes:
    """A model that every server could load: the first one of all, as if it were the newest."""
    other = internal_pb2.Snapshot()
    other.CopyFrom(first)
    other.lease, other.epoch, other.published_at = _HUGE.values()
    other.model_version = other.published_at
    return seal(other)


def _unsigned(first: internal_pb2.Snapshot, rng: random.Random) -> bytes:
    return rng.randbytes(32) + _other(first)


def _of_another_key(first: internal_pb2.Snapshot, rng: random.Random) -> bytes:
    return sign(rng.randbytes(32), _MODEL, _other(first))


def _of_another_app(first: internal_pb2.Snapshot, rng: random.Random) -> bytes:
    return sign(_SECRET, f"rankd:model:app{rng.randrange(9)}", _other(first))


def _cut(first: internal_pb2.Snapshot, rng: random.Random) -> bytes:
    signed = sign(_SECRET, _MODEL, _other(first))
    return signed[: rng.randrange(len(signed))]


def _flipped(first: internal_pb2.Snapshot, rng: random.Random) -> bytes:
    signed = bytearray(sign(_SECRET, _MODEL, _other(first)))
    signed[rng.randrange(len(signed))] ^= 1 << rng.randrange(8)
    return bytes(signed)


def _renumbered(first: internal_pb2.Snapshot, rng: random.Random) -> bytes:
    """An old value of ours, under numbers that say it is the newest."""
    return sign(_SECRET, _MODEL, seal(first))


def _forged(cluster: Cluster, client: redis.Redis, data: bytes) -> None:
    before = _count_forged(cluster)
    # The same forgery is counted once only, so each is another one.
    numbers: dict[Any, Any] = {**_HUGE, "lease": _HUGE["lease"] + before}
    client.hset(_MODEL, mapping=numbers | {"data": data})
    client.publish(_CHANNEL, APP)
    eventually("the forgery to be counted", lambda: _count_forged(cluster) > before)
    _replaced(cluster, client)


def _wrong_type(cluster: Cluster, client: redis.Redis) -> None:
    client.set(_MODEL, b"model")
    client.publish(_CHANNEL, APP)
    _replaced(cluster, client)


def _replaced(cluster: Cluster, client: redis.Redis) -> None:
    eventually("the genuine model in its place", lambda: _genuine(client))
    for server in cluster.servers:
        assert server.published(APP).lease < _HUGE["lease"]
        _rank(server)


def _genuine(client: redis.Redis) -> bool:
    if client.type(_MODEL) != b"hash":
        return False
    held: Any = client.hgetall(_MODEL)
    try:
        checked(_SECRET, _MODEL, held.get(b"data", b""))
    except ForgedError:
        return False
    return int(held[b"lease"]) < _HUGE["lease"]


def _forged_reports(cluster: Cluster, client: redis.Redis) -> None:
    """A learner's report and a node on the status board that nobody of ours wrote."""
    before = _count_forged(cluster)
    report = json.dumps({"lease": 99, "folded": 10**9, "owner": True}).encode()
    numbers: dict[Any, Any] = {"lease": 99 + before, "folded": 10**9}
    client.hset(_STATUS, mapping=numbers | {"data": bytes(32) + report})
    somebody = f"somebody {before}"
    client.hset(_BOARD, somebody, bytes(32) + b'{"at": 0}')
    eventually("the forgeries to be counted", lambda: _count_forged(cluster) >= before + 2)
    eventually("the entry to be dropped", lambda: not client.hexists(_BOARD, somebody))
    for server in cluster.servers:
        assert server.status(APP).lease < _HUGE["lease"]


def _count_forged(cluster: Cluster) -> int:
    """Refused forgeries, by what the nodes' boards say."""
    boards = (json.loads(node.folder.board.read_bytes()) for node in cluster.nodes.values())
    return sum(board["forged"] for board in boards)


def _noise_on_the_channel(client: redis.Redis) -> None:
    """Whoever reaches Redis can say anything there."""
    for message in (b"", b"\xff\x00", b"nobody", APP.encode(), b"x" * 1_000_000):
        client.publish(_CHANNEL, message)
