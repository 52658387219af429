"""Writes docs/configuration.md from the settings themselves: `python -m docs.generate_configuration`."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policies.detectors import DETECTORS, DriftSettings
from policies.new_actions import NewActionsSettings
from policies.registry import find, names, summary
from server.config import Config
from server.sections import (
    AppConfig,
    KafkaConfig,
    LearnerConfig,
    Limits,
    LogConfig,
    RedisConfig,
    RewardRules,
    ServerConfig,
    TlsConfig,
)

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic import BaseModel

PAGE = Path(__file__).with_name("configuration.md")

INTRODUCTION = """# Configuration

rankd reads `rankd.yaml`, from `--config` or the data folder. An empty file, or none, works: one app named `default`.
Durations are seconds, or a number with a unit: `500ms`, `2s`, `10m`, `1h`, `7d`. An unknown setting is an error that names it.

The environment goes before the file, and the command line before both: `RANKD_SERVER__PORT=6000` sets `server.port`,
`RANKD_APPS='{"default": {"mode": "apprentice"}}'` sets that app's mode.

This page is generated from the settings themselves.
"""


def _default(value: Any) -> str:
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
            if seconds >= size and seconds % size == 0:
                return f"`{seconds / size:g}{unit}`"
        return f"`{seconds * 1000:g}ms`"
    if hasattr(value, "model_dump"):
        return "see below"
    return f"`{json.dumps(value)}`"


def _table(model: type[BaseModel], without: Collection[str] = ()) -> str:
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        if name in without:
            continue
        default = (
            "required"
            if field.is_required()
            else _default(field.get_default(call_default_factory=True))
        )
        rows.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(rows)


def _drift() -> list[str]:
    """What all detectors have in common, then what each has."""
    common = set(DriftSettings.model_fields)
    parts = [f"## apps.NAME.drift\n\n{_paragraph(DriftSettings)}\n\n{_table(DriftSettings)}\n"]
    for name, detector in DETECTORS.items():
        table = _table(detector, common | {"detector"})
        parts.append(f"### detector: {name}\n\n{_paragraph(detector)}\n\n{table}\n")
    return parts


def _paragraph(model: type[BaseModel]) -> str:
    """The first one of its docstring."""
    return " ".join((model.__doc__ or "").strip().split("\n\n")[0].split())


def page() -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    sections: list[tuple[str, type[BaseModel]]] = [
        ("server", ServerConfig),
        ("server.tls", TlsConfig),
        ("limits", Limits),
        ("learner", LearnerConfig),
        ("log", LogConfig),
        ("kafka", KafkaConfig),
        ("redis", RedisConfig),
        ("apps.NAME", AppConfig),
        ("apps.NAME.reward", RewardRules),
    ]
    assert {name for name, _ in sections} >= set(Config.model_fields) - {"apps"}
    for title, model in sections:
        parts.append(f"## {title}\n\n{(model.__doc__ or '').strip()}\n\n{_table(model)}\n")
    new_actions = (_paragraph(NewActionsSettings), _table(NewActionsSettings))
    parts.append("## apps.NAME.new_actions\n\n" + "\n\n".join(new_actions) + "\n")
    parts += _drift()
    parts.append("## apps.NAME.policy\n\n`type` and the settings of that policy.\n")
    for name in names():
        policy = find(name)
        table = _table(policy.Settings) if policy.Settings.model_fields else "No settings."
        parts.append(f"### {name}\n\n{summary(policy)}\n\n{table}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
