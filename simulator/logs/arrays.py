"""Logged bandit feedback as arrays, with the names that Open Bandit Pipeline gives them.

    context         [n, d]           numbers, feature x0 .. of namespace ""
    action          [n]              0 .. K - 1
    reward          [n]
    pscore          [n]              the propensity; may be left out where pi_b is there
    pi_b            [n, K] or [n, K, L]   the logging policy's pmf, at each of L positions; may be left out
    position        [n]              0 .. L - 1, becomes `Decided.slot`; may be left out
    action_context  [K, e]           numbers of the actions, feature x0 .. of namespace ""; may be left out
    n_actions       K; may be left out

Actions are called "0" .. "K-1". What else there is, is passed over. A .npz file has the same names; its arrays are read as a
whole, and the log is no larger in memory than that.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from simulator.logs.events import Decided, LogFormatError, Matured, probability
from simulator.logs.named import Named, encode_all
from simulator.logs.shapes import encode

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from policies import ActionSet
    from simulator.logs.events import Event

_NEEDED = ("context", "action", "reward")
_KNOWN = (*_NEEDED, "pscore", "pi_b", "position", "action_context", "n_actions")
# A set of actions is built as a whole: some 100 bytes each, and a policy's model on top.
_MOST_ACTIONS = 10_000_000


class ArraysLog:
    """Bandit feedback as a log: see `events.Log`.

    >>> feedback = {"context": [[0.5], [1.5]], "action": [0, 1], "reward": [1.0, 0.0], "pscore": [0.5, 0.25]}
    >>> [event.reward for event in ArraysLog(feedback) if isinstance(event, Matured)]
    [1.0, 0.0]

    Args:
        feedback: arrays, or what numpy makes arrays of.
        reward_range: (lowest, highest) reward that can be, where it is known.

    Raises:
        LogFormatError: an array is missing, or the shapes contradict each other; while iterating: a row is not
            possible.
    """

    def __init__(
        self,
        feedback: Mapping[str, object],
        reward_range: tuple[float, float] | None = None,
        name: str = "bandit feedback",
    ) -> None:
        self.name = name
        self.reward_range = reward_range
        self.counters: Counter[str] = Counter()
        given = {key: feedback[key] for key in _KNOWN if feedback.get(key) is not None}
        missing = [key for key in _NEEDED if key not in given]
        if missing or not {"pscore", "pi_b"} & given.keys():
            what = ", ".join(missing) or "pscore (or pi_b)"
            raise LogFormatError(
                f"{name}: {what} is missing; found {', '.join(feedback) or 'nothing'}. Save the arrays under these names"
            )
        try:
            self._arrays = {key: np.asarray(value, np.float64) for key, value in given.items()}
        except (ValueError, TypeError) as error:
            raise LogFormatError(f"{name}: not arrays of numbers: {error}") from error
        self._check_shapes()
        self._count = self._actions_there_are()
        self._actions = self._action_set()
        # Named numbers, which policies standardise: obp's contexts are raw.
        self._names = _names(self._arrays["context"].shape[1])

    def __iter__(self) -> Iterator[Event]:
        self.counters = Counter()
        for i in range(len(self._arrays["action"])):
            try:
                decided = self._decided(i)
                matured = Matured(decided, float(self._arrays["reward"][i]))
            except (ValueError, IndexError) as error:
                raise LogFormatError(f"{self.name}, row {i}: {error}") from error
            yield decided
            yield matured

    def _decided(self, i: int) -> Decided:
        arrays = self._arrays
        chosen = _whole(arrays["action"][i], "action")
        slot = _whole(arrays["position"][i], "position") if "position" in arrays else 0
        pmf = None
        if "pi_b" in arrays:
            pmf = arrays["pi_b"][i]
            pmf = np.ascontiguousarray(pmf[:, slot] if pmf.ndim == 2 else pmf)
        if not 0 <= chosen < self._count:
            raise ValueError(f"action is {chosen}: must be from 0 to {self._count - 1}")
        propensity = float(
            arrays["pscore"][i] if pmf is None or "pscore" in arrays else pmf[chosen]
        )
        propensity = probability(propensity, "pscore")
        context = encode(self._names, arrays["context"][i].tolist(), ())
        return Decided(str(i), slot, context, self._actions, chosen, pmf, propensity, at=i)

    def _check_shapes(self) -> None:
        arrays = self._arrays
        n = arrays["action"].size
        wanted = {"context": (2,), "pi_b": (2, 3), "action_context": (2,), "n_actions": (0,)}
        for name, array in arrays.items():
            rows = name not in ("action_context", "n_actions")
            if array.ndim not in wanted.get(name, (1,)) or (rows and len(array) != n):
                raise LogFormatError(
                    f"{self.name}: {name} is {list(array.shape)} beside {n} actions taken"
                )

    def _actions_there_are(self) -> int:
        """K."""
        arrays = self._arrays
        said = {}
        if "n_actions" in arrays:
            said["n_actions"] = self._few(float(arrays["n_actions"]), "n_actions")
        if "pi_b" in arrays:
            said["pi_b"] = arrays["pi_b"].shape[1]
        if "action_context" in arrays:
            said["action_context"] = len(arrays["action_context"])
        if len(set(said.values())) > 1:
            raise LogFormatError(f"{self.name}: the number of actions differs: {said}")
        if said:
            return next(iter(said.values()))
        action = arrays["action"]
        met = action[np.isfinite(action)]  # what is no number its row is refused for
        return self._few(float(met.max(initial=0.0)) // 1 + 1, "the greatest action + 1")

    def _few(self, value: float, what: str) -> int:
        """A number of actions, of which all are held at once."""
        if not (float(value).is_integer() and 0 < value <= _MOST_ACTIONS):
            raise LogFormatError(
                f"{self.name}: {what} is {value:g}: must be a whole number of actions, at most {_MOST_ACTIONS:,}"
            )
        return int(value)

    def _action_set(self) -> ActionSet:
        features = self._arrays.get("action_context")
        ids = [str(k) for k in range(self._count)]
        rows = (
            [_numbers(row) for row in features] if features is not None else [Named() for _ in ids]
        )
        try:
            return encode_all(ids, rows)
        except ValueError as error:
            raise LogFormatError(f"{self.name}: action_context: {error}") from error


def read_npz(
    path: str | os.PathLike[str], reward_range: tuple[float, float] | None = None
) -> ArraysLog:
    """The log in a .npz file.

    Raises:
        LogFormatError: it is none, or holds Python objects, which are never unpickled.
    """
    try:
        # Opened here, as numpy leaves open what turns out to be no such file.
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {key: file[key] for key in _KNOWN if key in file.files}
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise LogFormatError(
            f"{path}: not a whole .npz of arrays of numbers ({error}); if it was cut short, copy it again"
        ) from error
    return ArraysLog(arrays, reward_range, str(path))


def _names(size: int) -> tuple[str, ...]:
    return tuple(f"x{j}" for j in range(size))


def _numbers(row: NDArray[np.float64]) -> Named:
    named = Named()
    named.space("").numbers = dict(zip(_names(len(row)), row.tolist(), strict=True))
    return named


def _whole(value: float, what: str) -> int:
    if not float(value).is_integer():
        raise ValueError(f"{what} is {value}: must be a whole number")
    return int(value)
