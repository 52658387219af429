"""What is said of several policies on one log, and what is not said because it would not hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from simulator import ArraysLog, Opened, compare, live, tune
from simulator.experiments import StoreError
from simulator.life import estimate, versus
from simulator.logs.rankd_log import RankdLog
from simulator.logs.served import ServedLog
from simulator.met import RangeError
from simulator.served import AsServed
from simulator.trained_as_served import TrainedAsServed
from tests.exports.memory_log import MemoryLog, settings
from tests.simulator.test_replay import Listed
from tests.simulator.test_slate_replay import slate

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from simulator.targets import Target

N = 600
MOSTLY_THE_FIRST = np.tile([0.998, 0.002], (N, 1))


def arrays(seed: int, rows: int = N, **changes: Any) -> dict[str, NDArray[Any]]:
    """A uniform log of two actions, of which the one with the context's sign pays more often."""
    rng = np.random.default_rng(seed)
    x, action = rng.standard_normal((rows, 1)), rng.integers(2, size=rows)
    reward = (rng.random(rows) < 0.3 + 0.4 * (action == (x[:, 0] > 0))).astype(float)
    pi_b = np.full((rows, 2), 0.5)
    return {"context": x, "action": action, "reward": reward, "pi_b": pi_b, **changes}


def rarely() -> ArraysLog:
    """The same rewards, from a log that tells next to nothing of its second action."""
    return ArraysLog(arrays(1, action=np.arange(N) % 100 // 99, pi_b=MOSTLY_THE_FIRST))


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_compared_with_a_refused_policy(force: bool) -> None:
    found = compare(
        rarely(), ["uniform", "epsilon_greedy:epsilon=0"], min_exploration=0.0, force=force
    )
    first, second = found.results
    assert first.evaluation.reason
    versus = second.vs_first
    assert versus is not None
    assert not versus.identifiable
    assert versus.reason
    assert (versus.value is None) is not force


def test_every_policy_but_the_first_is_compared_with_it() -> None:
    found = compare(ArraysLog(arrays(1)), ["uniform", "linucb", "epsilon_greedy"])
    assert [result.vs_first is None for result in found.results] == [True, False, False]


def test_differences_say_that_they_are_for_one_look_where_estimates_are_not() -> None:
    found = compare(
        ArraysLog(arrays(1)),
        ["uniform", "linucb"],
        estimators=["ips"],
        reward_range=(0.0, 1.0),
        interval="confidence_sequence",
    )
    (_, told) = found.to_dict()["policies"]
    assert told["estimators"]["ips"]["interval"] == "confidence sequence"
    for name in ("vs_logged", "vs_first"):
        assert told[name]["interval"] == "Student t, for one look, not for peeking"
    assert "Student t, for one look, not for peeking" in found.html()
    assert "Differences have Student's t, for one look, not for peeking." in found.markdown()
    plainly = compare(ArraysLog(arrays(1)), ["uniform", "linucb"], reward_range=(0.0, 1.0))
    assert "peeking" not in plainly.html() + plainly.markdown()


def test_each_number_says_what_it_is_of() -> None:
    found = compare(
        ArraysLog(arrays(1)),
        ["uniform", "epsilon_greedy"],
        estimators=["dros", "dr", "dm"],
        estimand="frozen",
    )
    first, second = found.to_dict()["policies"]
    counts = {name: each["n"] for name, each in second["estimators"].items()}
    assert counts == {"dros": 0.7 * N, "dr": N, "dm": N}  # a setting is chosen on the others
    assert (first["vs_logged"]["estimator"], first["vs_logged"]["n"]) == ("dros", 0.7 * N)
    assert (second["vs_first"]["estimator"], second["vs_first"]["n"]) == ("dros", None)  # refused


def test_dm_has_a_value_and_no_interval() -> None:
    """Its scatter is its model's, and knows nothing of the model's error."""
    found = compare(ArraysLog(arrays(1)), ["uniform", "linucb"], estimators=["dm", "dr"])
    for result in found.results:
        dm, dr = result.evaluation.estimators["dm"], result.evaluation.estimators["dr"]
        assert dm.value is not None
        assert dm.low is None
        assert "model" in dm.reason
        assert dr.low is not None
        assert result.evaluation.vs_logged.low is None
    assert found.results[1].vs_first is not None
    assert found.results[1].vs_first.low is None


@pytest.mark.parametrize(
    ("known", "said"), [((0.0, 1.0), False), (None, True)], ids=["said", "met"]
)
def test_an_interval_that_rests_on_a_range_that_was_only_met_says_so(
    known: tuple[float, float] | None, said: bool
) -> None:
    found = compare(
        ArraysLog(arrays(1)),
        ["uniform"],
        estimand="frozen",
        estimators=["ips", "snips"],
        reward_range=known,
    )
    ips, snips = found.results[0].evaluation.estimators.values()
    assert ips.identifiable
    assert ("say the reward range" in ips.reason) is said
    assert not snips.reason  # Student's t asks for no range


FEW = "rewards differ from the others, too few for a Student interval"


def few(**changes: Any) -> ArraysLog:
    """10 rewards of 1, all others 0."""
    return ArraysLog(arrays(1, reward=(np.arange(N) % 60 == 7).astype(float), **changes))


def test_every_student_interval_of_few_rewards_says_so() -> None:
    found = compare(few(), ["linucb", "uniform"], estimators=["ips"], reward_range=(0.0, 1.0))
    first, second = found.results
    assert second.vs_first is not None
    lived = [live(few(), ["linucb"], seeds=seeds).policies[0] for seeds in (1, 2)]
    for each in (
        first.evaluation.estimators["ips"],
        first.evaluation.vs_logged,
        second.vs_first,
        *(estimate(each) for each in lived),
        *(versus(each, 0.05) for each in lived),
    ):
        assert each.low is not None
        assert each.identifiable
        assert each.reason == f"only 10 of 600 {FEW}"
    tuned = tune(Opened(few()), ["linucb:alpha=[0.1,1]"], estimator="ips").policies
    assert tuned[1].winner_minus is not None
    for one in (tuned[0].estimate, tuned[0].vs_logged, tuned[1].winner_minus):
        assert one["reason"] == f"only 4 of 240 {FEW}"  # of the later part
    usual = compare(ArraysLog(arrays(1)), ["linucb", "uniform"], estimators=["ips"]).results[1]
    assert usual.vs_first is not None
    assert not usual.vs_first.reason


def test_a_difference_that_is_not_to_be_believed_says_that_first() -> None:
    log = few(action=np.arange(N) % 100 // 99, pi_b=MOSTLY_THE_FIRST)
    found = compare(log, ["uniform", "epsilon_greedy"], estimators=["ips"], force=True)
    versus = found.results[1].vs_first
    assert versus is not None
    assert not versus.identifiable
    assert versus.reason.startswith("the first policy, uniform, is refused: ")
    assert versus.reason.endswith(f"; only 10 of 600 {FEW}")
    dm = compare(few(), ["uniform", "linucb"], estimators=["dm"]).results[1].vs_first
    assert dm is not None
    assert dm.low is None
    assert FEW not in dm.reason  # there is no interval to doubt


def test_slates_of_few_rewards_say_so_beside_student_s_interval_alone() -> None:
    """10 of 400 slates earn 1, in their second slot."""
    events = [
        event
        for i in range(400)
        for event in slate(str(i), [i % 4, (i + 1) % 4], [0.0, float(i % 40 == 7)])
    ]
    asked: dict[str, Any] = {
        "policies": ["uniform", "epsilon_greedy:epsilon=0.9"],
        "estimators": ["sips"],
        "estimand": "frozen",
        "reward_range": (0.0, 1.0),
    }
    for force in (False, True):
        first, second = compare(Listed(events), force=force, **asked).results
        assert second.vs_first is not None
        sips = first.evaluation.estimators["sips"]
        for each in (sips, first.evaluation.vs_logged, second.vs_first):
            assert each.low is not None
            assert each.identifiable
            assert each.reason == f"only 10 of 400 {FEW}"
    drawn = compare(Listed(events), interval="bootstrap", **asked).results[0].evaluation
    assert not drawn.estimators["sips"].reason
    assert drawn.vs_logged.reason == f"only 10 of 400 {FEW}"  # which has Student's all the same


@pytest.mark.parametrize(
    ("own", "given", "said"),
    [(None, None, True), (None, (0.0, 1.0), False), ((0.0, 1.0), None, False)],
    ids=["met", "said", "of the log"],
)
def test_candidates_say_so_too(
    own: tuple[float, float] | None, given: tuple[float, float] | None, said: bool
) -> None:
    log = Opened(ArraysLog(arrays(1), own))
    found = tune(log, ["uniform"], estimator="ips", estimand="frozen", reward_range=given)
    for each in (found.candidates[0].estimate, found.policies[0].estimate):
        assert each["interval"].startswith("empirical likelihood")
        assert ("say the reward range" in each["reason"]) is said


def test_results_of_a_range_that_was_only_met_are_not_those_of_one_that_was_said(
    tmp_path: Path,
) -> None:
    """The range is the same, what is said of it is not."""
    log = Opened(ArraysLog(arrays(1)))
    asked: dict[str, Any] = {"estimator": "ips", "estimand": "frozen", "folder": tmp_path}
    tune(log, ["uniform"], **asked)
    with pytest.raises(StoreError, match=r"question\.range_met"):
        tune(log, ["uniform"], reward_range=(0.0, 1.0), **asked)


def test_rewards_after_the_cut_do_not_change_what_is_chosen() -> None:
    """mf clips rewards to their range, so it would see a late outlier in its range."""
    last = arrays(1)["reward"].copy()
    last[-1] = 100.0
    usual, outlier = (
        tune(Opened(ArraysLog(given)), ["mf", "uniform"], estimator="ips").candidates
        for given in (arrays(1), arrays(1, reward=last))
    )
    assert [each.estimate for each in usual] == [each.estimate for each in outlier]


def test_the_same_from_python_as_from_the_command() -> None:
    found = live(ArraysLog(arrays(1)), ["linucb"], seeds=2, reward_range=(0.0, 1.0)).to_dict()
    (row,) = found["policies"]
    assert row["estimand"] == "online"
    assert row["lives"] == 2
    assert row["estimators"]["rejection"]["low"] < row["estimators"]["rejection"]["value"]


def test_a_range_that_rewards_contradict_is_refused_wherever_it_can_be_said() -> None:
    log, said = ArraysLog(arrays(1)), (0.0, 0.5)
    match = "^rewards from 0 to 1 are in the log, outside 0 to 0.5: say a range that holds them$"
    with pytest.raises(RangeError, match=match):
        compare(log, ["uniform"], reward_range=said)
    with pytest.raises(RangeError, match=match):
        tune(Opened(log), ["linucb:alpha=[0.1,1]"], reward_range=said)
    with pytest.raises(RangeError, match=match):
        live(log, ["uniform"], seeds=1, reward_range=said)
    with pytest.raises(RangeError, match=match):
        compare(RankdLog(slates(10)), ["uniform"], estimators=["sips"], reward_range=said)


def test_the_range_of_slates_is_that_of_a_slot_that_is_there() -> None:
    """Rewards 1 and 2, or 1 alone: sums of 1 and 3, and the second slot's place is filled up with 0."""
    events = []
    for i in range(120):
        events += slate(str(i), [0, 1], [1.0, 2.0]) if i % 2 else slate(str(i), [1], [1.0])
    asked: dict[str, Any] = {"policies": ["uniform"], "estimators": ["sips"]}
    found = compare(Listed(events), reward_range=(1.0, 2.0), **asked)
    assert found.reward_range == (1.0, 4.0)
    with pytest.raises(RangeError, match=r"^rewards from 1 to 2 .*, outside 0 to 1\.5"):
        compare(Listed(events), reward_range=(0.0, 1.5), **asked)


def slates(count: int = 400) -> MemoryLog:
    """Decisions of two slots by a uniform policy, whose second action pays."""
    log = MemoryLog(settings("shop", policy={"type": "uniform"}, min_exploration=1.0))
    for i in range(count):
        made = log.rank(f"e{i}", slot_ids=["top", "side"])
        for slot, k in zip(("top", "side"), made.ranking, strict=False):
            log.reward(f"e{i}", float(made.action_ids[k] == "b"), slot)
        log.tick()
    log.tick(20)
    return log


def test_whole_slates_are_compared_too() -> None:
    found = compare(RankdLog(slates()), ["uniform", "linucb"], estimators=["sips", "rips"])
    uniform, linucb = (result.evaluation for result in found.results)
    assert found.reward_range == (-2.0, 2.0)
    assert found.found.matured == 400
    assert list(uniform.estimators) == ["sips", "rips"]
    assert uniform.vs_logged.value == pytest.approx(0.0, abs=1e-9)
    assert linucb.estimators["rips"].value is not None
    assert [row["policy"] for row in found.to_dict()["policies"]] == ["uniform", "linucb"]
    assert "sips" in found.markdown()


def test_what_ran_is_compared_with_what_could_have_run_in_its_place() -> None:
    log = ServedLog(slates(150))
    policies: list[str | Target] = [AsServed(), TrainedAsServed("linucb", {"type": "linucb"}, log)]
    ran, other = compare(log, policies, estimators=["ips"]).results
    assert ran.evaluation.estimators["ips"].value == pytest.approx(1 / 3, abs=0.1)
    assert other.vs_first is not None


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"estimand": "online"}, "simulator.live"),
        ({"estimand": "as_served"}, "TrainedAsServed"),
        ({"estimand": "lucky"}, "known are trained_on_log, frozen"),
        ({"estimators": ["sips", "ips"]}, "one kind at a time"),
        ({"estimators": ["sips"], "cross_fit": 3}, "learns on the way"),
        ({"estimators": ["sips"], "interval": "martingale"}, "normal and bootstrap"),
        ({"estimators": ["luck"]}, "known are ips, .*sips"),
        ({"policies": ["linucb:alpah=1"]}, "^policy linucb:alpah=1: "),
    ],
    ids=str,
)
def test_what_cannot_be_compared_is_refused_with_what_can(
    asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare(ArraysLog(arrays(1)), **{"policies": ["uniform"], **asked})
