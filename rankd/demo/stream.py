"""The rounds: an open loop through the real client, beside a learner that is told every label.

Open loop: round i starts at i / rate seconds, whatever became of the rounds before it. It never waits for a model, as
users do not.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from rankd import AsyncClient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from simulator import FullInformation, LabelledRow

# Seconds that a call may take. A second is plenty for a decision, but a busy machine must not end a demo.
_TIMEOUT = 10.0
# Seconds between two looks at the service's health and two pictures of the learning curve.
_LOOK_SECONDS = 0.25


def event_id(number: int) -> str:
    """The event of round `number`: an id of the application's own, so that log and labels can be put together."""
    return f"segment-{number:04}"


@dataclass(frozen=True, slots=True)
class Round:
    """One round that is over. Times in seconds of one clock."""

    number: int
    reward: float
    model_version: int  # of the model that decided
    replied: float  # when Rank's reply came
    sequence: int  # the reward's place in the log
    acked: float  # when Reward's reply came


class Progress:
    """What the stream has come to."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.rounds: list[Round] = []  # those that are over, in the order in which they ended
        self.full_information: list[float] = []  # what the learner told every label got, by round

    @property
    def rewards(self) -> list[float]:
        """The rewards, in the order of `rounds`."""
        return [done.reward for done in self.rounds]


async def stream(
    address: str,
    rows: Sequence[LabelledRow],
    actions: Sequence[str],
    rate: float,
    beside: FullInformation,
    progress: Progress,
    look: Callable[[], None],
) -> None:
    """Plays the rounds; fills `progress`.

    Args:
        rate: rounds a second.
        beside: the learner that sees each row's label.
        look: called a few times a second and after the last round; what it raises ends the stream.

    Raises:
        RankdError: a call failed.
    """

    async def play(client: AsyncClient, number: int, row: LabelledRow) -> None:
        decision = await client.rank(row.numbers, actions, event_id=event_id(number))
        replied = perf_counter()
        reward = row.reward(decision.action)
        sequence = await client.reward(decision, reward)
        assert sequence is not None  # only rewards of default decisions go nowhere
        acked = perf_counter()
        progress.rounds.append(
            Round(number, reward, decision.model_version, replied, sequence, acked)
        )

    async def watch() -> None:
        while True:
            look()
            await asyncio.sleep(_LOOK_SECONDS)

    try:
        async with AsyncClient(address, timeout=_TIMEOUT) as client, asyncio.TaskGroup() as tasks:
            watcher = tasks.create_task(watch())
            started = perf_counter()
            playing = []
            for number, row in enumerate(rows):
                await asyncio.sleep(max(0.0, started + number / rate - perf_counter()))
                playing.append(tasks.create_task(play(client, number, row)))
                await asyncio.sleep(0)  # the call goes out first
                progress.full_information.append(float(beside.step(row.numbers, row.label)))
            await asyncio.gather(*playing)
            watcher.cancel()
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None  # the first; the others are cancelled, or say the same
    look()
