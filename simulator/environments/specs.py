"""Environments as the command line spells them.

linear                                an environment with its defaults
linear:actions=20,noise=1             with settings
delayed:of=logistic,late=50,actions=5 another one's rounds, late; settings that are not its own are the other's
ImageSegments                         a data set with labels (rankd datasets)
csv:path=rows.csv,label=class         any table with a column of labels
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

import yaml

from simulator.environments.cold_start import ColdStart
from simulator.environments.delayed import Delayed
from simulator.environments.environment import EnvironmentSpecError
from simulator.environments.linear import Linear
from simulator.environments.logistic import Logistic
from simulator.environments.neural import Neural
from simulator.environments.nonstationary import Nonstationary
from simulator.environments.slates import Slates

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from simulator.environments.environment import Environment

ENVIRONMENTS: Mapping[str, type[Any]] = {
    "cold_start": ColdStart,
    "delayed": Delayed,
    "linear": Linear,
    "logistic": Logistic,
    "neural": Neural,
    "nonstationary": Nonstationary,
    "slates": Slates,
}
_KINDS = {"int": int, "float": float}


def environment_of(spec: str, cache: Path | None = None) -> Environment:
    """The environment that a spec asks for; loads the data if it is a data set.

    >>> environment_of("linear:actions=3,noise=1")
    Linear(actions=3, features=5, noise=1.0)

    Args:
        cache: a folder for what has to be downloaded; see `datasets`.

    Raises:
        EnvironmentSpecError: there is no such environment or setting, or its value cannot be; the message begins with the spec.
    """
    name, _, rest = spec.partition(":")
    try:
        return _made(name, _settings(rest), cache)
    except EnvironmentSpecError as error:
        raise EnvironmentSpecError(f"{spec}: {error}") from error


def settings_of(kind: type[Any]) -> dict[str, Any]:
    """Names and defaults of an environment's settings.

    >>> settings_of(Linear)
    {'actions': 10, 'features': 5, 'noise': 0.5}
    """
    return {
        field.name: "linear" if field.default is MISSING else field.default
        for field in fields(kind)
    }


def _made(name: str, settings: dict[str, Any], cache: Path | None) -> Environment:
    if name in ENVIRONMENTS:
        kind = ENVIRONMENTS[name]
        if kind is Delayed:
            own: dict[str, Any] = {
                key: settings.pop(key) for key in ("late", "spread") if key in settings
            }
            inner = _made(str(settings.pop("of", "linear")), settings, cache)
            return Delayed(inner, **_checked(Delayed, own))
        made: Environment = kind(**_checked(kind, settings))
        return made
    from simulator.datasets import (
        DATASETS,
        labelled,
    )  # data sets are rounds too, and need what is here

    if name != "csv" and name not in DATASETS:
        known = ", ".join([*ENVIRONMENTS, "csv"])
        raise EnvironmentSpecError(
            f"there is no environment or data set {name!r}; environments are {known}; "
            f"data sets are {', '.join(DATASETS)}"
        )
    return labelled(name, settings, cache)


def _settings(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in text.split(",") if text else ():
        setting, equals, value = part.partition("=")
        if not equals or not setting.strip():
            raise EnvironmentSpecError(
                f"{part!r}: write settings as name=value, with commas between them"
            )
        try:
            found[setting.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise EnvironmentSpecError(f"{part!r}: {value!r} is no value") from error
    return found


def _checked(kind: type[Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, each a number of the kind that it should be."""
    kinds = {field.name: str(field.type) for field in fields(kind)}
    found = {}
    for name, value in settings.items():
        if name not in kinds:
            raise EnvironmentSpecError(f"no setting {name!r}; known are {', '.join(kinds)}")
        number = isinstance(value, int) or (isinstance(value, float) and kinds[name] == "float")
        if not number or isinstance(value, bool):
            what = "a whole number" if kinds[name] == "int" else "a number"
            raise EnvironmentSpecError(f"{name}: is {value!r}; must be {what}")
        found[name] = _KINDS[kinds[name]](value)
    return found
