"""What a call can end with, in words of the domain. Each edge turns them into its transport's own."""

from __future__ import annotations


class ServiceError(Exception):
    """A call that is refused. The message goes to the client: it names the field and says what to do."""


class FieldError(ServiceError):
    """A field of the request is at fault; `field` is its path."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason

    def within(self, path: str) -> FieldError:
        """The same error of a request that is part of a larger one."""
        return type(self)(f"{path}.{self.field}", self.reason)


class InvalidArgumentError(FieldError):
    """The request is wrong and will stay so. Nothing was logged. Do not retry."""


class NotFoundError(FieldError):
    """No such app or model. Nothing was logged. Do not retry."""


class AlreadyExistsError(ServiceError):
    """The event_id belongs to a decision on another question. Nothing was logged. Do not retry; use a fresh id."""


class FailedPreconditionError(ServiceError):
    """The request makes sense, but not for the state that the app is in. Nothing was logged."""


class ResourceExhaustedError(ServiceError):
    """Too much at once, or no room left to log. Nothing was logged. Retry later.

    Args:
        retry_after: seconds after which it may be tried again; None where that cannot be known.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnavailableError(ServiceError):
    """The service cannot answer just now. Retry; with the same event_id or reward_id nothing counts twice."""
