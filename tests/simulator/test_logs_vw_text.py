"""VW's text format, with VW as the judge of what it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from simulator.logs import Decided, LogFormatError, Matured, Skipped, VwTextLog

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """\
shared |user age:31 country=NL
'x |item price:9.5
0:-1:0.25 'y |item price:3.0 new

| first
0:0.5:0.5 | second
| third
"""


def write(path: Path, text: str) -> VwTextLog:
    path.write_text(text)
    return VwTextLog(path)


def test_examples_are_decisions(tmp_path: Path) -> None:
    log = write(tmp_path / "log", TEXT)
    one, rewarded, two, last = log
    assert isinstance(one, Decided)
    assert isinstance(rewarded, Matured)
    assert isinstance(two, Decided)
    assert isinstance(last, Matured)
    assert (one.key, one.actions.ids, one.chosen, one.propensity) == ("1", ("x", "y"), 1, 0.25)
    assert one.pmf is None
    assert sorted(one.context.value.tolist()) == [1.0, 31.0]
    assert [len(one.actions.of(k)) for k in range(2)] == [1, 2]
    assert rewarded.reward == 1.0
    assert (two.key, two.actions.ids, two.chosen) == ("5", ("1", "2", "3"), 1)
    assert last.reward == -0.5
    assert one.raw == "\n".join(TEXT.splitlines()[:3])
    assert len(list(log)) == 4
    assert not log.counters


def test_vw_reads_the_raw_form_and_finds_the_same_loss(tmp_path: Path) -> None:
    from vowpalwabbit import Workspace

    events = [e for e in write(tmp_path / "log", TEXT) if isinstance(e, Matured)]
    vw = Workspace("--cb_explore_adf --epsilon 1.0 --quiet")
    for event in events:
        assert isinstance(event.decision.raw, str)
        example = vw.parse(event.decision.raw.splitlines())
        vw.learn(example)
        vw.finish_example(example)
    loss = vw.get_sum_loss()
    vw.finish()
    by_hand = [-e.reward / len(e.decision.actions) / e.decision.propensity for e in events]
    assert loss == pytest.approx(sum(by_hand), rel=1e-5)


def test_a_namespaces_value_multiplies_its_features(tmp_path: Path) -> None:
    log = write(tmp_path / "log", "shared |a:2 x:3 y |b x\n0:1:1 |\n")
    decided = next(iter(log))
    assert isinstance(decided, Decided)
    assert sorted(decided.context.value.tolist()) == [1.0, 2.0, 6.0]
    assert int(np.sum(decided.context.numeric)) == 2


def test_an_example_without_a_label_is_counted(tmp_path: Path) -> None:
    log = write(tmp_path / "log", "\n\n| a\n| b\n\n\n" + TEXT)
    assert len(list(log)) == 4
    assert log.counters == {Skipped.UNLABELLED: 1}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("shared | again", "line 10: the shared line must be the example's first"),
        ("0:1:0.5 | b", "line 10: a second action has a label"),
        ("ccb shared | b", "line 10: ccb: only --cb_adf"),
        ("| x:abc", "line 10: could not convert"),
        ("| :3", "line 10: .*has no name"),
        ("'second | c", None),
        ("| x:nan", "line 9: .*finite"),
        ("'first | c", "line 9: two actions are called 'first'"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(
    line: str, message: str | None, tmp_path: Path
) -> None:
    log = write(tmp_path / "log", f"{TEXT}\n0:1:0.5 'first | b\n{line}\n")
    if message is None:
        assert len(list(log)) == 6
        return
    with pytest.raises(LogFormatError, match=message):
        list(log)


@pytest.mark.parametrize("label", ["0:1", "0:1:0", "0:1:1.5", "0:nan:0.5", "0:x:0.5", "5 | x |"])
def test_a_bad_label_is_refused(label: str, tmp_path: Path) -> None:
    with pytest.raises(LogFormatError, match=r"line 1: "):
        list(write(tmp_path / "log", f"{label} | a\n| b\n"))


def test_a_label_that_may_have_lost_a_digit_is_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("1:0:0.5 |i x\n|i y\n\n|i x\n0:-25:0.7")
    log = VwTextLog(path)
    assert [event.reward for event in log if isinstance(event, Matured)] == [0.0]
    assert log.counters[Skipped.CUT_SHORT] == 1
