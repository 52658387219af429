"""dsjson: every special line, slots, and the logs of VW's own tests, with VW as the judge."""

from __future__ import annotations

import gzip
import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import Interaction
from simulator.logs import Decided, DsjsonLog, LogFormatError, Matured, Skipped

SHARED = Path(__file__).parents[3] / "shared" / "data" / "vw"
needs_shared = pytest.mark.skipif(
    not SHARED.is_dir(), reason="the reference data ../shared/data/vw is not here"
)

CB: dict[str, Any] = {
    "_label_cost": -1,
    "_label_probability": 0.7,
    "_label_Action": 2,
    "_labelIndex": 1,
    "EventId": "e1",
    "a": [2, 3, 1],
    "p": [0.7, 0.2, 0.1],
    "c": {
        "_synthetic": False,
        "user": {"age": 31, "country": "NL", "_ip": "::1"},
        "_multi": [{"i": {"id": "x"}}, {"_tag": "y", "price": 2.5}, {"price": 3}],
    },
}
CCB: dict[str, Any] = {
    "EventId": "e2",
    "c": {
        "user": {"age": 31},
        "_multi": [{"_tag": name} for name in "wxyz"],
        "_slots": [{"_id": "s1", "size": "big"}, {"_id": "s2"}, {"_id": "s3", "_inc": [0, 2]}],
    },
    "_outcomes": [
        {"_id": "s1", "_label_cost": 0, "_a": [1, 0, 2, 3], "_p": [0.7, 0.1, 0.1, 0.1], "_o": []},
        {"_id": "s2", "_label_cost": -1, "_a": [3, 0, 2], "_p": [0.8, 0.15, 0.05]},
        {"_id": "s3", "_a": 0, "_p": 0.5},
    ],
}


def write(path: Path, *lines: object) -> DsjsonLog:
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))
    return DsjsonLog(path)


def changed(**values: object) -> dict[str, Any]:
    return {key: value for key, value in (CB | values).items() if value is not ...}


def only(log: DsjsonLog) -> Decided:
    first = next(iter(log))
    assert isinstance(first, Decided)
    return first


def test_a_decision_and_its_reward(tmp_path: Path) -> None:
    log = write(tmp_path / "log", CB)
    decided, matured = log
    assert isinstance(decided, Decided)
    assert isinstance(matured, Matured)
    assert matured.decision is decided
    assert matured.reward == 1.0
    assert decided.key == "e1"
    assert decided.actions.ids == ("x", "y", "3")
    assert decided.chosen == 1
    assert decided.pmf is not None
    assert decided.pmf.tolist() == [0.1, 0.7, 0.2]  # in the order of the actions, not of `a`
    assert decided.propensity == 0.7
    assert decided.weight == 1.0
    assert decided.raw == CB
    assert len(decided.context) == 2
    assert [len(decided.actions.of(k)) for k in range(3)] == [0, 1, 1]  # ids are no features
    assert not log.counters
    assert isinstance(decided.interaction(1.0), Interaction)
    assert [type(event) for event in log] == [Decided, Matured]  # a second pass


def test_what_is_counted_and_passed_over(tmp_path: Path) -> None:
    log = write(
        tmp_path / "log",
        '[checkpoint] {"a": 1}',
        changed(_skipLearn=True),
        {"RewardValue": 1.0, "EventId": "e9", "Observations": []},
        "",
        changed(_label_cost=..., _label_Action=..., _labelIndex=..., _label_probability=...),
        changed(_skipLearn=False),
    )
    events = list(log)
    assert [type(event) for event in events] == [Decided, Decided, Matured]
    assert log.counters == {
        Skipped.NOT_AN_OBJECT: 1,
        Skipped.SKIP_LEARN: 1,
        Skipped.DANGLING: 1,
        Skipped.UNLABELLED: 1,
    }
    unlabelled = events[0]
    assert isinstance(unlabelled, Decided)
    assert (unlabelled.chosen, unlabelled.propensity) == (1, 0.7)  # from a and p
    assert list(log) is not None
    assert log.counters[Skipped.DANGLING] == 1  # counted anew, not added up


def test_an_object_about_no_decision_is_a_checkpoint(tmp_path: Path) -> None:
    checkpoint = {"_checkpoint": True, "Timestamp": "2020-01-01T00:00:00Z"}
    log = write(tmp_path / "log", checkpoint, CB, checkpoint)
    assert [type(event) for event in log] == [Decided, Matured]
    assert log.counters == {Skipped.NOT_AN_OBJECT: 2}
    nothing = write(tmp_path / "other.json", changed(_skipLearn=True), checkpoint)
    assert not list(nothing)


def test_a_file_of_other_objects_is_no_dsjson(tmp_path: Path) -> None:
    log = write(tmp_path / "log.json", "", {"user": 1}, {"user": 2})
    with pytest.raises(LogFormatError, match=r"log\.json, line 2: neither a decision"):
        list(log)


