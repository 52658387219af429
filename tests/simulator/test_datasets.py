"""Data sets are what their registry says, and tables are read as they are written."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from policies import ModelSpec
from simulator.datasets import DATASETS, ObdLog, from_csv, labelled, log_of
from simulator.environments import EnvironmentSpecError, environment_of
from simulator.logs import Decided, LogFormatError, Matured
from simulator.replay import replay
from simulator.targets import Trained

SMALL = ("ImageSegments", "Phishing", "iris", "wine", "breast_cancer")


@pytest.mark.parametrize("name", SMALL)
def test_a_bundled_set_is_what_the_registry_says(name: str) -> None:
    about = DATASETS[name]
    if about.needs:
        pytest.importorskip("sklearn")
    data = labelled(name, {})
    assert (len(data), len(data.actions)) == (about.rows, about.actions)
    assert {len(each) for each in data.contexts} == {about.features}


def test_each_row_comes_once_and_one_action_is_right() -> None:
    data = labelled("Phishing", {})
    rounds = list(data.rounds(np.random.default_rng(1)))
    assert len(rounds) == len(data)
    assert (
        np.sum([each.rewards for each in rounds], axis=0).tolist()
        == np.bincount(data.labels).tolist()
    )
    assert all(each.best() == 1.0 for each in rounds[:10])
    again, other = (list(data.rounds(np.random.default_rng(seed))) for seed in (1, 2))
    assert [each.rewards.tolist() for each in again] == [each.rewards.tolist() for each in rounds]
    assert [each.rewards.tolist() for each in other] != [each.rewards.tolist() for each in rounds]


def test_without_scikit_learn_its_sets_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(EnvironmentSpecError, match="pip install scikit-learn"):
        labelled("iris", {})


def test_a_csv(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("age,city,class\n31,Delft,yes\n27,,no\n\n40,Gouda,yes\n", encoding="utf-8")
    data = environment_of(f"csv:path={path},label=class")
    assert (data.name, len(list(data.rounds(np.random.default_rng(1))))) == (str(path), 3)
    table = from_csv(path, "class")
    assert table.actions == ("no", "yes")
    assert table.labels.tolist() == [1, 0, 1]
    assert [len(each) for each in table.contexts] == [2, 1, 2]  # an empty cell is no feature
    ages = [each.value[each.numeric].tolist() for each in table.contexts]
    assert ages == [[31.0], [27.0], [40.0]]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a,b\n1,2\n", "no column 'label' for labels; there are a, b"),
        ("a,label\n1\n", "row 1: 1 cells for 2 columns"),
        ("a,label\n1,\n", "row 1: has no label"),
        ("a,label\nnan,x\n", "row 1"),
        ("a,a,label\n1,2,x\n", "two columns"),
        ("a,label\n", "no rows"),
        ("", "is no CSV"),
    ],
)
def test_a_csv_that_is_none(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EnvironmentSpecError, match=word):
        from_csv(path)


def test_what_is_not_there(tmp_path: Path) -> None:
    for spec, word in (
        (f"csv:path={tmp_path / 'none.csv'}", "No such file"),
        ("csv", "path=FILE"),
        ("csv:path=x,lable=y", "path=FILE"),
        ("Phishing:rows=3", "no setting 'rows'"),
        ("obd-random-all", "is a log"),
    ):
        with pytest.raises(EnvironmentSpecError, match=word):
            environment_of(spec)
    with pytest.raises(EnvironmentSpecError, match="has labels and is no log"):
        log_of("iris")
    with pytest.raises(EnvironmentSpecError, match="no data set 'obd'"):
        log_of("obd")


def obd(folder: Path, rows: str, name: str = "men.csv") -> Path:
    """The Open Bandit Dataset's files, with two items."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "item_context.csv").write_text(
        ",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3\n"
        "0,0,-0.5,aa,bb,cc\n1,1,0.7,aa,dd,ee\n"
    )
    path = folder / name
    path.write_text(
        ",timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,"
        "user_feature_2,user_feature_3,user-item_affinity_0,user-item_affinity_1\n" + rows
    )
    return path


