"""The short forms of the faults run beside all other tests, and are looked at last: clusters wait more than they work."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.server.harness import REPOSITORY

# Faults under way at a time.
_TOGETHER = 1

Run = subprocess.CompletedProcess[str]


class Runs:
    """One process for each fault that the session has a test of."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_TOGETHER)
        self._under_way: dict[str, Future[Run]] = {}
        self._processes: set[subprocess.Popen[str]] = set()
        self._ended = False

    def start(self, name: str) -> None:
        self._under_way[name] = self._pool.submit(self._run, name)

    def result(self, name: str) -> Run:
        return self._under_way[name].result()

    def end(self) -> None:
        """Stops what nobody waits for any more."""
        self._ended = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in list(self._processes):
            process.terminate()
        self._pool.shutdown()

    def _run(self, name: str) -> Run:
        command = [sys.executable, "-m", "tests.faults", "--only", name, "--rounds", "2"]
        if record := os.environ.get("RANKD_FAULTS_RECORD"):  # a file that the figures go to
            command += ["--record", record]
        process = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self._processes.add(process)
        if self._ended:
            process.terminate()
        out, err = process.communicate()
        self._processes.discard(process)
        return Run(command, process.returncode, out, err)


RUNS = pytest.StashKey[Runs]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: "runs" in getattr(item, "fixturenames", ()))


def pytest_collection_finish(session: pytest.Session) -> None:
    faults = [item for item in session.items if "runs" in getattr(item, "fixturenames", ())]
    if faults and not session.config.option.collectonly:
        session.config.stash[RUNS] = runs = Runs()
        for item in faults:
            runs.start(item.callspec.params["name"])  # type: ignore[attr-defined]


def pytest_sessionfinish(session: pytest.Session) -> None:
    runs = session.config.stash.get(RUNS, None)
    if runs is not None:
        runs.end()


@pytest.fixture(scope="session")
def runs(pytestconfig: pytest.Config) -> Runs:
    """Every fault's run, under way since the session began."""
    return pytestconfig.stash[RUNS]
