"""One call of the API, without the sending: message, deadline, retries, result. The same for Client and AsyncClient.

A `Call` makes the message of each attempt, decides after a failure whether and when there is another one, and turns
the reply, or the last failure, into what the caller gets. Clients only send and wait.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import stamina

from rankd.decision import Decision
from rankd.errors import BatchError, InternalError, RankdError, error_of
from rankd.messages import decision_of
from rankd.v1 import decisions_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import Sequence

    import grpc

T = TypeVar("T")

# Seconds before the second attempt, at most; twice that before each further one, up to LAST_BACKOFF. The wait is drawn
# uniformly below that ("full jitter", Brooker 2015, "Exponential Backoff and Jitter"), so that clients that a restart
# cut off together do not come back together. At worst, in the end, a call sends 2 attempts a second.
FIRST_BACKOFF = 0.05
LAST_BACKOFF = 1.0
# Far more than it takes to reach it, and far fewer than a float bears.
_DOUBLINGS = 30

# How a server tells when to come back (gRPC's proposal A6, client retries): milliseconds; negative means never.
PUSHBACK = "grpc-retry-pushback-ms"


class Call(ABC, Generic[T]):
    """One call: one deadline, however many attempts."""

    method: ClassVar[str]
    """The rpc's name."""

    def __init__(
        self,
        timeout: float,
        attempt_timeout: float | None,
        *,
        event_id: str = "",
        reward_id: str = "",
    ) -> None:
        self.started = monotonic()
        self.deadline = self.started + timeout
        self.attempt_timeout = attempt_timeout
        self.attempts = 0
        self.event_id = event_id
        self.reward_id = reward_id

    @abstractmethod
    def message(self) -> Any:
        """The request of the next attempt."""

    @abstractmethod
    def result(self, reply: Any) -> T:
        """What the caller gets.

        Raises:
            RankdError: the reply tells of a failure.
        """

    def give_up(self, error: RankdError) -> T:
        """What the caller gets after the last attempt."""
        raise error

    def begin(self) -> float:
        """Begins an attempt. Returns the seconds that it may take."""
        self.attempts += 1
        left = max(0.0, self.deadline - monotonic())
        return left if self.attempt_timeout is None else min(left, self.attempt_timeout)

    def failure(self, code: int, message: str, retry_after: float | None = None) -> RankdError:
        """A failed attempt as an error that tells the ids which make another one safe."""
        return error_of(
            code,
            message,
            event_id=self.event_id,
            reward_id=self.reward_id,
            retry_after=retry_after,
        )

    def failed(self, error: grpc.RpcError) -> RankdError:
        """What gRPC raised, in our own terms."""
        number, name = error.code().value
        return self.failure(number, error.details() or name, _pushback(error))

    def retries(self) -> Any:
        """stamina's loop of attempts: it waits as `wait` says, and reports retries to stamina's instrumentation."""
        return stamina.retry_context(on=self.wait, attempts=None, timeout=None)

    def wait(self, error: Exception) -> float | bool:
        """Seconds to wait before the next attempt. False: there is none.

        Every call carries ids that make a second arrival harmless, so all that counts is whether it may help.
        """
        if not isinstance(error, RankdError) or not error.retryable:
            return False
        doubled = min(self.attempts - 1, _DOUBLINGS)
        longest = min(LAST_BACKOFF, FIRST_BACKOFF * 2.0**doubled)
        wait = max(random.uniform(0.0, longest), error.retry_after or 0.0)  # noqa: S311  # no secret
        if wait < self.deadline - monotonic():
            return wait
        error.add_note(f"after {self.attempts} attempts in {monotonic() - self.started:.3f} s")
        return False


