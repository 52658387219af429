"""Reports of a simulation: bands over seeds by hand, a page that is well formed, and the files that the command writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import typer

from simulator.reports import LearnedInput, WorldInput, png, world_html, world_markdown, worlds
from simulator.reports.figures import Lines
from tests.simulator.test_reports import EVIL, Checked
from tests.simulator.test_simulate import run_command

if TYPE_CHECKING:
    from pathlib import Path

ROUND = np.array([1.0, 2.0, 4.0])


def learned(name: str, *regrets: list[float]) -> LearnedInput:
    """What it earned is 10 a round, less its regret."""
    regret = np.array(regrets)
    return LearnedInput(name, ROUND, 10 * ROUND - regret, regret)


@pytest.fixture
def two() -> WorldInput:
    first = learned("linucb", [1.0, 1.0, 1.0], [1.0, 2.0, 3.0])
    return WorldInput("linear", [first, learned(EVIL, [1.0, 2.0, 4.0], [1.0, 3.0, 8.0])])


def test_bands_are_over_seeds(two: WorldInput) -> None:
    regret, mean = worlds.all_of(two)[2:]
    assert isinstance(regret, Lines)
    assert isinstance(mean, Lines)
    curve = regret.lines[0].curve
    assert curve.x.tolist() == ROUND.tolist()
    assert curve.y.tolist() == [1.0, 1.5, 2.0]
    reach = 12.706205  # t table, 1 d.f.; standard errors are 0, 1/2, 1
    assert (curve.high - curve.y).tolist() == pytest.approx([0.0, reach / 2, reach])
    assert mean.lines[0].curve.y.tolist() == pytest.approx([9.0, 9.25, 9.5])
    # Neither end of a band is outside the picture.
    assert regret.y_range[0] <= curve.low.min()
    assert regret.y_range[1] >= curve.high.max()


def test_the_page_is_well_formed_and_names_are_escaped(two: WorldInput) -> None:
    page = world_html(two)
    checked = Checked(page)
    assert not checked.open
    assert len(checked.ids) == len(set(checked.ids))
    assert set(checked.named) <= set(checked.ids)
    assert "script" not in checked.tags
    assert checked.tags.count("svg") == 4
    assert "regret 2 (-10.71 to 14.71) over 4 rounds" in page


def test_the_table_pairs_by_seed(two: WorldInput) -> None:
    table = world_markdown(two)
    assert "2 seeds" in table
    assert "+4 (-8.706 to +16.71)" in table  # 3 and 5, not 6 less 2 with both spreads
    assert "<script>" not in table


def test_one_seed_has_no_bands() -> None:
    one = WorldInput("linear", [learned("linucb", [0.0, 1.0, 2.0])])
    assert "nan" not in world_html(one).lower()
    assert "One seed tells no interval" in world_markdown(one)


def test_more_policies_than_colours_are_left_out_of_curves_only() -> None:
    many = [learned(f"p{i}", [0.0, 1.0, 2.0], [0.0, 1.0, float(i)]) for i in range(8)]
    report = WorldInput("linear", many)
    regret = worlds.all_of(report)[2]
    assert isinstance(regret, Lines)
    assert len(regret.lines) == 6
    assert "The first 6 policies are drawn" in regret.caption
    assert "p7" in world_markdown(report)


def test_curves_must_be_paired() -> None:
    with pytest.raises(ValueError, match="policies: must not be empty"):
        WorldInput("linear", [])
    with pytest.raises(ValueError, match=r"b: curves \(1, 3\)"):
        WorldInput("linear", [learned("a", [0.0] * 3, [0.0] * 3), learned("b", [0.0] * 3)])


def test_the_command_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    specs = ["linucb", "uniform"]
    page, table = tmp_path / "out.html", tmp_path / "out.md"
    assert run_command(specs, report=page) == 0
    assert "Simulation of linear" in page.read_text()
    assert run_command(specs, report=table, rounds=1, as_json=True) == 0
    assert "| uniform |" in table.read_text()
    capsys.readouterr()
    for path, said in ((tmp_path / "out.txt", ".html or .md"), (tmp_path / "no" / "out.md", "no")):
        with pytest.raises(typer.Exit):
            run_command(specs, report=path)
        assert said in capsys.readouterr().err


def test_of_one_round_there_is_a_page(tmp_path: Path) -> None:
    assert run_command(["uniform"], report=tmp_path / "out.html", rounds=1) == 0
    Checked((tmp_path / "out.html").read_text())


def test_plots(two: WorldInput, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = [file.name for file in png(two, tmp_path)]
    assert names == ["regret.png", "differences.png", "cumulative-regret.png", "learning.png"]
