"""A log in memory, made by the real fold and the real draw, under a clock that the test moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from policies import state_sha256
from policies.registry import libraries
from rankd.v1 import log_pb2 as pb
from server.fold.decide import Question, decide
from server.fold.fold import AppFold
from server.fold.records import LogError, LogRecord
from server.fold.settings import MODES, FoldSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from google.protobuf.message import Message

    from rankd.v1 import internal_pb2

NODE = "0b5d6b4c.1"
START_US = 1_750_000_000_000_000
WAIT_US = 10_000_000


def settings(app: str, **changes: Any) -> FoldSettings:
    values: dict[str, Any] = {
        "app": app,
        "salt": "5a" * 16,
        "policy": {"type": "linucb"},
        "standardise": True,
        "min_exploration": 0.2,
        "mode": "online",
        "reward_min": -1.0,
        "reward_max": 1.0,
        "reward_default": 0.0,
        "aggregation": "earliest",
        "wait_us": WAIT_US,
        "always_sent": False,
        "lateness_us": 0,
        "skew_us": 0,
        "clock_cap_us": 5_000_000,
        "checkpoint_every": 50,
    }
    return FoldSettings(**(values | changes))


class MemoryLog:
    """A LogSource. Every method appends a record and folds it."""

    def __init__(self, *apps: FoldSettings) -> None:
        self.log: list[LogRecord] = []
        self.now_us = START_US
        self.states: dict[str, bytes] = {}
        self.saved: dict[str, dict[int, internal_pb2.Checkpoint]] = {}
        self.folds: dict[str, AppFold] = {}
        self.first = 1
        for app in apps or (settings("shop"),):
            self.open(app)

    # -- writing -----------------------------------------------------------------------------------

    def append(
        self,
        kind: pb.Kind,
        app: str = "",
        event_id: str = "",
        payload: Message | None = None,
        age_us: int = 0,
    ) -> int:
        sequence = len(self.log) + 1
        data = b"" if payload is None else payload.SerializeToString()
        record = LogRecord(
            sequence,
            kind,
            app,
            event_id,
            self.now_us - age_us,
            self.now_us,
            NODE,
            sequence - 1,
            data,
        )
        self.log.append(record)
        for name, fold in self.folds.items():
            fold.step(record)
            if fold.due():
                self.saved[name][fold.version] = fold.checkpoint()
        return sequence

    def open(self, wanted: FoldSettings) -> None:
        """Config and Epoch; the app's first or next."""
        app = wanted.app
        if app not in self.folds:
            fold = self.folds[app] = AppFold(app, self.read, self.artefact)
            self.saved[app] = {}
            for record in self.log:
                fold.step(record)
        start, model = self.folds[app].start_of_epoch(wanted)
        sha256 = self.keep(model.state())
        config = pb.Config(json=wanted.canonical(), sha256=wanted.sha256())
        epoch = pb.Epoch(
            number=self.folds[app].epoch + 1,
            start=start,
            config_sha256=config.sha256,
            state_sha256=sha256,
            libraries=libraries(wanted.policy),
        )
        self.append(pb.KIND_CONFIG, app, payload=config)
        self.append(pb.KIND_EPOCH, app, payload=epoch)

    def rank(
        self,
        event_id: str,
        actions: Sequence[str] = ("a", "b", "c"),
        app: str = "shop",
        numbers: Mapping[str, float] | None = None,
        **asked: Any,
    ) -> pb.Decision:
        fold = self.folds[app]
        assert fold.model is not None
        assert fold.settings is not None
        if numbers:
            context = pb.Decision().context.add()
            context.numeric_names.extend(numbers)
            context.numeric_values.extend(numbers.values())
            asked["context"] = [context]
        decision = pb.Decision(action_ids=actions, **asked)
        slots = list(decision.slot_ids) or [""]
        answer = decide(Question.of(decision), slots, event_id, fold.model, fold.settings)
        decision.pmf.extend(answer.pmf.tolist())
        decision.ranking.extend(answer.ranking)
        decision.slot_probabilities.extend(answer.slot_probabilities)
        decision.sampler = answer.sampler
        decision.slot_pmfs.extend(answer.slot_pmfs)
        decision.base_probabilities.extend(answer.base_probabilities)
        decision.epoch, decision.model_version = fold.epoch, fold.version
        decision.mode = MODES[fold.settings.mode]
        decision.request_hash = b"0123456789abcdef"
        decision.preferred = answer.preferred
        self.append(pb.KIND_DECISION, app, event_id, decision)
        return decision

    def reward(
        self, event_id: str, value: float, slot: str = "", app: str = "shop", reward_id: str = ""
    ) -> None:
        reward = pb.Reward(
            value=value, slot_id=slot, reward_id=reward_id or f"reward-{len(self.log)}"
        )
        self.append(pb.KIND_REWARD, app, event_id, reward)

    def tick(self, seconds: float = 1.0) -> None:
        for _ in range(round(seconds)):
            self.now_us += 1_000_000
            self.append(pb.KIND_TICK)

    def keep(self, state: bytes) -> str:
        sha256 = state_sha256(state)
        self.states[sha256] = state
        return sha256

    def trim(self, app: str = "shop") -> None:
        """Drops what the app's oldest checkpoint does not need."""
        self.first = next(iter(self.saved[app].values())).oldest_needed

    # -- LogSource ---------------------------------------------------------------------------------

    def apps(self) -> list[str]:
        return sorted(self.folds)

    def base(self, app: str) -> internal_pb2.Checkpoint | None:
        return next(iter(self.saved[app].values())) if self.first > 1 else None

    def records(self, after: int) -> Iterator[LogRecord]:
        assert after + 1 >= self.first
        yield from self.log[after:]

    def read(self, sequence: int) -> LogRecord:
        return self.log[sequence - 1]

    def artefact(self, sha256: str) -> bytes:
        if sha256 not in self.states:
            raise LogError(f"artefact {sha256[:12]} is missing")
        return self.states[sha256]

    def checkpoints(self, app: str) -> dict[int, str]:
        return {version: state_sha256(c.policy) for version, c in self.saved[app].items()}
