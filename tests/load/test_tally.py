"""Counts travel between processes without loss, and the page says what they are."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rankd.load.requests import rank_requests, reward_request
from rankd.load.run import Progress
from rankd.load.show import as_json, page
from rankd.load.tally import Tally, merged
from rankd.v1 import decisions_pb2 as api
from tests.load.test_plan import PLAN

CALLS = st.lists(
    st.tuples(st.integers(0, 10**7), st.sampled_from(["", "UNAVAILABLE", "RESOURCE_EXHAUSTED"]))
)


def tally(calls: list[tuple[int, str]]) -> Tally:
    found = Tally()
    for us, code in calls:
        if code:
            found.failed("Rank", code, "why")
        else:
            found.rank.record(us)
    return found


def shown(progress: Progress, rate: float = 7.0) -> str:
    out = StringIO()
    Console(file=out, width=200).print(page(replace(PLAN, rate=rate), progress, 1))
    return out.getvalue()


@given(st.lists(CALLS))
def test_processes_add_up(parts: list[list[tuple[int, str]]]) -> None:
    sent = [json.loads(json.dumps(tally(part).to_json())) for part in parts]
    together = merged(Tally.from_json(each) for each in sent)
    assert together == tally([call for part in parts for call in part])


def test_the_page_names_errors_by_their_code() -> None:
    found = tally([(2_000, "")] * 3 + [(0, "UNAVAILABLE")] * 2)
    text = shown(Progress(found, started=1.0, ended=4.0))
    assert "2 x Rank UNAVAILABLE: why" in text
    assert ["Rank", "3", "1", *["2.00"] * 5] in [line.split() for line in text.splitlines()]
    assert found.rank_errors == 2


def test_a_generator_that_is_late_says_so() -> None:
    found = Tally()
    found.late.record(80_000)
    assert "80.0 ms late" in shown(Progress(found, 1.0, 2.0))
    assert "late" not in shown(Progress(Tally(), 1.0, 2.0))


def test_the_json_of_a_load_without_answers() -> None:
    found = as_json(PLAN, Progress(tally([(0, "UNAVAILABLE")]), 1.0, 2.0), 1)
    assert found["errors"] == {"Rank UNAVAILABLE": 1}
    assert found["rank"]["answered"] == found["rank"]["p99_ms"] == 0
    assert found["reward"] is None


def test_every_request_is_a_whole_one_with_an_event_of_its_own() -> None:
    requests = rank_requests("shop", actions=3, features=2, seed=0)
    asked = [api.RankRequest.FromString(next(requests)) for _ in range(200)]
    assert len({request.event_id for request in asked}) == 200
    assert len({request.SerializeToString() for request in asked}) == 200
    for request in asked:
        assert (request.app, list(request.action_ids)) == ("shop", ["load-0", "load-1", "load-2"])
        assert len(request.action_features[0].vector_data) == 4 * 3 * 2
    plain = api.RankRequest.FromString(next(rank_requests("shop", 1, 0, 0)))
    assert not plain.action_features


def test_a_reward_is_for_the_decision_that_was_answered() -> None:
    reply = api.RankReply(event_id="e", decision_id="n:7").SerializeToString()
    reward = api.RewardRequest.FromString(reward_request("shop", reply, 0.5))
    assert (reward.app, reward.event_id, reward.decision_id) == ("shop", "e", "n:7")
    assert (reward.value, reward.reward_id) == (0.5, "e-reward")
