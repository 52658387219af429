"""Reads rankd.yaml and merges it with the environment and the command line. An empty file, or none, works.

The environment goes before the file: RANKD_SERVER__PORT=6000, RANKD_APPS='{"default": {"mode": "apprentice"}}'. The command
line goes before both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict, SettingsError

from server.config import Config

if TYPE_CHECKING:
    from pathlib import Path


class ConfigError(Exception):
    """The configuration cannot be used. Each line of the message names a field and says what is wrong with it."""


class _Environment(Config, BaseSettings):
    """The same as variables of the environment."""

    model_config = SettingsConfigDict(env_prefix="RANKD_", env_nested_delimiter="__")


def load(path: Path | None, overrides: dict[str, Any] | None = None) -> Config:
    """Reads a configuration file; None means an empty one.

    Args:
        overrides: sections from the command line, {"server": {"port": 6000}}; they go before the environment, which
            goes before the file.

    Raises:
        ConfigError: the file cannot be read, is no YAML mapping, or a field of any source is wrong.
    """
    where = "the configuration" if path is None else str(path)
    values: Any = {}
    if path is not None:
        try:
            values = yaml.safe_load(path.read_text("utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"{where}: {error}") from error
        if values is None:
            values = {}
        if not isinstance(values, dict):
            raise ConfigError(
                f"{where}: expected a mapping of sections, found a {type(values).__name__}"
            )
    try:
        environment = EnvSettingsSource(_Environment)()
    except SettingsError as error:
        raise ConfigError(f"the environment: {error}: {error.__cause__}") from error
    try:
        return Config(**_merged(_merged(values, environment), overrides or {}))
    except (ValidationError, TypeError) as error:
        if isinstance(error, TypeError):
            raise ConfigError(f"{where}: section names must be text") from error
        lines = [f"{where}: {_line(problem)}" for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from error


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """The settings of both; where they meet, those of `above`."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        if isinstance(old, dict) and isinstance(value, dict):
            value = _merged(old, value)
        merged[name] = value
    return merged


def _line(problem: Any) -> str:
    field = ".".join(str(part) for part in problem["loc"]) or "(top)"
    if problem["type"] == "extra_forbidden":
        return f"{field}: no such setting"
    return f"{field}: {problem['msg'].removeprefix('Value error, ')}"
