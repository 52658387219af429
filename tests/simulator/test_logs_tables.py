"""Tables: what each column becomes, and that what was written reads back."""

from __future__ import annotations

import csv
import io
import re
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.logs import (
    Columns,
    CsvLog,
    Decided,
    LogFormatError,
    Matured,
    ParquetLog,
    Skipped,
    open_log,
)
from simulator.logs.named import Named
from simulator.logs.shapes import encode

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = """\
age,country,action,propensity,reward
31,NL,a,0.25,1
27,,b,0.75,0

,"B,E",a,0.5,
"""
PMF = Columns(pmf={"a": "pa", "b": "pb"}, propensity=None)


def write(path: Path, text: str, columns: Columns | None = None) -> CsvLog:
    path.write_text(text)
    return CsvLog(path, columns)


def context(**features: float | str) -> Named:
    named = Named()
    named.json(features)
    return named


def test_rows_are_decisions_with_their_rewards(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", TEXT)
    events = list(log)
    assert [type(event) for event in events] == [Decided, Matured, Decided, Matured, Decided]
    decided = [event for event in events if isinstance(event, Decided)]
    assert [d.key for d in decided] == ["2", "3", "5"]  # lines
    assert {d.actions.ids for d in decided} == {("a", "b")}
    assert [d.chosen for d in decided] == [0, 1, 0]
    assert [d.propensity for d in decided] == [0.25, 0.75, 0.5]
    assert [d.pmf for d in decided] == [None, None, None]
    expected = [context(age=31.0, country="NL"), context(age=27.0), context(country="B,E")]
    for d, e in zip(decided, expected, strict=True):
        assert np.array_equal(d.context.index, e.encode().index)
        assert np.array_equal(d.context.value, e.encode().value)
    assert [e.reward for e in events if isinstance(e, Matured)] == [1.0, 0.0]
    assert log.counters == {Skipped.UNLABELLED: 1}


def test_columns_say_what_is_what(tmp_path: Path) -> None:
    text = "id\tzip\tarm\tpa\tpb\tclick\tnoise\nr1\t1000\ta\t0.2\t0.8\t1\t7\nr2\tN1\tb\t0.3\t0.7\t0\t8\n"
    columns = Columns(
        action="arm",
        reward="click",
        propensity=None,
        pmf={"a": "pa", "b": "pb", "c": "pc"},
        context=["zip"],
        categorical=["zip"],
        key="id",
    )
    with pytest.raises(LogFormatError, match="no column pc; it has id, zip"):
        list(write(tmp_path / "log.tsv", text, columns))
    columns = Columns(
        "arm", "click", None, {"b": "pb", "a": "pa"}, (), ["zip"], categorical=["zip"], key="id"
    )
    one, two = (d for d in write(tmp_path / "log.tsv", text, columns) if isinstance(d, Decided))
    assert (one.key, two.key) == ("r1", "r2")
    assert one.actions.ids == ("b", "a")
    assert one.pmf is not None
    assert one.pmf.tolist() == [0.8, 0.2]
    assert (one.propensity, two.propensity) == (0.2, 0.7)
    assert (len(one.context), bool(one.context.numeric.any())) == (1, False)


def test_actions_that_were_never_taken_can_be_named(tmp_path: Path) -> None:
    log = write(tmp_path / "log.csv", TEXT, Columns(actions=["c", "b", "a"]))
    first = next(iter(log))
    assert isinstance(first, Decided)
    assert (first.actions.ids, first.chosen) == (("c", "b", "a"), 2)
    with pytest.raises(LogFormatError, match="line 3: action 'b' is none of a"):
        list(write(tmp_path / "log.csv", TEXT, Columns(actions=["a"])))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(key="id"), "no column id (key); it has age, country, action, propensity, reward. Say which is what with --columns key=NAME (in"),
        (Columns(time="at"), "no column at (time); it has age, "),
        (Columns(action="arm"), "no column arm (action); it has age, "),
        (Columns(propensity="p"), "no column p (propensity); it has .*; without the probability"),
        (Columns(propensity=None), "no column a propensity or pmf; it has"),
    ],
    ids=["key", "time", "two", "propensity", "none"],
)  # fmt: skip
def test_a_column_that_is_not_there_is_named_with_those_that_are(
    columns: Columns, message: str, tmp_path: Path
) -> None:
    pattern = re.escape(message).replace(r"\.\*", ".*")
    with pytest.raises(LogFormatError, match=pattern):
        list(write(tmp_path / "log.csv", TEXT, columns))


