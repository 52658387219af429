"""`rankd replay --as-served` and saved models, on what a real service left behind."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from rankd.commands.replay_served import served_summary, show_served
from rankd.commands.sources import open_log
from rankd.v1 import internal_pb2
from server.files import DataFolder
from server.fold.envelope import seal
from server.learning.checkpoints import Checkpoints
from simulator.logs.served import ServedLog
from simulator.served import AsServed
from tests.cli.conftest import ROUNDS, changed, rankd
from tests.cli.test_replay import replayed

if TYPE_CHECKING:
    from pathlib import Path


def test_a_service_is_made_again_byte_for_byte(folder: Path, exported: Path) -> None:
    found = replayed(folder, "--as-served", "--policy", "linucb", "--policy", "uniform")
    told = found["as_served"]
    assert (told["verified"], told["mismatches"], told["unverifiable"]) == (ROUNDS, 0, 0)
    assert told["versions"] > 2
    assert sum(each["n"] for each in told["by_version"]) == ROUNDS
    assert 0 <= told["lag"]["rewards"]["median"] <= told["lag"]["rewards"]["max"] < ROUNDS
    assert told["lag"]["seconds"]["max"] > 0
    ran, itself, other = found["policies"]
    assert (ran["policy"], ran["estimand"]) == ("as served", "as_served")
    assert ran["estimators"]["ips"]["value"] == pytest.approx(found["logged"]["value"], abs=1e-12)
    assert ran["vs_logged"]["value"] == 0.0
    # The app's own configuration, with the server's lags: the same pmfs, to the bit.
    assert itself["estimand"] == "trained_on_log"
    assert (itself["max_weight"], itself["mean_weight"]) == (1.0, 1.0)
    assert itself["vs_first"]["value"] == 0.0
    assert other["max_weight"] > 1.0
    again = replayed(exported, "--as-served", "--policy", "linucb", "--policy", "uniform")
    assert again["as_served"] == told


def test_a_log_without_lags_has_none(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_log(str(folder)) as source:
        log = ServedLog(source, "shop")
        log.lags = []  # as of a log that was trimmed behind its last decision
        told = served_summary(source, log, AsServed(), 0.05)
    assert (told["verified"], told["lag"]) == (ROUNDS, {})
    show_served(told, 0.05)
    assert "how far the model was behind" not in capsys.readouterr().out


def test_for_people(folder: Path) -> None:
    shown = rankd("replay", folder, "--as-served")
    assert shown.code == 0, shown.err
    assert f"{ROUNDS} equal byte for byte, 0 otherwise" in " ".join(shown.out.split())
    assert "how far the model was behind" in shown.out


def test_a_decision_that_was_changed_is_named(exported: Path, tmp_path: Path) -> None:
    path = changed(exported, tmp_path / "changed.jsonl")
    found = replayed(path, "--as-served")
    assert found["as_served"]["mismatches"] >= 1
    assert "event 'event-7'" in found["as_served"]["first_mismatch"]
    estimate = found["policies"][0]["estimators"]["ips"]
    assert estimate["value"] is None
    assert "not what their models decide" in estimate["reason"]
    forced = replayed(path, "--as-served", "--force")["policies"][0]["estimators"]["ips"]
    assert forced["value"] is not None
    assert not forced["identifiable"]


def versions(folder: Path) -> list[int]:
    return Checkpoints(DataFolder(folder).checkpoints("shop")).versions()


def test_a_saved_model_is_scored_on_what_it_has_not_learned(folder: Path) -> None:
    first = versions(folder)[0]
    shown = rankd("replay", folder, "--policy", f"{folder}@{first}", "--policy", "linucb", "--estimator", "ips", "--json")  # fmt: skip
    assert shown.code == 0, shown.err
    found = json.loads(shown.out.splitlines()[-1])
    saved, trained = found["policies"]
    assert saved["policy"] == f"{folder}@{first}"
    assert (saved["estimand"], trained["estimand"]) == ("frozen", "trained_on_log")
    assert 0 < saved["n"] == trained["n"] == found["logged"]["n"] < ROUNDS
    assert f"{ROUNDS - saved['n']} of {ROUNDS} rows were decided before the saved model" in shown.err  # fmt: skip
    # The file itself says the same.
    path = DataFolder(folder).checkpoints("shop") / f"{first:020}.ckpt"
    again = replayed(folder, "--policy", path, "--estimator", "ips")["policies"][0]
    assert again["estimators"] == saved["estimators"]


def test_a_model_that_has_learned_everything_is_refused(folder: Path) -> None:
    shown = rankd("replay", folder, "--policy", DataFolder(folder).snapshot("shop"))
    assert shown.code == 2
    assert "has learned every row of this log" in shown.err


def test_an_imported_model_does_not_say_what_it_has_learned(folder: Path, tmp_path: Path) -> None:
    checkpoint = next(Checkpoints(DataFolder(folder).checkpoints("shop")).newest())
    path = tmp_path / "imported.model"
    snapshot = internal_pb2.Snapshot(
        app="shop", config_json=checkpoint.config_json, policy=checkpoint.policy
    )
    path.write_bytes(seal(snapshot))
    shown = rankd("replay", folder, "--policy", path)
    assert shown.code == 1
    assert "does not say which records it has learned" in shown.err


def test_of_another_log_it_cannot_be_told(folder: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    rows = "".join(f"{i % 50},{'abc'[i % 3]},{1 / 3},{int(i % 3 == 1)}\n" for i in range(900))
    log.write_text("age,action,propensity,reward\n" + rows)
    model = DataFolder(folder).snapshot("shop")
    shown = rankd("replay", log, "--policy", model, "--estimator", "ips", "--json")
    assert shown.code == 0, shown.err
    assert "does not tell whether the model has learned rows of it" in shown.err
    assert json.loads(shown.out.splitlines()[-1])["policies"][0]["estimand"] == "frozen"


def test_what_is_no_model(folder: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.model"
    cut.write_bytes(DataFolder(folder).snapshot("shop").read_bytes()[:-1])
    shown = rankd("replay", folder, "--policy", cut)
    assert shown.code == 1
    assert "does not match its checksum" in shown.err
    shown = rankd("replay", folder, "--policy", f"{folder}@7")
    assert "there is no such version; there are " in shown.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--as-served", "--estimand", "online"), "leave --estimand out"),
        (("--as-served", "--policy", "MODEL"), "lags are nothing to it"),
        (("--estimand", "online", "--policy", "MODEL"), "a saved model is taken as it is"),
        ((), "say which policy"),
        (("--estimand", "online", "--policy", "linucb", "--force"), "leave --force out"),
        (
            ("--estimand", "online", "--policy", "linucb", "--interval", "normal"),
            "leave --interval",
        ),
    ],
)
def test_what_does_not_go_together(folder: Path, arguments: tuple[str, ...], says: str) -> None:
    model = str(DataFolder(folder).snapshot("shop"))
    shown = rankd("replay", folder, *(model if each == "MODEL" else each for each in arguments))
    assert shown.code == 1
    assert says in shown.err


def test_only_a_servers_log_was_served(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    log.write_text("x,action,propensity,reward\n1,a,0.5,1\n")
    shown = rankd("replay", log, "--as-served")
    assert shown.code == 2
    assert "the log cannot be read" in shown.err
    assert rankd("replay", "obd", "--as-served").code == 2


def test_a_folder_elsewhere_is_the_same_log(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(folder, copy)
    first = versions(folder)[0]
    one = replayed(folder, "--policy", f"{folder}@{first}", "--estimator", "ips")
    other = replayed(copy, "--policy", f"{folder}@{first}", "--estimator", "ips")
    assert one["policies"][0]["estimators"] == other["policies"][0]["estimators"]
