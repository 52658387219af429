"""Parts of the demo whose answers can be worked out by hand."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from policies import ModelSpec
from rankd.demo import run
from rankd.demo.chart import Series, chart, moving_mean
from rankd.demo.display import Display
from rankd.demo.lag import percentile, reward_to_model
from rankd.demo.presets import PRESETS, ROWS, configuration
from rankd.demo.stream import Progress, Round
from server.config_file import load
from simulator import image_segments

if TYPE_CHECKING:
    from pathlib import Path


def rounds(*rows: tuple[float, int, int, float]) -> list[Round]:
    """(replied, model_version, sequence, acked) each."""
    return [
        Round(i, 0.0, version, replied, sequence, acked)
        for i, (replied, version, sequence, acked) in enumerate(rows)
    ]


def test_the_lag_ends_with_the_first_reply_of_a_model_that_knows_the_reward() -> None:
    done = rounds((1.0, 2, 4, 1.25), (2.0, 3, 6, 2.25), (3.0, 4, 8, 3.25), (4.0, 8, 10, 4.25))
    # Reward 4 shows at 3.0, rewards 6 and 8 at 4.0; reward 10 came after the last reply.
    assert reward_to_model(done) == [1750.0, 1750.0, 750.0, 0.0]


def test_a_learner_that_stopped_shows_as_a_growing_lag() -> None:
    done = rounds(*((float(i), 2, 4 + 2 * i, i + 0.5) for i in range(100)))
    lags = reward_to_model(done)
    assert lags[0] == 98_500.0
    assert percentile(lags, 99) > 90_000


def test_the_lag_does_not_depend_on_the_order_of_rounds() -> None:
    done = rounds((1.0, 2, 4, 1.25), (2.0, 3, 6, 2.25), (3.0, 6, 8, 3.25))
    assert reward_to_model(done[::-1]) == reward_to_model(done)[::-1]


def test_moving_mean_of_an_exact_series() -> None:
    assert moving_mean([1.0, 1.0, 0.0, 0.0, 1.0], 2) == [1.0, 1.0, 0.5, 0.0, 0.5]
    assert moving_mean([], 2) == []


def test_a_rising_curve_rises_in_the_chart() -> None:
    curve = [i / 99 for i in range(100)]
    lines = chart([Series("rising", "green", curve)], 100, width=45, height=10).plain.split("\n")
    plot = [line[5:] for line in lines[:10]]
    heights = [min(row for row in range(10) if plot[row][column] != " ") for column in range(40)]
    assert heights[0] == 9
    assert heights[-1] == 0
    assert all(later <= earlier for earlier, later in pairwise(heights))
    assert "rising 1.000" in lines[-1]


def progress_of(count: int, total: int) -> Progress:
    progress = Progress(total)
    progress.rounds = [Round(i, 1.0, 2 * i, float(i), 2 * i + 2, i + 0.5) for i in range(count)]
    progress.full_information = [1.0] * count
    return progress


@pytest.mark.parametrize("count", [0, 1, 57, 100])
def test_a_terminal_gets_a_picture_that_fits(count: int) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=72, _environ={"TERM": "xterm"})
    with Display(console, "linucb", uniform=1 / 7) as display:
        display.show(progress_of(count, 100))
    assert f"round {count} of 100" in out.getvalue()
    picture = Console(width=72).render_str(out.getvalue()).plain
    assert any("⠁" <= character <= "⣿" for character in picture)
    assert "└" in picture


def test_elsewhere_there_are_ten_lines_and_no_more() -> None:
    out = io.StringIO()
    with Display(Console(file=out, width=72), "linucb", uniform=1 / 7) as display:
        for count in range(101):
            display.show(progress_of(count, 100))
    lines = out.getvalue().splitlines()
    assert len(lines) == 10
    assert all(line.startswith("round") for line in lines)


@pytest.mark.parametrize("policy", sorted(PRESETS))
def test_presets_are_configurations_that_work(policy: str, tmp_path: Path) -> None:
    path = tmp_path / "rankd.yaml"
    path.write_text(configuration(policy, seed=1))
    settings = load(path)
    (app,) = settings.apps
    model = settings.fold_settings(app, "").spec().build()
    assert model.policy.name == policy
    assert isinstance(model.spec, ModelSpec)
    assert model.spec.min_exploration == 0.02
    assert model.spec.reward_range == (0.0, 1.0)


def test_one_seed_gives_one_configuration() -> None:
    assert configuration("vw", 1) == configuration("vw", 1)
    assert configuration("vw", 1) != configuration("vw", 2)


def test_the_number_of_rows_is_that_of_the_data_set() -> None:
    assert len(image_segments(1)) == ROWS


@pytest.mark.parametrize(
    ("policy", "count", "rate", "named"),
    [
        ("ucb", None, 60.0, "policy: no preset 'ucb'; known are linucb, vw, river"),
        ("linucb", 1, 60.0, "rounds: is 1;"),
        ("linucb", ROWS + 1, 60.0, "rounds: is 2311;"),
        ("linucb", None, 0.0, "rate: is 0.0;"),
        ("linucb", None, float("nan"), "rate: is nan;"),
        ("linucb", None, float("inf"), "rate: is inf;"),
    ],
)
def test_arguments_that_cannot_be_are_refused_before_anything_starts(
    policy: str,
    count: int | None,
    rate: float,
    named: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "data"
    assert run(policy, 1, count, rate, folder, as_json=True) == 2
    out, err = capsys.readouterr()
    assert named in err
    assert not out
    assert not folder.exists()