@pytest.mark.parametrize("left", ["0.33", "0.", "0", "x"])
def test_a_last_line_cut_within_its_last_cell_is_counted(left: str, tmp_path: Path) -> None:
    """The row has all its cells, so only what the last one says can tell that it was cut."""
    row = "b,1,0.3333,0.3333,0.3333\n"
    text = "action,reward,pmf:a,pmf:b,pmf:c\n" + row * 3
    whole = [1.0] * 3
    log = write(tmp_path / "log.csv", text + row.replace("0.3333\n", left))
    assert [event.reward for event in log if isinstance(event, Matured)] == whole
    assert log.counters[Skipped.CUT_SHORT] == 1
    # With a line end it was written so.
    with pytest.raises(LogFormatError, match="line 5: "):
        list(write(tmp_path / "log.csv", text + row.replace("0.3333\n", f"{left}\n")))
    with pytest.raises(LogFormatError, match="line 5: 6 cells, 5 columns"):
        list(write(tmp_path / "log.csv", text + row.replace("\n", ",1")))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "x,NL,a,0.5,1",
            "column age: 'x' is no number, as the first cell is; .*--columns categorical=age",
        ),
        ("1,NL,a,0,1", "the propensity is 0.0"),
        ("1,NL,a,,1", "column propensity: '' is no number"),
        ("1,NL,a,0.5,nan", "the reward is nan"),
        ("inf,NL,a,0.5,1", "finite"),
        ("1,NL,a,0.5", "4 cells, 5 columns"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(row: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(LogFormatError, match=rf"log\.csv, line 6: .*{message}"):
        list(write(tmp_path / "log.csv", TEXT + row + "\n"))


@pytest.mark.parametrize("text", ["", 'age,action\n"', "a,b\n1,2\n"])
def test_what_has_no_such_columns_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(LogFormatError, match=r"no column (action, )?propensity, reward"):
        list(write(tmp_path / "log.csv", text))


def test_text_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogFormatError, match=r"line 6: .*is a quote open there"):
        list(write(tmp_path / "log.csv", TEXT + '"open\n1,NL,a,0.5,1\n'))
    (tmp_path / "log.csv").write_bytes(TEXT.encode() + b"1,\xff,a,0.5,1\n")
    with pytest.raises(LogFormatError, match="line 6: not UTF-8"):
        list(CsvLog(tmp_path / "log.csv"))


ROWS = st.lists(
    st.tuples(
        st.floats(-1e9, 1e9),
        st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=5),
        st.sampled_from(["a", "b"]),
        st.floats(0.001, 0.999),
        st.floats(-1e300, 1e300),
    ),
    min_size=1,
    max_size=8,
)


def check(events: Sequence[object], rows: list[Any]) -> None:
    """That the events are the rows: number, word, action, probability of a, reward."""
    decided = [event for event in events if isinstance(event, Decided)]
    rewards = [event.reward for event in events if isinstance(event, Matured)]
    assert rewards == [row[4] for row in rows]
    for d, (number, word, action, p, _) in zip(decided, rows, strict=True):
        expected = Named()
        expected.number("", "number", number)
        if word:
            expected.category("", "word", word)
        assert np.array_equal(d.context.index, expected.encode().index)
        assert np.array_equal(d.context.value, expected.encode().value)
        assert d.actions.ids[d.chosen] == action
        assert d.pmf is not None
        assert d.pmf.tolist() == [p, 1.0 - p]
        assert d.propensity == d.pmf[d.chosen]


