"""What is wrong with a log is said, with its place and what to do, in every format; what can be read is read."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import simulator.logs
from simulator.logs import Columns, Log, LogFormatError, Matured, Skipped, open_log
from simulator.logs.lines import FileLog
from simulator.logs.rankd_log import RankdLog
from simulator.logs.rankd_table import RankdTableLog
from simulator.validation import validate
from tests.simulator.log_formats import FORMATS, IDS, Format, Row, packed, rows

if TYPE_CHECKING:
    from collections.abc import Callable

TEXT = [form for form in FORMATS if form.text]
AT = 3  # the row that is spoiled

each_format = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
each_text = pytest.mark.parametrize("form", TEXT, ids=lambda form: form.name)


def opened(form: Format, data: bytes, folder: Path, gz: bool = False) -> Log:
    path = folder / f"log{form.suffix}{'.gz' if gz else ''}"
    path.write_bytes(packed(data) if gz else data)
    keyed = Columns(key="key") if form.keys and form.suffix in (".csv", ".tsv") else None
    if form.name == "parquet" and data.startswith(b"PAR1"):
        keyed = Columns(key="key")
    return open_log(path, columns=keyed)


def rewards(log: Log) -> list[float]:
    return [event.reward for event in log if isinstance(event, Matured)]


def refused(form: Format, data: bytes, folder: Path, gz: bool = False) -> str:
    with pytest.raises(LogFormatError) as caught:
        list(opened(form, data, folder, gz))
    message = str(caught.value)
    assert message.startswith(str(folder / "log"))
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize("gz", [False, True])
@each_format
def test_a_file_tells_how_much_of_it_was_read(form: Format, gz: bool, tmp_path: Path) -> None:
    if gz and not form.text:
        return
    log = opened(form, form.write(rows(1_500)), tmp_path, gz)
    if not isinstance(log, FileLog):
        return
    for _ in range(2):
        shares = [log.share for event in log if isinstance(event, Matured)]
        known = [share for share in shares if share is not None]
        assert len(known) == len(shares) == 1_500
        assert known == sorted(known)
        assert 0.0 <= known[0] <= known[-1] <= 1.0
        assert (
            gz or known[0] < 0.5 < known[-10]
        )  # what is packed is so small that it is read at once
        assert log.share == 1.0


def test_every_reader_is_asked() -> None:
    readers = {
        found
        for found in vars(simulator.logs).values()
        if isinstance(found, type) and found.__name__.endswith("Log") and found is not Log
    }
    assert readers | {RankdLog, RankdTableLog} == {form.reader for form in FORMATS}
    assert issubclass(RankdTableLog, FileLog)


@each_format
def test_what_is_sound_is_read(form: Format, tmp_path: Path) -> None:
    log = opened(form, form.write(rows()), tmp_path)
    assert type(log) is form.reader
    assert rewards(log) == [i / 4 for i in range(6)]
    assert not log.counters[Skipped.CUT_SHORT]
    found = validate(log)
    assert (found.decided, found.matured, found.duplicates) == (6, 6, 0)
    assert (found.whole > 0) is form.pmf
    if form.text:
        assert rewards(opened(form, form.write(rows()), tmp_path, gz=True)) == rewards(log)


def spoil(change: Callable[[Row], object]) -> list[Row]:
    found = rows()
    change(found[AT])
    return found


FAULTS: dict[str, tuple[Callable[[Row], object], str]] = {
    "propensity 0": (lambda row: vars(row).update(propensity=0.0), "(0, 1]"),
    "propensity above 1": (lambda row: vars(row).update(propensity=1.5), "(0, 1]"),
    "propensity below 0": (lambda row: vars(row).update(propensity=-0.5), "(0, 1]"),
    "propensity NaN": (lambda row: vars(row).update(propensity=float("nan")), ""),
    "reward NaN": (lambda row: vars(row).update(reward=float("nan")), ""),
    "reward infinite": (lambda row: vars(row).update(reward=float("inf")), ""),
    "pmf sums to 1.25": (lambda row: row.mu.update(a=0.5), "give the probabilities of all actions"),
    "pmf has NaN": (lambda row: row.mu.update(a=float("nan")), ""),
    "another action": (lambda row: vars(row).update(action="z"), ""),
}


@pytest.mark.parametrize("fault", FAULTS)
@each_format
def test_a_row_that_cannot_be_is_refused_with_its_place(
    form: Format, fault: str, tmp_path: Path
) -> None:
    change, remedy = FAULTS[fault]
    if fault.startswith("pmf") and not form.pmf:
        return  # it has none
    if fault == "another action" and form.name in ("csv, propensity only", "vw text"):
        return  # such a table's actions are those that were taken; in the text the action's own line has the label
    message = refused(form, form.write(spoil(change)), tmp_path)
    if form.reader is RankdLog:
        assert "decision " in message or "record" in message
        return
    assert remedy in message
    before = {"dsjson": 0, "npz": -1, "vw text": 4 * AT - AT}.get(form.name, form.place == "line")
    number = AT + 1 + before
    if form.name == "vw text" and fault.startswith("propensity"):
        number += 1 + IDS.index(rows()[AT].action)  # the line with the label
    assert f"{form.place} {number}: " in message


@each_text
def test_a_last_line_that_was_cut_is_passed_over_and_counted(form: Format, tmp_path: Path) -> None:
    assert form.rows_of is not None
    data = form.write(rows())
    last = form.rows_of(data)[-1]
    # In the middle of the line that has the label, of the first cell, of the object.
    middle = last.index(b"0:") + 3 if form.name == "vw text" else 5
    log = opened(form, data[: len(data) - len(last) + middle], tmp_path)
    assert rewards(log) == [i / 4 for i in range(5)]
    assert log.counters[Skipped.CUT_SHORT] == 1
    found = validate(log)
    assert found.passed_over[Skipped.CUT_SHORT] == 1
    # In the middle of a character.
    cut = last.index("ü".encode()) + 1
    log = opened(form, data[: len(data) - len(last) + cut], tmp_path)
    assert rewards(log) == [i / 4 for i in range(5)]
    # A last line that is all there but its end.
    assert rewards(opened(form, data.rstrip(b"\n"), tmp_path)) == [i / 4 for i in range(6)]


@given(share=st.floats(0.3, 0.999))
@settings(max_examples=30, deadline=None)
def test_wherever_dsjson_was_cut_what_is_whole_is_read(share: float) -> None:
    form = next(form for form in FORMATS if form.name == "dsjson")
    data = form.write(rows())
    cut = data[: int(len(data) * share)]
    with TemporaryDirectory() as folder:
        log = opened(form, cut, Path(folder))
        whole = [i / 4 for i in range(cut.count(b"\n"))]
        assert rewards(log)[: len(whole)] == whole
        assert len(rewards(log)) - len(whole) + log.counters[Skipped.CUT_SHORT] == (
            not cut.endswith(b"\n")
        )


@each_text
def test_a_packed_file_that_was_cut_or_damaged_is_refused(form: Format, tmp_path: Path) -> None:
    data = packed(form.write(rows(400)))
    for bad in (data[: len(data) // 2], data[:-4], data[:-6] + b"\0\0" + data[-4:], data[:9]):
        path = tmp_path / f"log{form.suffix}.gz"
        path.write_bytes(bad)
        with pytest.raises(LogFormatError, match=r"gzip .* cut short or is .*copy it again"):
            list(open_log(path))


@pytest.mark.parametrize("name", ["parquet", "rankd parquet", "npz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_table_or_arrays_that_were_cut_are_refused(
    name: str, share: float, tmp_path: Path
) -> None:
    form = next(form for form in FORMATS if form.name == name)
    data = form.write(rows())
    assert "copy it again" in refused(form, data[: int(len(data) * share)], tmp_path)


@each_format
def test_an_empty_file_is_refused(form: Format, tmp_path: Path) -> None:
    assert "the file is empty" in refused(form, b"", tmp_path)


@each_format
@pytest.mark.parametrize("seed", range(5))
def test_junk_is_refused(form: Format, seed: int, tmp_path: Path) -> None:
    junk = np.random.default_rng(seed).bytes(5_000)
    message = refused(form, b"\x89" + junk, tmp_path)
    assert "Give a file of" in message or "line 1: not UTF-8" in message
    refused(form, form.write(rows())[:4] + junk, tmp_path)


@each_text
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_is_named_with_its_line(
    form: Format, encoding: str, tmp_path: Path
) -> None:
    text = form.write(rows()).decode().replace("Zürich", "Zurich", 2)
    first = next(i for i, line in enumerate(text.split("\n"), 1) if "ü" in line)
    number = 1 if encoding == "utf-16" else first
    message = refused(form, text.encode(encoding), tmp_path)
    assert f"line {number}: " in message
    assert "iconv -f" in message


def test_wrong_columns_are_told_with_those_there_are(tmp_path: Path) -> None:
    for form in FORMATS:
        data = form.write(rows())
        if form.reader.__name__ == "CsvLog":
            data = data.replace(b"reward", b"gain")
        elif form.name == "parquet":
            table = pq.read_table(io.BytesIO(data))
            names = ["gain" if name == "reward" else name for name in table.column_names]
            out = io.BytesIO()
            pq.write_table(table.rename_columns(names), out)
            data = out.getvalue()
        else:
            continue
        message = refused(form, data, tmp_path)
        assert "no column reward; it has city, key, action, " in message
        assert "gain" in message
        assert "--columns" in message
    (tmp_path / "log.npz").unlink(missing_ok=True)
    np.savez(tmp_path / "log.npz", context=np.ones((1, 1)), act=[0], reward=[1.0], pscore=[1.0])
    with pytest.raises(LogFormatError, match="action is missing; found context, reward, pscore"):
        open_log(tmp_path / "log.npz")


def test_a_log_without_propensities_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("action,reward\na,1\n")
    np.savez(tmp_path / "log.npz", context=np.ones((1, 1)), action=[0], reward=[1.0])
    pq.write_table(pa.table({"action": ["a"], "reward": [1.0]}), tmp_path / "log.parquet")
    (tmp_path / "log.vw").write_text("shared | x\n0:1 | a\n| b\n\n")
    line = '{"_label_cost":0,"_labelIndex":0,"c":{"_multi":[{"a":1}]}}\n'
    (tmp_path / "log.json").write_text(line)
    for name, message in {
        "log.csv": "no column propensity; it has action, reward",
        "log.parquet": "no column propensity; it has action, reward",
        "log.npz": r"pscore \(or pi_b\) is missing",
        "log.vw": "line 2: the label '0:1' is not ACTION:COST:PROBABILITY",
        "log.json": "line 1: _label_probability is missing",
    }.items():
        with pytest.raises(LogFormatError, match=message):
            list(open_log(tmp_path / name))


def exchanged(column: str, value: pa.Array | None, path: Path) -> None:
    """Writes rankd's Parquet with another column, or without it."""
    form = next(form for form in FORMATS if form.name == "rankd parquet")
    table = pq.read_table(io.BytesIO(form.write(rows())))
    at = table.column_names.index(column)
    table = table.remove_column(at)
    pq.write_table(table if value is None else table.add_column(at, column, value), path)


