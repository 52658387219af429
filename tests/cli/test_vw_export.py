"""A server's log as dsjson: VW's own progressive loss on the file is what `rankd replay` says of the same policy."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from vowpalwabbit import Workspace

from tests.cli.conftest import ROUNDS, rankd
from tests.cli.test_validate import checks, failing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def dsjson(folder: Path) -> Path:
    path = folder.with_name("log.dsjson")
    written = rankd("log", "export", folder, "--format", "dsjson", "-o", path)
    assert written.code == 0, written.err
    return path


@pytest.mark.parametrize(
    "args",
    [
        "--cb_explore_adf --epsilon 0.2",
        "--cb_explore_adf --epsilon 0.2 -q ui",
        "--cb_explore_adf --squarecb --gamma_scale 100 -q ::",
        "--cb_explore_adf --cb_type mtr --softmax --lambda 2 -l 0.1 --power_t 0",
    ],
)
def test_replay_says_what_vw_says(dsjson: Path, args: str) -> None:
    vw = Workspace(f"{args} --dsjson --quiet --no_stdin -d {dsjson}")
    loss, count = vw.get_sum_loss(), vw.get_weighted_examples()
    vw.finish()
    assert count == ROUNDS
    assert loss < 0
    ran = rankd(
        "replay", dsjson, "--policy", f"vw:{args}", "--estimator", "ips", "--json", "--force"
    )
    assert ran.code == 0, ran.err
    said = json.loads(ran.out.splitlines()[-1])["policies"][0]
    assert (said["n"], said["estimand"]) == (ROUNDS, "trained_on_log")
    # VW keeps costs and probabilities in float32, and adds up in it.
    assert said["estimators"]["ips"]["value"] == pytest.approx(-loss / count, rel=2e-6)


def test_a_servers_log_is_sound_in_every_format(folder: Path, tmp_path: Path) -> None:
    for form in ("dsjson", "parquet", "jsonl"):
        path = tmp_path / f"log.{form}"
        assert rankd("log", "export", folder, "--format", form, "-o", path).code == 0
        found = checks(path)
        assert not failing(found), found
        overlap = found["shop overlap" if form == "jsonl" else "overlap"]
        assert "exploration is 37" in overlap  # 30%, and more before the first rewards
        assert "too few yet" in overlap
