"""One demo, from an empty folder to a verified log."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import contextmanager
from math import inf
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console

from rankd.demo import report
from rankd.demo.presets import APP, PRESETS, ROWS, configuration
from rankd.demo.service import Service, ServiceFailedError
from rankd.errors import RankdError
from server.fold.records import LogError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rankd.demo.stream import Progress
    from simulator import World

# What a shell calls a command that Ctrl-C has ended.
_INTERRUPTED = 130


class UsageError(ValueError):
    """An argument that cannot be; the message begins with its name."""


def run(
    policy: str, seed: int, rounds: int | None, rate: float, data_dir: Path | None, as_json: bool
) -> int:
    """See rankd.demo.run."""
    # With --json standard output is for the result alone, so that it can be piped as it is.
    console = Console(stderr=as_json, highlight=False)
    try:
        _check(policy, rounds, rate)
        with _folder(data_dir) as folder:
            result = _play(console, folder, policy, seed, rounds, rate)
    except UsageError as error:
        _complain(console, error)
        return 2
    except KeyboardInterrupt:
        console.print("\nInterrupted; the service has stopped.")
        return _INTERRUPTED
    except (ServiceFailedError, LogError) as error:
        _complain(console, error)
        return 1
    report.show_next(console, data_dir)
    if as_json:
        sys.stdout.write(result.json() + "\n")
    return 1 if result.mismatches else 0


def _complain(console: Console, error: Exception) -> None:
    console.print(f"rankd demo: {error}", style="red", markup=False, soft_wrap=True)


def _check(policy: str, rounds: int | None, rate: float) -> None:
    if policy not in PRESETS:
        raise UsageError(f"policy: no preset {policy!r}; known are {', '.join(PRESETS)}")
    if rounds is not None and not 2 <= rounds <= ROWS:
        raise UsageError(f"rounds: is {rounds}; must be 2 to {ROWS:,}, the rows of the data set")
    if not 0 < rate < inf:
        raise UsageError(f"rate: is {rate}; must be a number of rounds a second above 0")


@contextmanager
def _folder(data_dir: Path | None) -> Iterator[Path]:
    """An empty folder, kept only if the user named it.

    Raises:
        UsageError: the one named has something in it, or cannot be made.
    """
    if data_dir is None:
        with tempfile.TemporaryDirectory(prefix="rankd-demo-") as name:
            yield Path(name)
        return
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        empty = not any(data_dir.iterdir())
    except OSError as error:
        raise UsageError(f"data-dir: {data_dir}: {error.strerror}") from error
    if not empty:
        raise UsageError(
            f"data-dir: {data_dir} is not empty; a demo starts from an empty folder, so name a new one"
        )
    yield data_dir


def _play(
    console: Console, folder: Path, policy: str, seed: int, rounds: int | None, rate: float
) -> report.Result:
    started = perf_counter()
    settings = folder / "rankd.yaml"
    settings.write_text(configuration(policy, seed), "utf-8")
    with Service(folder, settings) as service:
        # River and the rows load while the service starts.
        from simulator import image_segments

        world = image_segments(seed)
        total = len(world) if rounds is None else rounds
        console.print(
            f"[bold]{policy} on {world.name}[/]: {total:,} rounds, {rate:g} a second. A round is a row of a data set; "
            f"its {len(world.actions)} classes are the actions, and the right one earns 1.\n",
            soft_wrap=True,
        )
        progress = _stream(console, service, world, total, rate, policy)
        with console.status("Stopping the service"):
            service.stop()
    return _conclude(console, folder, policy, world, progress, started)


def _stream(
    console: Console, service: Service, world: World, total: int, rate: float, policy: str
) -> Progress:
    from rankd.demo.display import Display
    from rankd.demo.stream import Progress, stream
    from simulator import FullInformation

    progress, beside = Progress(total), FullInformation()
    address = service.wait()
    with Display(console, policy, uniform=_uniform(world)) as display:

        def look() -> None:
            service.check()
            display.show(progress)

        rows = world.rows[:total]
        try:
            asyncio.run(stream(address, rows, world.actions, rate, beside, progress, look))
        except RankdError as error:
            raise service.failed(f"a call failed: {error}") from error
    return progress


def _conclude(
    console: Console, folder: Path, policy: str, world: World, progress: Progress, started: float
) -> report.Result:
    """What the log tells once the service has stopped."""
    from rankd.demo.lag import percentile, reward_to_model
    from rankd.demo.offline import halfway, value_of
    from rankd.demo.stream import event_id
    from server.files import DataFolder
    from server.fold.verify import verify
    from server.learning.source import FolderSource

    labels = {event_id(number): row.label for number, row in enumerate(world)}
    source = FolderSource(DataFolder(folder))
    try:
        with console.status("Valuing the halfway model from the log"):
            valuation = value_of(halfway(source, APP), source, APP, labels)
        with console.status("Verifying every decision"):
            verification = verify(source)
    finally:
        source.close()
    done = sorted(progress.rounds, key=lambda r: r.number)
    lags = reward_to_model(done)
    interval = valuation.interval
    result = report.Result(
        rounds=len(done),
        reward_mean=fmean(r.reward for r in done),
        reward_mean_last_500=fmean(r.reward for r in done[-report.LAST :]),
        uniform=_uniform(world),
        full_information=fmean(progress.full_information),
        ips=valuation.ips,
        ips_low=None if interval is None else interval.low,
        ips_high=None if interval is None else interval.high,
        truth=valuation.truth,
        verified=verification.verified,
        unverifiable=verification.unverifiable,
        mismatches=verification.mismatches,
        reward_to_model_ms_p50=percentile(lags, 50),
        reward_to_model_ms_p99=percentile(lags, 99),
        seconds=perf_counter() - started,
    )
    report.show(console, policy, result, progress, valuation, verification)
    return result


def _uniform(world: World) -> float:
    """What uniform-random earns on average: exactly one of the actions is right, in every row."""
    return 1.0 / len(world.actions)
