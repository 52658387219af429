"""What an operator should look at, from what the processes report of themselves. docs/operations.md says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Processes report twice a second; one that has not for so long (seconds) is stuck, or gone.
_STALE = 5.0
# Seconds behind that are more than a busy moment or a restart.
_BEHIND = 30.0


class Alarm(NamedTuple):
    """One thing to look at."""

    id: str
    text: str


def alarms(
    status: Mapping[str, Any],
    status_age: float,
    lag_seconds: float,
    shipped: Mapping[str, Any] | None,
    board: Mapping[str, Any] | None,
    board_age: float,
) -> Iterator[Alarm]:
    """What is wrong now.

    Args:
        status: the learner's report of one app.
        status_age: seconds since it was written.
        lag_seconds: how far the learner is behind the log.
        shipped: this node's shipper's report; None where nothing is shipped.
        board: what Redis tells of all nodes; None where there is no Redis.
        board_age: seconds since that was written.
    """
    if status_age > _STALE:
        yield Alarm(
            "learner-silent", f"the learner has not reported for {status_age:.0f} s; models get old"
        )
    if lag_seconds > _BEHIND:
        yield Alarm("learner-behind", f"the learner is {lag_seconds:.0f} s behind the log")
    drift = status.get("drift") or {}
    if drift.get("recent"):
        yield Alarm("drift", _drift(drift))
    following = status.get("following") or {}
    if following.get("error"):
        yield Alarm("log-stopped", f"the log cannot be read on: {following['error']}")
    elif following.get("kafka") is False:
        yield Alarm("kafka-away", "the learner cannot reach Kafka; nothing is learned until it can")
    silent = status.get("silent_nodes") or []
    if silent:
        yield Alarm(
            "node-silent",
            f"nothing comes from {', '.join(silent)}; windows stay open until it does, or until kafka.node_lease is over",
        )
    if shipped is not None:
        yield from _shipping("this node", shipped)
    if board is not None:
        yield from _redis(board, board_age)


def _drift(drift: Mapping[str, Any]) -> str:
    what = (
        "rewards became lower" if drift["on"] == "reward" else "the policy's errors became larger"
    )
    done = {
        "alert": "nothing was done",
        "explore": "more is explored for a while",
        "restart": "an untrained policy took over",
    }
    follows = done[drift["action"]]
    if drift["action"] == "restart" and drift["restarted"] != drift["last"]:
        follows = "too soon after the last restart for another"
    ago = drift["learned"] - drift["last"]
    return f"{what} {ago:,} interactions ago, says {drift['detector']}; {follows}"


def _shipping(who: str, shipped: Mapping[str, Any]) -> Iterator[Alarm]:
    if shipped.get("kafka") is False:
        yield Alarm("kafka-away", f"{who} cannot reach Kafka; its journal keeps what it takes")
    if shipped.get("lag_seconds", 0.0) > _BEHIND:
        yield Alarm(
            "ship-lag",
            f"{who} has {shipped['lag_records']:,} records ({shipped['lag_seconds']:.0f} s) that are not in Kafka yet",
        )


def _redis(board: Mapping[str, Any], age: float) -> Iterator[Alarm]:
    if age > _STALE:
        yield Alarm(
            "relay-silent", f"the relay has not reported for {age:.0f} s; models do not come"
        )
    elif not board["redis"]:
        yield Alarm("redis-away", "Redis cannot be reached; servers keep the models that they have")
    if board.get("forged"):
        yield Alarm(
            "forged",
            f"{board['forged']} values in Redis were not signed with redis.key, and were refused",
        )
    for folder, node in board["nodes"].items():
        if node["at"] < board["at"] - _BEHIND:
            yield Alarm(
                "node-gone",
                f"node {folder} ({node['host']}) has been silent for {board['at'] - node['at']:.0f} s",
            )
        else:
            yield from _shipping(f"node {node['host']}", node.get("shipped") or {})
