"""Joining without learning gives what the learning fold learned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from server.exports.rows import rows
from server.fold.joined import JoinFold
from tests.exports.memory_log import WAIT_US, MemoryLog, settings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from server.fold.fold import AppFold
    from server.fold.joiner import Joined


def learned(log: MemoryLog, app: str = "shop") -> list[tuple[int, dict[int, float]]]:
    """(sequence of the decision, rewards) of all that the real fold learns, in its order."""
    from server.fold.fold import AppFold

    met: list[tuple[int, dict[int, float]]] = []

    class Spy(AppFold):
        def _learn(self, sequence: int, closed: Iterable[Joined]) -> None:
            closed = list(closed)
            met.extend((one.at, one.rewards) for one in closed)
            super()._learn(sequence, closed)

    fold: AppFold = Spy(app, log.read, log.artefact)
    for record in log.log:
        fold.step(record)
    return met


def test_rows_are_what_the_fold_learns_in_its_order(log: MemoryLog) -> None:
    expected = learned(log)
    joining = JoinFold(log, "shop")
    found = list(joining.rows())
    assert [(row.record.sequence, row.rewards) for row in found] == expected
    assert len(found) == 80 - WAIT_US // 1_000_000 + 1  # the last tick closes one more
    assert all(row.decision == row.record.decision() for row in found)
    assert joining.joiner is not None
    assert log.folds["shop"].joiner is not None
    assert joining.joiner.counters == log.folds["shop"].joiner.counters
    assert joining.model is None


def test_of_several_apps_each_has_its_own(two_apps: MemoryLog) -> None:
    for app in ("news", "shop"):
        found = [(row.record.sequence, row.rewards) for row in JoinFold(two_apps, app).rows()]
        assert found == learned(two_apps, app)
        assert found


def test_a_trimmed_log_goes_on_where_its_checkpoint_stands(log: MemoryLog) -> None:
    whole = [row.record.sequence for row in JoinFold(log, "shop").rows()]
    log.trim()
    rest = [row.record.sequence for row in JoinFold(log, "shop").rows()]
    assert 0 < len(rest) < len(whole)
    assert rest == whole[-len(rest) :]


def test_rewards_that_are_always_sent_make_rows_at_once() -> None:
    log = MemoryLog(settings("shop", always_sent=True))
    log.rank("one")
    log.rank("two")
    log.reward("two", 0.5)
    found = list(JoinFold(log, "shop").rows())
    assert [(row.record.event_id, row.rewards) for row in found] == [("two", {0: 0.5})]


def test_slots_are_told_with_what_was_left_to_them() -> None:
    log = MemoryLog()
    decision = log.rank("e", ["a", "b", "c", "d"], excluded_ids=["b"], slot_ids=["top", "side"])
    log.reward("e", 0.75, slot="side")
    log.tick(11)
    top, side = rows(log, "shop")
    assert (top.slot, top.reward, side.slot, side.reward) == ("top", 0.0, "side", 0.75)
    assert top.actions == [0, 2, 3]
    assert top.actions[top.chosen] == decision.ranking[0]
    assert top.pmf == [decision.pmf[k] for k in (0, 2, 3)]
    assert side.actions == [k for k in (0, 2, 3) if k != decision.ranking[0]]
    assert side.actions[side.chosen] == decision.ranking[1]
    assert side.pmf[side.chosen] == decision.slot_probabilities[1]
    assert sum(side.pmf) == pytest.approx(1.0, abs=1e-12)


def test_an_app_that_only_logs_is_joined_too() -> None:
    log = MemoryLog(settings("shop", mode="logging_only"))
    log.rank("e", excluded_ids=["a"])
    log.reward("e", 0.5)
    log.tick(11)
    (row,) = rows(log, "shop")
    assert (row.actions, row.pmf, row.chosen, row.reward) == ([1, 2], [1.0, 0.0], 0, 0.5)
