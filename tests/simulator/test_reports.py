"""Reports of a replay: the numbers behind curves by hand, and pages that are well formed whatever a policy is called."""

from __future__ import annotations

import builtins
import struct
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from simulator.evaluation import difference, evaluate, logged
from simulator.reports import PolicyInput, ReportInput, curves, html, markdown, png
from simulator.reports.table import COLUMNS
from simulator.sample import Sample
from simulator.targets import FROZEN, TRAINED_ON_LOG

if TYPE_CHECKING:
    from pathlib import Path

EVIL = '<script>alert("1")</script> & | *b* $x$'
VOID = {"meta", "link", "br", "hr", "img", "input"}
ROWS = 600


def sample(share: float, *, unsupported: float = 0.0, model: bool = True) -> Sample:
    """Two actions, a uniform log, and a policy that takes the better one with probability `share`."""
    draw = np.random.default_rng(1)
    good = draw.random(ROWS) < 0.5
    reward = (draw.random(ROWS) < np.where(good, 0.7, 0.3)).astype(float)
    pi = np.where(good, share, 1 - share)
    columns: dict[str, Any] = {
        "unsupported": np.full(ROWS, unsupported),
        "expected_square": np.full(ROWS, 2 * (share**2 + (1 - share) ** 2)),
        "w_max": np.full(ROWS, 2 * max(share, 1 - share)),
        "w_min": np.full(ROWS, 2 * min(share, 1 - share)),
    }
    if model:
        columns["q_logged"] = np.where(good, 0.6, 0.4)
        columns["q_pi"] = np.full(ROWS, 0.6 * share + 0.4 * (1 - share))
    return Sample.of(reward, np.full(ROWS, 0.5), pi, **columns)


def policy(name: str, estimand: str, rows: Sample, first: Sample | None = None, *, force: bool = False) -> PolicyInput:  # fmt: skip
    found = evaluate(rows, 2, estimand, ["ips", "dr"], (0.0, 1.0), force=force)
    versus = None if first is None else difference(rows, first, "ips")
    return PolicyInput(name, estimand, rows, found, versus)


def report(*policies: PolicyInput) -> ReportInput:
    return ReportInput("log.jsonl", logged(policies[0].sample), policies, (0.0, 1.0), ROWS + 5)


@pytest.fixture(scope="module")
def three() -> ReportInput:
    """One that learnt, a frozen one with a hostile name, and one that is refused."""
    learnt = sample(0.8)
    return report(
        policy("learnt", TRAINED_ON_LOG, learnt),
        policy(EVIL, FROZEN, sample(0.9), learnt),
        policy("blind", FROZEN, sample(0.5, unsupported=0.25)),
    )


@pytest.fixture(scope="module")
def page(three: ReportInput) -> str:
    return html(three)


