"""`rankd log`: tail and the three exports."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from rankd import Client
from rankd.commands.logs import describe
from rankd.v1 import log_pb2 as pb
from server.fold.records import LogRecord
from tests.cli.conftest import ROUNDS, rankd, start

if TYPE_CHECKING:
    from pathlib import Path

    from google.protobuf.message import Message

    from tests.server.harness import Service


def record(
    kind: pb.Kind, payload: Message | None = None, event_id: str = "e", **header: Any
) -> LogRecord:
    data = b"" if payload is None else payload.SerializeToString()
    return LogRecord(7, kind, "shop", event_id, 0, 1_750_000_000_123_456, "n", 6, data, **header)


def test_tail_shows_the_last_records(folder: Path) -> None:
    lines = rankd("log", "tail", folder, "-n", 2).out.splitlines()
    assert len(lines) == 2
    decision, reward = (line.split() for line in lines)
    assert decision[3:6] == ["decision", "shop", f"event-{ROUNDS - 1}"]
    assert reward[3:6] == ["reward", "shop", f"event-{ROUNDS - 1}"]
    assert "of 3 by 1." in lines[0]
    everything = rankd("log", "tail", folder, "-n", 100_000).out.splitlines()
    assert len(everything) == 2 + 2 * ROUNDS  # Config and Epoch come first
    assert everything[-2:] == lines
    assert rankd("log", "tail", folder, "-n", 0).out == ""


def test_tail_looks_behind_a_long_quiet_time(folder: Path) -> None:
    with_ticks = rankd("log", "tail", folder, "-n", 100_000, "--ticks").out.splitlines()
    without = [line for line in with_ticks if line.split()[3] != "tick"]
    for n in (1, 5, 33):
        assert rankd("log", "tail", folder, "-n", n).out.splitlines() == without[-n:]


def test_tail_follows_until_interrupted(service: Service) -> None:
    process = start("log", "tail", service.folder.root, "-n", 1, "--follow")
    try:
        assert process.stdout is not None
        process.stdout.readline()  # the last one that is there
        with Client(f"127.0.0.1:{service.port}", timeout=20) as client:
            client.rank({}, ["x", "y"], event_id="followed")
        line = process.stdout.readline()
        assert "decision    shop  followed" in line
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (record(pb.KIND_TICK, event_id=""), "tick        shop"),
        (
            record(pb.KIND_REWARD, pb.Reward(value=-0.5, slot_id="top")),
            "reward      shop  e  -0.5 for slot top",
        ),
        (
            record(pb.KIND_ACTIVATION, pb.Activation(cause=pb.Activation.CAUSE_UNDELIVERED)),
            "activation  shop  e  undelivered",
        ),
        (
            record(
                pb.KIND_DECISION,
                pb.Decision(
                    action_ids=["a", "b", "c"],
                    excluded_ids=["c", "not there"],
                    ranking=[1, 0],
                    slot_ids=["top"],
                    slot_probabilities=[0.25],
                    epoch=2,
                    model_version=9,
                    defer_activation=True,
                ),
            ),
            "decision    shop  e  top: b (p 0.25) of 2 by 2.9, deferred",
        ),
        (
            record(
                pb.KIND_PROMOTION,
                pb.Promotion(action=pb.Promotion.ACTION_PIN, epoch=1, model_version=5),
            ),
            "promotion   shop  e  pin to 1.5",
        ),
        (record(pb.KIND_FENCE, pb.Fence(folder="f"), event_id=""), "fence       shop  folder f"),
        (
            record(pb.KIND_LEASE, pb.Lease(number=3, owner="f"), event_id=""),
            "lease       shop  3 of folder f",
        ),
        (
            record(
                pb.KIND_ARTEFACT,
                pb.Artefact(state_sha256="ab" * 32, piece=0, pieces=2),
                event_id="",
            ),
            "artefact    shop  abababababab, piece 1 of 2",
        ),
        (record(pb.KIND_REWARD, None, key_id="key"), "reward      shop  e  encrypted"),
        (record(pb.KIND_TICK, event_id="a\x1b[2J\nb"), "tick        shop  a\\x1b[2J\\nb"),
    ],
)
def test_a_record_is_one_safe_line(one: LogRecord, said: str) -> None:
    assert describe(one) == f"2025-06-15 15:06:40.123          7  {said}"


def test_export_to_standard_output_and_to_a_file_are_the_same(folder: Path, tmp_path: Path) -> None:
    for form in ("jsonl", "dsjson"):
        path = tmp_path / form
        piped = rankd("log", "export", folder, "--format", form)
        saved = rankd("log", "export", folder, "--format", form, "--output", path, "--app", "shop")
        assert (piped.code, saved.code) == (0, 0), saved.err
        header, *lines = path.read_text().splitlines()
        # The header says whether one app was asked for; else they agree.
        assert piped.out.splitlines()[1:] == lines
        assert saved.err == piped.err
    assert saved.err == f"{ROUNDS} interactions\n"
    assert len([json.loads(line) for line in (header, *lines)]) == ROUNDS


def test_parquet(folder: Path, tmp_path: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "log.parquet"
    assert rankd("log", "export", folder, "--format", "parquet", "-o", path).code == 0
    table = pq.read_table(path)
    assert table.num_rows == ROUNDS
    assert set(table["action"].to_pylist()) == {"a", "b", "c"}


def test_parquet_through_a_pipe(folder: Path) -> None:
    pq = pytest.importorskip("pyarrow.parquet")
    command = [
        sys.executable,
        "-m",
        "rankd.cli",
        "log",
        "export",
        str(folder),
        "--format",
        "parquet",
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    assert pq.read_table(io.BytesIO(done.stdout)).num_rows == ROUNDS


def test_a_reader_that_has_had_enough_is_no_error(folder: Path) -> None:
    process = start("log", "export", folder)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.wait(30)
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert "Traceback" not in said
    assert "cannot be read" not in said


def test_a_failed_export_leaves_no_file(exported: Path, tmp_path: Path) -> None:
    lines = exported.read_text().splitlines(keepends=True)
    broken = tmp_path / "broken.jsonl"
    broken.write_text("".join([*lines[:30], "{}\n", *lines[30:]]))
    result = rankd("log", "export", broken, "-o", tmp_path / "out.jsonl")
    assert result.code == 2
    assert "line 31" in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.jsonl"]


def test_a_place_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    result = rankd("log", "export", folder, "-o", tmp_path / "no" / "out.jsonl")
    assert result.code == 1
    assert "out.jsonl: No such file or directory" in result.err


def test_no_folder_is_no_log(tmp_path: Path) -> None:
    for command in (("log", "tail", tmp_path), ("log", "export", tmp_path)):
        result = rankd(*command)
        assert result.code == 2
        assert "no journal" in result.err
