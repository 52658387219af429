"""An export is the log: it reads back equal, verifies alike, and gives away whatever was changed in it."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rankd.v1 import log_pb2 as pb
from server.exports.jsonl import ExportSource, write_jsonl
from server.fold.records import LogError
from server.fold.verify import verify, verify_app
from tests.exports.memory_log import MemoryLog, settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from server.fold.verify import LogSource


def export(source: LogSource, path: Path, app: str | None = None) -> ExportSource:
    with path.open("wb") as file:
        write_jsonl(source, file, app)
    return ExportSource(path)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def rewrite(path: Path, edit: Callable[[list[dict[str, Any]]], None]) -> ExportSource:
    content = lines(path)
    edit(content)
    path.write_text("".join(json.dumps(line) + "\n" for line in content))
    return ExportSource(path)


def first(content: list[dict[str, Any]], kind: str, after: int = 0) -> dict[str, Any]:
    return next(line for line in content[after:] if line.get("kind") == kind)


def test_an_export_reads_back_equal(log: MemoryLog, tmp_path: Path) -> None:
    source = export(log, tmp_path / "log.jsonl")
    assert list(source.records(0)) == log.log
    assert source.complete
    assert list(source.records(17)) == log.log[17:]
    assert [source.read(r.sequence) for r in reversed(log.log)] == log.log[::-1]
    assert source.apps() == ["shop"]
    assert source.base("shop") is None
    assert source.checkpoints("shop") == log.checkpoints("shop")


def test_a_log_that_servers_share_reads_back_equal(log: MemoryLog, tmp_path: Path) -> None:
    """Also what only such a log has: numbers of the journals' own, partitions, lags, and three more kinds."""
    for record in log.log:
        n = record.sequence
        log.log[n - 1] = record._replace(number=1_000 + n, partition=n % 3, lag_us=n % 2)
    # Another producer's.
    log.log[7] = log.log[7]._replace(node="", number=0, partition=2, previous=0)
    for kind, payload in (
        (pb.KIND_FENCE, pb.Fence(folder="f")),
        (pb.KIND_LEASE, pb.Lease(number=3, owner="f", released=True)),
        (pb.KIND_ARTEFACT, pb.Artefact(state_sha256="ab", piece=1, pieces=2, data=b"\x00\xff")),
    ):
        log.append(kind, "shop", payload=payload)
    path = tmp_path / "log.jsonl"
    assert list(export(log, path).records(0)) == log.log
    assert lines(path)[-2]["payload"]["data"] == "AP8="
    with pytest.raises(LogError, match="whole numbers"):
        list(rewrite(path, lambda c: c[5].update(partition="1")).records(0))


def test_reading_one_record_needs_no_pass_before(log: MemoryLog, tmp_path: Path) -> None:
    source = export(log, tmp_path / "log.jsonl")
    assert source.read(30) == log.log[29]
    assert source.read(10) == log.log[9]
    with pytest.raises(LogError, match="record 100000 is not in it"):
        source.read(100_000)


def test_an_export_verifies_as_the_log_does(log: MemoryLog, tmp_path: Path) -> None:
    expected = verify(log)
    assert expected.mismatches == 0, expected.first_mismatch
    assert expected.verified == 80
    assert verify(export(log, tmp_path / "log.jsonl")) == expected


