"""Models in the log: where several nodes share it, whoever reads a Promotion or an Epoch finds there what it refers to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from policies import state_sha256
from rankd.v1 import internal_pb2
from rankd.v1 import log_pb2 as pb
from server.fold.envelope import EnvelopeError, seal, unseal
from server.fold.records import LogError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from server.fold.records import LogRecord

# Bytes of a piece: far below what any topic or transaction takes, so that a model of any size passes.
_PIECE = 256 << 10


class _Reader(Protocol):
    def bounds(self) -> tuple[int, int]: ...

    def records(
        self, after: int, through: int | None = None, kind: int | None = None
    ) -> Iterator[LogRecord]: ...


def pieces_of(app: str, model: internal_pb2.Snapshot, origin_us: int) -> list[pb.Record]:
    """The model as records, in order.

    Args:
        origin_us: when it was made, microseconds since 1970.
    """
    data = seal(model)
    name = state_sha256(model.policy)
    starts = range(0, len(data), _PIECE)
    header = pb.Header(app=app, kind=pb.KIND_ARTEFACT, origin_time_us=origin_us)
    return [
        pb.Record(
            header=header,
            payload=pb.Artefact(
                state_sha256=name, piece=i, pieces=len(starts), data=data[start : start + _PIECE]
            ).SerializeToString(),
        )
        for i, start in enumerate(starts)
    ]


def artefact_in(reader: _Reader, app: str, sha256: str) -> internal_pb2.Snapshot:
    """The model of that name, from its pieces in the log.

    Raises:
        LogError: it is not there, or damaged.
    """
    found: dict[int, bytes] = {}
    count = 0
    for record in reader.records(reader.bounds()[0] - 1, kind=pb.KIND_ARTEFACT):
        piece = record.message(pb.Artefact)
        if record.app == app and piece.state_sha256 == sha256:
            found[piece.piece], count = piece.data, piece.pieces
    if not count or len(found) < count:
        raise LogError(
            f"artefact {sha256[:12]} of app {app!r} is not in the log (any more); restore apps/ from a backup"
        )
    try:
        model = unseal(internal_pb2.Snapshot, b"".join(found[i] for i in range(count)))
    except EnvelopeError as error:
        raise LogError(f"artefact {sha256[:12]} of app {app!r} in the log: {error}") from error
    if state_sha256(model.policy) != sha256:
        raise LogError(f"artefact {sha256[:12]} of app {app!r} in the log holds another model")
    return model
