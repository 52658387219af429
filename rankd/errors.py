"""What a call to the service may raise, one class for each gRPC status that means something to a caller.

Every class says whether the same call may be made again. "The same" means with the same event_id and reward_id, which
the error carries: the service then counts the call once, however often it arrives. The classes are named after the
statuses, as gRPC users know them, so most have no "Error" at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rankd.decision import Decision


class RankdError(Exception):
    """A call failed. Raised itself only for a status that has no class of its own below.

    May be retried: look at `retryable`.
    gRPC status: `code`.
    """

    status: ClassVar[int] = 2
    """The gRPC status that the class stands for (a google.rpc.Code)."""

    transient: ClassVar[bool] = False
    """Whether the same call may succeed later, for all that the status says."""

    outage: ClassVar[bool] = False
    """Whether the service failed, rather than the caller: what a default action is for."""

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        event_id: str = "",
        reward_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = self.status if code is None else code
        """The gRPC status (a google.rpc.Code)."""
        self.event_id = event_id
        """The event's id, made by the client where none was given. Empty: the call was about several events."""
        self.reward_id = reward_id
        """The reward's id, made by the client where none was given. Empty: the call was not reward()."""
        self.retry_after = retry_after
        """Seconds that the service asks to wait before the next attempt; negative: do not; None: it does not say."""

    @property
    def retryable(self) -> bool:
        """Whether the same call may be made again later, with the same ids."""
        if self.retry_after is None:
            return self.transient
        return self.retry_after >= 0 and (self.transient or isinstance(self, ResourceExhausted))


class InvalidArgument(RankdError, ValueError):  # noqa: N818
    """The request is malformed; the message names the field. Raised by the client itself where it can tell.

    May be retried: no, it would fail again.
    gRPC status: INVALID_ARGUMENT (3).
    """

    status = 3


class DeadlineExceeded(RankdError):  # noqa: N818
    """No answer within the timeout. Whether the service has carried the call out is not known.

    May be retried: yes, with the same ids.
    gRPC status: DEADLINE_EXCEEDED (4).
    """

    status = 4
    transient = True
    outage = True


class NotFound(RankdError):  # noqa: N818
    """The service has no such app, or needs to be told which of several.

    May be retried: no, not before the service's configuration or the call's `app` has changed.
    gRPC status: NOT_FOUND (5).
    """

    status = 5


class AlreadyExists(RankdError):  # noqa: N818
    """The event_id was ranked before with other content. Nothing has changed in the log.

    May be retried: no. Give each event an id of its own, or none and let the client make one.
    gRPC status: ALREADY_EXISTS (6).
    """

    status = 6


class ResourceExhausted(RankdError):  # noqa: N818
    """The service is overloaded or its disk is full, or a message is larger than a limit.

    May be retried: only where the service says when (`retry_after`). The client then does so itself.
    gRPC status: RESOURCE_EXHAUSTED (8).
    """

    status = 8
    outage = True


class InternalError(RankdError):
    """A bug in the service; its own log tells more. Whether it has carried the call out is not known.

    May be retried: it is safe with the same ids, but seldom helps. The client does not.
    gRPC status: INTERNAL (13), UNKNOWN (2), DATA_LOSS (15).
    """

    status = 13
    outage = True


class Unavailable(RankdError):  # noqa: N818
    """The service cannot be reached, or is starting or stopping.

    May be retried: yes, with the same ids. The client has done so until the timeout.
    gRPC status: UNAVAILABLE (14), CANCELLED (1).
    """

    status = 14
    transient = True
    outage = True


class BatchError(RankdError):
    """Some requests of a rank_many() failed, others did not: `results` has them all.

    May be retried: the failed ones, as far as their own `retryable` says so.
    gRPC status: none; each error in `results` has its own.
    """

    def __init__(self, results: Sequence[Decision | RankdError]) -> None:
        failed = [(i, item) for i, item in enumerate(results) if isinstance(item, RankdError)]
        first, error = failed[0]
        super().__init__(
            f"{len(failed)} of {len(results)} requests failed; requests[{first}]: {error}"
        )
        self.results = tuple(results)
        """A Decision, or the error, for each request in its place."""

    def __reduce__(self) -> tuple[type[BatchError], tuple[object, ...]]:
        return BatchError, (self.results,)


_CLASSES: dict[int, type[RankdError]] = {
    cls.status: cls
    for cls in (
        InvalidArgument,
        DeadlineExceeded,
        NotFound,
        AlreadyExists,
        ResourceExhausted,
        InternalError,
        Unavailable,
    )
}
# CANCELLED is what a server says to a call that reaches it while it stops.
_CLASSES |= {1: Unavailable, 2: InternalError, 15: InternalError}


def error_of(
    code: int,
    message: str,
    *,
    event_id: str = "",
    reward_id: str = "",
    retry_after: float | None = None,
) -> RankdError:
    """The error that a gRPC status stands for.

    >>> error_of(5, "no app 'shop'")
    NotFound("no app 'shop'")
    >>> error_of(7, "not yours").code
    7
    """
    cls = _CLASSES.get(code, RankdError)
    return cls(message, code=code, event_id=event_id, reward_id=reward_id, retry_after=retry_after)