def test_dropped_lines_give_weight_to_those_that_are_left(tmp_path: Path) -> None:
    assert only(write(tmp_path / "log", changed(pdrop=0.75))).weight == 4.0


def test_either_of_the_two_labels_is_enough(tmp_path: Path) -> None:
    for missing in ("_label_Action", "_labelIndex"):
        assert only(write(tmp_path / "log", changed(**{missing: ...}))).chosen == 1


def test_without_p_there_is_no_pmf(tmp_path: Path) -> None:
    decided = only(write(tmp_path / "log", changed(p=...)))
    assert decided.pmf is None
    assert decided.propensity == 0.7
    learned = decided.interaction(1.0)
    assert learned.propensity == 0.7
    assert np.isnan(learned.pmf[0])


def test_the_reward_of_no_cost_has_no_sign(tmp_path: Path) -> None:
    _, matured = write(tmp_path / "log", changed(_label_cost=0.0))
    assert isinstance(matured, Matured)
    assert str(matured.reward) == "0.0"


def test_names_decide_what_a_feature_is_and_not_their_order(tmp_path: Path) -> None:
    c = CB["c"]
    user = {"country": "NL", "age": 31}
    one = only(write(tmp_path / "a", CB)).context
    two = only(write(tmp_path / "b", changed(c=c | {"user": user}))).context
    split = [{"age": 30}, {"country": "NL", "age": 1}, {"country": "NL"}]
    three = only(write(tmp_path / "c", changed(c=c | {"user": split}))).context
    for other in (two, three):
        assert np.array_equal(one.index, other.index)
        assert np.array_equal(one.value, other.value)
    kinds = {"age": 31, "member": True, "geo": {"x": 1.5}, "emb": [0.5, 1, 2], "tags": ["a", "b"]}
    four = only(write(tmp_path / "d", changed(c=c | {"user": kinds | {"none": None}}))).context
    assert len(four) == 1 + 1 + 1 + 3 + 2
    assert int(four.numeric.sum()) == 2


def test_one_id_for_two_actions(tmp_path: Path) -> None:
    multi = [{"_tag": "x"}, {"_tag": "y"}, {"_tag": "x"}]
    assert only(write(tmp_path / "log", changed(c={"_multi": multi}))).actions.ids == (
        "x",
        "y",
        "x#3",
    )


def test_slots(tmp_path: Path) -> None:
    log = write(tmp_path / "log", CCB)
    events = list(log)
    decided = [event for event in events if isinstance(event, Decided)]
    assert [(d.key, d.slot) for d in decided] == [("e2", 0), ("e2", 1), ("e2", 2)]
    assert [d.actions.ids for d in decided] == [tuple("wxyz"), tuple("wyz"), tuple("wy")]
    assert [d.actions.ids[d.chosen] for d in decided] == ["x", "z", "w"]
    assert [None if d.pmf is None else d.pmf.tolist() for d in decided] == [
        [0.1, 0.7, 0.1, 0.1],
        [0.15, 0.05, 0.8],
        None,
    ]
    assert [d.propensity for d in decided] == [0.7, 0.8, 0.5]
    assert [len(d.context) for d in decided] == [2, 1, 1]
    assert [e.reward for e in events if isinstance(e, Matured)] == [0.0, 1.0]
    assert log.counters == {Skipped.UNLABELLED: 1}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"_label_probability": 0}, "_label_probability is 0.0: must be in"),
        ({"_label_probability": 1.5}, "must be in"),
        ({"_label_probability": "0.5"}, "must be a number"),
        ({"_label_cost": True}, "_label_cost is True: must be a number"),
        ({"_label_Action": 4}, "_label_Action is 4: must be from 1 to 3"),
        ({"_label_Action": 1}, "name two actions"),
        ({"a": [2, 2, 1]}, "each action once"),
        ({"a": [2, 0, 1]}, "a is 0: must be from 1 to 3"),
        ({"p": [0.7, 0.2, 0.3]}, "its sum 1.2"),
        ({"p": [0.7, 0.4, -0.1]}, "least entry is -0.1"),
        ({"p": [0.7]}, "3 actions, 1 probabilities"),
        ({"pdrop": 1.0}, "pdrop is 1.0"),
        ({"c": {"_multi": []}}, "at least one action"),
        ({"c": {}}, "neither a decision"),
        ({"c": {"age": 1e300, "_multi": [{}, {}, {}]}}, "at most 1e"),
        ({"c": {"_multi": [{"_slot_id": 0}]}}, "a slate"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    log = write(tmp_path / "log.json", CB, changed(**values))
    with pytest.raises(LogFormatError, match=rf"log\.json, line 2: .*{message}"):
        list(log)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"_label_cost": NaN}',
        '{"EventId": "e"}',
        '{"a":' * 100_000,
        json.dumps(CB).replace("-1", "1e999"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(text: str, tmp_path: Path) -> None:
    with pytest.raises(LogFormatError, match=r"log\.json, line 2: "):
        list(write(tmp_path / "log.json", CB, text))


def test_a_line_cut_in_the_middle_of_a_file_is_refused_with_what_to_do(tmp_path: Path) -> None:
    log = write(tmp_path / "log.json", CB, json.dumps(CB)[:40], CB)
    with pytest.raises(LogFormatError, match=r"line 2: no JSON object from column .* leave it out"):
        list(log)


@pytest.mark.parametrize(
    ("slot", "outcome", "message"),
    [
        (0, {"_a": [1, 0], "_p": [0.7, 0.1]}, "sum"),
        (0, {"_a": [], "_p": []}, "at least one"),
        (1, {"_a": [1, 0], "_p": [0.5, 0.5]}, r"_outcomes\[1\]: _a is \[1, 0\]; left were"),
        (1, {"_a": 7, "_p": 0.5}, "left were"),
        (1, {"_a": 0, "_p": 0}, "_p is 0.0"),
    ],
)
def test_a_bad_slot_is_refused(
    slot: int, outcome: dict[str, Any], message: str, tmp_path: Path
) -> None:
    outcomes = list(CCB["_outcomes"])
    outcomes[slot] = outcomes[slot] | outcome
    with pytest.raises(LogFormatError, match=f"line 1: .*{message}"):
        list(write(tmp_path / "log", CCB | {"_outcomes": outcomes}))
    with pytest.raises(LogFormatError, match="two lists of one length"):
        list(write(tmp_path / "log", CCB | {"_outcomes": outcomes[:2]}))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 5)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "_a", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["", "_multi", "_id", "_a", "_p", "id", "i"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(st.data())
@settings(deadline=None)
def test_whatever_a_line_says_it_is_read_or_refused(data: st.DataObject) -> None:
    whole: dict[str, Any] = json.loads(json.dumps(data.draw(st.sampled_from([CB, CCB]))))
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = whole
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], (dict, list)) or data.draw(st.booleans()):
                place[key] = data.draw(JSON)
                break
            place = place[key]
    with tempfile.TemporaryDirectory() as folder:
        log = write(Path(folder) / "log", whole)
        refused = ""
        try:
            assert all(isinstance(event, (Decided, Matured)) for event in log)
        except LogFormatError as error:
            refused = str(error)
        assert not refused or "log, line 1: " in refused


