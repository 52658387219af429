"""Writes logs without a service: decides, logs and folds in one process, by the same pure code."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from policies import state_sha256
from rankd.v1 import decisions_pb2 as api
from rankd.v1 import log_pb2 as pb
from server.fold.decide import Question, decide
from server.fold.fold import AppFold
from server.fold.records import LogRecord
from server.fold.settings import MODES, FoldSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies import Model
    from rankd.v1 import internal_pb2

APP = "shop"
NODE = "00000000-0000-0000-0000-000000000001.1"
SECOND = 1_000_000

SETTINGS = FoldSettings(
    app=APP,
    salt="5a" * 16,
    policy={"type": "linucb", "alpha": 0.5},
    standardise=True,
    min_exploration=0.1,
    mode="online",
    reward_min=-1.0,
    reward_max=1.0,
    reward_default=0.0,
    aggregation="earliest",
    wait_us=2 * SECOND,
    always_sent=False,
    lateness_us=SECOND // 2,
    skew_us=SECOND,
    clock_cap_us=5 * SECOND,
    checkpoint_every=20,
)


class Scribe:
    """A log that grows. It is a `LogSource`, so that `verify` can read it."""

    def __init__(self, settings: FoldSettings = SETTINGS) -> None:
        self.log: list[LogRecord] = []
        self.artefacts: dict[str, bytes] = {}
        self.kept: dict[int, internal_pb2.Checkpoint] = {}
        self.now_us = 1_700_000_000 * SECOND
        self.fold = self.empty_fold()
        self.open_epoch(settings)
        self.publish()

    def empty_fold(self) -> AppFold:
        return AppFold(APP, self.read, self.artefacts.__getitem__)

    def folded(self) -> AppFold:
        """The fold of the whole log, from its beginning and without a stop."""
        fold = self.empty_fold()
        for record in self.log:
            fold.step(record)
        return fold

    # -- writing -----------------------------------------------------------------------------------

    def append(
        self,
        kind: pb.Kind,
        event_id: str = "",
        payload: bytes = b"",
        app: str = APP,
        after_us: int = SECOND // 10,
    ) -> LogRecord:
        """Writes one record and folds it."""
        self.now_us += after_us
        number = len(self.log) + 1
        record = LogRecord(
            number, kind, app, event_id, self.now_us, self.now_us, NODE, number - 1, payload
        )
        self.log.append(record)
        self.fold.step(record)
        if self.fold.due():
            self.kept[number] = self.fold.checkpoint()
        return record

    def open_epoch(self, settings: FoldSettings) -> pb.Epoch:
        """Config and Epoch, as the learner writes them when its configuration has changed."""
        start, model = self.fold.start_of_epoch(settings)
        state = model.state()
        self.artefacts[state_sha256(state)] = state
        config = pb.Config(json=settings.canonical(), sha256=settings.sha256())
        epoch = pb.Epoch(
            number=self.fold.epoch + 1,
            start=start,
            config_sha256=settings.sha256(),
            state_sha256=state_sha256(state),
            libraries=settings.required_libraries(),
        )
        self.append(pb.KIND_CONFIG, payload=config.SerializeToString())
        self.append(pb.KIND_EPOCH, payload=epoch.SerializeToString())
        return epoch

    def publish(self) -> None:
        """What is learned so far is what decides from now on."""
        self.served = (self.fold.epoch, self.fold.version, self._copy())

    def _copy(self) -> Model:
        assert self.fold.settings is not None
        assert self.fold.model is not None
        return self.fold.settings.spec().load(self.fold.model.state())

    def rank(self, event_id: str, request: api.RankRequest, **more: Any) -> LogRecord:
        """A decision by the model that was published last."""
        epoch, version, model = self.served
        settings = self.fold.settings
        assert settings is not None
        slots = list(request.slot_ids)
        answer = decide(Question.of(request), slots or [""], event_id, model, settings)
        decision = pb.Decision(
            context=request.context,
            action_ids=request.action_ids,
            action_features=request.action_features,
            excluded_ids=request.excluded_ids,
            slot_ids=slots,
            defer_activation=request.defer_activation,
            pmf=answer.pmf.tolist(),
            ranking=answer.ranking,
            slot_probabilities=answer.slot_probabilities,
            sampler=answer.sampler,
            slot_pmfs=answer.slot_pmfs,
            base_probabilities=answer.base_probabilities,
            epoch=epoch,
            model_version=version,
            mode=MODES[settings.mode],
            preferred=answer.preferred,
        )
        return self.append(pb.KIND_DECISION, event_id, decision.SerializeToString(), **more)

    def reward(self, event_id: str, value: float, **fields: str) -> LogRecord:
        fields = {"reward_id": f"{event_id}/{len(self.log)}", **fields}
        reward = pb.Reward(value=value, **fields)
        return self.append(pb.KIND_REWARD, event_id, reward.SerializeToString())

    def activate(self, event_id: str, cause: pb.Activation.Cause) -> LogRecord:
        activation = pb.Activation(cause=cause)
        return self.append(pb.KIND_ACTIVATION, event_id, activation.SerializeToString())

    def tick(self, after_us: int = SECOND) -> LogRecord:
        return self.append(pb.KIND_TICK, app="", after_us=after_us)

    def promote(self, action: pb.Promotion.Action, version: int) -> LogRecord:
        """Refers to the model in the checkpoint of that version."""
        checkpoint = self.kept[version]
        name = state_sha256(checkpoint.policy)
        self.artefacts[name] = checkpoint.policy
        promotion = pb.Promotion(
            action=action, epoch=checkpoint.epoch, model_version=version, state_sha256=name
        )
        return self.append(pb.KIND_PROMOTION, payload=promotion.SerializeToString())

    def edit(self, sequence: int, payload: bytes) -> None:
        """Changes history."""
        self.log[sequence - 1] = self.log[sequence - 1]._replace(payload=payload)

    def busy(self, events: int, seed: int = 1) -> None:
        """A mixture of everything that clients do; a tenth of a second between records."""
        rng = random.Random(seed)
        first = len(self.log)
        for n in range(events):
            event_id = f"event-{first}-{n}"
            request = random_request(rng)
            self.rank(event_id, request)
            if rng.random() < 0.8:
                slot = rng.choice(list(request.slot_ids) or [""])
                self.reward(event_id, round(rng.uniform(-1, 1), 3), slot_id=slot)
            if request.defer_activation and rng.random() < 0.5:
                self.activate(event_id, pb.Activation.CAUSE_CLIENT)
            elif rng.random() < 0.1:
                self.activate(event_id, pb.Activation.CAUSE_UNDELIVERED)
            if rng.random() < 0.2:
                self.tick()
            if rng.random() < 0.3:
                self.publish()

    # -- a LogSource -------------------------------------------------------------------------------

    def apps(self) -> list[str]:
        return [APP]

    def base(self, app: str) -> internal_pb2.Checkpoint | None:
        return None

    def records(self, after: int) -> Iterator[LogRecord]:
        return iter(self.log[after:])

    def read(self, sequence: int) -> LogRecord:
        return self.log[sequence - 1]

    def artefact(self, sha256: str) -> bytes:
        return self.artefacts[sha256]

    def checkpoints(self, app: str) -> dict[int, str]:
        return {version: state_sha256(kept.policy) for version, kept in self.kept.items()}


def random_request(rng: random.Random) -> api.RankRequest:
    """Two to six of eight actions with features, some excluded, sometimes several slots."""
    ids = rng.sample([f"action-{i}" for i in range(8)], rng.randint(2, 6))
    request = api.RankRequest(action_ids=ids, defer_activation=rng.random() < 0.1)
    request.context.add(
        numeric_names=["age", "hour"],
        numeric_values=[rng.uniform(18, 80), float(rng.randrange(24))],
        categorical_names=["country"],
        categorical_values=[rng.choice(["no", "pt", "jp"])],
    )
    request.action_features.add(
        numeric_counts=[1] * len(ids),
        numeric_names=["price"] * len(ids),
        numeric_values=[rng.uniform(1, 100) for _ in ids],
    )
    if rng.random() < 0.3:
        request.excluded_ids.extend(rng.sample(ids, len(ids) - 2))
    if rng.random() < 0.3:
        request.slot_ids.extend(["top", "side"])
    return request
