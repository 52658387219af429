"""A progress bar on standard error: what is done, of how much, and how long it will take."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def bar(what: str, *, hidden: bool) -> Iterator[Callable[[float, float], None]]:
    """A bar that is gone at the end; none where standard error is no terminal.

    Args:
        what: is counted.
        hidden: show nothing.

    Yields:
        Call it with what is done and the total.
    """
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.completed:,.0f} of {task.total:,.0f} " + what),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=hidden or not console.is_terminal,  # in a file it would be an empty line
    ) as progress:
        task = progress.add_task(what, total=1.0)
        yield lambda done, total: progress.update(task, completed=done, total=total)
