"""How a streaming method reads and writes, whatever its edge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Read = Callable[[], Awaitable[bytes | None]]
"""The next message of a stream; None where the client has ended its side. Raises GoneError."""
Write = Callable[[bytes], Awaitable[None]]
"""Hands one message over. Raises GoneError."""


class GoneError(Exception):
    """The caller is not there any more."""


def first(error: BaseException) -> BaseException:
    """The error that ended a stream whose parts run side by side."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
