"""`rankd replay`: what a log says of other policies, and what it refuses to say."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rankd.commands.replay_show import show
from server.exports.jsonl import write_jsonl
from server.fold.envelope import seal
from simulator.replay import Pass
from tests.cli.conftest import rankd
from tests.exports.memory_log import MemoryLog, settings

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 1_500
FROZEN = ("--policy", "linucb:alpha=0", "--estimand", "frozen")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A uniform policy's log: a earns where x is high, b where it is low, c seldom."""
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp("replay") / "log.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["x", "action", "pmf:a", "pmf:b", "pmf:c", "reward"])
        for _ in range(ROWS):
            x, action = float(rng.normal()), "abc"[rng.integers(3)]
            chance = {"a": 0.8 * (x > 0), "b": 0.8 * (x <= 0), "c": 0.1}[action]
            rows.writerow([f"{x:.6f}", action, 1 / 3, 1 / 3, 1 / 3, int(rng.random() < chance)])
    return path


def replayed(*arguments: object) -> dict[str, Any]:
    shown = rankd("replay", *map(str, arguments), "--json")
    assert shown.code == 0, shown.err
    found: dict[str, Any] = json.loads(shown.out.splitlines()[-1])
    return found


def test_a_better_policy_is_found_better(table: Path) -> None:
    found = replayed(table, "--policy", "linucb", "--policy", "uniform")
    logged = found["logged"]
    assert logged["n"] == ROWS
    assert logged["low"] < 0.3 < logged["high"]  # (.8 / 2 + .8 / 2 + .1) / 3
    linucb, uniform = found["policies"]
    assert [linucb["policy"], uniform["policy"]] == ["linucb", "uniform"]
    assert linucb["estimand"] == "trained_on_log"
    for name in ("ips", "snips", "dr"):
        estimate = linucb["estimators"][name]
        assert estimate["identifiable"]
        assert estimate["low"] < estimate["value"] < estimate["high"]
        assert estimate["value"] > 0.6
    assert linucb["vs_logged"]["low"] > 0.2
    # The log's own policy once more: all weights are 1.
    assert uniform["estimators"]["ips"]["value"] == pytest.approx(logged["value"], abs=1e-12)
    assert (uniform["mean_weight"], uniform["max_weight"]) == pytest.approx((1.0, 1.0))
    assert uniform["ess"] == pytest.approx(ROWS)
    assert uniform["vs_logged"]["value"] == pytest.approx(0.0, abs=1e-12)
    assert uniform["vs_first"]["high"] < 0
    assert "vs_first" not in linucb


def test_a_frozen_policy_does_not_learn(table: Path) -> None:
    found = replayed(table, "--policy", "linucb", "--estimand", "frozen", "--estimator", "ips")
    (policy,) = found["policies"]
    assert policy["estimand"] == "frozen"
    assert policy["estimators"]["ips"]["interval"] == "empirical likelihood"
    assert policy["estimators"]["ips"]["value"] < 0.5


def test_a_setting_is_chosen_on_the_first_rows_of_a_policy_that_stays_as_it_is(table: Path) -> None:
    found = replayed(table, *FROZEN, "--estimator", "dros")["policies"][0]["estimators"]["dros"]
    assert found["setting"].startswith("DRos(lambda_=")
    learned = replayed(table, "--policy", "linucb", "--estimator", "dros")["policies"][0]
    assert learned["estimators"]["dros"]["setting"] == "DRos(lambda_=inf)"
    assert "not tuned" in learned["estimators"]["dros"]["reason"]


def test_a_cross_fitted_model_tells_more_than_a_progressive_one(table: Path) -> None:
    """Both estimates are right; the cross-fitted model knows four fifths of the log at each row."""
    width = {}
    for name, more in (("progressive", ()), ("cross-fitted", ("--cross-fit", "5"))):
        found = replayed(table, *FROZEN, "--estimator", "dr", *more)
        dr = found["policies"][0]["estimators"]["dr"]
        assert dr["low"] < dr["value"] < dr["high"]
        width[name] = dr["high"] - dr["low"]
    assert width["cross-fitted"] < width["progressive"]


def test_mrdr_fits_a_model_to_each_policy(table: Path) -> None:
    two = (*FROZEN, "--policy", "uniform", "--min-exploration", "0.2")
    found = replayed(table, *two, "--estimator", "mrdr", "--estimator", "dr")["policies"]
    for policy in found:
        mrdr, dr = policy["estimators"]["mrdr"], policy["estimators"]["dr"]
        assert mrdr["low"] < dr["value"] < mrdr["high"]
        assert mrdr["value"] != dr["value"]
    assert found[1]["vs_first"]["interval"]


