"""The whole demo, shortened: real processes, real client, real log."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from policies.sampler import Purpose, seed
from rankd.demo.offline import halfway, value_of
from rankd.demo.presets import APP
from rankd.demo.stream import event_id
from rankd.v1 import log_pb2 as pb
from server.config_file import load
from server.files import DataFolder
from server.fold.decide import Question
from server.fold.verify import verify
from server.journal.store import JournalReader
from server.learning.source import FolderSource
from simulator import image_segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROUNDS = 120
SHORT = ("--rounds", str(ROUNDS), "--rate", "200")
# Seconds for what takes a few on an idle machine. Only a failing test waits so long.
PATIENCE = 60.0

KEYS: dict[str, type] = {
    "rounds": int,
    "reward_mean": float,
    "reward_mean_last_500": float,
    "uniform": float,
    "full_information": float,
    "ips": float,
    "ips_low": float,
    "ips_high": float,
    "truth": float,
    "verified": int,
    "unverifiable": int,
    "mismatches": int,
    "reward_to_model_ms_p50": float,
    "reward_to_model_ms_p99": float,
    "seconds": float,
}


def eventually(what: str, probe: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not probe():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.05)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "rankd.cli", "demo", *arguments]


@dataclass(frozen=True)
class Demo:
    """A demo that is over, with its log kept."""

    folder: Path
    stdout: str
    stderr: str
    result: dict[str, Any]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo") / "data"
    arguments = command(*SHORT, "--seed", "3", "--json", "--data-dir", str(folder))
    # Settings of the user's own service are not the demo's.
    environment = {**os.environ, "RANKD_APPS": '{"mine": {}}', "RANKD_SERVER__WORKERS": "7"}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return Demo(folder, done.stdout, done.stderr, json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture
def source(demo: Demo) -> Iterator[FolderSource]:
    source = FolderSource(DataFolder(demo.folder))
    yield source
    source.close()


def test_json_is_all_of_standard_output_and_has_exactly_its_keys(demo: Demo) -> None:
    assert len(demo.stdout.splitlines()) == 1
    assert {name: type(value) for name, value in demo.result.items()} == KEYS
    assert list(demo.result) == list(KEYS)


def test_the_figures_hang_together(demo: Demo) -> None:
    result = demo.result
    assert result["rounds"] == result["verified"] == ROUNDS
    assert result["unverifiable"] == result["mismatches"] == 0
    assert result["reward_mean"] == result["reward_mean_last_500"]  # there are no 500
    assert result["uniform"] == pytest.approx(1 / 7, abs=1e-6)
    assert 0 < result["reward_mean"] < 1
    assert 0 < result["full_information"] < 1
    assert 0 <= result["ips_low"] <= result["ips_high"] <= 1
    assert 0 <= result["reward_to_model_ms_p50"] <= result["reward_to_model_ms_p99"]


def test_off_the_terminal_there_are_plain_lines(demo: Demo) -> None:
    assert "\x1b" not in demo.stderr
    progress = [line for line in demo.stderr.splitlines() if line.startswith("round ")]
    assert 1 <= len(progress) <= 10, demo.stderr
    assert f"round   {ROUNDS} of {ROUNDS}" in progress[-1]
    assert f"verified {ROUNDS}, unverifiable 0, mismatches 0" in demo.stderr
    assert f"rankd verify {demo.folder}" in demo.stderr


def test_the_log_has_one_decision_and_one_reward_for_each_round(source: FolderSource) -> None:
    rewards = {
        record.event_id: pb.Reward.FromString(record.payload).value
        for record in source.records(0)
        if record.kind == pb.KIND_REWARD
    }
    world = image_segments(3)
    decisions = {
        record.event_id: record.decision()
        for record in source.records(0)
        if record.kind == pb.KIND_DECISION
    }
    assert sorted(decisions) == sorted(rewards) == [event_id(i) for i in range(ROUNDS)]
    for number in range(ROUNDS):
        decision = decisions[event_id(number)]
        chosen = decision.action_ids[decision.ranking[0]]
        assert rewards[event_id(number)] == (chosen == world.rows[number].label)


def test_the_kept_folder_can_be_verified_and_served_again(demo: Demo, source: FolderSource) -> None:
    again = verify(source)
    assert (again.verified, again.mismatches) == (ROUNDS, 0), again.first_mismatch
    settings = load(demo.folder / "rankd.yaml").apps[APP]
    assert settings.min_exploration == 0.02
    assert settings.reward.always_sent
    assert settings.policy == {"type": "linucb", "alpha": 0.5}


def test_the_halfway_model_has_seen_no_decision_that_it_is_valued_on(
    demo: Demo, source: FolderSource
) -> None:
    frozen = halfway(source, APP)
    decisions = [r for r in source.records(0) if r.kind == pb.KIND_DECISION]
    assert frozen.sequence == decisions[ROUNDS // 2 - 1].sequence
    world = image_segments(3)
    labels = {event_id(i): row.label for i, row in enumerate(world.rows)}
    salt = bytes.fromhex(frozen.settings.salt)
    weighted, truth = [], []
    for record in decisions[ROUNDS // 2 :]:
        decision = record.decision()
        question = Question.of(decision)
        pmf = frozen.model.pmf(
            question.context, question.actions, seed(salt, Purpose.POLICY, 0, record.event_id)
        ).pmf
        pi = dict(zip(question.actions.ids, pmf.tolist(), strict=True))
        chosen = decision.action_ids[decision.ranking[0]]
        hit = chosen == labels[record.event_id]
        weighted.append(pi[chosen] / decision.pmf[decision.ranking[0]] * hit)
        truth.append(pi[labels[record.event_id]])
    assert demo.result["ips"] == pytest.approx(sum(weighted) / len(weighted), abs=1e-6)
    assert demo.result["truth"] == pytest.approx(sum(truth) / len(truth), abs=1e-6)


def test_the_value_comes_from_the_log_and_not_from_the_labels(source: FolderSource) -> None:
    frozen = halfway(source, APP)
    wrong = {event_id(i): "sky" for i in range(ROUNDS)}
    right = {event_id(i): row.label for i, row in enumerate(image_segments(3).rows)}
    found, told = (value_of(frozen, source, APP, labels) for labels in (wrong, right))
    assert (found.ips, found.interval, found.rows) == (told.ips, told.interval, ROUNDS // 2)
    assert found.truth != told.truth


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "diary.txt").write_text("mine")
    arguments = command(*SHORT, "--data-dir", str(tmp_path))
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"data-dir: {tmp_path} is not empty" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["diary.txt"]


# The demo on a disk that turns the last bit of one logged probability once the service has stopped.
_TURN_A_BIT = """
import math, sqlite3, sys
from rankd.demo import run, service, session
from rankd.v1 import log_pb2 as pb

