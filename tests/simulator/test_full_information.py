"""The classifier beside the bandit: good, and honest about predicting first."""

from __future__ import annotations

import random

import pytest

from simulator import FullInformation, image_segments


@pytest.mark.parametrize("seed", [1, 2])
def test_learns_image_segments(seed: int) -> None:
    learner = FullInformation()
    hits = [learner.step(row.numbers, row.label) for row in image_segments(seed)]
    assert learner.recent >= 0.85
    assert learner.recent == sum(hits[-500:]) / 500
    assert learner.accuracy == sum(hits) / 2310


def test_predicts_before_it_learns() -> None:
    # Labels that no feature tells of: whoever peeks gets more than half of them right.
    rng = random.Random(1)
    learner = FullInformation()
    for i in range(1000):
        learner.step({"row": float(i)}, rng.choice("ab"))
    assert 0.4 <= learner.accuracy <= 0.6


def test_the_first_row_is_wrong_and_nothing_is_divided_by_zero() -> None:
    learner = FullInformation(window=2)
    assert (learner.accuracy, learner.recent) == (0.0, 0.0)
    assert learner.step({"x": 1.0}, "a") is False
    assert [learner.step({"x": 1.0}, "a") for _ in range(3)] == [True] * 3
    assert learner.accuracy == 0.75
    assert learner.recent == 1.0
