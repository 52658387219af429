"""One process's calls, on one event loop."""

from __future__ import annotations

import asyncio
import random
import time
from itertools import cycle
from typing import TYPE_CHECKING, Any

import grpc

from rankd.load.plan import due
from rankd.load.requests import rank_requests, reward_request
from rankd.load.tally import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rankd.load.plan import Plan

_SERVICE = "/rankd.v1.Decisions"
_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),  # else all channels would share one connection
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.enable_retries", 0),  # a retry would hide an error, and its latency
)

# Seconds until a generator that waits for its next call notices that it is to stop.
_NAP = 0.2


class Driver:
    """Sends what a plan says, and keeps count.

    Args:
        stop: set it to end early; calls under way are still waited for.
    """

    def __init__(self, plan: Plan, stop: asyncio.Event) -> None:
        self.tally = Tally()  # since it was last taken
        self._plan = plan
        self._stop = stop
        self._requests: Iterator[bytes] = rank_requests(
            plan.app, plan.actions, plan.features, seed=plan.process
        )
        self._rng = random.Random(plan.process)  # noqa: S311  # of rewards that mean nothing
        self._channels: list[grpc.aio.Channel] = []

    async def connect(self) -> None:
        """Opens the connections. Raises TimeoutError where one does not come up in time."""
        plan = self._plan
        self._channels = [
            grpc.aio.insecure_channel(plan.target, options=_OPTIONS)
            for _ in range(plan.connections)
        ]
        async with asyncio.timeout(plan.timeout):
            await asyncio.gather(*(channel.channel_ready() for channel in self._channels))
        ranks: list[Any] = [c.unary_unary(f"{_SERVICE}/Rank") for c in self._channels]
        rewards: list[Any] = [c.unary_unary(f"{_SERVICE}/Reward") for c in self._channels]
        self._calls = cycle(zip(ranks, rewards, strict=True))

    async def run(self, start: float) -> None:
        """From the start until the plan's end, and until the last answer is there.

        Args:
            start: by time.monotonic(), which all processes of a machine share.
        """
        await self._until(start)
        async with asyncio.TaskGroup() as calls:
            if self._plan.closed:
                for _ in range(self._plan.closed):
                    calls.create_task(self._one_after_another(start))
            else:
                await self._at_their_times(calls, start)
        await asyncio.gather(*(channel.close() for channel in self._channels))

    def take(self) -> Tally:
        """What has been counted since the last time."""
        taken, self.tally = self.tally, Tally()
        return taken

    async def _at_their_times(self, calls: asyncio.TaskGroup, start: float) -> None:
        for at in due(self._plan):
            when = start + at
            await self._until(when)
            if self._stop.is_set():
                return
            self.tally.late.record(_us(time.monotonic() - when))
            calls.create_task(self._call(when))

    async def _one_after_another(self, start: float) -> None:
        until = start + self._plan.seconds
        while (now := time.monotonic()) < until and not self._stop.is_set():
            await self._call(now)

    async def _call(self, when: float) -> None:
        """One Rank, and its reward if it gets one; latency counts from `when`."""
        rank, reward = next(self._calls)
        reply = await self._answer("Rank", rank, next(self._requests), when)
        if reply is None or self._rng.random() >= self._plan.rewards:
            return
        value = self._rng.choice((self._plan.low, self._plan.high))
        request = reward_request(self._plan.app, reply, value)
        await self._answer("Reward", reward, request, time.monotonic())

    async def _answer(self, method: str, call: Any, request: bytes, when: float) -> bytes | None:
        try:
            reply: bytes = await call(request, timeout=self._plan.timeout)
        except grpc.aio.AioRpcError as error:
            self.tally.failed(method, error.code().name, (error.details() or "")[:200])
            return None
        took = self.tally.rank if method == "Rank" else self.tally.reward
        took.record(_us(time.monotonic() - when))
        return reply

    async def _until(self, when: float) -> None:
        """Waits until then, or until told to stop; gives the loop a turn in any case."""
        while (left := when - time.monotonic()) > _NAP and not self._stop.is_set():  # noqa: ASYNC110  # cheaper than a waiter each
            await asyncio.sleep(_NAP)
        await asyncio.sleep(max(0.0, min(left, _NAP)))


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
