"""A small Decisions service that can be told to fail: for what the real one cannot be made to show.

It takes the first action, keeps decisions by event_id, checks nothing, and remembers everything it was sent.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import grpc

from rankd.v1 import decisions_pb2 as pb
from rankd.v1.decisions_pb2_grpc import DecisionsServicer, add_DecisionsServicer_to_server

if TYPE_CHECKING:
    from collections.abc import Callable

R = TypeVar("R")


@dataclass
class Seen:
    """One attempt as it arrived."""

    method: str
    request: Any
    peer: str
    seconds_left: float


@dataclass
class Failure:
    """What happens to one attempt instead of, or after, its being carried out."""

    code: grpc.StatusCode | None = None  # None: no answer at all
    carried_out: bool = False
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass
class FakeService(DecisionsServicer):
    seen: list[Seen] = field(default_factory=list)
    failures: deque[Failure] = field(default_factory=deque)
    item_failures: dict[str, deque[grpc.StatusCode]] = field(default_factory=dict)
    decisions: dict[str, pb.RankReply] = field(default_factory=dict)
    sequence: int = 0
    address: str = ""

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._server: Any = None

    def start(self) -> None:
        """Listens, on the same port again after a stop."""
        self._stopped.clear()
        # Threads that hang must leave some for the attempts after them.
        options = [("grpc.max_receive_message_length", 64 << 20)]
        self._server = grpc.server(ThreadPoolExecutor(16), options=options)
        add_DecisionsServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        port = self._server.add_insecure_port(self.address or "127.0.0.1:0")
        self.address = self.address or f"127.0.0.1:{port}"
        self._server.start()

    def stop(self) -> None:
        self._stopped.set()
        self._server.stop(None).wait()

    def fail(self, *codes: grpc.StatusCode) -> None:
        """The next attempts end so, one for each code."""
        self.failures += [Failure(code) for code in codes]

    def attempts(self, method: str) -> list[Any]:
        """The requests that arrived, in order."""
        return [seen.request for seen in self.seen if seen.method == method]

    def Rank(self, request: pb.RankRequest, context: Any) -> pb.RankReply:  # noqa: N802
        return self._serve("Rank", request, context, self._rank)

    def RankBatch(self, request: pb.RankBatchRequest, context: Any) -> pb.RankBatchReply:  # noqa: N802
        return self._serve("RankBatch", request, context, self._rank_batch)

    def Reward(self, request: pb.RewardRequest, context: Any) -> pb.RewardReply:  # noqa: N802
        return self._serve("Reward", request, context, self._reward)

    def Activate(self, request: pb.ActivateRequest, context: Any) -> pb.ActivateReply:  # noqa: N802
        return self._serve("Activate", request, context, self._activate)

    def _serve(self, method: str, request: Any, context: Any, work: Callable[[Any], R]) -> R:
        with self._lock:
            self.seen.append(Seen(method, request, context.peer(), context.time_remaining()))
            failure = self.failures.popleft() if self.failures else None
            if failure is None:
                return work(request)
            if failure.carried_out:
                work(request)
        if failure.code is not None:
            context.set_trailing_metadata(failure.metadata)
            context.abort(failure.code, f"told to fail with {failure.code.name}")
        self._stopped.wait()
        raise AssertionError("nobody waits for this answer any more")

    def _rank(self, request: pb.RankRequest) -> pb.RankReply:
        if request.event_id in self.decisions:
            return self.decisions[request.event_id]
        ids = [action for action in request.action_ids if action not in request.excluded_ids]
        self.sequence += 1
        reply = pb.RankReply(
            event_id=request.event_id,
            decision_id=f"node.1:{self.sequence}",
            action_id=ids[0],
            ranking=ids,
            probabilities=[1 / len(ids)] * len(ids),
            epoch=1,
            model_version=self.sequence,
        )
        self.decisions[request.event_id] = reply
        return reply

    def _rank_batch(self, batch: pb.RankBatchRequest) -> pb.RankBatchReply:
        return pb.RankBatchReply(replies=[self._item(request) for request in batch.requests])

    def _item(self, request: pb.RankRequest) -> pb.RankReply:
        codes = self.item_failures.get(request.event_id)
        if not codes:
            return self._rank(request)
        code = codes.popleft()
        error = pb.Error(code=code.value[0], message=f"told to fail with {code.name}")
        return pb.RankReply(error=error)

    def _reward(self, _: pb.RewardRequest) -> pb.RewardReply:
        self.sequence += 1
        return pb.RewardReply(sequence=self.sequence)

    def _activate(self, _: pb.ActivateRequest) -> pb.ActivateReply:
        self.sequence += 1
        return pb.ActivateReply(sequence=self.sequence)
