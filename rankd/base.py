"""What Client and AsyncClient have in common: settings, channels, and the making of calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import cycle
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal

from rankd.calls import ActivateCall, Call, RankCall, RankManyCall, RewardCall
from rankd.decision import Decision
from rankd.errors import InvalidArgument
from rankd.messages import (
    Actions,
    RankArgs,
    default_decision,
    eligible,
    event_id_of,
    rank_request,
    reward_request,
)
from rankd.v1 import decisions_pb2 as pb
from rankd.v1.decisions_pb2_grpc import DecisionsStub

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rankd.tls import TLS

DefaultAction = Literal["first"] | Callable[[Sequence[str]], str]
"""A client's rule for default actions: the first eligible one, or what a function picks of the eligible ids."""

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # Channels to one address would otherwise share a connection.
    ("grpc.use_local_subchannel_pool", 1),
    # A server that restarts is back within seconds; gRPC's own 1 s to 120 s would keep clients away for minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A peer that vanished without a word is noticed after 5 s (this sets TCP_USER_TIMEOUT too), not after the kernel's
    # 15 minutes. Pings go out only while calls wait, and at most every 30 s, so no server takes them for abuse.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # The largest reply to expect: rank_many() of 1,000 requests with 1,000 actions each, at 50 bytes for an id and 8
    # for its probability, is 58 MB. gRPC's own limit is 4 MiB.
    ("grpc.max_receive_message_length", 64 << 20),
)


# Greatest age of a reward (seconds): thirty years, which the wire can hold and no window is as long as.
_AGE = 1e9
CLOSED = "the client is closed"


class ClientBase:
    """All of a client but the sending."""

    def __init__(
        self,
        target: str,
        *,
        app: str = "",
        timeout: float = 1.0,
        attempt_timeout: float | None = None,
        default_action: DefaultAction | None = None,
        channels: int = 1,
        options: Sequence[tuple[str, Any]] = (),
        tls: TLS | None = None,
    ) -> None:
        """A client of the service at `target`. It connects with its first call.

        Args:
            target: "host:port", or any other name that gRPC knows ("unix:/path", "dns:///name:port").
            app: the app of all calls that do not name one. Empty: the server's only one.
            timeout: seconds that a call may take, with all its retries, unless the call says otherwise.
            attempt_timeout: seconds that one attempt of a call may take. None: all that is left. Worth setting, with
                several channels, where one server worker may hang while the others are well.
            default_action: what rank() falls back on where the service cannot answer: "first", the first eligible
                action; or a function from the eligible ids to one of them, such as random.choice. None: it raises.
            channels: connections to open, used in turn. Where several server workers share a port the kernel gives each
                connection to one of them, so one connection uses one worker.
            options: gRPC channel options, (name, value), on top of CHANNEL_OPTIONS or instead of one of them.
            tls: how to trust the server, and to show who calls. None: nothing is encrypted.

        Raises:
            InvalidArgument: a setting that makes no sense.
        """
        if (
            default_action is not None
            and default_action != "first"
            and not callable(default_action)
        ):
            raise InvalidArgument(
                f"default_action: is {default_action!r}; a client's is 'first' or a function of eligible ids"
            )
        if channels < 1:
            raise InvalidArgument(f"channels: is {channels}; must be at least 1")
        self.target = target
        self.app = app
        self.timeout = _seconds(timeout, "timeout")
        self.attempt_timeout = attempt_timeout
        if attempt_timeout is not None:
            _seconds(attempt_timeout, "attempt_timeout")
        self._default_action = default_action
        self._channel_count = channels
        self._options = list({**dict(CHANNEL_OPTIONS), **dict(options)}.items())
        self._tls = tls
        self._lock = Lock()
        self._channels: list[Any] = []
        self._stubs: Any = None
        self._closed = False

    def _open_channel(self) -> Any:
        raise NotImplementedError

    def _method(self, call: Call[Any]) -> Any:
        """The call's rpc, on the channel whose turn it is.

        Channels open with the first call, so that a client can be made before a fork, or before there is an event loop.
        """
        stubs = self._stubs
        if stubs is None:
            with self._lock:
                if self._closed:
                    raise RuntimeError(CLOSED)
                if self._stubs is None:
                    self._channels = [self._open_channel() for _ in range(self._channel_count)]
                    self._stubs = cycle([_stub(channel) for channel in self._channels])
                stubs = self._stubs
        return getattr(next(stubs), call.method)

    def _close(self) -> list[Any]:
        """Takes no more calls. Returns the channels to be closed."""
        with self._lock:
            channels = self._channels
            self._channels, self._stubs, self._closed = [], None, True
        return channels

    def _rank(
        self,
        context: Mapping[str, object],
        actions: Actions,
        *,
        app: str | None = None,
        default_action: str | None = None,
        timeout: float | None = None,
        **rest: Any,
    ) -> RankCall:
        request = rank_request(context, actions, app=self.app if app is None else app, **rest)
        return RankCall(request, self._default(request, default_action), *self._times(timeout))

    def _default(self, request: pb.RankRequest, action: str | None) -> Decision | None:
        """Made before the call, so that a default that cannot be is not first heard of in an outage."""
        rule = self._default_action
        if action is None and rule is None:
            return None
        ids = eligible(request)
        if not ids:
            return None  # the service tells what is wrong
        if action is None:
            action = rule(ids) if callable(rule) else ids[0]
        if action not in ids:
            raise InvalidArgument(f"default_action: {action!r} is not among the eligible {ids}")
        return default_decision(request, action)

    def _rank_many(self, requests: Iterable[RankArgs], timeout: float | None) -> RankManyCall:
        items = []
        for i, args in enumerate(requests):
            try:
                items.append(self._rank(**args))
            except InvalidArgument as error:
                raise InvalidArgument(f"requests[{i}]: {error}") from error
            except TypeError as error:
                raise TypeError(f"requests[{i}]: {error}") from error
        return RankManyCall(items, *self._times(timeout))

    def _reward(
        self,
        decision: Decision | str,
        value: float,
        *,
        slot: str,
        reward_id: str | None,
        age: float,
        app: str | None,
        timeout: float | None,
    ) -> RewardCall | None:
        """None for a default decision."""
        app = self._app_of(decision, app)
        request = reward_request(decision, value, app=app, slot=slot, reward_id=reward_id)
        if not 0 <= age < _AGE:
            raise InvalidArgument(f"age: is {age}; must be the seconds since the reward was seen")
        if isinstance(decision, Decision) and decision.is_default:
            return None
        return RewardCall(request, age, *self._times(timeout))

    def _activate(
        self, decision: Decision | str, *, app: str | None, timeout: float | None
    ) -> ActivateCall | None:
        """None for a default decision."""
        app = self._app_of(decision, app)
        request = pb.ActivateRequest(app=app, event_id=event_id_of(decision))
        if isinstance(decision, Decision) and decision.is_default:
            return None
        return ActivateCall(request, *self._times(timeout))

    def _app_of(self, decision: Decision | str, app: str | None) -> str:
        if app is not None:
            return app
        return decision.app if isinstance(decision, Decision) else self.app

    def _times(self, timeout: float | None) -> tuple[float, float | None]:
        total = self.timeout if timeout is None else _seconds(timeout, "timeout")
        return total, self.attempt_timeout


def _stub(channel: Any) -> DecisionsStub:
    return DecisionsStub(channel)  # type: ignore[no-untyped-call]  # generated code has no annotations


def _seconds(value: float, field: str) -> float:
    if not 0 < value < math.inf:
        raise InvalidArgument(f"{field}: is {value}; must be a number of seconds above 0")
    return value
