"""The world is the data set, and its contexts are what a client's would be."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from policies.features import encode_context
from rankd.v1 import features_pb2
from simulator import World, image_segments


@pytest.fixture(scope="module")
def world() -> World:
    return image_segments(seed=1)


def test_image_segments_is_all_there(world: World) -> None:
    assert world.actions == ("brickface", "cement", "foliage", "grass", "path", "sky", "window")
    assert Counter(row.label for row in world) == dict.fromkeys(world.actions, 330)
    assert {len(row.numbers) for row in world} == {18}


def test_one_right_action_in_each_row(world: World) -> None:
    for row in world.rows[:100]:
        assert [row.reward(a) for a in world.actions].count(1.0) == 1
        assert row.reward(row.label) == 1.0
        assert row.reward("none of these") == 0.0


def test_the_seed_gives_the_order_and_nothing_else(world: World) -> None:
    again, other = image_segments(seed=1), image_segments(seed=2)
    assert again == world
    assert other.rows != world.rows
    key = sorted((tuple(row.numbers.values()), row.label) for row in world)
    assert sorted((tuple(row.numbers.values()), row.label) for row in other) == key


def test_classes_are_mixed_from_the_start(world: World) -> None:
    # As bundled, the first 330 rows hold one class or few; shuffled, all seven show up in the first 50.
    assert {row.label for row in world.rows[:50]} == set(world.actions)


def test_a_context_is_what_the_server_makes_of_the_same_numbers(world: World) -> None:
    row = world.rows[0]
    message: Any = features_pb2.Features(
        numeric_names=list(row.numbers), numeric_values=list(row.numbers.values())
    )
    ours, servers = row.context(), encode_context([message])
    assert np.array_equal(ours.index, servers.index)
    assert np.array_equal(ours.value, servers.value)
    assert np.array_equal(ours.namespace, servers.namespace)
    assert ours.numeric.all()


def test_the_actions_have_names_and_no_features(world: World) -> None:
    actions = world.action_set()
    assert actions.ids == world.actions
    assert len(actions.features) == 0
    assert len(actions.of(6)) == 0
