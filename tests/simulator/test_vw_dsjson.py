"""VW itself is the judge: its progressive loss on a dsjson file is the replay's IPS, but for its sign."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from vowpalwabbit import Workspace

from policies import PolicyError
from simulator.estimators import IPS
from simulator.logs import open_log
from simulator.replay import replay
from simulator.vw_dsjson import VwDsjson

SHARED = Path(__file__).parents[3] / "shared" / "data" / "vw"
ARGS = "--cb_explore_adf --epsilon 0.2 --quadratic GT"


def value(path: Path, args: str) -> tuple[int, float]:
    sample = replay(open_log(path), [VwDsjson("vw", args)]).replayed[0].sample
    return len(sample), IPS().value(sample)


def written(path: Path, rows: int) -> Path:
    """A dsjson log of a uniform policy over three actions; the second is best where x is high."""
    rng = np.random.default_rng(4)
    with path.open("w") as file:
        for i in range(rows):
            x, a = float(rng.random()), int(rng.integers(3))
            cost = -float(rng.random() < (0.2 + 0.7 * x * (a == 1)))
            line = {
                "_label_cost": cost,
                "_label_probability": 1 / 3,
                "_label_Action": a + 1,
                "_labelIndex": a,
                "EventId": f"e{i}",
                "a": [1, 2, 3],
                "c": {"GUser": {"x": x}, "_multi": [{"TAction": {"id": str(k)}} for k in range(3)]},
                "p": [1 / 3, 1 / 3, 1 / 3],
                "VWState": {"m": "none"},
            }
            file.write(json.dumps(line) + "\n")
    return path


def own_loss(path: Path, args: str) -> tuple[float, float]:
    """(sum of the losses, of the weights) as VW says them, which reads the file as its command would."""
    vw = Workspace(f"{args} --dsjson --quiet -d {path}")
    total, weights = vw.get_sum_loss(), vw.get_weighted_examples()
    vw.finish()
    return total, weights


@pytest.mark.parametrize("args", [ARGS, "--cb_explore_adf --squarecb -q GT", "--epsilon 0.1"])
def test_it_is_vws_own_progressive_loss(tmp_path: Path, args: str) -> None:
    path = written(tmp_path / "log.json", 200)
    own = args if "--cb_explore_adf" in args else f"--cb_explore_adf {args}"
    total, count = own_loss(path, own)
    assert count == 200
    rows, reward = value(path, args)
    assert rows == 200
    assert reward == pytest.approx(-total / count, abs=1e-5)


def test_a_log_that_was_thinned_at_one_rate(tmp_path: Path) -> None:
    """VW weighs each row by 1 / (1 - pdrop), in learning and in its loss; one weight for all leaves the mean as it is."""
    path = written(tmp_path / "log.json", 200)
    lines = [json.loads(line) | {"pdrop": 0.75} for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    total, weights = own_loss(path, ARGS)
    assert weights == 800
    rows, reward = value(path, ARGS)
    assert rows == 200
    assert reward == pytest.approx(-total / weights, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "rows", "loss"),
    [("decisionservice.json", 3, -0.040816), ("dsjson_cb.json", 23, -0.204604)],
)
def test_the_reference_logs(name: str, rows: int, loss: float) -> None:
    if not SHARED.exists():
        pytest.skip("the reference logs are not beside this checkout")
    found, reward = value(SHARED / name, ARGS)
    assert found == rows
    assert reward == pytest.approx(-loss, abs=1e-6)


def test_what_vw_refuses_is_refused() -> None:
    with pytest.raises(PolicyError, match="VW refuses"):
        VwDsjson("vw", "--cb_explore_adf --no_such_option")
    with pytest.raises(PolicyError, match="slots"):
        VwDsjson("vw", "--ccb_explore_adf")
