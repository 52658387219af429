"""Numbers for each of the most recently learned features, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from policies.policy import PolicyError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import NDArray


class Entities:
    """Vectors [width] by the index of a feature; those never learned are 0 and take no memory.

    When `capacity` is reached, what was learned least recently makes room, and is as if never learned.
    """

    def __init__(self, width: int, capacity: int) -> None:
        self._width = width
        self._capacity = capacity
        self._place: dict[int, int] = {}  # in _vectors, by index; least recently learned first
        self._vectors = np.empty((0, width))

    def __len__(self) -> int:
        return len(self._place)

    def of(
        self, index: NDArray[np.uint64], new: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """[n, width]; `new` for each that was never learned, or else 0."""
        place = np.array([self._place.get(i, -1) for i in index.tolist()], np.intp)
        known = place >= 0
        if known.all():
            return self._vectors[place]
        vectors = np.zeros((len(index), self._width))
        vectors[known] = self._vectors[place[known]]
        if new is not None:
            vectors[~known] = new
        return vectors

    def learn(self, index: NDArray[np.uint64], vectors: NDArray[np.float64]) -> None:
        """Keeps these vectors [n, width], as the most recent ones, in this order."""
        for i, vector in zip(index.tolist(), vectors, strict=True):
            place = self._place.pop(i, -1)
            if place < 0:
                place = self._room()
            self._place[i] = place
            self._vectors[place] = vector

    def _room(self) -> int:
        used = len(self._place)
        if used == self._capacity:
            return self._place.pop(next(iter(self._place)))
        if used == len(self._vectors):
            more = np.empty((min(max(16, used), self._capacity - used), self._width))
            self._vectors = np.concatenate((self._vectors, more))
        return used

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state, for `pack`: least recently learned first."""
        place = np.fromiter(self._place.values(), np.intp, len(self._place))
        index = np.fromiter(self._place, np.uint64, len(self._place))
        return {"index": index, "vectors": self._vectors[place]}

    @classmethod
    def from_arrays(cls, width: int, capacity: int, arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The inverse of `arrays`.

        Raises:
            PolicyError: they are no such vectors.
        """
        self = cls(width, capacity)
        kinds = {name: array.dtype.str for name, array in arrays.items()}
        if kinds != {"index": "<u8", "vectors": "<f8"}:
            raise PolicyError(f"vectors: expected index <u8 and vectors <f8, got {kinds}")
        index, vectors = arrays["index"], arrays["vectors"]
        if index.ndim != 1 or vectors.shape != (len(index), width):
            raise PolicyError(f"vectors: {vectors.shape} for {index.shape} entities")
        if len(index) > capacity or len(set(index.tolist())) != len(index):
            raise PolicyError(f"vectors: an entity twice, or more than {capacity}")
        if not np.isfinite(vectors).all():
            raise PolicyError("vectors: a number is not finite")
        self._place = dict(zip(index.tolist(), range(len(index)), strict=True))
        self._vectors = vectors
        return self
