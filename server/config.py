"""rankd.yaml as a whole: read, merged with the environment and the command line, and checked. An empty file, or none, works.

The environment goes before the file: RANKD_SERVER__PORT=6000, RANKD_APPS='{"default": {"mode": "apprentice"}}'. The command
line goes before both.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from policies.registry import settings_of
from server.fold.settings import FoldSettings
from server.sections import (
    AppConfig,
    KafkaConfig,
    LearnerConfig,
    Limits,
    LogConfig,
    RedisConfig,
    ServerConfig,
    microseconds,
)

if TYPE_CHECKING:
    from pathlib import Path

# App names become folder names.
_APP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class ConfigError(Exception):
    """The configuration cannot be used. Each line of the message names a field and says what is wrong with it."""


class Config(BaseSettings):
    """All of rankd.yaml."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="RANKD_", env_nested_delimiter="__"
    )

    server: ServerConfig = ServerConfig()
    limits: Limits = Limits()
    learner: LearnerConfig = LearnerConfig()
    log: LogConfig = LogConfig()
    kafka: KafkaConfig = KafkaConfig()
    redis: RedisConfig = RedisConfig()
    apps: dict[str, AppConfig] = Field(
        {"default": AppConfig()}, min_length=1, description="Apps by name."
    )

    @field_validator("apps")
    @classmethod
    def _names(cls, value: dict[str, AppConfig]) -> dict[str, AppConfig]:
        for name in value:
            if not _APP_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r}: an app's name is 1 to 64 letters, digits, '.', '_' or '-', "
                    "and begins with a letter or digit"
                )
        return value

    @model_validator(mode="after")
    def _complete(self) -> Config:
        if self.server.role != "all" and not (self.kafka.bootstrap and self.redis.url):
            raise ValueError(
                f"server.role {self.server.role} needs kafka.bootstrap and redis.url: "
                "servers and learners share their log and their models through them"
            )
        if self.redis.url and not self.kafka.bootstrap:
            raise ValueError("redis.url needs kafka.bootstrap: one server alone has no use for it")
        if (
            self.kafka.bootstrap
            and self.kafka.max_record_bytes < self.server.max_message_bytes + 2**20
        ):
            raise ValueError(
                "kafka.max_record_bytes must exceed server.max_message_bytes by 1 MiB at least: a decision holds "
                "its request and more"
            )
        # After an outage the log's clock jumps by clock_cap, on top of the quarter in which a lease is renewed.
        if self.kafka.bootstrap and self.log.clock_cap >= 0.75 * self.kafka.learner_lease:
            raise ValueError(
                "log.clock_cap must be less than three quarters of kafka.learner_lease: else any outage "
                "seems to be one of the learner"
            )
        if self.kafka.bootstrap and self.log.lateness < self.log.clock_cap:
            raise ValueError(
                "log.lateness must be log.clock_cap at least: a record that Kafka got long after its shipper gave "
                "it up finds its window open only if an outage is shorter than the lateness"
            )
        unknown = sorted(set(self.learner.apps) - set(self.apps))
        if unknown:
            raise ValueError(f"learner.apps: no app {unknown[0]!r}")
        return self

    def topic(self, app: str) -> str:
        """Name of the app's topic."""
        return f"{self.kafka.prefix}.{app}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic's signature, here and below
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # `load` merges file, environment and command line

    def fold_settings(self, app: str, salt: str) -> FoldSettings:
        """What the fold of one app depends on; the salt is used where the app sets none."""
        config = self.apps[app]
        policy, settings = settings_of(config.policy)
        return FoldSettings(
            app=app,
            salt=config.salt or salt,
            # With all defaults written out: a later version's may be others, and the log must keep its meaning.
            policy={"type": policy.name, **settings.model_dump(mode="json")},
            standardise=config.standardise,
            min_exploration=config.min_exploration,
            mode=config.mode,
            reward_min=config.reward.min,
            reward_max=config.reward.max,
            reward_default=config.reward.default,
            aggregation=config.reward.aggregation,
            wait_us=microseconds(config.reward.wait),
            always_sent=config.reward.always_sent,
            lateness_us=microseconds(self.log.lateness),
            skew_us=microseconds(self.log.skew),
            clock_cap_us=microseconds(self.log.clock_cap),
            checkpoint_every=self.learner.checkpoint_every,
            partitions=self.kafka.partitions if self.kafka.bootstrap else 1,
        )


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
        environment = EnvSettingsSource(Config)()
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
