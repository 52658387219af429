"""The client for asyncio programs: the same calls, awaited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc

from rankd.base import CLOSED, ClientBase
from rankd.errors import RankdError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from rankd.calls import Call
    from rankd.decision import Decision
    from rankd.messages import Actions, RankArgs

T = TypeVar("T")


class AsyncClient(ClientBase):
    """Calls a rankd service, as `Client` does, from the one event loop in which it is first used."""

    _loop: asyncio.AbstractEventLoop | None = None

    async def rank(
        self,
        context: Mapping[str, object],
        actions: Actions,
        *,
        app: str | None = None,
        event_id: str | None = None,
        exclude: Iterable[str] = (),
        slots: Iterable[str] = (),
        k: int | None = 0,
        defer_activation: bool = False,
        default_action: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  # the service is told the deadline too
    ) -> Decision:
        """See `Client.rank`."""
        return await self._run(
            self._rank(
                context,
                actions,
                app=app,
                event_id=event_id,
                exclude=exclude,
                slots=slots,
                k=k,
                defer_activation=defer_activation,
                default_action=default_action,
                timeout=timeout,
            )
        )

    async def rank_many(
        self,
        requests: Iterable[RankArgs],
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> list[Decision]:
        """See `Client.rank_many`."""
        call = self._rank_many(requests, timeout)
        return await self._run(call) if call.items else []

    async def reward(
        self,
        decision: Decision | str,
        value: float,
        *,
        slot: str = "",
        reward_id: str | None = None,
        age: float = 0.0,
        app: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> int | None:
        """See `Client.reward`."""
        call = self._reward(
            decision, value, slot=slot, reward_id=reward_id, age=age, app=app, timeout=timeout
        )
        return None if call is None else await self._run(call)

    async def activate(
        self,
        decision: Decision | str,
        *,
        app: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> int | None:
        """See `Client.activate`."""
        call = self._activate(decision, app=app, timeout=timeout)
        return None if call is None else await self._run(call)

    async def close(self) -> None:
        """See `Client.close`."""
        for channel in self._close():
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _open_channel(self) -> Any:
        self._loop = asyncio.get_running_loop()
        if self._tls is None:
            return grpc.aio.insecure_channel(self.target, options=self._options)
        credentials = self._tls.credentials()
        return grpc.aio.secure_channel(self.target, credentials, options=self._options)

    async def _run(self, call: Call[T]) -> T:
        try:
            # Nearly every call ends here, and stamina's loop would cost it 70 us.
            return await self._attempt(call)
        except RankdError as error:
            first = error
        try:
            async for attempt in call.retries():
                with attempt:
                    if attempt.num == 1:
                        raise first
                    return await self._attempt(call)
        except RankdError as error:
            return call.give_up(error)
        raise AssertionError("stamina's loop ends with a result or an error")

    async def _attempt(self, call: Call[T]) -> T:
        method = self._method(call)
        if self._loop is not asyncio.get_running_loop():
            # gRPC would wait for ever, for an event that another loop has to deliver.
            raise RuntimeError("an AsyncClient works in one event loop; make one for each")
        try:
            reply = await method(call.message(), timeout=call.begin())
        except grpc.RpcError as error:
            raise call.failed(error) from error
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                # gRPC cancels what is under way when its channel is closed; nobody has cancelled the caller.
                raise RuntimeError(CLOSED) from error
            raise
        return call.result(reply)