def test_an_interval_by_name(table: Path) -> None:
    given = (*FROZEN, "--estimator", "ips", "--estimator", "snips")
    bootstrap = replayed(table, *given, "--interval", "bootstrap")["policies"][0]["estimators"]
    assert {each["interval"] for each in bootstrap.values()} == {"percentile bootstrap"}
    sequence = replayed(table, *given, "--interval", "confidence_sequence")["policies"][0]
    assert sequence["estimators"]["ips"]["low"] < bootstrap["ips"]["low"]
    assert sequence["estimators"]["snips"]["low"] is None
    shown = rankd("replay", str(table), *given, "--interval", "confidence_sequence")
    assert "is an interval of ips" in " ".join(shown.out.replace("│", " ").split())
    path = replayed(table, "--policy", "linucb", "--interval", "bootstrap")["policies"][0]
    assert "path of learning" in path["estimators"]["dr"]["reason"]


def test_too_little_is_refused_and_shown_only_by_force(table: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.csv"
    short.write_text("".join(table.read_text().splitlines(keepends=True)[:50]))
    refused = replayed(short, "--policy", "linucb")["policies"][0]["estimators"]["ips"]
    assert refused["value"] is None
    assert not refused["identifiable"]
    assert "below 100" in refused["reason"]
    forced = replayed(short, "--policy", "linucb", "--force")["policies"][0]["estimators"]["ips"]
    assert forced["value"] is not None
    assert not forced["identifiable"]
    shown = rankd("replay", str(short), "--policy", "linucb")
    assert "this log cannot tell" in shown.out
    assert "not to be believed" in rankd("replay", str(short), "--policy", "linucb", "--force").out


def test_columns_have_other_names(table: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed.csv"
    header, rest = table.read_text().split("\n", 1)
    renamed.write_text(header.replace("action", "arm").replace("reward", "click") + "\n" + rest)
    shown = rankd("replay", str(renamed), "--policy", "linucb")
    assert shown.code == 2
    assert "no column action, reward" in shown.err
    given = ("--policy", "linucb", "--estimator", "ips")
    columns = ("--columns", "action=arm,reward=click")
    assert (
        replayed(renamed, *given, *columns)["policies"][0]["estimators"]
        == (replayed(table, *given)["policies"][0]["estimators"])
    )
    wrong = rankd("replay", str(renamed), "--policy", "linucb", "--columns", "arm=action")
    assert "--columns arm=action: " in wrong.err


def test_for_people(table: Path) -> None:
    shown = rankd("replay", str(table), "--policy", "linucb", "--reward-range", "0", "1")
    assert shown.code == 0
    assert "1,500 decisions" in shown.out
    assert "not what it would earn live" in " ".join(shown.out.split())


def test_reports_are_written(table: Path, tmp_path: Path) -> None:
    page, text, plots = tmp_path / "report.html", tmp_path / "report.md", tmp_path / "plots"
    given = ("--policy", "linucb", "--policy", "uniform", "--estimator", "ips", "--json")
    written = rankd("replay", str(table), *given, "--report", str(page), "--plots", str(plots))
    assert written.code == 0, written.err
    assert "linucb" in page.read_text()
    assert list(plots.glob("*.png"))
    assert rankd("replay", str(table), *given, "--report", str(text)).code == 0
    assert "| linucb" in text.read_text()
    nowhere = rankd("replay", str(table), *given, "--report", str(tmp_path / "no" / "where.html"))
    assert nowhere.code == 1
    assert "there is no folder" in nowhere.err


@pytest.mark.parametrize("estimand", ["frozen", "trained_on_log", "online"])
def test_rewards_outside_their_range_are_refused(table: Path, estimand: str) -> None:
    given = ("--policy", "uniform", "--estimand", estimand, "--reward-range", "0", "0.5")
    shown = rankd("replay", str(table), *given)
    assert shown.code == 1
    assert "--reward-range: rewards from 0 to 1 are in the log, outside" in shown.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--policy", "linuc"), "--policy linuc: "),
        (("--policy", "linucb:alpah=1"), "alpha"),
        (("--policy", "linucb", "--estimator", "ipz"), "known are ips"),
        (("--policy", "linucb", "--estimator", "mrdr"), "fitted to one policy"),
        (("--policy", "linucb", "--cross-fit", "5"), "--estimand frozen"),
        (("--policy", "linucb", "--estimand", "frozen", "--cross-fit", "1"), "two folds"),
        (("--policy", "linucb", "--interval", "norml"), "known are bootstrap"),
        (
            (*FROZEN, "--estimator", "mrdr", "--reward-model", "sgd"),
            "weighted least squares",
        ),
        ((*FROZEN, "--cross-fit", "5", "--interval", "martingale"), "leave --cross-fit out"),
        (("--policy", "linucb", "--reward-model", "uniform"), "expects no rewards"),
        (("--policy", "linucb", "--reward-range", "1", "0"), "lowest first"),
    ],
)
def test_what_is_wrong_is_said(table: Path, arguments: tuple[str, ...], says: str) -> None:
    shown = rankd("replay", str(table), *arguments)
    assert shown.code != 0
    assert says in shown.err


