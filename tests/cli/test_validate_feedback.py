"""`rankd validate` of logs that rankd did not write, in every format."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.cli.conftest import rankd
from tests.cli.test_validate import checks, failing
from tests.simulator.log_formats import FORMATS, IDS, Format, Row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OTHERS = [form for form in FORMATS if form.name != "rankd jsonl"]
EVERY = {
    "readable",
    "time",
    "probabilities",
    "mean weight",
    "overlap",
    "joins",
    "duplicates",
    "rewards",
    "deferred",
    "thinned",
}


def played(p: float = 0.25, n: int = 400) -> list[Row]:
    """Rows in which a was drawn with probability p."""
    rng = np.random.default_rng(3)
    return [
        Row(f"e{i}", IDS[int(rng.random() >= p)], {"a": p, "b": 1 - p}, reward=float(i % 2))
        for i in range(n)
    ]


def dsjson(path: Path, rows: list[Row], **more: Callable[[int], object]) -> Path:
    """A file of dsjson with further keys, each of its line's number from 0."""
    form = next(form for form in FORMATS if form.name == "dsjson")
    lines = [json.loads(line) for line in form.write(rows).splitlines()]
    for i, line in enumerate(lines):
        line |= {key: value(i) for key, value in more.items()}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("form", OTHERS, ids=lambda form: form.name)
def test_what_is_sound_passes(form: Format, tmp_path: Path) -> None:
    path = tmp_path / f"log{form.suffix}"
    path.write_bytes(form.write(played()))
    found = checks(path)
    assert not failing(found), found
    assert found.keys() >= EVERY
    assert ("draws" in found) is form.pmf
    assert "400 decisions" in found["readable"]
    assert "400 of 400" in found["rewards"]


@pytest.mark.parametrize("form", OTHERS, ids=lambda form: form.name)
def test_false_probabilities_fail(form: Format, tmp_path: Path) -> None:
    """As where a softmax of the scores is logged, and the best action played."""
    rows = [replace(row, mu={"a": 0.75, "b": 0.25}) for row in played()]
    path = tmp_path / f"log{form.suffix}"
    path.write_bytes(form.write(rows))
    failed = failing(checks(path))
    assert "mean weight" in failed
    assert ("draws" in failed) is form.pmf


@pytest.mark.parametrize("form", OTHERS, ids=lambda form: form.name)
def test_what_cannot_be_read_fails_with_its_place(form: Format, tmp_path: Path) -> None:
    rows = played(n=5)
    rows[2].propensity = 1.5
    path = tmp_path / f"log{form.suffix}"
    path.write_bytes(form.write(rows))
    found = checks(path)
    assert found.keys() == {"readable"}
    assert f"{form.place} " in found["readable"]
    assert "(0, 1]" in found["readable"]


