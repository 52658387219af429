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
# Making a shape takes as long as reading ten members without one. When so many have been made (in all, and with one key), each must have been of use
# so often, or no more are made, but of every so many members one: what comes may change, and trying costs a twenty-fifth so.
_TRIED, _TRIED_ALIKE, _WORTH, _AGAIN = 256, 32, 16, 256


class Fitting(Protocol):
    """A shape."""

    def fits(self, data: bytes) -> bool:
        """Whether these are the bytes of a member."""


S = TypeVar("S", bound=Fitting)


class _Alike(Generic[S]):
    """Shapes with one key."""

    __slots__ = ("made", "shapes", "used")

    def __init__(self) -> None:
        self.shapes: list[S] = []
        self.made = self.used = 0


class Kept(Generic[S]):
    """Shapes by a key that all members of one have."""

    def __init__(self) -> None:
        self._by_key: dict[Hashable, _Alike[S]] = {}
        self.kept = self.made = 0  # shapes that are there, and that were made
        self._used = 0
        self._passed = 0  # members of which no shape was made

    def find(self, key: Hashable, data: bytes) -> S | None:
        """The shape of these bytes, if it is there."""
        alike = self._by_key.get(key)
        if alike is None:
            return None
        for shape in alike.shapes:
            if shape.fits(data):
                alike.used += 1
                self._used += 1
                return shape
        return None

    def knows(self, key: Hashable, data: bytes) -> bool:
        """Whether the shape of these bytes is there. Does not count as a use."""
        alike = self._by_key.get(key)
        return alike is not None and any(shape.fits(data) for shape in alike.shapes)

    def worth_making(self, key: Hashable) -> bool:
        """Whether to make one: shapes have been of use so far, those with this key, too, or it is time to try again. Who asks and hears yes makes one."""
        alike = self._by_key.get(key)
        pays = _pays(self.made, self._used, _TRIED)
        if alike is not None:
            pays = pays and _pays(alike.made, alike.used, _TRIED_ALIKE)
        if not pays:
            self._passed += 1
            if self._passed % _AGAIN:
                return False
        self.made += 1
        if max(self.kept, len(self._by_key)) >= _SHAPES:
            self._by_key.clear()
            self.kept = 0
        self._by_key.setdefault(key, _Alike()).made += 1
        return True

    def keep(self, key: Hashable, shape: S) -> None:
        """Keeps one that was worth making, as was just asked."""
        alike = self._by_key[key]
        if len(alike.shapes) == _ALIKE:
            alike.shapes.pop()
            self.kept -= 1
        alike.shapes.insert(0, shape)
        self.kept += 1


def _pays(made: int, used: int, tried: int) -> bool:
    return made < tried or used >= _WORTH * made