@given(ROWS)
def test_a_csv_reads_back(rows: list[Any]) -> None:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["number", "word", "action", "pa", "pb", "reward"])
    writer.writerows([n, w, a, p, 1.0 - p, r] for n, w, a, p, r in rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        path.write_text(out.getvalue(), encoding="utf-8", newline="")
        columns = Columns(pmf=PMF.pmf, propensity=None, categorical=["word"])
        log = CsvLog(path, columns)
        first = list(log)
        check(first, rows)
        assert len(list(log)) == len(first)


def test_a_parquet_file_reads_back(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    rows = [(float(i), f"w{i % 3}", "ab"[i % 2], (i + 1) / 4_000, i / 7) for i in range(3_000)]
    table = pa.table(
        {
            "number": [row[0] for row in rows],
            "word": [row[1] for row in rows],
            "action": [row[2] for row in rows],
            "pa": [row[3] for row in rows],
            "pb": [1.0 - row[3] for row in rows],
            "reward": [row[4] for row in rows],
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    log = ParquetLog(tmp_path / "log.parquet", PMF)
    check(list(log), rows)
    check(list(log), rows)
    with pytest.raises(LogFormatError, match="no column propensity"):
        list(ParquetLog(tmp_path / "log.parquet"))
    (tmp_path / "log.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(LogFormatError, match="not a whole Parquet file"):
        list(log)


def test_a_bad_row_of_a_parquet_file_is_named(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    table = pa.table({"action": ["a", "b"], "propensity": [0.5, None], "reward": [1.0, None]})
    pq.write_table(table, tmp_path / "log.parquet")
    with pytest.raises(LogFormatError, match="row 2: column propensity: None is no number"):
        list(ParquetLog(tmp_path / "log.parquet"))


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=3), st.floats(-1e9, 1e9) | st.text(max_size=3), max_size=6
    )
)
def test_rows_of_one_shape_are_encoded_as_features_by_name_are(cells: dict[str, Any]) -> None:
    numbers = {name: value for name, value in cells.items() if isinstance(value, float)}
    categories = [(name, value) for name, value in cells.items() if isinstance(value, str)]
    for sign in (1.0, -0.5):  # the second time the shape is known
        values = [sign * value for value in numbers.values()]
        found = encode(tuple(numbers), values, tuple(categories))
        named = Named()
        for name, value in zip(numbers, values, strict=True):
            named.number("", name, value)
        for name, text in categories:
            named.category("", name, text)
        expected = named.encode()
        for column in ("index", "value", "namespace", "numeric"):
            assert np.array_equal(getattr(found, column), getattr(expected, column)), column


def test_a_number_too_great_is_refused_whether_or_not_its_shape_is_known() -> None:
    encode(("x",), [1.0], ())
    for number in (float("nan"), float("inf"), 1e10):
        with pytest.raises(ValueError, match="must be finite and at most"):
            encode(("x",), [number], ())


def test_of_very_many_columns_a_message_names_the_first(tmp_path: Path) -> None:
    (tmp_path / "wide.csv").write_text(",".join(f"f{i}" for i in range(300)) + "\n")
    with pytest.raises(LogFormatError, match=r"it has f0, .*, f19 and 280 more\. Say which"):
        list(CsvLog(tmp_path / "wide.csv"))


def test_an_underscore_is_no_part_of_a_number(tmp_path: Path) -> None:
    """Python's float() would take 1_2 for 12."""
    text = "code,action,propensity,reward\n1_2,a,0.5,1\n12,b,0.5,0\n"
    first, second = (e for e in write(tmp_path / "log.csv", text) if isinstance(e, Decided))
    assert first.context.index.tolist() != second.context.index.tolist()
    with pytest.raises(LogFormatError, match="column reward: '1_0' is no number"):
        list(write(tmp_path / "log.csv", text.replace("0.5,1\n", "0.5,1_0\n")))


def test_cells_of_parquet_that_are_no_plain_numbers(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    columns = {
        "price": [Decimal("1.50"), Decimal("2.25")],
        "action": ["a", "b"],
        "propensity": [0.5, 0.5],
        "reward": [True, False],
    }
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    events = list(ParquetLog(tmp_path / "log.parquet"))
    assert [e.context.value.tolist() for e in events if isinstance(e, Decided)] == [[1.5], [2.25]]
    assert [e.reward for e in events if isinstance(e, Matured)] == [1.0, 0.0]
    pq.write_table(pa.table({**columns, "propensity": [True, True]}), tmp_path / "log.parquet")
    with pytest.raises(LogFormatError, match="row 1: column propensity: True is no number"):
        list(ParquetLog(tmp_path / "log.parquet"))
    pq.write_table(pa.table({**columns, "price": [[1.0], [2.0]]}), tmp_path / "log.parquet")
    with pytest.raises(LogFormatError, match="row 1: column price holds lists"):
        list(ParquetLog(tmp_path / "log.parquet"))


def test_a_table_whose_first_column_is_named_pk_is_a_table(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("PK,action,propensity,reward\n1,a,0.5,1\n")
    assert isinstance(open_log(str(path)), CsvLog)


def test_a_propensity_with_which_nothing_is_drawn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogFormatError, match=r"line 6: .*1e-300: what is so improbable"):
        list(write(tmp_path / "log.csv", TEXT + "1,NL,a,1e-300,1\n"))
