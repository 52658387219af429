"""Plays a job in a process of its own, with one thread: commands come as lines of JSON, answers go the same way.

    {"load": {"job": path, "player": name, "settings": {...}, "floor": .05, "seed": 1}}
    {"play": {"rounds": 10000, "seconds": 2.0}}     until that many rounds in all, or for that long

Run by `benchmarks.environments.Worker`, as `python -m benchmarks.worker`, in the virtual environment of the player's library.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.players import PLAYERS, Player

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class Game:
    """One player's way through one job."""

    def __init__(self, load: Mapping[str, Any]) -> None:
        with np.load(load["job"]) as job:
            name = "raw" if load["player"] == "rankd" and "raw" in job else "x"
            self.x: NDArray[np.float64] = job[name]  # [T, d] as known when the action is chosen
            # [T, d] as known when the reward comes
            self.x_learn = job["x_learn"] if name == "x" and "x_learn" in job else self.x
            self.rewards: NDArray[np.float64] = job["rewards"]  # [T, K]
            self.expected = job.get("expected", self.rewards)  # [T, K]
            self.u: list[float] = job["u"].tolist()  # [T]
            self.seeds: list[int] = job["seeds"].tolist()  # [T]
        self.floor = float(load["floor"])
        rounds, actions = self.rewards.shape
        make = PLAYERS[load["player"]]
        self.player: Player = make(actions, self.x.shape[1], load["seed"], load["settings"])
        self.draw = _draw_of(load["player"])
        self.chosen = np.zeros(rounds, np.intp)
        self.certain = np.eye(actions)
        self.done, self.wall, self.cpu = 0, 0.0, 0.0

    def play(self, rounds: int, seconds: float) -> dict[str, Any]:
        """Goes on until `rounds` are played in all, or for `seconds`; tells where the player stands."""
        begun, cpu = perf_counter(), process_time()
        while self.done < min(rounds, len(self.chosen)) and perf_counter() - begun < seconds:
            self._round(self.done)
            self.done += 1
        self.wall += perf_counter() - begun
        self.cpu += process_time() - cpu
        n = np.arange(self.done)
        chosen = self.chosen[: self.done]
        expected = self.expected[: self.done]
        # On Linux in KiB.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {
            "rounds": self.done,
            "wall": self.wall,
            "cpu": self.cpu,
            "reward": float(self.rewards[n, chosen].sum()),
            "regret": float((expected.max(axis=1) - expected[n, chosen]).sum()),
            "peak_mb": round(peak, 1),
        }

    def _round(self, t: int) -> None:
        given = self.player.decide(self.x[t], self.seeds[t])
        pmf = self.certain[given] if isinstance(given, int) else given
        if self.floor:
            pmf = (1.0 - self.floor) * pmf + self.floor / len(pmf)
        k = given if isinstance(given, int) and not self.floor else self.draw(pmf, self.u[t])
        self.chosen[t] = k
        self.player.learn(self.x_learn[t], k, float(self.rewards[t, k]), pmf)


def _draw_of(player: str) -> Any:
    """The service's own way to draw for ours, the same in three lines for peers, whose environment does not have it."""
    if player == "rankd":
        from policies.sampler import draw

        return draw
    return _draw


def _draw(pmf: NDArray[np.float64], u: float) -> int:
    cdf = np.add.accumulate(pmf)
    return min(int(np.searchsorted(cdf, u * cdf[-1], side="right")), len(pmf) - 1)


def main() -> None:
    """Answers commands until there are no more. What libraries print goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    game: Game | None = None
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if "load" in command:
                game, answer = Game(command["load"]), {}
            else:
                assert game is not None
                answer = game.play(**command["play"])
        except Exception as error:  # told to the one who asked, who decides
            answer = {"error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
