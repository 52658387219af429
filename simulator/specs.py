"""Policies as the command line spells them.

linucb                            a policy with its defaults
linucb:alpha=0.5,ridge=2          with settings
vw:--cb_explore_adf --epsilon 0.2 Vowpal Wabbit's own options
policy.yaml                       a file: {type: ..., setting: ...}, as in rankd.yaml
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from policies import PolicyError
from policies.registry import settings_of

_FILES = (".yaml", ".yml", ".json")


def policy_of(spec: str, option: str = "--policy") -> dict[str, Any]:
    """The policy's configuration, checked.

    >>> policy_of("linucb:alpha=0.5,model=shared")
    {'type': 'linucb', 'alpha': 0.5, 'model': 'shared'}
    >>> policy_of("vw:--cb_explore_adf --epsilon 0.2")
    {'type': 'vw', 'args': '--cb_explore_adf --epsilon 0.2'}

    Args:
        option: whose value the spec is, for the message.

    Raises:
        PolicyError: there is no such policy or setting, or it has another form; the message begins with the spec.
    """
    try:
        config = _parsed(spec)
        settings_of(config)
    except PolicyError as error:
        raise PolicyError(f"{option} {spec}: {error}") from error
    return config


def _parsed(spec: str) -> dict[str, Any]:
    if is_file(spec):
        return read(spec)
    name, colon, rest = spec.partition(":")
    if not colon:
        return {"type": name}
    if rest.lstrip().startswith("-"):
        return {"type": name, "args": rest}
    config: dict[str, Any] = {"type": name}
    for part in parts(rest):
        setting, equals, value = part.partition("=")
        if not equals or not setting.strip():
            raise PolicyError(f"{part!r}: write settings as name=value, with commas between them")
        try:
            config[setting.strip()] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise PolicyError(f"{part!r}: {value!r} is no value") from error
    return config


def parts(text: str) -> list[str]:
    """The text, taken apart at its commas; those within brackets stay.

    >>> parts("bases=[{type: linucb, alpha: 1}, {type: sgd}],floor=0.1")
    ['bases=[{type: linucb, alpha: 1}, {type: sgd}]', 'floor=0.1']
    """
    found, depth, begin = [], 0, 0
    for i, sign in enumerate(text):
        depth += (sign in "[{") - (sign in "]}")
        if sign == "," and depth == 0:
            found.append(text[begin:i])
            begin = i + 1
    return [*found, text[begin:]]


def is_file(spec: str) -> bool:
    """Whether a spec names a file."""
    return spec.endswith(_FILES)


def read(spec: str) -> dict[str, Any]:
    """The policy's configuration in a file, as it stands there.

    Raises:
        PolicyError: the file cannot be read, or holds no policy.
    """
    try:
        found = yaml.safe_load(Path(spec).read_text(encoding="utf-8"))
    except OSError as error:
        raise PolicyError(f"cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PolicyError(f"is no YAML: {error}") from error
    if isinstance(found, dict) and isinstance(found.get("policy"), dict):
        found = found["policy"]  # an app's part of rankd.yaml
    if not isinstance(found, dict) or "type" not in found:
        raise PolicyError("must hold a policy: {type: NAME, setting: value ...}")
    return found
