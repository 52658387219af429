"""Whether a configuration will work, and whether its log will be worth having."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import yaml

from policies import PolicyError
from rankd.commands.check import Check
from server.config import Config
from server.config_file import ConfigError, load
from server.journal.writer import TICK_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from server.sections import AppConfig

# Below this share of exploration an action among ten is shown once in 1,000 decisions or more seldom, and the
# value of a policy that prefers it cannot be told from a log of ordinary size.
_LEAST_EXPLORATION = 0.01


def check_config(path: Path) -> Iterator[Check]:
    """Every check, in order; the later ones only if the file can be used at all."""
    try:
        values = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        yield Check("readable", False, f"{path}: {error}")
        return
    if values is None:  # an empty file
        values = {}
    if not isinstance(values, dict):
        yield Check("readable", False, f"{path}: no mapping of sections")
        return
    yield Check("readable", True, str(path))
    config = None
    wrong: list[str] = []
    try:
        config = load(path)
    except ConfigError as error:
        wrong = [line.removeprefix(f"{path}: ") for line in str(error).splitlines()]
    yield from _sections(values, wrong)
    if config is None:
        return
    for name, app in config.apps.items():
        yield _policy(config, name)
        yield _exploration(name, app)
        yield _windows(config, name, app)
    yield _port(config)


def _sections(values: dict[Any, Any], wrong: list[str]) -> Iterator[Check]:
    """One check for each section of the file, each app being one, with the lines that are about it."""
    apps = values.get("apps")
    names = [f"apps.{name}" for name in apps] if isinstance(apps, dict) else []
    known = [name for name in Config.model_fields if name != "apps"]
    for name in [*known, *sorted(names, key=len, reverse=True), "apps"]:
        mine = [line for line in wrong if line.startswith((f"{name}.", f"{name}:"))]
        wrong = [line for line in wrong if line not in mine]
        if mine or name != "apps":
            found = "; ".join(mine) or ("as given" if _is_given(values, name) else "defaults")
            yield Check(name, not mine, found)
    if wrong:
        yield Check("sections", False, "; ".join(wrong))


def _is_given(values: dict[Any, Any], name: str) -> bool:
    return name.startswith("apps.") or bool(values.get(name))


def _policy(config: Config, name: str) -> Check:
    settings = config.fold_settings(name, "00" * 16)
    try:
        model = settings.spec().build()
    except (PolicyError, ImportError) as error:
        return Check(f"apps.{name} policy", False, str(error))
    return Check(f"apps.{name} policy", True, f"{model.policy.name} can be built")


def _exploration(name: str, app: AppConfig) -> Check:
    share = app.min_exploration
    check = f"apps.{name} exploration"
    if app.mode != "online":
        return Check(
            check, True, f"{app.mode}: the baseline is played, the log can value only that"
        )
    if app.allow_deterministic:
        return Check(
            check, True, "allow_deterministic: the log may not tell what others would earn"
        )
    found = f"min_exploration {share:g}: one of ten actions is shown at least every {10 / share:,.0f}th time"
    if share >= _LEAST_EXPLORATION:
        return Check(check, True, found)
    return Check(
        check, False, f"{found}; other policies can hardly be valued below {_LEAST_EXPLORATION:g}"
    )


def _windows(config: Config, name: str, app: AppConfig) -> Check:
    wait, log = app.reward.wait, config.log
    window = wait + log.lateness
    wrong = []
    if not wait:
        wrong.append("reward.wait is 0: no reward can come in time")
    if log.skew > wait:
        wrong.append(f"log.skew ({log.skew}) exceeds it: rewards far outside the window count")
    if log.clock_cap >= window:
        wrong.append(
            f"log.clock_cap ({log.clock_cap}) is no less than the window with its lateness ({window}): "
            "an outage would close windows"
        )
    if log.clock_cap.total_seconds() < TICK_SECONDS:
        wrong.append(
            f"log.clock_cap ({log.clock_cap}) is below the {TICK_SECONDS:g} s between two ticks: "
            "windows would stay open for longer than they should"
        )
    if window >= log.max_age:
        wrong.append(f"log.max_age ({log.max_age}) is no longer: what is learned is gone at once")
    return Check(f"apps.{name} window", not wrong, "; ".join([f"waits {wait} for rewards", *wrong]))


def _port(config: Config) -> Check:
    host, port = config.server.host, config.server.port
    if not port:
        return Check("port", True, "0: a free one will be taken")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), port))
    except OSError as error:
        return Check("port", False, f"cannot listen on {host}:{port}: {error.strerror}")
    return Check("port", True, f"{host}:{port} is free")
