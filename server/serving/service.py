"""The service: validate, decide, journal, answer. It knows no transport; edges call it.

The order is the promise: what is refused is refused before anything is logged, and nothing is answered before it is on
disk.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from rankd.v1 import decisions_pb2 as api
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.journal.client import Answer
from server.serving.appends import Appends, activation, new
from server.serving.errors import (
    FieldError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    ServiceError,
    UnavailableError,
)
from server.serving.gathering import MOST, Gathering
from server.serving.ids import new_id
from server.serving.questions import Questions
from server.serving.ranking import Asked, check, complete, to_reply
from server.serving.validation import check_id, check_reward

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from server.config import Config
    from server.journal.client import JournalClient
    from server.serving.lookup import DecisionLookup
    from server.serving.models import Models, Served

# Requests of a batch that are checked between two turns of the event loop: how long others may have to wait.
_TURN = 64
# Payloads that calls share a frame of the journal's with: as large as one call's own may be by default.
_FRAME_BYTES = 4 << 20
# When to come again where as many calls wait for the journal as may: about what it takes to write them (seconds).
_RETRY_SECONDS = 0.2


class _Call(NamedTuple):
    """A call of Rank that waits for its decision to be in the log."""

    asked: Asked
    header: pb.Header
    answer: Answer


class DecisionService:
    """Rank, Reward and Activate for every configured app.

    Args:
        clock_us: the time now, microseconds since 1970.
        tasks: owns what outlives a call: telling the log that a reply could not be delivered.
        lookup: knows decisions of other servers that share the log, if there are any.
        overload: where there is too much to do, the seconds after which a call may come again; else None.
    """

    def __init__(
        self,
        config: Config,
        models: Models,
        journal: JournalClient,
        tasks: asyncio.TaskGroup,
        clock_us: Callable[[], int],
        lookup: DecisionLookup | None = None,
        overload: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._limits = config.limits
        self._max_in_flight = config.server.max_in_flight
        self._only_app = next(iter(config.apps)) if len(config.apps) == 1 else None
        self._apps = set(config.apps)
        self._models = models
        self._journal = journal
        self._appends = Appends(journal, tasks)
        self._clock_us = clock_us
        self._lookup = lookup
        self._overload = overload
        self._questions = Questions()
        self._gathering = Gathering(self._gathered)

    async def rank(self, request: api.RankRequest) -> api.RankReply:
        """Decides one event, or returns the stored decision of a retried one.

        Raises:
            ServiceError: see server.serving.errors.
        """
        self._admit("request", 1)
        asked = check("", self.app_name(request.app), request, self._limits, self._questions)
        if self._lookup is not None:
            await self._find([asked], self._lookup)
        if asked.stored is None and asked.slots:
            await self._log([asked])  # it shares nothing with others, and may take long
        elif asked.stored is None:
            call = _Call(asked, self._decision(asked), Answer())
            self._gathering.add(call)
            (ack,) = await self._appends.acks([call.header], call.answer)
            asked.logged(ack)
        if asked.redelivered:
            await self._appends.append([self._redelivered(asked)])
        reply = to_reply(asked)
        if isinstance(reply, ServiceError):
            raise reply
        return reply

    async def rank_batch(
        self, requests: Sequence[api.RankRequest]
    ) -> list[api.RankReply | ServiceError]:
        """Decides many events with one commit. An event whose id is taken has that error in its place.

        Raises:
            ServiceError: a request is wrong (the field's path begins with requests[i] where there are several),
                or nothing could be logged.
        """
        self._admit("requests", len(requests))
        asked = []
        for i, request in enumerate(requests):
            if i % _TURN == _TURN - 1:
                await asyncio.sleep(0)
            path = f"requests[{i}]" if len(requests) > 1 else ""
            try:
                app = self.app_name(request.app)
                asked.append(check(path, app, request, self._limits, self._questions))
            except FieldError as error:
                if not path:
                    raise
                raise error.within(path) from error
        if self._lookup is not None:
            await self._find(asked, self._lookup)
        fresh = await self._log([each for each in asked if each.stored is None])
        again = [self._redelivered(each) for each in asked if each.redelivered]
        if again:
            try:
                await self._appends.append(again)
            except (ServiceError, asyncio.CancelledError):
                self._appends.undelivered(fresh)
                raise
        return [to_reply(each) for each in asked]

    async def reward(self, requests: Sequence[api.RewardRequest]) -> list[int]:
        """Logs rewards with one commit; returns their places in the log.

        Raises:
            ServiceError: a reward is wrong, or nothing could be logged.
        """
        self._admit("rewards", len(requests))
        records = []
        for i, request in enumerate(requests):
            try:
                records.append(self._reward(request))
            except FieldError as error:
                if len(requests) == 1:
                    raise
                raise error.within(f"rewards[{i}]") from error
        return [ack.sequence for ack in await self._appends.append(records)]

    async def activate(self, request: api.ActivateRequest) -> int:
        """Logs that a deferred decision was shown; returns the record's place in the log."""
        self._admit("request", 1)
        app = self.app_name(request.app)
        check_id("event_id", request.event_id)
        header = self._header(app, pb.KIND_ACTIVATION, request.event_id)
        (ack,) = await self._appends.append([activation(header, pb.Activation.CAUSE_CLIENT)])
        return ack.sequence

    def lost(self, app: str, event_id: str) -> None:
        """Takes note that a reply to Rank could not be handed over: its decision was shown to nobody."""
        header = self._header(self.app_name(app), pb.KIND_DECISION, event_id)
        self._appends.undelivered([header])

    def app_name(self, name: str) -> str:
        """The app that a request means.

        Raises:
            NotFoundError: there is no such app.
            InvalidArgumentError: none is named, and there are several.
        """
        if not name:
            if self._only_app is None:
                raise InvalidArgumentError("app", "is empty, and this server has several apps")
            return self._only_app
        if name not in self._apps:
            raise NotFoundError("app", f"no app {name[:64]!r} on this server")
        return name

    def served(self, app: str) -> Served:
        """The app's model.

        Raises:
            UnavailableError: there is none yet.
        """
        served = self._models.get(app)
        if served is None:
            raise UnavailableError("the model is not loaded yet; retry")
        return served

    def _admit(self, field: str, count: int) -> None:
        if count > self._limits.batch:
            raise InvalidArgumentError(
                field, f"has {count} entries; at most {self._limits.batch} are allowed"
            )
        retry_after = self._overload()
        if retry_after is not None:
            raise ResourceExhaustedError("calls wait for too long; retry later", retry_after)
        waiting = self._journal.in_flight + self._gathering.waiting
        if waiting >= self._max_in_flight or self._journal.behind:
            raise ResourceExhaustedError("too many calls in flight; retry later", _RETRY_SECONDS)

    async def _find(self, asked: list[Asked], lookup: DecisionLookup) -> None:
        """Notes what other servers have decided. Ids that were made here are unknown to them."""
        named = defaultdict(list)
        for each in asked:
            if each.named:
                named[each.app].append(each)
        for app, of_app in named.items():
            found = await lookup.find(app, [each.event_id for each in of_app])
            for each in of_app:
                decision = found.get(each.event_id)
                if decision is not None:
                    each.made_before(decision.payload)
                    each.decision_id = f"{decision.node}:{decision.sequence}"

    async def _log(self, asked: list[Asked]) -> list[pb.Header]:
        """Decides and logs, unless the journal has a decision of the event; returns the headers of new ones."""
        if not asked:
            return []
        headers: list[pb.Header] = []
        payloads = []
        for part in _turns(asked):
            if headers:
                await asyncio.sleep(0)  # let others have their turn
            headers += [self._decision(each) for each in part]
            found = complete(part, self.served, self._limits, self._questions)
            for each, payload in zip(part, found, strict=True):
                if isinstance(payload, FieldError) and each.path:
                    raise payload.within(each.path) from payload
                if isinstance(payload, Exception):
                    raise payload
                payloads.append(payload)
        answer = Answer()
        records = list(zip(headers, payloads, strict=True))
        self._tell_others(asked, records, answer)
        self._journal.send_all([(answer, records)])
        acks = await self._appends.acks(headers, answer)
        for each, ack in zip(asked, acks, strict=True):
            each.logged(ack)
        return new(headers, acks)

    def _gathered(self, calls: list[_Call]) -> None:
        """Decides and sends to the log what calls of their own have asked."""
        try:
            self._decide_and_send(calls)
        except Exception as error:  # nobody else would ever tell them
            for call in calls:
                if not call.answer.sent:
                    call.answer.failed(error)

    def _decide_and_send(self, calls: list[_Call]) -> None:
        asked = [call.asked for call in calls]
        found = complete(asked, self.served, self._limits, self._questions)
        parts: list[tuple[Answer, list[tuple[pb.Header, bytes]]]] = []
        size = 0
        for call, payload in zip(calls, found, strict=True):
            if isinstance(payload, Exception):
                call.answer.failed(payload)
            else:
                records = [(call.header, payload)]
                self._tell_others([call.asked], records, call.answer)
                parts.append((call.answer, records))
                size += len(payload)
                if size > _FRAME_BYTES:
                    self._journal.send_all(parts)
                    parts, size = [], 0
        if parts:
            self._journal.send_all(parts)

    def _tell_others(
        self, asked: list[Asked], records: list[tuple[pb.Header, bytes]], answer: Answer
    ) -> None:
        """Has other servers told of these decisions once they are in the log."""
        if self._lookup is not None:
            payloads = [payload for _, payload in records]
            answer.then = partial(self._remember, asked, payloads, self._lookup)

    def _remember(
        self,
        asked: list[Asked],
        payloads: list[bytes],
        lookup: DecisionLookup,
        acks: list[internal_pb2.Ack],
    ) -> None:
        """Tells other servers what was logged, also where the caller has gone: its retry may come to one of them."""
        for each, payload, ack in zip(asked, payloads, acks, strict=True):
            if each.named and not ack.HasField("stored"):
                decision = internal_pb2.StoredDecision(
                    node=ack.node, sequence=ack.sequence, payload=payload
                )
                lookup.remember(each.app, each.event_id, decision)

    def _reward(self, request: api.RewardRequest) -> pb.Record:
        app = self.app_name(request.app)
        check_reward(request, self.served(app).settings)
        header = self._header(app, pb.KIND_REWARD, request.event_id)
        header.origin_time_us = max(0, header.origin_time_us - 1000 * request.age_ms)
        reward = pb.Reward(
            value=request.value,
            slot_id=request.slot_id,
            reward_id=request.reward_id or new_id(),
            decision_id=request.decision_id,
        )
        return pb.Record(header=header, payload=reward.SerializeToString())

    def _decision(self, asked: Asked) -> pb.Header:
        return self._header(asked.app, pb.KIND_DECISION, asked.event_id)

    def _header(self, app: str, kind: pb.Kind, event_id: str) -> pb.Header:
        return pb.Header(app=app, kind=kind, event_id=event_id, origin_time_us=self._clock_us())

    def _redelivered(self, asked: Asked) -> pb.Record:
        return activation(self._decision(asked), pb.Activation.CAUSE_REDELIVERED)


def _turns(asked: list[Asked]) -> Iterator[list[Asked]]:
    """What is decided in one turn of the event loop each: many, or one with slots, which may take as long as many."""
    turn: list[Asked] = []
    for each in asked:
        turn.append(each)
        if each.slots or len(turn) == MOST:
            yield turn
            turn = []
    if turn:
        yield turn
