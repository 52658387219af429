"""Canonical bytes for graphs of Python objects: what a River model's state is kept in.

Not a pickle, for two reasons. A pickle is a program: whoever loads one runs what it says, as the standard library's own
documentation warns. And it is not canonical: it notes which equal strings happen to be one object in memory, so that
the same model gives other bytes after a restart.

Here a graph is a list of steps, in JSON: make object n, then fill it. Objects are taken apart by the same protocol as
for pickle and copy (`__reduce_ex__`); `rebuild` puts them together again, only from what `allowlist` names.

- Numbers, strings, bytes, tuples, frozensets, numpy scalars, classes, functions and bound methods go by value.
- Whatever can change is numbered in the order of the walk, and stays shared where it was shared.
- Dicts keep their order, which decides the order of a model's sums. Sets and the names of attributes are sorted.
- Floats are exact, infinities and -0.0 included. All NaNs are one.
- A generator of random numbers that River made without a seed is left out: its bits came from the operating system, so
  they are nobody's state. River's Gaussians each carry one and use it only for drawing samples.

The digest tells damage, not intent: bytes that somebody forged with a digest of their own run no code, but may well
be a model that predicts nonsense. Where states travel, the envelope around them carries an HMAC.
"""

from __future__ import annotations

import copyreg
import json
from base64 import b64encode
from hashlib import sha256
from random import Random
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from policies.policy import PolicyError
from policies.river.allowlist import CALLED, RefusedError, find_class, find_function, name_of
from policies.river.rebuild import KINDS, rebuild

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    # Yields objects, is sent what stands for each in JSON, returns what stands for the whole.
    Walk: TypeAlias = Generator[object, Any, Any]

_MAGIC = b"rankd.objects.1\n"
_DIGEST = 32  # bytes of SHA-256
_SCALARS = frozenset({type(None), bool, int, float, str})


def encode(root: object) -> bytes:
    """The canonical bytes of everything that can be reached from `root`.

    >>> decode(encode({"a": [1, 0.5, (True, None)]}))
    {'a': [1, 0.5, (True, None)]}

    Raises:
        PolicyError: something in it could not be put together again, such as a lambda; the message says what and where.
    """
    encoder = _Encoder()
    value = encoder.run(root)
    try:
        body = _json([encoder.steps, value]).encode()
    except ValueError as error:  # an integer of more digits than Python consents to print
        raise PolicyError(f"cannot be saved: {error}") from error
    return _MAGIC + sha256(body).digest() + body


def decode(data: bytes) -> Any:
    """The graph that `encode` was given. encode(decode(data)) == data.

    Raises:
        PolicyError: the bytes are damaged, or name something that is not on the allow-list; nothing of it was called.
    """
    head, body = data[: len(_MAGIC) + _DIGEST], data[len(_MAGIC) + _DIGEST :]
    if head != _MAGIC + sha256(body).digest():
        raise PolicyError("not saved objects: damaged, cut short, or of another format")
    try:
        steps, root = json.loads(body, object_pairs_hook=_no_mapping)
        return rebuild(steps, root)
    except BaseException as error:
        # A panic of River's Rust code is no Exception.
        if isinstance(error, Exception) or type(error).__module__ == "pyo3_runtime":
            raise PolicyError(f"saved objects are refused: {error}") from error
        raise


