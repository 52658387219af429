"""Policies by name: whatever a distribution offers under the entry point group "rankd.policies"."""

from __future__ import annotations

import json
from difflib import get_close_matches
from functools import cache
from importlib.metadata import entry_points, version
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from policies.policy import Policy, PolicyError, PolicySettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_Settings = TypeVar("_Settings", bound=PolicySettings)

GROUP = "rankd.policies"
# Raised when encoder, standardiser, floor or sampler would give other bits than before.
FORMAT = 1


def names() -> list[str]:
    """The names of all installed policies, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


@cache
def find(name: str) -> type[Policy]:
    """The policy class of that name.

    Raises:
        PolicyError: there is none; the message tells the nearest names.
    """
    for entry in entry_points(group=GROUP, name=name):
        policy = entry.load()
        if not (isinstance(policy, type) and issubclass(policy, Policy)):
            raise PolicyError(f"type: {name!r} is not a policy")
        return policy
    raise PolicyError(f"type: no policy {name!r}; {nearest(name, names())}")


def summary(policy: type[Policy]) -> str:
    """What it is, in the first paragraph of its docstring."""
    return " ".join((policy.__doc__ or "").strip().split("\n\n")[0].split())


def settings_of(config: Mapping[str, object]) -> tuple[type[Policy], PolicySettings]:
    """The class and the checked settings of `{"type": name, setting: value ...}`.

    Raises:
        PolicyError: an unknown type or setting, or a value that the setting refuses; the message names it.
    """
    if "type" not in config:
        raise PolicyError(f"type: is missing; known are {', '.join(names())}")
    cls = find(str(config["type"]))
    given = {key: value for key, value in config.items() if key != "type"}
    return cls, checked(cls.Settings, given, cls.name)


def checked(
    settings: type[_Settings], given: Mapping[str, object], owner: str, prefix: str = ""
) -> _Settings:
    """The settings of those values.

    Args:
        owner: whose settings they are, for the message.
        prefix: what a setting's name begins with in the message.

    Raises:
        PolicyError: an unknown setting, or a value that the setting refuses; the message names it.
    """
    try:
        return settings.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        inner = first.get("ctx", {}).get("error")
        if isinstance(inner, PolicyError):  # a policy within, whose path is in the message
            raise inner from error
        field = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            hint = nearest(field, list(settings.model_fields))
            raise PolicyError(f"{prefix}{field}: {owner} has no such setting; {hint}") from error
        raise PolicyError(f"{prefix}{field or owner}: {first['msg']}") from error


def create(config: Mapping[str, object], reward_range: tuple[float, float]) -> Policy:
    """An untrained policy.

    Raises:
        PolicyError: see `settings_of`, and what the policy itself refuses.
    """
    cls, settings = settings_of(config)
    return cls(settings, reward_range)


def restore(
    config: Mapping[str, object], reward_range: tuple[float, float], state: bytes
) -> Policy:
    """The policy whose state this is.

    Raises:
        PolicyError: see `settings_of`; or the state is not one of this policy.
    """
    cls, settings = settings_of(config)
    return cls.from_state(settings, reward_range, state)


def same_shape(before: Mapping[str, object], after: Mapping[str, object]) -> bool:
    """Whether a state learned under `before` can go on under `after`."""
    cls, old = settings_of(before)
    other, new = settings_of(after)
    nested = _nested(cls)
    plain = cls.structural - {nested}
    if cls is not other or any(getattr(old, name) != getattr(new, name) for name in plain):
        return False
    ours, theirs = _inner(cls, old), _inner(cls, new)
    return len(ours) == len(theirs) and all(map(same_shape, ours, theirs))


def mixture(config: Mapping[str, object]) -> str:
    """Names what each of `Scored.bases` is of: equal where the same policies are mixed in the same order. "" of a policy that mixes none.

    Raises:
        PolicyError: see `settings_of`.
    """
    cls, _ = settings_of(config)
    if not _nested(cls):
        return ""
    said = _written_out(config)
    shape = {name: said[name] for name in ("type", *cls.structural)}
    return json.dumps(shape, sort_keys=True, separators=(",", ":"))


def _written_out(config: Mapping[str, object]) -> dict[str, object]:
    """The configuration with every default in it, also within."""
    cls, settings = settings_of(config)
    said = {"type": cls.name, **settings.model_dump(mode="json")}
    if _nested(cls):
        said[_nested(cls)] = [_written_out(inner) for inner in _inner(cls, settings)]
    return said


def libraries(config: Mapping[str, object]) -> list[str]:
    """ "name==version" of everything whose version can change the policy's arithmetic, sorted."""
    cls, settings = settings_of(config)
    found = {f"policies=={FORMAT}", f"policies.{cls.name}=={cls.version}"}
    found |= {f"{name}=={version(name)}" for name in cls.libraries}
    for inner in _inner(cls, settings):
        found.update(libraries(inner))
    return sorted(found)


def _nested(cls: type[Policy]) -> str:
    """The setting that holds configurations of other policies, if it has one: its class attribute `nested`."""
    return str(getattr(cls, "nested", ""))


def _inner(cls: type[Policy], settings: PolicySettings) -> Sequence[Mapping[str, object]]:
    """The configurations of the policies within a policy."""
    return getattr(settings, _nested(cls), ())


def nearest(word: str, known: list[str]) -> str:
    """A hint for somebody who has mistyped a word."""
    folded = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), folded, n=1)
    if close:
        return f"did you mean {folded[close[0]]!r}?"
    return f"known are {', '.join(known)}" if known else "it has none"