def test_what_is_asked_wrongly_is_not_blamed_on_the_log(table: Path) -> None:
    for arguments, says in (
        (("--reward-model", "uniform"), "uniform expects no rewards"),
        (("--alpha", "0"), "--alpha 0: must be in (0, 1)"),
        (("--alpha", "nan"), "--alpha nan: must be in (0, 1)"),
    ):
        shown = rankd("replay", str(table), "--policy", "linucb", *arguments)
        assert shown.code == 1
        assert says in shown.err
        assert "log.csv" not in shown.err
    # Before the log: there is none.
    assert "--alpha" in rankd("replay", "none.csv", "--policy", "linucb", "--alpha", "1").err


def test_a_rounded_log_has_its_interval(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = "".join(f"{'abc'[i % 3]},0.3333,0.3333,0.3333,{i % 2}\n" for i in range(300))
    path.write_text(f"action,pmf:a,pmf:b,pmf:c,reward\n{rows}")
    found = replayed(path, "--policy", "uniform", "--estimand", "frozen", "--estimator", "ips")
    ips = found["policies"][0]["estimators"]["ips"]
    assert (ips["value"], ips["interval"]) == (pytest.approx(0.5), "empirical likelihood")


def test_no_weight_at_all_is_0_and_not_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    estimate: dict[str, Any] = {"value": 0.0, "low": None, "high": None, "identifiable": True}
    estimate |= {"interval": "", "reason": "", "setting": ""}
    row: dict[str, Any] = {"policy": "p", "estimand": "frozen", "estimators": {"ips": estimate}}
    row |= {"vs_logged": estimate, "ess": 0.0, "max_weight": 0.0, "mean_weight": 0.0}
    own = {"n": 1, "value": 0.0, "low": None}
    show({"logged": own, "policies": [row]}, Pass([], 1, 1), 0.05)
    assert "worth 0 rows of its own; greatest weight 0, mean 0.000" in capsys.readouterr().out
    unknown = {**row, "ess": None, "max_weight": None, "mean_weight": None}
    show({"logged": own, "policies": [unknown]}, Pass([], 1, 1), 0.05)
    assert "greatest weight inf, mean nan" in capsys.readouterr().out


def test_what_is_no_log(tmp_path: Path) -> None:
    path = tmp_path / "empty.txt"
    path.write_text("hello\n")
    shown = rankd("replay", str(path), "--policy", "linucb")
    assert shown.code == 2
    assert "unknown format" in shown.err
    assert rankd("replay", str(tmp_path / "none"), "--policy", "linucb").code == 2


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """rankd's own log, exported: two slots of three actions, of which b earns wherever it stands."""
    log = MemoryLog(settings("shop", min_exploration=0.5))
    for i in range(400):
        decision = log.rank(f"event-{i}", slot_ids=["top", "low"])
        for slot, name in enumerate(("top", "low")):
            if decision.ranking[slot] == 1:
                log.reward(f"event-{i}", 1.0, name)
        log.tick()
    log.tick(30)
    path = tmp_path_factory.mktemp("slates") / "log.jsonl"
    with path.open("wb") as file:
        write_jsonl(log, file)
    return path


def test_slates_of_rankd_s_own_log(export: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    names = ("sips", "rips", "iips", "cascade-dr", "pi")
    asked = [argument for name in names for argument in ("--estimator", name)]
    two = ("--policy", "uniform", "--policy", "linucb", "--report", str(report))
    uniform, linucb = replayed(export, *two, *asked)["policies"]
    assert uniform["n"] == 400  # slates, not slots
    for name in names:
        each = uniform["estimators"][name]
        assert each["low"] < 2 / 3 < each["high"]
    assert linucb["estimators"]["sips"]["value"] > 0.8
    assert linucb["vs_first"]["low"] > 0
    assert "rips" in report.read_text()
    # Slot by slot it is another question: what a slot earns, of all that are asked for.
    slots = replayed(export, "--policy", "uniform", "--estimator", "ips")["policies"][0]
    assert slots["n"] == 800


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--estimator", "ips"), "one kind at a time"),
        (("--cross-fit", "5"), "learns on the way"),
        (("--interval", "martingale"), "normal and bootstrap only"),
        (("--estimand", "online"), "takes slates"),
        (("--reward-range", "0", "0.5"), "--reward-range: rewards from 0 to 1 are in the log"),
    ],
)
def test_what_does_not_go_with_slates(export: Path, arguments: tuple[str, ...], says: str) -> None:
    shown = rankd("replay", str(export), "--policy", "uniform", "--estimator", "sips", *arguments)
    assert shown.code == 1
    assert says in shown.err