class Service(service.Service):
    def stop(self):
        super().stop()
        with sqlite3.connect(self._data / "journal.sqlite") as journal:
            (sequence, payload), = journal.execute(
                "SELECT sequence, payload FROM records WHERE event_id = 'segment-0090' AND kind = ?", (pb.KIND_DECISION,))
            decision = pb.Decision.FromString(payload)
            decision.slot_probabilities[0] = math.nextafter(decision.slot_probabilities[0], 0.0)
            journal.execute(
                "UPDATE records SET payload = ? WHERE sequence = ?", (decision.SerializeToString(), sequence))

session.Service = Service
sys.exit(run("linucb", 3, 120, 200.0, None, as_json=False))
"""


def test_one_bit_turned_in_the_log_is_found_and_fails_the_demo(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TURN_A_BIT],
        capture_output=True,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "verified 119, unverifiable 0, mismatches 1" in done.stdout
    assert "segment-0090" in done.stdout
    assert "\x1b" not in done.stdout
    assert not list(tmp_path.iterdir()), "the temporary folder is removed"


class Running:
    """A demo in the middle of its rounds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            command("--rate", "40", "--data-dir", str(folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        eventually("30 records in the log", self._under_way)
        self.pids: dict[str, int] = json.loads(DataFolder(folder).service.read_bytes())["pids"]

    def _under_way(self) -> bool:
        assert self.process.poll() is None, self.process.stdout and self.process.stdout.read()
        try:
            reader = JournalReader(DataFolder(self.folder).journal)
        except FileNotFoundError:
            return False
        try:
            return reader.bounds()[1] > 30
        except sqlite3.OperationalError:  # it is just being made
            return False
        finally:
            reader.close()

    def end(self) -> tuple[int, str]:
        """Exit code and output."""
        output, _ = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, output


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    demo = Running(tmp_path / "data")
    assert set(demo.pids) == {"supervisor", "writer", "learner", "worker-0"}
    yield demo
    demo.process.kill()
    demo.process.communicate()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_leaves_no_process_behind(running: Running) -> None:
    running.process.send_signal(signal.SIGINT)
    code, output = running.end()
    assert code == 130, output
    assert "Interrupted" in output
    assert "Traceback" not in output
    left = [name for name, pid in running.pids.items() if alive(pid)]
    assert not left


def test_a_service_that_dies_ends_the_demo_and_says_so(running: Running) -> None:
    os.kill(running.pids["supervisor"], signal.SIGKILL)
    code, output = running.end()
    assert code == 1, output
    assert "rankd demo: the service ended with code -9" in output
    assert "Traceback" not in output


def test_a_killed_demo_takes_its_service_with_it(running: Running) -> None:
    service = DataFolder(running.folder).service
    running.process.kill()
    running.process.wait()
    eventually("the service stops in order", lambda: not service.exists())
