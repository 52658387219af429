"""The learning curve while it is being learned: a picture in a terminal, plain lines elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.text import Text

from rankd.demo.chart import Series, chart, moving_mean
from rankd.demo.lag import percentile, reward_to_model

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from rich.console import Console

    from rankd.demo.stream import Progress

# Rounds that a point of the curve is the mean of: fewer would show noise (a standard error of .03 at 100), more would
# hide how fast it learns.
WINDOW = 200
# Plain lines in a whole demo.
_LINES = 10
_HEIGHT = 12
_WIDTH = 100


class Display:
    """Shows progress on a console, for as long as it is entered."""

    def __init__(self, console: Console, policy: str, uniform: float) -> None:
        self._console = console
        self._policy = policy
        self._uniform = uniform
        self._live: Live | None = None
        self._lines = 0
        options = console.options
        if console.is_terminal and not console.is_dumb_terminal and not options.ascii_only:
            # Redrawn by `show` alone: a thread of rich's own would disturb the rounds at any time.
            self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, progress: Progress) -> None:
        """Shows where the stream stands."""
        if self._live is not None:
            self._live.update(self._picture(progress), refresh=True)
            return
        while progress.rounds and len(progress.rounds) >= self._next(progress.total):
            self._lines = len(progress.rounds) * _LINES // progress.total
            self._console.print(self._line(progress), soft_wrap=True)

    def _next(self, total: int) -> float:
        return total * (self._lines + 1) / _LINES

    def _line(self, progress: Progress) -> str:
        recent = progress.rewards[-WINDOW:]
        told = progress.full_information[-WINDOW:]
        return (
            f"round {len(progress.rounds):>5,} of {progress.total:,}   mean reward of the last {WINDOW}: "
            f"{self._policy} {sum(recent) / len(recent):.3f}, full information {sum(told) / len(told):.3f}, "
            f"uniform {self._uniform:.3f}   reward to model {self._lag(progress)}"
        )

    def _picture(self, progress: Progress) -> Group:
        total = progress.total
        curves = (
            Series("uniform-random", "yellow", [self._uniform] * total, dotted=True),
            Series("full information", "blue", moving_mean(progress.full_information, WINDOW)),
            Series(self._policy, "bold green", moving_mean(progress.rewards, WINDOW)),
        )
        width = min(_WIDTH, self._console.width - 2)
        newest = max((done.model_version for done in progress.rounds), default=0)
        below = (
            f"     round {len(progress.rounds):,} of {total:,}   model version {newest:,}   "
            f"reward to model {self._lag(progress)}"
        )
        head = Text(f"Mean reward of the last {WINDOW} rounds", "bold")
        return Group(head, chart(curves, total, width, _HEIGHT), Text(below, "dim"))

    @staticmethod
    def _lag(progress: Progress) -> str:
        lags = reward_to_model(progress.rounds)
        return f"{percentile(lags, 50):.0f} ms (median)" if lags else "-"
