"""Journals of any length for benchmarks, as a service would have written them: `rankd verify` accepts them.

Every decision is one of the untrained model, whose pmf is the same for all contexts. So ten million are drawn and written in
minutes, and yet each can be derived again. The journal's clock is not the wall's: so many events come in each second.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from policies.sampler import Purpose, draw_without_replacement, uniform
from rankd.v1 import log_pb2 as pb
from server.config import Config
from server.files import DataFolder
from server.fold.decide import Question, decide
from server.journal.store import JournalReader, LogTime, Store, Stored
from server.learning.app import LearnerApp
from server.learning.epochs import config_record, epoch_record, wanted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

APP = "default"
# When the journals begin: microseconds since 1970.
_BEGIN_US = 1_700_000_000_000_000
_SECOND_US = 1_000_000
# Where the only Epoch stands, after its Config: the version that decides.
_EPOCH_RECORD = 2
# Seconds: the default log.lateness, and one more.
_LATENESS = 3
# Contexts before they come again.
_CONTEXTS = 4_096


@dataclass(frozen=True)
class World:
    """What is asked and what comes of it: numbers of the context, of which the first decides the reward."""

    policy: Mapping[str, object]
    actions: int = 7
    numbers: int = 18
    vector_bytes: int = 0  # of a vector in the context, which makes payloads larger
    events_per_second: int = 500  # on the journal's clock
    reward_after: int = 1  # seconds, on the same; 0: no rewards come
    wait: int = 10  # seconds, the app's reward.wait
    checkpoint_every: int = 5_000

    def config(self) -> Config:
        """What a service with this app would have in rankd.yaml."""
        app = {
            "policy": dict(self.policy),
            "salt": "5a" * 16,
            "reward": {"min": 0.0, "wait": f"{self.wait}s"},
        }
        return Config.model_validate(
            {"learner": {"checkpoint_every": self.checkpoint_every}, "apps": {APP: app}}
        )


def learner_app(folder: DataFolder, world: World, reader: JournalReader) -> LearnerApp:
    """The learner's part for the journal's app, resumed from what it kept in the folder."""
    return LearnerApp(APP, reader, world.config(), folder)


def write(root: Path, world: World, events: int, seed: int = 1, close: bool = False) -> DataFolder:
    """A data folder whose journal holds so many decisions, and a reward for each.

    Args:
        root: of the folder, which is new.
        close: go on with Ticks until all windows have closed.
    """
    folder = DataFolder(root)
    root.mkdir(parents=True, exist_ok=True)
    now = [_BEGIN_US]
    clock = LogTime(lambda: now[0] * 1_000, lambda: now[0] * 1_000)
    with closing(Store(folder.journal, log_time=clock)) as store:
        _open_epoch(store, folder, world)
        decisions = _Decisions(world, seed)
        waiting: deque[list[pb.Record]] = deque()  # rewards, a list for each second
        for first in range(0, events, world.events_per_second):
            now[0] += _SECOND_US
            numbers = range(first, min(first + world.events_per_second, events))
            made = [decisions.make(event, now[0]) for event in numbers]
            due = waiting.popleft() if len(waiting) >= world.reward_after > 0 else []
            places, _ = store.append([[record for record, _ in made], [*due, _tick(now[0])]])
            if world.reward_after:
                waiting.append([_reward(*each) for each in zip(made, places, strict=True)])
        for due in waiting:
            now[0] += _SECOND_US
            store.append([[*due, _tick(now[0])]])
        for _ in range(world.wait + _LATENESS if close else 0):
            now[0] += _SECOND_US
            store.append([[_tick(now[0])]])
    return folder


def _open_epoch(store: Store, folder: DataFolder, world: World) -> None:
    """Config and Epoch, as a learner writes them into an empty log."""
    with closing(JournalReader(folder.journal)) as reader:
        app = learner_app(folder, world, reader)
        settings = wanted(app, world.config())
        store.append([[config_record(app, settings), epoch_record(app, settings)[0]]])


class _Decisions:
    """Decisions of the untrained model."""

    def __init__(self, world: World, seed: int) -> None:
        rng = np.random.default_rng(seed)
        settings = world.config().fold_settings(APP, "")
        self._salt = bytes.fromhex(settings.salt)
        self._numbers = rng.normal(size=(_CONTEXTS, world.numbers)).round(3).tolist()
        decision = self._decision = pb.Decision(
            action_ids=[f"action-{k:03}" for k in range(world.actions)],
            slot_probabilities=[0.0],
            epoch=1,
            model_version=_EPOCH_RECORD,
            mode=pb.MODE_ONLINE,
        )
        group = self._context = decision.context.add(
            numeric_names=[f"number_{i:02}" for i in range(world.numbers)],
            numeric_values=[0.0] * world.numbers,
        )
        if world.vector_bytes:
            data = rng.normal(size=world.vector_bytes // 4).astype("<f4")
            group.vector_names.append("embedding")
            group.vector_sizes.append(len(data))
            group.vector_data = data.tobytes()
        answer = decide(Question.of(decision), [""], "", settings.spec().build(), settings)
        self._pmf = answer.pmf
        decision.pmf.extend(answer.pmf.tolist())
        decision.sampler = answer.sampler

    def make(self, event: int, now_us: int) -> tuple[pb.Record, float]:
        """(the decision's record, the reward that it earns)."""
        event_id = f"{event:032x}"
        numbers = self._numbers[event % _CONTEXTS]
        u = uniform(self._salt, Purpose.DRAW, 0, event_id)
        (chosen,), probabilities = draw_without_replacement(self._pmf, [u])
        decision = self._decision
        self._context.numeric_values[:] = numbers
        others = (k for k in range(len(self._pmf)) if k != chosen)  # all are equally good
        decision.ranking[:] = [chosen, *others]
        decision.slot_probabilities[:] = probabilities
        decision.preferred = chosen
        header = _header(pb.KIND_DECISION, event_id, now_us)
        record = pb.Record(header=header, payload=decision.SerializeToString())
        return record, float((numbers[0] > 0) == (chosen % 2 == 0))


def _reward(made: tuple[pb.Record, float], place: Stored) -> pb.Record:
    record, value = made
    h = record.header
    reward = pb.Reward(
        value=value, reward_id=h.event_id, decision_id=f"{place.node}:{place.sequence}"
    )
    header = _header(pb.KIND_REWARD, h.event_id, h.origin_time_us + _SECOND_US)
    return pb.Record(header=header, payload=reward.SerializeToString())


def _tick(now_us: int) -> pb.Record:
    return pb.Record(header=pb.Header(kind=pb.KIND_TICK, origin_time_us=now_us))


def _header(kind: pb.Kind, event_id: str, now_us: int) -> pb.Header:
    return pb.Header(app=APP, kind=kind, event_id=event_id, origin_time_us=now_us)