def test_an_export_of_an_export_is_the_same_file(log: MemoryLog, tmp_path: Path) -> None:
    export(export(log, tmp_path / "one"), tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_least_change_of_a_probability_is_caught(log: MemoryLog, tmp_path: Path) -> None:
    export(log, tmp_path / "log.jsonl")

    def edit(content: list[dict[str, Any]]) -> None:
        pmf = first(content, "KIND_DECISION", after=40)["payload"]["pmf"]
        pmf[0] = float(np.nextafter(pmf[0], 1.0))

    result = verify(rewrite(tmp_path / "log.jsonl", edit))
    assert result.mismatches >= 1
    assert "pmf" in result.first_mismatch


def test_a_changed_reward_is_caught(log: MemoryLog, tmp_path: Path) -> None:
    export(log, tmp_path / "log.jsonl")

    def edit(content: list[dict[str, Any]]) -> None:
        first(content, "KIND_REWARD")["payload"]["value"] = 0.75

    assert verify(rewrite(tmp_path / "log.jsonl", edit)).mismatches >= 1


def test_a_last_line_that_was_cut_is_passed_over(log: MemoryLog, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    export(log, path)
    data = path.read_bytes()
    end = len(data.splitlines(keepends=True)[-1])
    path.write_bytes(data[: -end - 10])
    source = ExportSource(path)
    assert list(source.records(0)) == log.log[:-1]
    assert not source.complete
    assert verify(source).mismatches == 0


def test_a_malformed_line_is_named(log: MemoryLog, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    export(log, path)
    content = path.read_bytes().splitlines(keepends=True)
    for number, line in ((9, b'{"sequence": 6, \n'), (12, b"[1]\n"), (12, b"{}\n"), (5, b"\xff\n")):
        path.write_bytes(b"".join([*content[: number - 1], line, *content[number:]]))
        with pytest.raises(LogError, match=rf"log\.jsonl, line {number}: "):
            list(ExportSource(path).records(0))


def test_a_record_with_an_unknown_field_is_named(log: MemoryLog, tmp_path: Path) -> None:
    export(log, tmp_path / "log.jsonl")
    source = rewrite(tmp_path / "log.jsonl", lambda content: content[7]["payload"].update(pmg=1))
    with pytest.raises(LogError, match=r"line 8: not a record: .*pmg"):
        list(source.records(0))


def test_a_missing_record_is_a_hole(log: MemoryLog, tmp_path: Path) -> None:
    export(log, tmp_path / "log.jsonl")

    def edit(content: list[dict[str, Any]]) -> None:
        del content[20]

    with pytest.raises(LogError, match=r"line 21: record \d+ follows record \d+; those between"):
        list(rewrite(tmp_path / "log.jsonl", edit).records(0))


def test_one_app_alone_keeps_the_ticks_and_its_state(two_apps: MemoryLog, tmp_path: Path) -> None:
    source = export(two_apps, tmp_path / "news.jsonl", app="news")
    kept = list(source.records(0))
    assert kept == [r for r in two_apps.log if r.app in ("", "news")]
    assert {r.app for r in kept} == {"", "news"}
    assert source.apps() == ["news"]
    expected = verify_app(two_apps, "news")
    assert expected.verified == 24
    assert verify(source) == expected


def test_a_record_missing_among_one_apps_own_is_counted(
    two_apps: MemoryLog, tmp_path: Path
) -> None:
    export(two_apps, tmp_path / "news.jsonl", app="news")

    def edit(content: list[dict[str, Any]]) -> None:
        del content[20]

    with pytest.raises(LogError, match="some were removed or added"):
        list(rewrite(tmp_path / "news.jsonl", edit).records(0))


def test_a_trimmed_log_brings_the_checkpoint_to_start_from(log: MemoryLog, tmp_path: Path) -> None:
    whole = verify(log)
    log.trim()
    source = export(log, tmp_path / "log.jsonl")
    assert next(source.records(log.first - 1)).sequence == log.first > 1
    assert source.base("shop") == log.base("shop")
    result = verify(source)
    assert result == verify(log)
    assert result.states == whole.states
    assert 0 < result.verified < whole.verified
    assert result.mismatches == 0
    with pytest.raises(LogError, match=f"begins at record {log.first}, but 1 is needed"):
        list(source.records(0))


def test_a_damaged_checkpoint_is_refused(log: MemoryLog, tmp_path: Path) -> None:
    log.trim()
    export(log, tmp_path / "log.jsonl")

    def edit(content: list[dict[str, Any]]) -> None:
        content[1]["sealed"] = content[1]["sealed"][:-8] + "AAAAAAA="

    with pytest.raises(LogError, match="checkpoint of app 'shop': its content does not match"):
        rewrite(tmp_path / "log.jsonl", edit).base("shop")


def test_artefacts_come_before_what_refers_to_them(log: MemoryLog, tmp_path: Path) -> None:
    source = export(log, tmp_path / "log.jsonl")
    for sha256, state in log.states.items():
        assert ExportSource(tmp_path / "log.jsonl").artefact(sha256) == state
    met = set()
    for line in lines(tmp_path / "log.jsonl"):
        if "artefact" in line:
            met.add(line["artefact"])
        elif "state_sha256" in line.get("payload", {}):
            assert line["payload"]["state_sha256"] in met
    assert met == set(log.states)
    with pytest.raises(LogError, match="is missing"):
        source.artefact("0" * 64)


def test_a_swapped_artefact_is_refused(log: MemoryLog, tmp_path: Path) -> None:
    export(log, tmp_path / "log.jsonl")

    def edit(content: list[dict[str, Any]]) -> None:
        one, two = (line for line in content if "artefact" in line)
        one["state"] = two["state"]

    source = rewrite(tmp_path / "log.jsonl", edit)
    with pytest.raises(LogError, match="holds another model"):
        source.artefact(next(iter(log.states)))


def test_what_is_encrypted_stays_bytes(tmp_path: Path) -> None:
    log = MemoryLog()
    secret = pb.Reward(value=0.5)
    log.append(pb.KIND_REWARD, "shop", "e", secret)
    record = log.log[-1]
    log.log[-1] = record._replace(payload=b"\0cipher", key_id="key-1", subject_id="person-1")
    source = export(log, tmp_path / "log.jsonl")
    assert list(source.records(0)) == log.log
    assert "payload" not in lines(tmp_path / "log.jsonl")[-2]


def test_no_more_than_a_line_is_in_memory(tmp_path: Path) -> None:
    log = MemoryLog(settings("shop", policy={"type": "uniform"}))
    names = [f"{i:0100}" for i in range(1_000)]
    for i in range(40):  # 100 kB each
        log.rank(f"e{i}", excluded_ids=names)
    path = tmp_path / "log.jsonl"
    tracemalloc.start()
    try:
        source = export(log, path)
        count = sum(1 for _ in source.records(0))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 42
    assert path.stat().st_size > 4_000_000
    assert peak < 2_000_000


@pytest.mark.parametrize(
    "content", [b"", b"{}\n", b"apps:\n", b'{"rankd_export":2}\n', b"\xff\xfe"]
)
def test_what_is_no_export_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(LogError, match=r"first line is not that of an export|reads format 1"):
        ExportSource(tmp_path / "log")


def test_a_payload_that_is_no_message_stops_the_export(log: MemoryLog) -> None:
    sequence = log.append(pb.KIND_TICK)
    log.log[-1] = log.log[-1]._replace(kind=pb.KIND_REWARD, app="shop", payload=b"\xff")
    with pytest.raises(LogError, match=f"record {sequence}: its payload is not a Reward"):
        write_jsonl(log, io.BytesIO())