def test_bytes_that_are_no_text_and_a_packed_file_that_was_cut(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(json.dumps(CB).encode() + b'\n{"\xff"}\n')
    with pytest.raises(LogFormatError, match="line 2: not UTF-8"):
        list(DsjsonLog(tmp_path / "log"))
    packed = gzip.compress((json.dumps(CB) + "\n").encode() * 50)
    (tmp_path / "log.gz").write_bytes(packed)
    assert len(list(DsjsonLog(tmp_path / "log.gz"))) == 100
    (tmp_path / "log.gz").write_bytes(packed[:-12])
    with pytest.raises(LogFormatError, match="cut short"):
        list(DsjsonLog(tmp_path / "log.gz"))


def test_no_more_than_a_line_is_in_memory(tmp_path: Path) -> None:
    log = write(tmp_path / "log", *[changed(_pad="x" * 20_000) for _ in range(300)])
    tracemalloc.start()
    try:
        count = sum(1 for _ in log)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 600
    assert (tmp_path / "log").stat().st_size > 6_000_000
    assert peak < 1_000_000


@needs_shared
@pytest.mark.parametrize(("name", "count"), [("decisionservice.json", 3), ("dsjson_cb.json", 23)])
def test_vw_finds_the_same_loss_in_its_own_logs(name: str, count: int) -> None:
    from vowpalwabbit import Workspace

    log = DsjsonLog(SHARED / name)
    events = [event for event in log if isinstance(event, Matured)]
    assert len(events) == count
    assert not log.counters
    for event in events:
        d = event.decision
        assert d.pmf is not None
        assert d.pmf[d.chosen] == pytest.approx(d.propensity, rel=1e-6)
    # The policy that is valued plays every action with the same probability.
    by_hand = [-e.reward / len(e.decision.actions) / e.decision.propensity for e in events]
    vw = Workspace(f"--dsjson --cb_explore_adf --epsilon 1.0 --quiet --no_stdin -d {SHARED / name}")
    examples, loss = vw.get_weighted_examples(), vw.get_sum_loss()
    vw.finish()
    assert examples == count
    assert loss == pytest.approx(sum(by_hand), rel=1e-5)


def test_blanks_before_a_line_do_not_matter(tmp_path: Path) -> None:
    text = json.dumps(CB)
    path = tmp_path / "log.json"
    path.write_text(f"{text}\n {text}\n\t{text}\n")
    log = DsjsonLog(path)
    assert len([event for event in log if isinstance(event, Matured)]) == 3
    assert not log.counters