class RankCall(Call[Decision]):
    """rank(), and one item of rank_many()."""

    method = "Rank"

    def __init__(
        self,
        request: pb.RankRequest,
        default: Decision | None,
        timeout: float,
        attempt_timeout: float | None,
    ) -> None:
        super().__init__(timeout, attempt_timeout, event_id=request.event_id)
        self.request = request
        self.default = default

    def message(self) -> pb.RankRequest:
        return self.request

    def result(self, reply: pb.RankReply) -> Decision:
        if reply.HasField("error"):
            raise self.failure(reply.error.code, reply.error.message)
        return decision_of(self.request, reply)

    def give_up(self, error: RankdError) -> Decision:
        if self.default is None or not error.outage:
            raise error
        return self.default


class RankManyCall(Call[list[Decision]]):
    """rank_many(). Each attempt asks for the decisions that are still open."""

    method = "RankBatch"

    def __init__(
        self, items: Sequence[RankCall], timeout: float, attempt_timeout: float | None
    ) -> None:
        super().__init__(timeout, attempt_timeout)
        self.items = items
        self.results: list[Decision | RankdError | None] = [None] * len(items)
        self.open = list(range(len(items)))

    def message(self) -> pb.RankBatchRequest:
        return pb.RankBatchRequest(requests=[self.items[i].request for i in self.open])

    def result(self, reply: pb.RankBatchReply) -> list[Decision]:
        if len(reply.replies) != len(self.open):
            raise InternalError(f"{len(reply.replies)} replies to {len(self.open)} requests")
        again: RankdError | None = None
        still_open = []
        for i, item in zip(self.open, reply.replies, strict=True):
            try:
                self.results[i] = self.items[i].result(item)
            except RankdError as error:
                self.results[i] = error
                if error.retryable:
                    again = error
                    still_open.append(i)
        self.open = still_open
        if again is not None:
            raise again
        return self._decisions()

    def give_up(self, error: RankdError) -> list[Decision]:
        answered = any(result is not None for result in self.results)
        with_default = any(item.default is not None for item in self.items)
        if not answered and not (error.outage and with_default):
            raise error  # it is the same for every request
        for i in self.open:
            self.results[i] = self.results[i] or error
        return self._decisions()

    def _decisions(self) -> list[Decision]:
        """The decisions, default ones where they must be.

        Raises:
            BatchError: there is not one for every request.
        """
        results: list[Decision | RankdError] = []
        for item, result in zip(self.items, self.results, strict=True):
            if isinstance(result, Decision):
                results.append(result)
                continue
            assert result is not None
            try:
                results.append(item.give_up(result))
            except RankdError as error:
                results.append(error)
        decisions = [result for result in results if isinstance(result, Decision)]
        if len(decisions) < len(results):
            raise BatchError(results)
        return decisions


class RewardCall(Call[int | None]):
    """reward()."""

    method = "Reward"

    def __init__(
        self,
        request: pb.RewardRequest,
        age: float,
        timeout: float,
        attempt_timeout: float | None,
    ) -> None:
        super().__init__(
            timeout, attempt_timeout, event_id=request.event_id, reward_id=request.reward_id
        )
        self.request = request
        self.age = age

    def message(self) -> pb.RewardRequest:
        # What attempts and waits take must not count against the event's window.
        self.request.age_ms = round(1000 * (self.age + monotonic() - self.started))
        return self.request

    def result(self, reply: pb.RewardReply) -> int:
        return reply.sequence


class ActivateCall(Call[int | None]):
    """activate()."""

    method = "Activate"

    def __init__(
        self, request: pb.ActivateRequest, timeout: float, attempt_timeout: float | None
    ) -> None:
        super().__init__(timeout, attempt_timeout, event_id=request.event_id)
        self.request = request

    def message(self) -> pb.ActivateRequest:
        return self.request

    def result(self, reply: pb.ActivateReply) -> int:
        return reply.sequence


def _pushback(error: grpc.RpcError) -> float | None:
    """Seconds that the server asks to wait, if it says so. A value that is no number means never (proposal A6)."""
    metadata: Any = error.trailing_metadata() or ()
    for key, value in metadata:
        if key == PUSHBACK:
            try:
                return int(value) / 1000
            except ValueError:
                return -1.0
    return None
