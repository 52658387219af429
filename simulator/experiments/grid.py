"""Settings to compare, as the command line spells them: a list in brackets is as many candidates.

linucb:alpha=[0.1,0.3,1]                        three
linucb:alpha=[0.1,0.3],ridge=[1,10]             four, the last setting varies fastest
vw:--cb_explore_adf --epsilon [0.05,0.2]        two; also whole options: [--squarecb,--softmax --lambda 5]
policy.yaml                                     {type: linucb, alpha: [0.1, 0.3]}: two

A setting that is a list itself (auto's bases) is one value; a list of lists is as many.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, get_origin

from policies import PolicyError
from policies.registry import find, settings_of
from simulator.specs import is_file, parts, policy_of, read

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_BRACKETS = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One policy of a grid."""

    name: str
    """As a spec, for reports; where the grid is in a file, the file and the settings that vary."""
    policy: Mapping[str, Any]
    """{"type": name, setting: value ...}, checked."""
    default: Candidate | None = None
    """The same with every setting that varies left at its default; None if none does."""


def candidates_of(specs: Sequence[str]) -> list[Candidate]:
    """All candidates of some specs, in their order, without repetitions; each grid's defaults are the last of it.

    >>> [each.name for each in candidates_of(["linucb:alpha=[0.1,0.5],ridge=2", "uniform"])]
    ['linucb:alpha=0.1,ridge=2', 'linucb:alpha=0.5,ridge=2', 'linucb:ridge=2', 'uniform']

    Raises:
        PolicyError: a candidate cannot be; the message names it.
    """
    found: list[Candidate] = []
    for spec in specs:
        for each in expand(spec):
            if not any(same(each, other) for other in found):
                found.append(each)
    return found


def same(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates have the same settings, defaults written out."""
    return settings_of(one.policy) == settings_of(other.policy)


def expand(spec: str) -> list[Candidate]:
    """The candidates of one spec, the defaults last.

    Raises:
        PolicyError: a candidate cannot be; the message names it.
    """
    try:
        spelled: dict[str, dict[str, Any] | None] = (
            _file(spec) if is_file(spec) else dict.fromkeys(_text(spec))
        )
    except PolicyError as error:
        raise PolicyError(f"--policy {spec}: {error}") from error
    *varied, default = [
        Candidate(name, policy_of(name) if config is None else _checked(name, config))
        for name, config in spelled.items()
    ]
    return [*(Candidate(each.name, each.policy, default) for each in varied), default]


def _text(spec: str) -> list[str]:
    """The specs that a spec stands for, the defaults last; itself if it has no grid."""
    name, _, rest = spec.partition(":")
    if rest.lstrip().startswith("-"):
        pieces = _BRACKETS.split(rest)  # text, inside of brackets, text ...
        if len(pieces) == 1:
            return [spec]
        options = [_options(piece, rest) if i % 2 else [piece] for i, piece in enumerate(pieces)]
        return [*(f"{name}:{''.join(each)}" for each in product(*options)), name]
    given = parts(rest) if rest else []
    choices = [_choices(name, part) for part in given]
    fixed = [part for part, found in zip(given, choices, strict=True) if not found]
    if len(fixed) == len(given):
        return [spec]
    options = [found or [part] for part, found in zip(given, choices, strict=True)]
    texts = [f"{name}:{','.join(each)}" for each in product(*options)]
    return [*texts, f"{name}:{','.join(fixed)}" if fixed else name]


def _choices(name: str, part: str) -> list[str]:
    """From "alpha=[1,2]": ["alpha=1", "alpha=2"]; none if it is one value."""
    setting, _, value = part.partition("=")
    value = value.strip()
    if not (value.startswith("[") and value.endswith("]")):
        return []
    inner = value[1:-1]
    if _takes_list(name, setting.strip()) and not inner.lstrip().startswith("["):
        return []
    return [f"{setting}={option}" for option in _options(inner, part)]


def _options(inner: str, where: str) -> list[str]:
    found = [option.strip() for option in parts(inner)]
    if not all(found):
        raise PolicyError(f"{where!r}: a value of the grid is missing; write [a,b,c]")
    return found


def _file(spec: str) -> dict[str, dict[str, Any] | None]:
    """The same of a file: configurations by name."""
    config = read(spec)
    kind = str(config["type"])
    varied = {
        setting: value
        for setting, value in config.items()
        if isinstance(value, list)
        and (not _takes_list(kind, setting) or (value and isinstance(value[0], list)))
    }
    fixed = {setting: value for setting, value in config.items() if setting not in varied}
    if not varied:
        return {spec: fixed}
    if not all(varied.values()):
        raise PolicyError("a value of the grid is missing; write [a, b, c]")
    found: dict[str, dict[str, Any] | None] = {}
    for values in product(*varied.values()):
        chosen = dict(zip(varied, values, strict=True))
        name = ",".join(f"{setting}={value}" for setting, value in chosen.items())
        found[f"{spec}:{name}"] = {**fixed, **chosen}
    return {**found, f"{spec}:defaults": fixed}


def _checked(name: str, config: dict[str, Any]) -> dict[str, Any]:
    try:
        settings_of(config)
    except PolicyError as error:
        raise PolicyError(f"--policy {name}: {error}") from error
    return config


def _takes_list(kind: str, setting: str) -> bool:
    """Whether a setting of a policy is a list by nature."""
    field = find(kind).Settings.model_fields.get(setting)
    return field is not None and get_origin(field.annotation) in (list, tuple)
