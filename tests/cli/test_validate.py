"""`rankd validate`: every check passes on what is sound, and fails on what is not."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import rankd
from tests.server.harness import free_port

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def checks(path: Path | str, *more: str) -> dict[str, str]:
    """Check -> "PASS ..." or "FAIL ..."; the exit code must agree."""
    result = rankd("validate", path, *more)
    found = {}
    for line in result.out.splitlines():
        verdict, rest = line[:4], line[6:]
        if verdict in ("PASS", "FAIL"):
            name, _, text = rest.partition(": ")
            assert name not in found
            found[name] = f"{verdict} {text}"
    failed = [name for name, text in found.items() if text.startswith("FAIL")]
    assert result.code == bool(failed), result
    return found


def failing(found: dict[str, str]) -> set[str]:
    return {name for name, text in found.items() if text.startswith("FAIL")}


# -- configurations --------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "rankd.yaml"
        path.write_text(text)
        return path

    return write


def test_an_empty_file_passes(
    config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANKD_SERVER__PORT", str(free_port()))
    found = checks(config(""))
    assert not failing(found)
    assert {"readable", "server", "limits", "learner", "log", "port"} < found.keys()
    assert {"apps.default policy", "apps.default exploration", "apps.default window"} < found.keys()


def test_each_section_is_told_apart(config: Callable[[str], Path]) -> None:
    found = checks(
        config(
            "server: {port: 0}\n"
            "log: {skew: later}\n"
            "lerner: {}\n"
            "apps:\n"
            "  shop: {policy: {type: linucb, alfa: 1}}\n"
            "  shop.eu: {reward: {min: 2}}\n"
            "  news: {policy: {type: uniform}}\n"
        )
    )
    assert failing(found) == {"log", "apps.shop", "apps.shop.eu", "sections"}
    assert "alpha" in found["apps.shop"]
    assert "min (2.0) must be below max" in found["apps.shop.eu"]
    assert "lerner: no such setting" in found["sections"]
    assert found["server"] == "PASS as given"
    assert found["limits"] == "PASS defaults"
    assert "apps.news policy" not in found  # the file cannot be used


@pytest.mark.parametrize("text", ["a: [", "[]\n", "\x00"])
def test_what_is_no_yaml_fails(config: Callable[[str], Path], text: str) -> None:
    assert failing(checks(config(text))) == {"readable"}


def test_a_missing_file_fails(tmp_path: Path) -> None:
    assert "No such file" in checks(tmp_path / "no.yaml")["readable"]


@pytest.mark.parametrize(
    ("text", "check", "reason"),
    [
        ("apps: {shop: {min_exploration: 0.001}}", "apps.shop exploration", "hardly be valued"),
        ("apps: {shop: {reward: {wait: 0}}}", "apps.shop window", "no reward can come in time"),
        (
            "apps: {shop: {reward: {wait: 2s}}}\nlog: {clock_cap: 10s}",
            "apps.shop window",
            "an outage would close windows",
        ),
        ("apps: {shop: {}}\nlog: {clock_cap: 500ms}", "apps.shop window", "between two ticks"),
        ("apps: {shop: {}}\nlog: {max_age: 10m}", "apps.shop window", "is gone at once"),
        ("apps: {shop: {}}\nlog: {skew: 1h}", "apps.shop window", "far outside the window"),
        (
            "apps: {shop: {policy: {type: vw, args: --cb_explore_adf --nonsense}}}",
            "apps.shop policy",
            "nonsense",
        ),
    ],
)
def test_settings_that_make_no_sense_fail(
    config: Callable[[str], Path], text: str, check: str, reason: str
) -> None:
    found = checks(config(f"server: {{port: 0}}\n{text}\n"))
    assert failing(found) == {check}
    assert reason in found[check]


@pytest.mark.parametrize(
    "text",
    [
        "apps: {shop: {min_exploration: 0, allow_deterministic: true}}",
        "apps: {shop: {mode: apprentice}}",
        "apps: {shop: {reward: {wait: 1h}}}",
    ],
)
def test_settings_that_are_meant_pass(config: Callable[[str], Path], text: str) -> None:
    assert not failing(checks(config(f"server: {{port: 0}}\n{text}\n")))


def test_a_port_in_use_fails(config: Callable[[str], Path]) -> None:
    with socket.socket() as taken:
        port = free_port()
        taken.bind(("127.0.0.1", port))
        taken.listen()
        found = checks(config(f"server: {{port: {port}}}\n"))
    assert failing(found) == {"port"}


# -- logs ------------------------------------------------------------------------------------------


def test_a_sound_log_passes(folder: Path, exported: Path) -> None:
    found = checks(folder)
    assert not failing(found), found
    assert found.pop("opens") != (other := checks(exported)).pop("opens")
    assert found == other
    assert "200 decisions" in found["probabilities"]
    assert "verified 200, unverifiable 0, mismatches 0" in found["shop verify"]
    assert "200 decisions have their final reward, 0 still wait" in found["shop rewards"]
    assert "worth 90 of its 200 decisions" in found["shop overlap"]
    assert checks(folder, "--app", "shop").keys() == found.keys() | {"opens"}


def test_a_folder_without_a_journal_is_no_log(tmp_path: Path) -> None:
    result = rankd("validate", tmp_path)
    assert result.code == 2
    assert "no journal" in result.err


def changed(
    exported: Path, tmp_path: Path, edit: Callable[[list[dict[str, Any]]], None]
) -> dict[str, str]:
    content = [json.loads(line) for line in exported.read_text().splitlines()]
    edit(content)
    path = tmp_path / "changed.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in content))
    return checks(path)


def decisions(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line["payload"] for line in content if line.get("kind") == "KIND_DECISION"]


def test_a_hole_fails(exported: Path, tmp_path: Path) -> None:
    def edit(content: list[dict[str, Any]]) -> None:
        del content[60]

    found = changed(exported, tmp_path, edit)
    assert failing(found) == {"no holes"}
    assert "missing" in found["no holes"]


def test_a_wrong_predecessor_fails(exported: Path, tmp_path: Path) -> None:
    def edit(content: list[dict[str, Any]]) -> None:
        content[60]["previous_sequence"] -= 1

    assert "no holes" in failing(changed(exported, tmp_path, edit))


def test_time_that_falls_fails(exported: Path, tmp_path: Path) -> None:
    def edit(content: list[dict[str, Any]]) -> None:
        content[60]["log_time_us"] -= 3_600_000_000

    found = changed(exported, tmp_path, edit)
    assert "time" in failing(found)
    assert f"record {content_sequence(exported, 60)} is stamped" in found["time"]


def content_sequence(exported: Path, at: int) -> int:
    sequence: int = json.loads(exported.read_text().splitlines()[at])["sequence"]
    return sequence


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p["pmf"].__setitem__(0, p["pmf"][0] + 1e-9), "sum to"),
        (
            lambda p: p.update(pmf=[float(k != p.get("ranking", [0])[0]) / 2 for k in range(3)]),
            "has probability 0",
        ),
        (lambda p: p.update(pmf=[0.5, 0.5]), "2 probabilities"),
        (lambda p: p.update(pmf=[-0.5, 0.75, 0.75]), "a probability of -0.5"),
        (lambda p: p.update(excluded_ids=["a"]), "excluded action has a probability"),
        (lambda p: p.update(slot_probabilities=[1.5]), "slot's probability"),
    ],
)
def test_probabilities_that_cannot_be_fail(
    exported: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    found = changed(exported, tmp_path, lambda content: change(decisions(content)[3]))
    assert {"probabilities", "shop verify"} <= failing(found)
    assert reason in found["probabilities"]
    assert "event-3" in found["probabilities"]


def test_a_log_that_lies_about_its_probabilities_fails(exported: Path, tmp_path: Path) -> None:
    """As where the best action is played, but a softmax of the scores is logged."""

    def edit(content: list[dict[str, Any]]) -> None:
        for decision in decisions(content):
            decision["pmf"] = [1 / 3, 1 / 3, 1 - 2 / 3]

    failed = failing(changed(exported, tmp_path, edit))
    assert {"shop draws", "shop verify"} <= failed

    def overstate(content: list[dict[str, Any]]) -> None:
        for decision in decisions(content):
            pmf = [0.25, 0.25, 0.25]
            pmf[decision["ranking"][0]] = 0.5
            decision["pmf"] = pmf

    assert {"shop mean weight", "shop verify"} <= failing(changed(exported, tmp_path, overstate))


def test_a_log_that_hardly_explores_fails(exported: Path, tmp_path: Path) -> None:
    def edit(content: list[dict[str, Any]]) -> None:
        for decision in decisions(content):
            chosen = decision.get("ranking", [0])[0]
            decision["pmf"] = [0.998 if k == chosen else 0.001 for k in range(3)]

    found = changed(exported, tmp_path, edit)
    assert "shop overlap" in failing(found)
    assert "exploration is 0.3%" in found["shop overlap"]

    def baseline(content: list[dict[str, Any]]) -> None:
        for decision in decisions(content):
            decision["mode"] = "MODE_APPRENTICE"

    assert "only the baseline" in changed(exported, tmp_path, baseline)["shop overlap"]


def test_rewards_that_find_no_decision_fail(exported: Path, tmp_path: Path) -> None:
    def edit(content: list[dict[str, Any]]) -> None:
        rewards = [line for line in content if line.get("kind") == "KIND_REWARD"]
        for reward in rewards[:30]:  # long after
            reward["origin_time_us"] += 3_600_000_000

    found = changed(exported, tmp_path, edit)
    assert "shop joins" in failing(found)
    assert "15.0% late" in found["shop joins"]


def test_rewards_that_come_again_and_again_fail(exported: Path, tmp_path: Path) -> None:
    def edit(content: list[dict[str, Any]]) -> None:
        rewards = [line for line in content if line.get("kind") == "KIND_REWARD"]
        for reward in rewards[1:101]:
            reward["event_id"] = rewards[0]["event_id"]
            reward["payload"]["reward_id"] = rewards[0]["payload"]["reward_id"]

    found = changed(exported, tmp_path, edit)
    assert "shop duplicates" in failing(found)
    assert found["shop duplicates"].startswith("FAIL 50.0%")


@pytest.mark.parametrize(("count", "share"), [(90, "45.0%"), (110, "55.0%")])
def test_deferred_decisions_that_nobody_activates_fail_where_they_are_most(
    exported: Path, tmp_path: Path, count: int, share: str
) -> None:
    """As in dsjson: see test_validate_feedback."""

    def edit(content: list[dict[str, Any]]) -> None:
        for decision in decisions(content)[:count]:
            decision["defer_activation"] = True
        ticks = [line for line in content if line.get("kind") == "KIND_TICK"]
        assert ticks
        last = content[-2]
        for i in range(500):  # ten minutes and more of running time, in steps of the clock's cap
            sequence = last["sequence"] + i + 1
            content.insert(
                -1,
                {
                    **ticks[0],
                    "sequence": sequence,
                    "previous_sequence": sequence - 1,
                    "log_time_us": last["log_time_us"] + (i + 1) * 2_000_000,
                },
            )
        content[-1]["rankd_export_end"] += 500

    found = changed(exported, tmp_path, edit)
    assert ("shop deferred" in failing(found)) is (count > 100)
    assert found["shop deferred"].endswith(
        f" {share} of decisions were never activated, 100.0% of those that were deferred: estimates are about the others, a selection"
    )
