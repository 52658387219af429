"""The settings of one app that its fold depends on. They live in the log, named by their own hash."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from rankd.v1 import log_pb2 as pb
from server.fold.joiner import Aggregation, JoinRules

if TYPE_CHECKING:
    from collections.abc import Mapping

    from policies import ModelSpec

Mode = Literal["online", "apprentice", "logging_only"]

MODES: dict[str, pb.Mode] = {
    "online": pb.MODE_ONLINE,
    "apprentice": pb.MODE_APPRENTICE,
    "logging_only": pb.MODE_LOGGING_ONLY,
}


class FoldSettings(BaseModel):
    """What decides how one app's records become a model. Changing any of it opens a new epoch."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    app: str
    salt: str = Field(description="hex; keys the app's random draws")
    policy: dict[str, object]
    standardise: bool
    min_exploration: float
    mode: Mode
    reward_min: float
    reward_max: float
    reward_default: float
    aggregation: Aggregation
    wait_us: int
    always_sent: bool
    lateness_us: int
    skew_us: int
    clock_cap_us: int
    checkpoint_every: int
    partitions: int = 1  # of the app's topic, where there is one
    drift: dict[str, object] | None = None
    new_actions: dict[str, object] | None = None

    def canonical(self) -> str:
        """JSON with sorted keys: equal settings give equal text. What came later than the format says nothing where it is not
        used, so that old logs keep their hashes."""
        said = self.model_dump()
        if self.partitions == 1:
            del said["partitions"]
        for name in ("drift", "new_actions"):
            if said[name] is None:
                del said[name]
        return json.dumps(said, sort_keys=True, separators=(",", ":"))

    def sha256(self) -> str:
        return sha256(self.canonical().encode()).hexdigest()

    def join_rules(self) -> JoinRules:
        """The part that joins decisions and rewards."""
        return JoinRules(
            self.wait_us,
            self.lateness_us,
            self.skew_us,
            self.aggregation,
            self.reward_default,
            self.always_sent,
        )

    def spec(self) -> ModelSpec:
        """The part that builds a model."""
        from policies import ModelSpec  # loads numpy, for which not every process has a use

        return ModelSpec(
            self.policy,
            self.standardise,
            self.min_exploration,
            (self.reward_min, self.reward_max),
            self.drift,
            self.new_actions,
        )

    def required_libraries(self) -> list[str]:
        """ "name==version" of everything whose version can change the arithmetic, as an Epoch names them."""
        return self.spec().libraries()


def differences(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Names of the settings that differ, for a log message."""
    return sorted(
        key for key in {*before, *after} if before.get(key) != after.get(key) and key != "salt"
    )
