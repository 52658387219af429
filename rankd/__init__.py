"""rankd's public face: `from rankd import Client, AsyncClient`.

Names load on first use: a process that only wants the messages (rankd.v1) does not pay for grpc.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rankd.aio import AsyncClient
    from rankd.client import Client
    from rankd.decision import Decision, Slot
    from rankd.errors import RankdError
    from rankd.messages import RankArgs
    from rankd.tls import TLS

_LAZY = {
    "TLS": "rankd.tls",
    "AsyncClient": "rankd.aio",
    "Client": "rankd.client",
    "Decision": "rankd.decision",
    "RankArgs": "rankd.messages",
    "RankdError": "rankd.errors",
    "Slot": "rankd.decision",
}

__all__ = ["TLS", "AsyncClient", "Client", "Decision", "RankArgs", "RankdError", "Slot"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'rankd' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
