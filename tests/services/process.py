"""A server program as a child of the tests: started, stopped, killed, paused."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Seconds for an orderly stop. A broker that has lost the others gives up after 5.
STOP = 60.0
# The program becomes the shell's process, so that signals reach it. A second process of its group waits for the end of
# standard input, which comes when the tests are gone, however they ended, and kills the group: no server is left over.
_RUN = 'exec 3<&0 </dev/null; (cat <&3 >/dev/null 2>&1; kill -KILL 0) & exec "$@" 3<&-'


class ServerProcess:
    """One server program, which may be started again after its end.

    Args:
        name: what error messages call it.
        command: the program and its arguments. It must stay in the foreground and take SIGTERM as an order to stop.
        log: the file that its output is added to.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = tuple(command)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Raises RuntimeError if the server was not started, or stopped or killed."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and neither stopped nor killed; also true while it is paused."""
        return self._process is not None

    def start(self) -> None:
        """Starts the program without waiting until it is ready. Does nothing where it runs."""
        if self._process is not None:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _RUN, "sh", *self._command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def check(self) -> None:
        """Raises RuntimeError with the end of the log if the program has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(
                f"{self.name} ended with code {self._process.returncode}; its log ends:\n{self.tail()}"
            )

    def terminate(self) -> None:
        """SIGTERM, also to a paused program."""
        os.kill(self.pid, signal.SIGTERM)
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """SIGTERM, and waits for the end. May be called again.

        Raises:
            TimeoutError: it did not stop, and was killed.
        """
        if self._process is None:
            return
        self.terminate()
        try:
            self._process.wait(STOP)
        except subprocess.TimeoutExpired:
            raise TimeoutError(
                f"{self.name} did not stop within {STOP:g} s; its log ends:\n{self.tail()}"
            ) from None
        finally:
            self.kill()

    def kill(self) -> None:
        """SIGKILL. May be called again."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process = None

    def pause(self) -> None:
        """SIGSTOP: its connections stay, and nothing answers. Returns when the program has stopped."""
        os.kill(self.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def tail(self, size: int = 5_000) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""
