"""What the service asks of those who know other servers' decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rankd.v1.internal_pb2 import StoredDecision


class DecisionLookup(Protocol):
    """Decisions of all servers that share a log, by event_id. It may forget, and fails by knowing nothing."""

    async def find(self, app: str, event_ids: Sequence[str]) -> Mapping[str, StoredDecision]:
        """The decisions that are known, by event_id; within a bounded time."""

    def remember(self, app: str, event_id: str, decision: StoredDecision) -> None:
        """Tells the other servers, beside the call."""
