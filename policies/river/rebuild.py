"""Putting together what `objects` took apart: runs its steps, and makes nothing but what `allowlist` names."""

from __future__ import annotations

from base64 import b64decode
from collections import deque
from inspect import getattr_static
from statistics import NormalDist
from types import FunctionType, MemberDescriptorType, MethodType
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.river.allowlist import (
    CALLED,
    RefusedError,
    find_class,
    find_function,
    is_river,
    name_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

KINDS = "biuf"  # numpy's letters for booleans, integers and floats. Never objects: they would be made by a pickle
_TWISTER_WORDS = 624  # 32-bit words of a Mersenne twister


def rebuild(steps: list[list[Any]], root: Any) -> Any:
    """The object that `root` stands for.

    Raises:
        RefusedError: a step that no `encode` writes, or a name that is not on the allow-list.
        Exception: whatever a class raises that is filled with what it does not understand.
    """
    return _Rebuilder().run(steps, root)


class _Rebuilder:
    """Takes the steps in turn."""

    def __init__(self) -> None:
        self.made: list[Any] = []

    def run(self, steps: list[list[Any]], root: Any) -> Any:
        for verb, *rest in steps:
            if verb in ("items", "entries", "attributes", "state", "slots"):
                n, *values = rest
                _fill(verb, self._ref(n), self._values(values))
            else:
                self.made.append(self._make(verb, rest))
        return self._value(root)

    def _make(self, verb: str, rest: list[Any]) -> object:
        match verb:
            case "list":
                return []
            case "dict":
                return {}
            case "set":
                return set(self._values(rest))
            case "array":
                dtype, shape, order, text = rest
                array = np.frombuffer(b64decode(text), _checked_dtype(dtype))
                return array.reshape(shape, order=order).copy(order)
            case "twister":
                return _twister(*rest)
            case "new" | "call":
                name, *args = rest
                cls = find_class(name)
                if (name in CALLED) != (verb == "call"):
                    raise RefusedError(f"to {verb} {name!r}")
                args = self._values(args)
                return cls(*args) if verb == "call" else cls.__new__(cls, *args)
            case _:
                raise RefusedError(f"the step {verb!r}")

    def _values(self, values: list[Any]) -> list[Any]:
        return [self._value(value) if type(value) is list else value for value in values]

    def _value(self, value: Any) -> Any:
        if type(value) is not list:
            return value
        tag, *rest = value
        match tag:
            case int():
                return self._ref(tag)
            case "tuple":
                return tuple(self._values(rest))
            case "frozenset":
                return frozenset(self._values(rest))
            case "bytes":
                return b64decode(rest[0])
            case "class":
                return find_class(rest[0])
            case "function":
                return find_function(rest[0])
            case "method":
                return _method(self._value(rest[0]), rest[1])
            case "scalar":
                return np.frombuffer(b64decode(rest[1]), _checked_dtype(rest[0]))[0]
            case _:
                raise RefusedError(f"the value {tag!r}")

    def _ref(self, n: int) -> Any:
        if not 0 <= n < len(self.made):
            raise RefusedError(f"object {n} of {len(self.made)}")
        return self.made[n]


def _fill(verb: str, obj: Any, values: list[Any]) -> None:
    match verb:
        case "items" if isinstance(obj, list | deque):
            obj.extend(values)
        case "entries" if isinstance(obj, dict):
            for key, value in _pairs(values):
                obj[key] = value
        case "attributes" if _made_by_class(obj):
            _set_attributes(obj, dict(_pairs(values)))
        case "state" if _made_by_class(obj):
            obj.__setstate__(*values)
        case "slots" if _made_by_class(obj):
            for key, value in _pairs(values):
                if not isinstance(getattr_static(type(obj), key), MemberDescriptorType):
                    raise RefusedError(f"the slot {key!r}")
                setattr(obj, key, value)
        case _:
            raise RefusedError(f"{verb} of a {type(obj).__name__}")


def _set_attributes(obj: Any, attributes: dict[Any, Any]) -> None:
    if any(not isinstance(key, str) or key.startswith("__") for key in attributes):
        raise RefusedError("an attribute that Python reserves")
    if hasattr(type(obj), "__setstate__"):
        obj.__setstate__(attributes)
    else:
        obj.__dict__.update(attributes)


def _made_by_class(obj: object) -> bool:
    """Whether a "new" or a "call" made it: numpy's own __setstate__ would believe whatever it is told."""
    return name_of(type(obj)) in CALLED or is_river(name_of(type(obj))) or type(obj) is NormalDist


def _twister(text: str, pos: int, has_gauss: int, gauss: float) -> np.random.RandomState:
    key = np.frombuffer(b64decode(text), "<u4")
    if len(key) != _TWISTER_WORDS or not 0 <= pos <= _TWISTER_WORDS:
        raise RefusedError("a random state of the wrong size")  # numpy would read beyond its end
    twister = np.random.RandomState(0)
    twister.set_state(("MT19937", key, pos, has_gauss, gauss))
    return twister


def _method(obj: object, name: str) -> object:
    """A bound method that River's own class defines."""
    function = getattr_static(type(obj), name, None)
    if not (is_river(name_of(type(obj))) and isinstance(function, FunctionType)):
        raise RefusedError(f"the method {name!r} of a {type(obj).__name__}")
    if name.startswith("__"):
        raise RefusedError(f"the method {name!r}")
    return MethodType(function, obj)


def _checked_dtype(text: str) -> np.dtype[Any]:
    dtype = np.dtype(text)
    if dtype.kind not in KINDS:
        raise RefusedError(f"an array of {text!r}")
    return dtype


def _pairs(values: list[Any]) -> Iterable[tuple[Any, Any]]:
    return zip(values[::2], values[1::2], strict=True)