class _Encoder:
    """Walks a graph with a stack of its own: trees and linked lists may be deeper than Python's."""

    def __init__(self) -> None:
        self.steps: list[list[Any]] = []
        self.made: list[object] = []  # numbered objects; kept alive, so that no id comes twice
        self.number: dict[int, int] = {}  # id -> place in `made`
        self.open: set[int] = set()  # ids of objects whose constructor's arguments are being walked

    def run(self, root: object) -> Any:
        walks: list[tuple[object, Walk]] = [(None, self._each((root,)))]
        sent = None
        while True:
            try:
                child = walks[-1][1].send(sent)
            except StopIteration as done:
                walks.pop()
                sent = done.value
                if not walks:
                    return sent[0]
                continue
            except RefusedError as error:
                holders = [
                    type(obj).__name__ for obj, _ in walks[-2:0:-1] if type(obj) is not tuple
                ]
                where = "".join(f" in {name}" for name in holders[:4])
                raise PolicyError(f"cannot be saved: {error}{where}") from error
            n = self.number.get(id(child))
            if n is None:
                walks.append((child, self._walk(child)))
            sent = None if n is None else [n]

    def _each(self, values: Iterable[object]) -> Walk:
        out = []
        for value in values:
            known = value if type(value) in _SCALARS else (yield value)
            out.append(known)
        return out

    def _walk(self, obj: object) -> Walk:  # noqa: C901  # one case for each kind of thing
        kind = type(obj)
        if isinstance(obj, tuple) and kind is tuple:
            return ["tuple", *(yield from self._each(obj))]
        if isinstance(obj, list) and kind is list:
            n = self._make(obj, ["list"])
            self._fill("items", n, (yield from self._each(obj)))
            return [n]
        if isinstance(obj, dict) and kind is dict:
            n = self._make(obj, ["dict"])
            self._fill("entries", n, (yield from self._each(_flat(obj))))
            return [n]
        if isinstance(obj, set | frozenset) and kind in (set, frozenset):
            members = yield from self._each(obj)
            if any(map(_refers, members)):
                raise RefusedError("a set of objects, which has no order of its own,")
            members.sort(key=_json)
            return (
                ["frozenset", *members]
                if kind is frozenset
                else [self._make(obj, ["set", *members])]
            )
        if isinstance(obj, bytes):
            return ["bytes", _text(obj)]
        if isinstance(obj, type):
            return ["class", _checked(obj)]
        if isinstance(obj, FunctionType | BuiltinFunctionType):
            if find_function(name_of(obj)) is not obj:
                raise RefusedError(f"the function {name_of(obj)!r}")
            return ["function", name_of(obj)]
        if isinstance(obj, MethodType):
            return ["method", (yield obj.__self__), obj.__name__]
        if isinstance(obj, np.generic) and obj.dtype.kind in KINDS:
            return ["scalar", _dtype(obj.dtype), _text(obj.tobytes())]
        if isinstance(obj, np.ndarray) and kind is np.ndarray and obj.dtype.kind in KINDS:
            # Column order is kept: linear algebra sums in another order along it.
            order: Literal["C", "F"] = "F" if obj.flags.fnc else "C"
            row = ["array", _dtype(obj.dtype), list(obj.shape), order, _text(obj.tobytes(order))]
            return [self._make(obj, row)]
        if isinstance(obj, np.random.RandomState):
            name, key, *rest = obj.get_state(legacy=True)
            if name != "MT19937":
                raise RefusedError(f"the random bits of {name}")
            return [self._make(obj, ["twister", _text(np.asarray(key, "<u4").tobytes()), *rest])]
        return (yield from self._object(obj))

    def _object(self, obj: object) -> Walk:
        """Any other object: made from its class and arguments, then filled with what it holds."""
        name = _checked(type(obj))
        try:
            reduced: Any = obj.__reduce_ex__(4)
        except TypeError as error:
            raise RefusedError(str(error)) from error
        if isinstance(reduced, str) or len(reduced) > 5 or id(obj) in self.open:
            raise RefusedError(f"an object of the class {name!r}")
        maker, args, state, items, entries = (*reduced, None, None, None)[:5]
        if maker is copyreg.__newobj__:  # type: ignore[attr-defined]  # typeshed leaves it out
            maker, *args = args
            verb = "new"
        else:
            verb = "call"
        if maker is not type(obj) or (verb == "call") != (name in CALLED):
            raise RefusedError(f"an object of the class {name!r}, made by {name_of(maker)!r}")
        self.open.add(id(obj))
        n = self._make(obj, [verb, name, *(yield from self._each(args))])
        self.open.remove(id(obj))
        self._fill("items", n, (yield from self._each(items or ())))
        self._fill("entries", n, (yield from self._each(_flat(dict(entries or ())))))
        slots: object = None
        if isinstance(state, tuple) and len(state) == 2 and not hasattr(type(obj), "__setstate__"):
            state, slots = state  # as object.__getstate__ gives them
        if isinstance(state, dict) and set(map(type, state)) <= {str}:
            if state.get("seed", 0) is None and type(state.get("_rng")) is Random:
                state = {**state, "_rng": None}
            self._fill("attributes", n, (yield from self._each(_flat(state, sort=True))))
        elif state is not None:
            self._fill("state", n, [(yield from self._each((state,)))[0]])
        if isinstance(slots, dict):
            self._fill("slots", n, (yield from self._each(_flat(slots, sort=True))))
        return [n]

    def _make(self, obj: object, row: list[Any]) -> int:
        n = len(self.made)
        self.number[id(obj)] = n
        self.made.append(obj)
        self.steps.append(row)
        return n

    def _fill(self, verb: str, n: int, values: list[Any]) -> None:
        if values:
            self.steps.append([verb, n, *values])


def _checked(cls: type) -> str:
    """The name of a class that is on the list."""
    name = name_of(cls)
    if find_class(name) is not cls:
        raise RefusedError(f"the class {name!r}")
    return name


def _dtype(dtype: np.dtype[Any]) -> str:
    """Its name; numbers that a machine stores the other way round are refused rather than turned."""
    if dtype.kind not in KINDS or dtype.newbyteorder("<") != dtype:
        raise RefusedError(f"an array of {dtype.str!r}")
    return dtype.str


def _flat(entries: Mapping[Any, Any], *, sort: bool = False) -> Iterable[Any]:
    """key, value, key, value ..."""
    for key in sorted(entries) if sort else entries:
        yield key
        yield entries[key]


def _refers(value: Any) -> bool:
    """Whether a value in JSON names a numbered object."""
    return type(value) is list and (type(value[0]) is int or any(map(_refers, value[1:])))


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _no_mapping(_: object) -> Any:
    raise RefusedError("a mapping")  # encode writes lists and scalars only
