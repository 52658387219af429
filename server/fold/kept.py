"""Shapes of what comes again and again, kept as long as they pay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

# Shapes that are kept, and bytes that all members of one have in common, at most: with as much again some times for what stands in the log and for arrays
# 1,024 x 16 kB x 5 = 80 MB if clients fill it on purpose. When it is full it is emptied.
_SHAPES, SHAPE_BYTES = 1_024, 16 << 10
# Shapes with one key are tried one after another.
_ALIKE = 8
# Making a shape takes as long as reading ten members without one. When so many have been made, each must have been of use
# so often, or no more are made, but of every so many members one: what comes may change, and trying costs a twenty-fifth so.
_TRIED, _WORTH, _AGAIN = 256, 16, 256


class Fitting(Protocol):
    """A shape."""

    def fits(self, data: bytes) -> bool:
        """Whether these are the bytes of a member."""


S = TypeVar("S", bound=Fitting)


class Kept(Generic[S]):
    """Shapes by a key that all members of one have."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, list[S]] = {}
        self.kept = self.made = 0  # shapes that are there, and that were made
        self._used = 0
        self._passed = 0  # members of which no shape was made

    def find(self, key: Hashable, data: bytes) -> S | None:
        """The shape of these bytes, if it is there."""
        for shape in self._by_key.get(key, ()):
            if shape.fits(data):
                self._used += 1
                return shape
        return None

    def knows(self, key: Hashable, data: bytes) -> bool:
        """Whether the shape of these bytes is there. Does not count as a use."""
        return any(shape.fits(data) for shape in self._by_key.get(key, ()))

    @property
    def worth_making(self) -> bool:
        """Whether to make one: shapes have been of use so far, or it is time to try again. Who asks and hears yes makes one."""
        if self.made >= _TRIED and self._used < _WORTH * self.made:
            self._passed += 1
            if self._passed % _AGAIN:
                return False
        self.made += 1
        return True

    def keep(self, key: Hashable, shape: S) -> None:
        """Keeps one."""
        if self.kept >= _SHAPES:
            self._by_key.clear()
            self.kept = 0
        alike = self._by_key.setdefault(key, [])
        if len(alike) == _ALIKE:
            alike.pop()
            self.kept -= 1
        alike.insert(0, shape)
        self.kept += 1
