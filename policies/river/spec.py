"""River estimators from configuration: names and parameters, never code.

    linear_model.LogisticRegression                                   all defaults
    {linear_model.LogisticRegression: {optimizer: {optim.SGD: {lr: 0.1}}, l2: 0.0}}
    {compose.Pipeline: [preprocessing.Normalizer, linear_model.PARegressor]}
    [preprocessing.Normalizer, linear_model.PARegressor]              the same pipeline

A class is named by its place among River's public modules, and gets keywords from a mapping or positions from a list.
Wherever a parameter takes an estimator, an optimizer, a loss or the like, it may be written in the same way. Functions
and classes as such cannot be written, so neither can what needs them.

A class that takes a seed and is given none gets 0, for a model has to be the same each time it is trained.
"""

from __future__ import annotations

import inspect
import re
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

from river.base import Base

from policies.policy import PolicyError
from policies.river.allowlist import PACKAGES, is_river, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator

Spec: TypeAlias = Any  # what JSON can hold: str, a mapping with one key, or a list

_PUBLIC = PACKAGES - {"_river_rust"}
# What looks like a class of River's: modules, then a name that begins with a capital.
_CLASS = re.compile(r"([a-z][a-z_]*)(\.[a-z_]+)*\.[A-Z]\w*")


def build(spec: Spec) -> Any:
    """The River object that the specification describes, untrained.

    >>> build({"linear_model.LinearRegression": {"l2": 0.5}}).l2
    0.5

    Raises:
        PolicyError: an unknown class or parameter, a parameter that is missing, or one that River refuses. The message
            begins with the path to it and names the nearest valid spelling.
    """
    if isinstance(spec, list):
        spec = {"compose.Pipeline": spec}
    if not _is_class(spec):
        raise PolicyError(
            f"model: is {spec!r}; expected a class of River's such as 'linear_model.LinearRegression', "
            "or {class: {parameter: value}}"
        )
    return _value(spec, "model")


def _is_class(spec: Spec) -> bool:
    """Whether this stands for an object of River's rather than for itself."""
    if isinstance(spec, dict) and len(spec) == 1:
        spec = next(iter(spec))
    match = _CLASS.fullmatch(spec) if isinstance(spec, str) else None
    return match is not None and match[1] in _PUBLIC


def _value(spec: Spec, where: str) -> Any:
    if _is_class(spec):
        name, given = (spec, None) if isinstance(spec, str) else next(iter(spec.items()))
        return _object(name, given, where)
    if isinstance(spec, dict):
        return {key: _value(value, f"{where}.{key}") for key, value in spec.items()}
    if isinstance(spec, list):
        return [_value(value, f"{where}[{i}]") for i, value in enumerate(spec)]
    return spec


def _object(name: str, given: Spec, where: str) -> Any:
    cls = _find(name)
    if cls is None:
        near = get_close_matches(name, _names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see riverml.xyz for their names"
        raise PolicyError(f"{where}: River has no class {name!r}; {hint}")
    where = f"{where}.{name}"
    if not isinstance(given, list | dict | None):
        raise PolicyError(f"{where}: is {given!r}; expected {{parameter: value}} or [value, ...]")
    known = inspect.signature(cls).parameters
    positions, keywords = (given, {}) if isinstance(given, list) else ([], dict(given or {}))
    for key in keywords:
        if key not in known and not _takes_any(cls):
            near = get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}"
            raise PolicyError(f"{where}.{key}: there is no such parameter; {hint}")
    if "seed" in known and not positions:
        keywords = {"seed": 0, **keywords}
    args = _value(positions, where)
    kwargs = {key: _value(value, f"{where}.{key}") for key, value in keywords.items()}
    try:
        return cls(*args, **kwargs)
    except Exception as error:
        raise PolicyError(f"{where}: {error}") from error


def _takes_any(cls: type) -> bool:
    parameters = inspect.signature(cls).parameters.values()
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)


def _find(name: str) -> type | None:
    """The class at this place among River's public modules."""
    package, *path = name.split(".")
    found: object = import_module(f"river.{package}")
    for k, part in enumerate(path):
        if not (isinstance(found, ModuleType) and _module(found, package, path[:k])):
            return None
        found = getattr(found, part, None)
    return found if _usable(found) else None


def _module(found: ModuleType, package: str, path: list[str]) -> bool:
    return found.__name__ == ".".join(("river", package, *path))


def _usable(found: object) -> TypeGuard[type]:
    """Whether it is a class of River's own that can be made."""
    return (
        isinstance(found, type)
        and issubclass(found, Base)
        and not inspect.isabstract(found)
        and is_river(name_of(found))
    )


@cache
def _names() -> list[str]:
    """Every class that a specification can name, by its shortest path."""
    return sorted(name for package in _PUBLIC for name in _public(package))


def _public(path: str) -> Iterator[str]:
    module = import_module(f"river.{path}")
    for name in getattr(module, "__all__", ()):
        found = getattr(module, name, None)
        if _usable(found):
            yield f"{path}.{name}"
        elif isinstance(found, ModuleType) and found.__name__ == f"river.{path}.{name}":
            yield from _public(f"{path}.{name}")
