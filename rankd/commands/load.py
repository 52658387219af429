"""`rankd load`: how fast a running service answers, at a rate that its answers do not change."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import grpc
import typer
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.live import Live

from rankd.commands import check_report, fail
from rankd.load import plot
from rankd.load.plan import Plan
from rankd.load.run import LoadError, Progress, run, split
from rankd.load.show import as_json, page
from rankd.v1 import admin_pb2 as api
from rankd.v1.admin_pb2_grpc import AdminStub
from server.sections import Duration

if TYPE_CHECKING:
    from pathlib import Path

# Seconds for the service to say which apps it has.
_TIMEOUT = 10.0


def load(
    target: str,
    app: str,
    *,
    rate: float,
    duration: str,
    closed: int,
    actions: int,
    features: int,
    rewards: float,
    connections: int,
    processes: int,
    timeout: str,
    histogram: Path | None,
    json_line: bool,
) -> int:
    """Makes the load and shows what came of it; returns 1 where no call was answered."""
    seconds = _seconds("--duration", duration)
    limit = _seconds("--timeout", timeout)
    if histogram is not None:
        try:
            plot.require()
        except ModuleNotFoundError as error:
            fail(f"--histogram: {error}")
        check_report(histogram, (".png",), "--histogram")
    name, low, high = _app(target, app)
    plan = Plan(
        target,
        name,
        seconds,
        rate,
        closed,
        connections,
        actions,
        features,
        rewards,
        low,
        high,
        limit,
    )
    plans = split(plan, processes)
    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:

        def show(progress: Progress) -> None:
            if console.is_terminal:
                live.update(page(plan, progress, len(plans)), refresh=True)

        try:
            progress = asyncio.run(run(plans, show))
        except LoadError as error:
            fail(str(error))
    if json_line:
        console.print(page(plan, progress, len(plans)))
        typer.echo(json.dumps(as_json(plan, progress, len(plans))))
    else:
        Console().print(page(plan, progress, len(plans)))
    if histogram is not None and progress.tally.rank.total:
        title = f"Rank: {progress.tally.rank.total:,} answers in {progress.seconds:.0f} s"
        try:
            plot.draw(progress.tally.rank, title, histogram)
        except OSError as error:
            fail(f"--histogram {histogram}: {error.strerror or error}")
    return 0 if progress.tally.rank.total else 1


def _seconds(option: str, text: str) -> float:
    try:
        found: float = TypeAdapter(Duration).validate_python(text).total_seconds()
    except ValidationError:
        found = 0.0
    if found <= 0:
        fail(f"{option} {text}: give a number with a unit: 500ms, 30s, 10m", 2)
    return found


def _app(target: str, app: str) -> tuple[str, float, float]:
    """The app's name and its reward range, as the service says; or a message."""
    with grpc.insecure_channel(target) as channel:
        stub = AdminStub(channel)  # type: ignore[no-untyped-call]  # generated code
        try:
            names = [each.name for each in stub.Apps(api.AppsRequest(), timeout=_TIMEOUT).apps]
            if not app and len(names) == 1:
                app = names[0]
            if app not in names:
                what = f"has no app {app!r}" if app else "has several apps"
                fail(f"{target} {what}: give one of them with --app: {', '.join(names)}")
            status = stub.Status(api.StatusRequest(app=app), timeout=_TIMEOUT)
        except grpc.RpcError as error:
            code, details = error.code(), error.details() or ""
            if code in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                fail(f"no rankd answers at {target}: is it running there? (--target) {details}")
            fail(f"{target}: {code.name}: {details}")
    return app, status.reward_min, status.reward_max
