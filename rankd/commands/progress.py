"""A progress bar on standard error: what is done, of how much, and how long it will take."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import ProgressColumn

# Of so many rows one is told: 20 times a second of the fastest replay, which is as often as a terminal is drawn.
_EVERY = 1_024


@contextmanager
def bar(what: str, *, hidden: bool) -> Iterator[Callable[[float, float], None]]:
    """A bar that is gone at the end; none where standard error is no terminal.

    Args:
        what: is counted.
        hidden: show nothing.

    Yields:
        Call it with what is done and the total.
    """
    text = TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + what)
    left = TextColumn("left:")
    with _shown(
        text, BarColumn(), TimeElapsedColumn(), left, TimeRemainingColumn(), hidden=hidden
    ) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def counted(
    what: str, share: Callable[[], float | None], *, hidden: bool
) -> Iterator[Callable[[int], None]]:
    """The same of what has no known number, but perhaps a known share that is done.

    Args:
        share: asked now and then for how much is done, in [0, 1]; None: that is not known, and a spinner turns.

    Yields:
        Call it with what is done.
    """
    text, left = TextColumn("{task.fields[count]:,} " + what), TextColumn("left:")
    columns = (SpinnerColumn(), text, BarColumn(), TimeElapsedColumn(), left, TimeRemainingColumn())
    with _shown(*columns, hidden=hidden) as progress:
        task = progress.add_task(what, total=None, count=0)

        def tell(done: int) -> None:
            if done % _EVERY == 0 and not progress.disable:
                known = share()
                total = None if known is None else 1.0
                progress.update(task, completed=known or 0.0, total=total, count=done)

        yield tell


def _shown(*columns: ProgressColumn, hidden: bool) -> Progress:
    console = Console(stderr=True)
    # In a file it would be an empty line.
    disabled = hidden or not console.is_terminal
    return Progress(*columns, console=console, transient=True, disable=disabled)
