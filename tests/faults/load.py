"""Clients that rank and reward all the time and write down every answer."""

from __future__ import annotations

import random
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import stamina

from rankd import Client, RankdError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rankd import Decision

ACTIONS = ("a", "b", "c", "d")
# Decisions a second, of each client.
RATE = 60.0


@dataclass
class History:
    """What one client was told, in the order of the answers."""

    decisions: list[tuple[dict[str, float], Decision]] = field(default_factory=list)  # and context
    rewards: list[tuple[str, str]] = field(default_factory=list)  # event_id, reward_id
    failed: int = 0  # calls without an answer; they may or may not be in the log
    error: str = ""  # the last of these
    longest: float = 0.0  # seconds that a call took, retries included


class Histories:
    """What some clients were told."""

    def __init__(self, clients: int) -> None:
        self.histories = [History() for _ in range(clients)]

    @property
    def decisions(self) -> int:
        return sum(len(history.decisions) for history in self.histories)

    @property
    def rewards(self) -> int:
        return sum(len(history.rewards) for history in self.histories)

    @property
    def failed(self) -> int:
        return sum(history.failed for history in self.histories)

    @property
    def error(self) -> str:
        return next((history.error for history in self.histories if history.error), "")


class Load(Histories):
    """Clients under way between `with` and its end.

    Args:
        ports: of the servers. Each decision and each reward goes to one of them at random.
        clients: threads.
        name: begins all event ids.
        timeout: seconds that a call may take with all its retries.
        rewarded: share of decisions that get a reward.
        app: the app that is asked; empty, where there is one only.
    """

    def __init__(
        self,
        ports: Sequence[int],
        clients: int = 2,
        name: str = "load",
        seed: int = 1,
        timeout: float = 30.0,
        rewarded: float = 1.0,
        rate: float = RATE,
        app: str = "",
    ) -> None:
        super().__init__(clients)
        self._ports = list(ports)
        self.name, self._seed, self._timeout = name, seed, timeout
        self._rewarded = rewarded
        self._app = app
        self._pause = 1.0 / rate
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(number,)) for number in range(clients)
        ]

    def __enter__(self) -> Self:
        # The client's own retries are what this is about; they need not be told.
        stamina.instrumentation.set_on_retry_hooks([])
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, number: int) -> None:
        rng = random.Random(1000 * self._seed + number)
        history = self.histories[number]
        with ExitStack() as stack:
            clients = [
                stack.enter_context(
                    Client(
                        f"127.0.0.1:{port}",
                        app=self._app,
                        timeout=self._timeout,
                        attempt_timeout=2.0,
                    )
                )
                for port in self._ports
            ]
            for i in range(10_000_000):
                if self._stop.is_set():
                    return
                started = time.monotonic()
                try:
                    self._round(rng, clients, history, f"{self.name}-{number}-{i}")
                except RankdError as error:
                    history.failed += 1
                    history.error = repr(error)
                took = time.monotonic() - started
                self._stop.wait(max(0.0, self._pause - took))

    def _round(
        self, rng: random.Random, clients: list[Client], history: History, event_id: str
    ) -> None:
        x = [rng.gauss(0, 1) for _ in ACTIONS]
        context = dict(zip(ACTIONS, x, strict=True))
        with _timed(history):
            decision = rng.choice(clients).rank(context, list(ACTIONS), event_id=event_id)
        history.decisions.append((context, decision))
        if rng.random() < self._rewarded:
            value = float(x[ACTIONS.index(decision.action)] == max(x))
            with _timed(history):
                rng.choice(clients).reward(decision, value, reward_id=f"reward-{event_id}")
            history.rewards.append((event_id, f"reward-{event_id}"))


@contextmanager
def _timed(history: History) -> Iterator[None]:
    """Notes how long a call takes, however it ends."""
    started = time.monotonic()
    try:
        yield
    finally:
        history.longest = max(history.longest, time.monotonic() - started)