@pytest.mark.parametrize("column", ["propensity", "event_id"])
def test_rankd_s_table_without_a_column_is_none(column: str, tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    exchanged(column, None, path)
    with pytest.raises(LogFormatError, match=f"without its column {column}; export it again"):
        open_log(path)


@pytest.mark.parametrize("text", ["[]", "null", "1", '"city"', '{"": 1}', '{"": [1]}', "{"])
@pytest.mark.parametrize("column", ["context", "action_features"])
def test_features_of_rankd_s_table_that_are_none(column: str, text: str, tmp_path: Path) -> None:
    given = [[text, text]] * 6 if column == "action_features" else [text] * 6
    exchanged(column, pa.array(given), tmp_path / "log.parquet")
    with pytest.raises(LogFormatError, match=r"log\.parquet, row 1: "):
        list(open_log(tmp_path / "log.parquet"))


def test_apps_are_not_mixed(tmp_path: Path) -> None:
    form = next(form for form in FORMATS if form.name == "rankd parquet")
    table = pq.read_table(io.BytesIO(form.write(rows())))
    apps = pa.array(["shop"] * AT + ["news"] * (6 - AT))
    table = table.set_column(table.column_names.index("app"), "app", apps)
    pq.write_table(table, tmp_path / "log.parquet")
    with pytest.raises(LogFormatError, match="row 4: apps 'shop' and 'news': choose one with app="):
        list(open_log(tmp_path / "log.parquet"))
    assert len(rewards(open_log(tmp_path / "log.parquet", app="shop"))) == AT


@pytest.mark.parametrize(
    "form", [form for form in FORMATS if form.keys], ids=lambda form: form.name
)
def test_a_name_that_two_decisions_have_is_found_with_both_places(
    form: Format, tmp_path: Path
) -> None:
    again = rows()
    again[4].key = again[5].key = again[1].key
    found = validate(opened(form, form.write(again), tmp_path))
    assert found.duplicates == 2
    assert found.duplicate is not None
    first, second = found.duplicate
    header = form.reader.__name__ == "CsvLog"
    assert (first.at, second.at) == (2 + header, 5 + header)
    assert first.key == second.key == "e1"


@each_text
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_is_spoiled_it_is_read_or_refused(form: Format, data: st.DataObject) -> None:
    """Bytes exchanged, left out or put in between: events or a LogFormatError, nothing else."""
    content = bytearray(form.write(rows(3)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(0, 3))
        content[at : at + length] = data.draw(st.binary(max_size=3))
    with TemporaryDirectory() as folder, suppress(LogFormatError):
        for event in opened(form, bytes(content), Path(folder)):
            assert event.decision.actions if isinstance(event, Matured) else event.actions
