"""A virtual environment for each peer, as it comes from PyPI, and processes that play in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
DEFAULT_FOLDER = Path.home() / ".cache" / "rankd-peers"
PEERS = ("obp", "mabwiser", "river", "coba", "contextualbandits", "vowpalwabbit")
# Arguments of `pip install`, one call after the other. obp 0.5.7 names exact versions that no longer install, and Python
# before 3.11; its online policies work with today's numpy.
# Peers of benchmarks.serve_peers are services, so they have a web framework beside the library.
_WEB = ["fastapi", "uvicorn[standard]"]
_INSTALL: dict[str, list[list[str]]] = {
    "serve-mabwiser": [["mabwiser", "numpy", *_WEB]],
    "serve-vowpalwabbit": [["vowpalwabbit", "numpy", *_WEB]],
    "vw-estimators": [["vw-estimators", "numpy", "scipy"]],
    "obp": [
        ["numpy", "scipy", "scikit-learn", "pandas", "pyyaml", "tqdm", "matplotlib", "seaborn"],
        ["--no-deps", "--ignore-requires-python", "obp==0.5.7"],
    ],
}
# BLAS and OpenMP read these when they load.
ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)


class WorkerError(RuntimeError):
    """A player could not be made, or broke; the message is its own."""


def python_of(player: str, folder: Path) -> Path:
    """The interpreter that has the player's library; makes the environment unless it is there.

    Raises:
        subprocess.CalledProcessError: pip cannot install it.
    """
    if player == "rankd":
        return Path(sys.executable)
    home = folder / player
    python, ready = home / "bin" / "python", home / "installed"
    if not ready.exists():
        print(f"installing {player} into {home} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        for arguments in _INSTALL.get(player, [[player, "numpy"]]):
            subprocess.run([python, "-m", "pip", "install", "-q", *arguments], check=True)
        ready.touch()
    return python


def version_of(player: str, folder: Path) -> str:
    """The installed version of the player's library."""
    if player == "rankd":
        return version("rankd")
    name = player.removeprefix("serve-")
    ask = f"from importlib.metadata import version; print(version({name!r}))"
    python = python_of(player, folder)
    return subprocess.check_output([python, "-c", ask], text=True).strip()


class Worker:
    """One process of `benchmarks.worker`."""

    def __init__(self, player: str, folder: Path) -> None:
        self.player = player
        self._process = subprocess.Popen(
            [python_of(player, folder), "-W", "ignore", "-m", "benchmarks.worker"],
            cwd=ROOT,
            env={**os.environ, **ONE_THREAD},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def load(
        self, job: Path, settings: Mapping[str, Any], floor: float = 0.0, seed: int = 1
    ) -> None:
        """Makes an untrained player before the first round of a job.

        Raises:
            WorkerError: it cannot be made.
        """
        what = {"job": str(job.resolve()), "player": self.player, "settings": dict(settings)}
        self._ask({"load": {**what, "floor": floor, "seed": seed}})

    def play(self, rounds: int, seconds: float = 1e9) -> dict[str, Any]:
        """Goes on until `rounds` are played in all, or for `seconds`.

        Returns:
            rounds, wall and cpu (seconds), reward and regret (sums), peak_mb: so far.

        Raises:
            WorkerError: the player broke.
        """
        return self._ask({"play": {"rounds": rounds, "seconds": seconds}})

    def _ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        try:
            stdin.write(json.dumps(command) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"{self.player}: its process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.player}: {answer['error']}")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
