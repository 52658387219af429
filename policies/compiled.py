"""Inner loops compiled by numba, where it is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Loops = tuple[str, "Callable[..., None]"]
"""(numba's signature, the function)."""


def compiled(loops: Mapping[str, Loops]) -> dict[str, Callable[..., Any]] | None:
    """The same functions, compiled; None without numba. The first process that asks waits for the compiler, some seconds;
    others load what it left, in half a second.

    The compiler may do several columns at once, but must not reorder or fuse anything, so that the bits are those of numpy: so
    no fastmath.
    """
    try:
        from numba import njit  # here, as it takes half a second
    except ImportError:
        return None
    made: dict[str, Callable[..., Any]] = {}
    for name, (signature, function) in loops.items():
        try:
            made[name] = njit(signature, cache=True)(function)
        except (
            RuntimeError,
            OSError,
        ):  # there is no folder to cache it in, or it cannot be written to
            made[name] = njit(signature)(function)
    return made
