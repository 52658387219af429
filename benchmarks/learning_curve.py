"""demo-01: how fast does the service learn? Draws docs/learning_curve.svg, the picture in the README.

Why: a bandit sees the reward of its own choice only. The picture shows what that costs beside a classifier that is told
every label, and what it gains over choosing at random.

What: runs `rankd demo` once for each preset (45 s each: server, learner and client at 60 rounds a second), then reads decisions
and rewards from the logs. A point is the mean reward of the 200 rounds before it. Figures at the right are means of the
last 500 rounds. Timing decides how old the model is that answers, so two runs differ a little.

    python benchmarks/learning_curve.py
    python benchmarks/learning_curve.py --logs DIR    # keeps the logs in DIR/linucb ...; what is there is not run again
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import rankd.demo
from rankd.demo.chart import moving_mean
from rankd.demo.presets import PRESETS
from rankd.v1 import log_pb2 as pb
from server.files import DataFolder
from server.learning.source import FolderSource
from simulator import FullInformation, image_segments

if TYPE_CHECKING:
    from collections.abc import Sequence

OUT = Path(__file__).parents[1] / "docs" / "learning_curve.svg"
WINDOW = 200  # rounds
LAST = 500  # rounds
STEP = 10  # rounds between two points of a drawn curve

# Pixels.
WIDTH, HEIGHT = 860, 430
LEFT, RIGHT, TOP, BOTTOM = 56, 208, 72, 48
LABEL_GAP = 20  # between two labels' baselines

AXIS, GRID = "#8c959f", "#eaeef2"
ATTRIBUTES = (
    'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" role="img" '
    'aria-labelledby="title"'
)
TITLE = "From knowing nothing to nine in ten"
SUBTITLE = f"Mean reward of the last {WINDOW} rounds; rank, reward and learn over gRPC at 60 rounds a second"

# Okabe & Ito (2008), "Color Universal Design": told apart with every kind of colour vision.
STYLES = {
    "linucb": ("LinUCB", "#0072B2", ""),
    "river": ("River + SquareCB", "#D55E00", ""),
    "vw": ("VW SquareCB", "#009E73", ""),
    "full": ("told every label", "#767676", "6 4"),
    "uniform": ("uniform-random", "#767676", "2 4"),
}


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of the picture."""

    name: str
    rewards: Sequence[float]  # [n] by round

    @property
    def last(self) -> float:
        """The mean of the last rounds."""
        return statistics.fmean(self.rewards[-LAST:])


def rewards_of(folder: Path) -> list[float]:
    """Each decision's reward, in the order of decisions, from the log."""
    source = FolderSource(DataFolder(folder))
    rewards: dict[str, float] = {}
    for record in source.records(0):
        if record.kind == pb.KIND_DECISION:
            rewards.setdefault(record.event_id, 0.0)
        elif record.kind == pb.KIND_REWARD:
            rewards[record.event_id] = pb.Reward.FromString(record.payload).value
    source.close()
    return list(rewards.values())


def curves(logs: Path, seed: int) -> list[Curve]:
    """All curves; runs the demos whose logs are not there."""
    found = []
    for policy in PRESETS:
        folder = logs / policy
        if not folder.exists() and rankd.demo.run(policy, seed, None, 60.0, folder, as_json=False):
            sys.exit(f"the demo of {policy} failed")
        found.append(Curve(policy, rewards_of(folder)))
    world, told = image_segments(seed), FullInformation()
    found.append(Curve("full", [float(told.step(row.numbers, row.label)) for row in world]))
    found.append(Curve("uniform", [1.0 / len(world.actions)] * len(world)))
    return found


def spread(heights: Sequence[float]) -> list[float]:
    """The heights, moved apart as little as it takes for labels not to overlap; order is kept."""
    order = sorted(range(len(heights)), key=heights.__getitem__)
    placed: list[list[float]] = []  # groups of labels that touch: [sum of wished tops, count]
    for wish in (heights[k] - i * LABEL_GAP for i, k in enumerate(order)):
        group = [wish, 1.0]
        while placed and placed[-1][0] / placed[-1][1] > group[0] / group[1]:
            before = placed.pop()
            group = [group[0] + before[0], group[1] + before[1]]
        placed.append(group)
    tops = [total / count for total, count in placed for _ in range(int(count))]
    moved = [0.0] * len(heights)
    for i, k in enumerate(order):
        moved[k] = tops[i] + i * LABEL_GAP
    return moved


def draw(found: Sequence[Curve], seed: int) -> str:
    """The picture as SVG."""
    rounds = len(found[0].rewards)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def x(number: float) -> float:
        return LEFT + (right - LEFT) * number / rounds

    def y(reward: float) -> float:
        return bottom - (bottom - TOP) * reward

    lines, labels, ends = [], [], []
    for curve in found:
        _, colour, dashes = STYLES[curve.name]
        means = moving_mean(curve.rewards, WINDOW)
        # The first points are means of a handful of rounds, so they only jump.
        numbers = [*range(STEP, rounds, STEP), rounds]
        path = " ".join(f"{x(n):.1f},{y(means[n - 1]):.1f}" for n in numbers)
        width = 1.5 if dashes else 2.25
        lines.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'stroke-linejoin="round" stroke-dasharray="{dashes or "none"}"/>'
        )
        ends.append(y(means[-1]))
    for curve, end, height in zip(found, ends, spread(ends), strict=True):
        name, colour, _ = STYLES[curve.name]
        labels.append(
            f'<path d="M{right + 2},{end:.1f} L{right + 12},{height:.1f}" stroke="{colour}" opacity=".5"/>'
            f'<text x="{right + 16}" y="{height + 4:.1f}" font-size="13" fill="{colour}">'
            f'<tspan font-weight="600">{curve.last:.3f}</tspan> {name}</text>'
        )
    labels.append(text(right + 16, bottom + 18, f"figures: last {LAST} rounds", size=11))
    grid = [
        f'<line x1="{LEFT}" x2="{right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="{AXIS if tick == 0 else GRID}"/>'
        + text(LEFT - 8, y(tick) + 4, f"{tick:g}", anchor="end")
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    grid += [
        text(x(tick), bottom + 18, f"{tick:,}", anchor="middle") for tick in range(0, rounds, 500)
    ]
    grid.append(text((LEFT + right) / 2, bottom + 36, "rounds", anchor="middle"))
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" {size} {ATTRIBUTES}>',
        '<title id="title">Mean reward against rounds: rankd on ImageSegments</title>',
        f'<rect {size} rx="8" fill="#fff"/>',
        text(LEFT, 32, f"{TITLE}, within {rounds:,} rounds", size=17, colour="#1f2328"),
        text(LEFT, 52, f"{SUBTITLE} (seed {seed})", size=13),
    ]
    # The first curve lies on top.
    return "\n".join([*head, *grid, *reversed(lines), *labels, "</svg>", ""])


def text(
    x: float, y: float, content: str, size: int = 12, anchor: str = "start", colour: str = "#59636e"
) -> str:
    """Words beside the curves."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">'
        f"{content}</text>"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="demo-01: draws the learning curves.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--logs", type=Path, help="keep the logs here, and use those that are there"
    )
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = curves(args.logs or Path(temporary), args.seed)
    args.out.write_text(draw(found, args.seed), "utf-8")
    for curve in found:
        print(f"{curve.name:<8} last {LAST}: {curve.last:.3f}")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
