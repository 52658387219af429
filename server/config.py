"""rankd.yaml as a whole, and what its sections ask of each other."""

from __future__ import annotations

import re

from pydantic import Field, field_validator, model_validator

from server.fold.settings import FoldSettings
from server.sections import (
    AppConfig,
    KafkaConfig,
    LearnerConfig,
    Limits,
    LogConfig,
    RedisConfig,
    Section,
    ServerConfig,
    microseconds,
)

# App names become folder names.
_APP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Config(Section):
    """All of rankd.yaml."""

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

    def fold_settings(self, app: str, salt: str) -> FoldSettings:
        """What the fold of one app depends on; the salt is used where the app sets none."""
        from policies.detectors import drift_settings
        from policies.new_actions import new_actions_settings
        from policies.registry import settings_of  # loads the libraries of the policy

        config = self.apps[app]
        policy, settings = settings_of(config.policy)
        drift = None if config.drift is None else drift_settings(config.drift)
        new_actions = (
            None if config.new_actions is None else new_actions_settings(config.new_actions)
        )
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
            drift=None if drift is None else drift.model_dump(mode="json"),
            new_actions=None if new_actions is None else new_actions.model_dump(mode="json"),
        )
