"""The supervisor's own part: what it does when a process cannot be started, and what it says. Its children are one-liners."""

from __future__ import annotations

import asyncio
import errno
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from server.config import Config
from server.files import DataFolder
from server.sections import CHECKED
from server.supervisor import Supervisor, children

if TYPE_CHECKING:
    from pathlib import Path

    from structlog.typing import EventDict

STAYS, ENDS = "import sys; sys.stdin.read()", "import sys; sys.exit(1)"


class Small(Supervisor):
    """Stops the service once worker-0 was to be started `starts` times; it ends at once, all others stay.

    Args:
        fails: at which of these no process can be made.
    """

    def __init__(self, folder: DataFolder, starts: int, fails: int = 0) -> None:
        super().__init__(Config.model_validate({"server": {"port": 0}}, context=CHECKED), folder)
        self.started = 0
        self._starts, self._fails = starts, fails

    async def _spawn(self, name: str, port: int) -> asyncio.subprocess.Process:
        code = STAYS
        if name == "worker-0":
            code = ENDS
            self.started += 1
            if self.started == self._starts:
                self.stop()
            if self.started == self._fails:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdin=asyncio.subprocess.PIPE
        )


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    found = DataFolder(tmp_path)
    found.config.parent.mkdir()
    found.socket.touch()  # as if the writer were there
    return found


def run(supervisor: Supervisor) -> tuple[int, list[EventDict]]:
    """Its exit code, and what it logged of processes that ended or could not be started."""
    with structlog.testing.capture_logs() as logs:
        code = asyncio.run(supervisor.run())
    return code, [entry for entry in logs if "delay" in entry]


def test_a_process_that_cannot_be_started_is_tried_again(folder: DataFolder) -> None:
    supervisor = Small(folder, starts=4, fails=2)
    code, logs = run(supervisor)
    assert (code, supervisor.started) == (0, 4)
    assert [entry["event"].split(";")[0] for entry in logs] == [
        "a process ended",
        "cannot start a process",
        "a process ended",
    ]
    assert not folder.service.exists()


def test_it_says_how_long_it_waits(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    real: Any = asyncio.timeout

    def timeout(delay: float) -> Any:
        waited.append(delay)
        return real(delay)

    monkeypatch.setattr("server.supervisor.asyncio.timeout", timeout)
    _, logs = run(Small(folder, starts=5))
    delays = [entry["delay"] for entry in logs]
    assert delays == [0.1, 0.2, 0.4, 0.8]
    assert waited[: len(delays)] == delays


def test_a_full_disk_is_not_called_a_port_that_is_taken(folder: DataFolder) -> None:
    (folder.config / "something").mkdir(parents=True)  # so it cannot be replaced
    with pytest.raises(IsADirectoryError):
        run(Small(folder, starts=1))


@pytest.mark.parametrize(("processes", "apps", "count"), [(1, 3, 1), (3, 2, 2), (2, 3, 2)])
def test_no_learner_without_an_app(processes: int, apps: int, count: int) -> None:
    config = {
        "apps": {f"app-{i}": {} for i in range(apps)},
        "learner": {"processes": processes},
    }
    stages = children(Config.model_validate(config, context=CHECKED))
    learners = [name for stage in stages for name in stage if name.startswith("learner")]
    assert len(learners) == count