def test_a_log_without_slates_is_no_log_of_slates(table: Path) -> None:
    shown = rankd("replay", str(table), "--policy", "uniform", "--estimator", "sips")
    assert shown.code == 2
    assert "no decision of this log has several slots" in shown.err


def test_a_log_whose_policy_learned_is_not_cross_fitted(export: Path) -> None:
    given = (*FROZEN, "--estimator", "dr", "--cross-fit", "3")
    shown = rankd("replay", str(export), *given)
    assert shown.code == 2
    assert "learned while it logged" in shown.err


def test_an_app_of_a_log_without_apps_is_refused(table: Path) -> None:
    for command in (("replay", "--policy", "uniform"), ("validate",), ("tune", "--policy", "ucb1")):
        shown = rankd(command[0], str(table), *command[1:], "--app", "shop")
        assert shown.code != 0
        said = shown.out + shown.err
        assert (
            f"--app shop: {table} has no apps, only a log of rankd's own has; leave --app out"
            in said
        )


@pytest.mark.parametrize("known", [True, False])
def test_a_saved_model_that_knows_nothing_of_the_log_says_so(tmp_path: Path, known: bool) -> None:
    log = MemoryLog(settings("shop"))
    for i in range(60):
        made = log.rank(f"e{i}", actions=["a", "b", "c"], numbers={"age": i % 7})
        log.reward(f"e{i}", float(made.action_ids[made.ranking[0]] == "b"))
        log.tick()
    (saved, *_) = log.saved["shop"].values()
    model = tmp_path / "model.ckpt"
    model.write_bytes(seal(saved))
    ids = "abc" if known else "xyz"
    path = tmp_path / "log.csv"
    rows = "".join(f"{i % 5},{ids[i % 3]},{1 / 3},{i % 2}\n" for i in range(600))
    path.write_text(f"age,action,propensity,reward\n{rows}")
    # --app says which model, so it is not refused
    asked = ("--policy", str(model), "--policy", "uniform", "--app", "shop")
    shown = rankd("replay", str(path), *asked, "--json")
    assert shown.code == 0, shown.err
    one, uniform = json.loads(shown.out.splitlines()[-1])["policies"]
    doubt = "decides here as one that has learned nothing"
    assert (f"note: --policy {model}: the saved model {doubt}" in shown.err) is not known
    for each in (*one["estimators"].values(), one["vs_logged"]):
        assert (doubt in each["reason"]) is not known
    assert doubt not in json.dumps(uniform)


def test_lines_that_are_passed_over_are_told(tmp_path: Path) -> None:
    decision = {"c": {"_multi": [{"x": 1}, {"x": 2}]}, "a": [1, 2], "p": [0.5, 0.5]}
    line = json.dumps({**decision, "_label_cost": -1.0, "_label_Action": 1, "_labelIndex": 0})
    skipped = json.dumps({**json.loads(line), "_skipLearn": True})
    path = tmp_path / "log.json"
    path.write_text("\n".join([line] * 300 + ['{"_checkpoint": true}'] * 2 + [skipped] * 3) + "\n")
    shown = rankd("replay", str(path), "--policy", "uniform")
    told = " ".join(shown.err.split())
    assert f"2 lines of {path} are about no decision, and were passed over" in told
    assert f"3 decisions of {path} say _skipLearn, and were passed over" in told