ROWS = (
    "0,2019-11-24 00:00:34.762830+00:00,1,3,0,0.5,u,v,w,x,0.0,0.0\n"
    "1,2019-11-24 00:00:53.965051+00:00,0,1,1,0.5,u,v,w,y,0.0,2.0\n"
)


def test_the_open_bandit_dataset_as_a_log(tmp_path: Path) -> None:
    log = ObdLog(obd(tmp_path, ROWS), uniform=True)
    events = list(log)
    decided = [each for each in events if isinstance(each, Decided)]
    matured = [each for each in events if isinstance(each, Matured)]
    assert log.reward_range == (0.0, 1.0)
    assert [each.actions.ids for each in decided] == [("0", "1")] * 2
    assert [each.chosen for each in decided] == [1, 0]
    assert [each.reward for each in matured] == [0.0, 1.0]
    assert [each.propensity for each in decided] == [0.5, 0.5]
    assert decided[0].pmf is not None
    assert decided[0].pmf.tolist() == [0.5, 0.5]
    assert [len(each.context) for each in decided] == [5, 5]  # four of the user's, and the position
    assert [len(decided[0].actions.of(k)) for k in (0, 1)] == [4, 4]
    assert [len(decided[1].actions.of(k)) for k in (0, 1)] == [4, 5]  # an affinity to the second
    assert len(list(log)) == 4  # read again
    found = replay(log, [Trained("uniform", ModelSpec({"type": "uniform"}))])
    assert found.matured == 2


def test_thompson_samplings_pmf_is_not_known(tmp_path: Path) -> None:
    events = list(ObdLog(obd(tmp_path, ROWS.replace("0.5,u", "0.045525,u")), uniform=False))
    first = events[0]
    assert isinstance(first, Decided)
    assert first.pmf is None
    assert first.propensity == 0.045525


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("+00:00,1,3", "+00:00,7,3", "row 1: item '7' is not in"),
        ("0.5,u,v,w,x", "0.1,u,v,w,x", "row 1: .*uniform policy has 1 / 2"),
        ("0.5,u,v,w,x", "0,u,v,w,x", "row 1"),
        (",1,3,0,0.5", ",1,3,often,0.5", "row 1"),
        (",0.0,2.0\n", "\n", "row 2: .*cells"),
    ],
)
def test_a_broken_file_is_refused_with_its_row(
    tmp_path: Path, old: str, new: str, word: str
) -> None:
    assert old in ROWS
    with pytest.raises(LogFormatError, match=word):
        list(ObdLog(obd(tmp_path, ROWS.replace(old, new)), uniform=True))


def test_the_cache_is_used_and_nothing_downloaded(tmp_path: Path) -> None:
    path = obd(tmp_path / "obd" / "bts" / "men", ROWS)
    log = log_of("obd-bts-men", tmp_path)
    assert log.name == str(path)
    assert len(list(log)) == 4
    assert next(iter(log)).pmf is None  # type: ignore[union-attr]


def test_a_download_that_fails_says_so_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(EnvironmentSpecError, match="pip download --no-deps obp=="):
        log_of("obd-random-men", tmp_path)
    assert not list((tmp_path / "obd").iterdir())


def test_one_download_brings_all_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def pip(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        calls.append(command)
        folder = Path(command[command.index("-d") + 1])
        with zipfile.ZipFile(folder / "obp.whl", "w") as wheel:
            for name in DATASETS:
                if name.startswith("obd-"):
                    _, behaviour, campaign = name.split("-")
                    path = obd(tmp_path / "source" / behaviour, ROWS, f"{campaign}.csv")
                    inside = f"obp/dataset/obd/{behaviour}/{campaign}"
                    for file in (path, path.with_name("item_context.csv")):
                        wheel.write(file, f"{inside}/{file.name}")
            wheel.writestr("../outside.txt", "never written")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    for name in DATASETS:
        if name.startswith("obd-"):
            assert len(list(log_of(name, tmp_path / "cache"))) == 4
    assert len(calls) == 1
    assert sorted(each.name for each in (tmp_path / "cache" / "obd").iterdir()) == ["bts", "random"]
