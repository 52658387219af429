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
def counted(what: str, *, hidden: bool) -> Iterator[Callable[[int], None]]:
    """The same of what has no known end.

    Yields:
        Call it with what is done.
    """
    text = TextColumn("{task.completed:,.0f} " + what)
    with _shown(SpinnerColumn(), text, TimeElapsedColumn(), hidden=hidden) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done: progress.update(task, completed=done)


def _shown(*columns: ProgressColumn, hidden: bool) -> Progress:
    console = Console(stderr=True)
    # In a file it would be an empty line.
    disabled = hidden or not console.is_terminal
    return Progress(*columns, console=console, transient=True, disable=disabled)