class Checked(HTMLParser):
    """Fails on a tag that is closed and was not open; collects tags, ids, references and texts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.named: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.named += (found.get("aria-labelledby") or "").split()
        if tag == "svg":
            self.images.append(found)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def test_curves_by_hand() -> None:
    rows = np.array([1.0, 0.0, 2.0, 1.0])
    curve = curves.running_mean(rows, 0.05)
    assert curve.x.tolist() == [1, 2, 3, 4]
    assert curve.y.tolist() == pytest.approx([1, 0.5, 1, 1])
    assert np.isnan(curve.low[0])
    # Standard errors: of (1, 0) 1/2; of (1, 0, 2) 1/sqrt(3); of all four sqrt(2/3)/2.
    errors = np.array([1 / 2, 1 / 3**0.5, (2 / 3) ** 0.5 / 2])
    assert (curve.high - curve.y)[1:].tolist() == pytest.approx((1.959964 * errors).tolist())
    assert (curve.y - curve.low)[1:].tolist() == pytest.approx((1.959964 * errors).tolist())


def test_histogram_by_hand() -> None:
    found = curves.histogram(np.array([0.0, 1.0, 10.0, 100.0]), bins=2)
    assert found.edges.tolist() == pytest.approx([1, 10, 100])
    assert found.shares.tolist() == [0.25, 0.5]  # the last bin has both of its ends
    assert found.zero == 0.25
    one = curves.histogram(np.ones(4))
    assert one.shares.tolist() == [1.0]
    assert curves.histogram(np.zeros(4)).shares.tolist() == []


def test_clipping_by_hand() -> None:
    rows = Sample.of(reward=[1, 1, 0, 1], mu=[0.25, 0.5, 0.5, 1], pi=[1, 0.5, 0, 1])
    found = curves.clipping(rows, 0.05, clips=3)  # w: 4, 1, 0, 1
    assert found.clip.tolist() == [1, 2, 4]
    assert found.value.tolist() == [0.75, 1.0, 1.5]
    assert found.clipped.tolist() == [0.25, 0.25, 0]
    spread = np.array([np.std(r, ddof=1) for r in ([1, 1, 0, 1], [2, 1, 0, 1], [4, 1, 0, 1])])
    assert found.half_width.tolist() == pytest.approx((1.959964 * spread / 2).tolist())


def test_curves_have_few_points_and_both_ends() -> None:
    curve = curves.running_mean(np.arange(10_000.0), 0.05)
    assert len(curve.x) == 400
    assert (curve.x[0], curve.x[-1]) == (1, 10_000)
    assert curve.y[-1] == pytest.approx(4999.5)


def test_the_page_is_well_formed_and_needs_nothing_else(page: str) -> None:
    found = Checked(page)
    assert not found.open
    assert len(found.ids) == len(set(found.ids))
    assert set(found.named) <= set(found.ids)
    for outside in ("http:", "https:", "//", "src=", "url(h", "@import"):
        assert outside not in page.replace("img-src data:", "")
    assert "script" not in found.tags
    assert "link" not in found.tags


def test_figures_have_titles_and_texts(page: str) -> None:
    found = Checked(page)
    # Two forest plots; a learning curve and two of clipping for two policies; weights of three.
    assert len(found.images) == 2 + 2 * 3 + 3
    assert all(image["role"] == "img" for image in found.images)
    assert found.tags.count("title") == 1 + len(found.images)
    assert found.tags.count("desc") == len(found.images)


def test_names_are_escaped(page: str, three: ReportInput) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<script" not in markdown(three)
    assert "<script" not in html(report(policy('"><script>', FROZEN, sample(0.9))))


def test_what_learnt_from_the_log_is_not_called_what_it_would_earn(page: str) -> None:
    lines = [line for line in page.splitlines() if line.startswith("<li")]
    assert "trained on the log as it went" in lines[0]
    assert "not what it would earn live" in lines[0]
    assert "would have earned" not in lines[0]
    assert "would have earned" in lines[1]


def test_refusals_are_named_and_not_drawn(page: str, three: ReportInput) -> None:
    reason = "25.00% of what the policy does is never done"
    lines = [line for line in page.splitlines() if line.startswith("<li")]
    assert "this log cannot tell" in lines[2]
    assert reason in lines[2]
    assert "refused: 25.00%" in page
    assert 'id="weights-3-title"' in page
    assert 'id="learning-3-title"' not in page
    assert 'id="clipping-3-title"' not in page
    assert reason in markdown(three)


def test_forced_numbers_are_marked() -> None:
    forced = report(policy("blind", FROZEN, sample(0.5, unsupported=0.25), force=True))
    assert 'class="hollow"' in html(forced)
    assert "Not to be believed" in html(forced)
    assert "(not to be believed)" in markdown(forced)


def test_one_estimator_can_be_refused_alone() -> None:
    found = report(policy("no model", FROZEN, sample(0.9, model=False)))
    page = html(found)
    assert "refused: dr needs q" in page
    assert ">DR<" not in page  # no curve of it
    assert "| refused | dr needs q" in markdown(found)


def test_wrong_propensities_are_shouted() -> None:
    right = sample(0.9)
    wrong = Sample.of(
        right.reward, right.mu / 2, right.pi, unsupported=right.unsupported, expected_square=right.expected_square
    )  # fmt: skip
    assert "Beware: the mean weight is off" in html(report(policy("p", FROZEN, wrong)))
    assert "Beware" not in html(report(policy("p", FROZEN, right)))


def test_the_markdown_table(three: ReportInput) -> None:
    lines = [line for line in markdown(three).splitlines() if line.startswith("|")]
    cells = [line.replace("\\|", "").strip("|").split("|") for line in lines]
    assert {len(row) for row in cells} == {len(COLUMNS)}
    assert [cell.strip() for cell in cells[0]] == list(COLUMNS)
    assert len(lines) == 2 + 2 + 2 + 1  # a refused policy has one row
    ips = three.policies[1].evaluation.estimators["ips"].value
    assert cells[4][3].strip() == f"{ips:.4g}"
    assert cells[4][6].strip().startswith("+")  # minus the first


def test_a_log_without_pmfs_or_spread() -> None:
    """Nothing is known of overlap but the weights, which are all 1; rewards are all the same."""
    flat = Sample.of(np.full(200, 1.0), np.full(200, 0.5), np.full(200, 0.5))
    page = html(report(policy("same", FROZEN, flat)))
    assert not Checked(page).open
    assert "the log has no pmfs" in page
    assert "nothing to clip" in page
    assert "nan" not in page.lower()


def test_rewards_out_of_range_have_no_confidence_sequence() -> None:
    one = policy("p", FROZEN, sample(0.9))
    outside = ReportInput("log", logged(one.sample), [one], (0.0, 0.5), ROWS)
    assert "IPS with a 95 % normal band" in html(outside)
    assert "IPS with its 95 % confidence sequence" in html(report(one))


def test_a_policy_that_never_does_what_was_logged() -> None:
    never = Sample.of(np.ones(200), np.full(200, 0.5), np.zeros(200))
    page = html(report(policy("never", FROZEN, never)))
    assert not Checked(page).open
    assert "all weights are 0" in page


def test_reports_refuse_what_they_cannot_show() -> None:
    one = policy("p", FROZEN, sample(0.9))
    with pytest.raises(ValueError, match="policies"):
        ReportInput("log", logged(one.sample), [], (0.0, 1.0), 1)
    fewer = policy("q", FROZEN, one.sample.rows(slice(0, 300)))
    with pytest.raises(ValueError, match="q: 300 rows"):
        report(one, fewer)


def test_png(three: ReportInput, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    few = report(three.policies[1])  # the hostile name, in less time
    files = png(few, tmp_path / "new" / "plots")
    assert [file.name for file in files] == [
        f"{name}.png"
        for name in ("estimates", "differences", "learning-1", "weights-1", "clipping-1", "half-width-1")
    ]  # fmt: skip
    for file in files:
        content = file.read_bytes()
        width, height = struct.unpack(">II", content[16:24])
        assert content.startswith(b"\x89PNG")
        assert min(width, height) > 300
        assert b"Description" in content


def test_png_says_what_is_missing(
    three: ReportInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r"rankd\[plots\]"):
        png(three, tmp_path / "plots")
    assert not (tmp_path / "plots").exists()
