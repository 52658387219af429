"""What an experiment is made of: trials, each a small value that can be sent anywhere, done there, and known again."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Trial(Protocol):
    """One unit of work. A frozen value that pickles: equal facts give equal results, wherever and whenever it is run."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """All that its result depends on, as JSON has it: settings written out, seeds, digests of data; no paths."""

    def run(self, progress: Callable[[float], None] | None = None) -> dict[str, Any]:
        """Does it.

        Args:
            progress: called now and then with the share that is done, in [0, 1].

        Returns:
            Numbers and words, as JSON has them.
        """


def canonical(facts: Mapping[str, Any]) -> str:
    """Facts as text: equal facts give equal text, whatever order their names came in.

    >>> canonical({"seed": 1, "policy": {"type": "linucb", "alpha": 0.5}})
    '{"policy":{"alpha":0.5,"type":"linucb"},"seed":1}'
    """
    return json.dumps(facts, sort_keys=True, separators=(",", ":"))


def digest_of(facts: Mapping[str, Any]) -> str:
    """A trial's name in a store: the first half of its facts' SHA-256, in hex.

    >>> digest_of({"seed": 1}) == digest_of({"seed": 1}), digest_of({"seed": 1}) == digest_of({"seed": 2})
    (True, False)
    """
    return sha256(canonical(facts).encode()).hexdigest()[:32]