def test_what_is_no_log_says_what_would_be_one(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("to do\n")
    found = rankd("validate", tmp_path / "notes.txt")
    assert found.code == 1
    assert "Give a file of" in found.out
    assert "A configuration's name ends in .yaml" in found.out
    assert "No such file" in checks(tmp_path / "missing.json")["readable"]


def test_a_log_that_never_explores_fails(tmp_path: Path) -> None:
    for form in OTHERS:
        path = tmp_path / f"log{form.suffix}"
        rows = [Row(f"e{i}", "b", {"a": 0.0, "b": 1.0}) for i in range(200)]
        path.write_bytes(form.write(rows))
        found = checks(path)
        if form.name == "csv, propensity only":  # such a table knows of no other action
            continue
        assert failing(found) == {"overlap"}, form.name
        assert "50.0% of what it would do is never done" in found["overlap"]
        assert "uniform exploration" in found["overlap"]


def test_few_rows_are_said_to_be_few(tmp_path: Path) -> None:
    found = checks(dsjson(tmp_path / "log.json", played(n=40)))
    assert "PASS" in found["overlap"]
    assert "too few yet" in found["overlap"]


def test_names_that_come_twice_fail(tmp_path: Path) -> None:
    rows = played()
    rows[7].key = rows[3].key
    found = checks(dsjson(tmp_path / "log.json", rows))
    assert failing(found) == {"duplicates"}
    assert "'e3' (line 8), named as that of line 4" in found["duplicates"]


def test_rows_that_are_shuffled_fail_and_late_ones_do_not(tmp_path: Path) -> None:
    def at(minute: float) -> str:
        return f"2026-01-01T{int(minute) // 60:02}:{int(minute) % 60:02}:00.0000000Z"

    path = tmp_path / "log.json"
    found = checks(dsjson(path, played(), Timestamp=at))
    assert found["time"] == "PASS 400 decisions in the order of their time"
    found = checks(dsjson(path, played(), Timestamp=lambda i: at(max(0, i - 5 * (i % 3 == 0)))))
    assert "PASS" in found["time"]
    assert "by up to 240 s" in found["time"]
    found = checks(dsjson(path, played(), Timestamp=lambda i: at(i * 7 % 400)))
    assert failing(found) == {"time"}
    assert "Sort the log by time" in found["time"]


def test_a_table_may_tell_the_time(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    lines = [f"{row.action},{row.p},{row.reward},{99 - i}" for i, row in enumerate(played(n=100))]
    path.write_text("\n".join(["did,p,got,when", *lines, ""]))
    columns = "action=did,propensity=p,reward=got,time=when"
    assert failing(checks(path, "--columns", columns)) == {"time"}
    assert "no column action" in checks(path)["readable"]
    assert rankd("validate", path, "--columns", "what=did").code == 1


def test_rewards_without_a_decision_fail(tmp_path: Path) -> None:
    path = dsjson(tmp_path / "log.json", played())
    with path.open("a") as file:
        file.writelines(f'{{"RewardValue": 1, "EventId": "x{i}"}}\n' for i in range(40))
    found = checks(path)
    assert failing(found) == {"joins"}
    assert "40 have none" in found["joins"]


def test_decisions_without_a_reward_fail_where_they_are_most(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    lines = [f"{row.action},{row.p},{'' if i % 4 else 1}" for i, row in enumerate(played())]
    path.write_text("\n".join(["action,propensity,reward", *lines, ""]))
    found = checks(path)
    assert failing(found) == {"rewards"}
    assert "75.0% have none" in found["rewards"]


@pytest.mark.parametrize(("of_20", "share"), [(9, "45.0%"), (11, "55.0%")])
def test_deferred_decisions_that_nobody_activated_fail_where_they_are_most(
    tmp_path: Path, of_20: int, share: str
) -> None:
    """As in rankd's own log: see test_validate."""
    path = dsjson(tmp_path / "log.json", played(n=900), _skipLearn=lambda i: i * 7 % 20 < of_20)
    found = checks(path)
    assert failing(found) == ({"deferred"} if of_20 > 10 else set())
    assert f"{share} of decisions were never activated (_skipLearn): " in found["deferred"]


def test_what_an_export_leaves_out_is_not_denied(tmp_path: Path) -> None:
    said = checks(dsjson(tmp_path / "log.json", played()))["deferred"]
    assert "rankd's exports leave such decisions out" in said


def test_rows_dropped_at_one_rate_pass_and_at_several_fail(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    found = checks(dsjson(path, played(), pdrop=lambda _: 0.5))
    assert not failing(found)
    assert "each decision stands for 2" in found["thinned"]
    ran = rankd("replay", path, "--policy", "uniform", "--reward-range", "0", "1")
    assert ran.code == 0, ran.err
    found = checks(dsjson(path, played(), pdrop=lambda i: 0.5 * (i % 2)))
    assert failing(found) == {"thinned"}
    ran = rankd("replay", path, "--policy", "uniform", "--reward-range", "0", "1")
    assert ran.code == 2
    for said in (found["thinned"], ran.err):
        assert "keep a row with probability (1 - greatest pdrop) / (1 - its own)" in said


def test_a_last_line_that_was_cut_is_told_by_both_commands(tmp_path: Path) -> None:
    path = dsjson(tmp_path / "log.json", played())
    path.write_bytes(path.read_bytes()[:-30])
    found = checks(path)
    assert not failing(found)
    assert "399 decisions; a last line that was cut short left out (1)" in found["readable"]
    ran = rankd("replay", path, "--policy", "uniform", "--reward-range", "0", "1")
    assert ran.code == 0
    assert f"the last line of {path} was cut short" in " ".join(ran.err.split())


def test_a_data_set_by_name_is_a_log_or_none() -> None:
    found = checks("ImageSegments")
    assert "has labels and is no log" in found["readable"]
