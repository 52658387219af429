"""What has come of calls so far: how many, which errors, how long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from rankd.load.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable

# What the commands and the JSON show.
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


@dataclass
class Tally:
    """Of one process, or of all together."""

    rank: Histogram = field(default_factory=Histogram)  # answered calls only
    reward: Histogram = field(default_factory=Histogram)
    late: Histogram = field(
        default_factory=Histogram
    )  # how much later than planned calls were sent
    errors: Counter[str] = field(default_factory=Counter)  # "Rank UNAVAILABLE" -> how many
    messages: dict[str, str] = field(default_factory=dict)  # the last one of each

    def failed(self, method: str, code: str, message: str) -> None:
        """Takes note of a call that was not answered."""
        name = f"{method} {code}"
        self.errors[name] += 1
        self.messages[name] = message

    def add(self, other: Tally) -> None:
        """Takes in all that another one has."""
        for mine, its in zip(self.histograms, other.histograms, strict=True):
            mine.add(its)
        self.errors.update(other.errors)
        self.messages.update(other.messages)

    @property
    def histograms(self) -> tuple[Histogram, Histogram, Histogram]:
        return self.rank, self.reward, self.late

    @property
    def rank_errors(self) -> int:
        """Calls of Rank that were not answered."""
        return sum(count for name, count in self.errors.items() if name.startswith("Rank "))

    def to_json(self) -> dict[str, Any]:
        """For `from_json`, in another process."""
        histograms = [[list(h.counts.items()), h.total, h.sum, h.max] for h in self.histograms]
        return {"h": histograms, "errors": dict(self.errors), "messages": self.messages}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """What `to_json` made."""
        rank, reward, late = (Histogram(dict(counts), *rest) for counts, *rest in data["h"])
        return cls(rank, reward, late, Counter(data["errors"]), data["messages"])


def merged(tallies: Iterable[Tally]) -> Tally:
    """All together; those given stay as they are."""
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total
