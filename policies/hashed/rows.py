"""Actions as rows of a sparse matrix over a table of 2^bits slots (Weinberger et al. 2009, "Feature Hashing for Large Scale
Multitask Learning", without their sign: one feature to a slot is the rule, and then a sign changes nothing).

Features that all actions have alike, those of the context, stand apart: they shift all scores by one number, which is
computed once, and which no comparison of actions depends on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from policies.crossing import product_index
from policies.features import action_index
from policies.policy import PolicyError
from policies.sums import sums

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from policies.crossing import Crossing
    from policies.types import ActionSet, Features

_BIAS = np.zeros(1, np.uint64)  # the index of the feature that is always 1
_ONE = np.ones(1)


class Rows(NamedTuple):
    """K rows, each of which also has the common part: the bias and the context's features."""

    common: NDArray[np.intp]  # [c] slots
    common_value: NDArray[np.float64]  # [c]
    row: NDArray[
        np.intp
    ]  # [n] which action: its id, its features, and products of either with the context
    slot: NDArray[np.intp]  # [n]
    value: NDArray[np.float64]  # [n]

    def whole(self) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """(distinct slots, values) of the only row, common part included; what shares a slot is added up there."""
        slot, where = np.unique(np.concatenate((self.common, self.slot)), return_inverse=True)
        value = np.concatenate((self.common_value, self.value))
        return slot, sums(where, value, len(slot))

    def merged(self, bits: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """(row, slot, value) without the common part and without zeros, sorted; a row has each slot once at most."""
        key, where = np.unique((self.row << bits) | self.slot, return_inverse=True)
        value = sums(where, self.value, len(key))
        used = value != 0.0
        key = key[used]
        return key >> bits, key & (2**bits - 1), value[used]


def rows_of(context: Features, actions: ActionSet, crossing: Crossing, bits: int) -> Rows:
    """The rows of K actions. A row's elements stand in an order that does not depend on the other rows."""
    k, mask = len(actions), np.uint64(2**bits - 1)
    own, features = np.arange(k), actions.features
    ids = np.array([action_index(a) for a in actions.ids], np.uint64)
    index, value, row = [ids], [np.ones(k)], [own]
    if len(features):
        owner = own.repeat(actions.start[1:] - actions.start[:-1])
        index.append(features.index)
        value.append(features.value)
        row.append(owner)
    if len(context) and crossing in ("action_id", "both"):
        index.append(product_index(context.index, ids).ravel())
        value.append(np.broadcast_to(context.value, (k, len(context))).ravel())
        row.append(own.repeat(len(context)))
    if len(context) and len(features) and crossing in ("action_features", "both"):
        index.append(product_index(context.index, features.index).ravel())
        value.append((features.value[:, np.newaxis] * context.value).ravel())
        row.append(owner.repeat(len(context)))
    return Rows(
        (np.concatenate((_BIAS, context.index)) & mask).astype(np.intp),
        np.concatenate((_ONE, context.value)),
        np.concatenate(row),
        (np.concatenate(index) & mask).astype(np.intp),
        np.concatenate(value),
    )


def slots(
    arrays: Mapping[str, NDArray[Any]], columns: Mapping[str, str], size: int
) -> NDArray[np.int64]:
    """The slots of a table of this size that a state holds, whose columns have these types.

    Raises:
        PolicyError: the arrays are no such table.
    """
    kinds = {name: array.dtype.str for name, array in arrays.items()}
    if kinds != {"slot": "<i8", **columns}:
        raise PolicyError(f"a table of {kinds}, expected {columns}")
    slot: NDArray[np.int64] = arrays["slot"]
    if any(array.shape != (len(slot),) for array in arrays.values()):
        raise PolicyError("a table whose columns have different lengths")
    if len(slot) and not (slot[0] >= 0 and slot[-1] < size and (slot[1:] > slot[:-1]).all()):
        raise PolicyError(f"a table whose slots are out of order, or not below {size}")
    if not all(np.isfinite(arrays[name]).all() for name in columns):
        raise PolicyError("a table with a number that is not finite")
    return slot
