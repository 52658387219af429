"""States of the joiner that earlier versions wrote: each is read as the state that today's joiner reaches."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from server.fold.event import RewardEntry
from server.fold.joiner import Joiner, JoinRules
from server.fold.joiner_columns import load
from server.fold.joiner_state import dump

RULES = JoinRules(
    wait_us=100, lateness_us=20, skew_us=10, aggregation="sum", default=-1.0, always_sent=False
)
FOLDER = Path(__file__).parent.parent / "golden" / "v0.1.0"


def after_its_story() -> Joiner:
    """300 records about 60 events, as they were given to the joiners whose states the files are."""
    joiner, rng, now = Joiner(RULES), random.Random(7), 0
    for number in range(1, 301):
        now += rng.randrange(4)
        list(joiner.close_due(now))
        key = bytes([rng.randrange(60)]) * 16
        kind = rng.randrange(5)
        if kind < 2:
            slots = ((), ("left", "right"))[rng.randrange(2)]
            deferred = kind == 0 and number % 3 == 0
            place = ("node.1", number)
            list(joiner.decision(key, place, number, 1000 + now, slots, deferred, now))
        elif kind < 4:
            shown = None if number % 2 else ("node.1", number - 2)
            slot = ("", "left")[number % 5 == 0]
            entry = RewardEntry(number.to_bytes(16, "big"), slot, number / 8, 1000 + now, shown)
            list(joiner.reward(key, entry, now))
        else:
            list(joiner.activation(key, rng.randrange(2) == 0, number % 2 == 0, now))
    return joiner


@pytest.mark.parametrize("written_as", ["rows", "columns"])
def test_an_earlier_state_is_todays(written_as: str) -> None:
    earlier = load(RULES, (FOLDER / f"joiner.{written_as}").read_bytes())
    assert list(dump(earlier)) == list(dump(after_its_story()))
