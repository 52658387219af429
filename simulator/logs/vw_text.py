"""VW's text format for contextual bandits with action-dependent features (`--cb_adf`, `--cb_explore_adf`).

    shared |user age:31 country=NL
    |item price:9.5
    0:-1:0.25 |item price:3.0

A blank line ends an example. The label of the chosen action's line is ACTION:COST:PROBABILITY, of which VW itself passes
over the first; the reward is minus the cost. The other actions' probabilities are not in it.

An action is called by its tag (`'tag`), else by its number, from 1. A feature `name:value` is a number, `name=value`
a category, and a name alone a category without a value. A namespace's own value multiplies its features' values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simulator.logs.events import Decided, Matured, Skipped, probability
from simulator.logs.lines import FileLog, line
from simulator.logs.named import Named, encode_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.logs.events import Event


@dataclass(slots=True)
class _Example:
    """The lines of one example so far."""

    number: int  # of its first line
    text: list[str] = field(default_factory=list)
    context: Named = field(default_factory=Named)
    ids: list[str] = field(default_factory=list)
    actions: list[Named] = field(default_factory=list)
    label: tuple[int, float, float] | None = None  # (index of the action, cost, probability)

    def add(self, text: str) -> None:
        """One more line of it.

        Raises:
            ValueError: it is none.
        """
        head, bar, features = text.partition("|")
        words = head.split()
        if words[:1] == ["ccb"] or words[:1] == ["slates"]:
            raise ValueError(f"{words[0]}: only --cb_adf is read; log several slots as dsjson")
        named = Named()
        if bar:
            _features(features, named)
        if words[:1] == ["shared"]:
            if self.text:
                raise ValueError(
                    "the shared line must be the example's first; is a blank one missing?"
                )
            self.context = named
        else:
            self._action(words, named)
        self.text.append(text)

    def _action(self, words: list[str], named: Named) -> None:
        tag = ""
        for word in words:
            if word.startswith("'"):
                tag = word[1:]
            elif ":" in word:
                if self.label is not None:
                    raise ValueError("a second action has a label")
                self.label = (len(self.ids), *_label(word))
            elif word is words[-1] and is_tag(word):
                tag = word
            else:
                raise ValueError(f"{word!r} is neither ACTION:COST:PROBABILITY nor a tag")
        self.ids.append(tag or str(len(self.ids) + 1))
        self.actions.append(named)

    def decided(self) -> tuple[Decided, float] | None:
        """The decision and its reward, or None where no action has a label."""
        if self.label is None:
            return None
        chosen, cost, propensity = self.label
        decided = Decided(
            str(self.number),
            0,
            self.context.encode(),
            encode_all(self.ids, self.actions),
            chosen,
            None,
            propensity,
            raw="\n".join(self.text),
            at=self.number,
        )
        return decided, 0.0 - cost


class VwTextLog(FileLog):
    """A file of VW's text: see `events.Log`. `Decided.raw` is the example's text, `key` the number of its first line."""

    def events(self) -> Iterator[Event]:
        example = _Example(1)
        for each in self.lines():
            text = each.text.rstrip("\r\n")
            if not text.strip():
                yield from self._finish(example)
                example = _Example(each.number + 1)
                continue
            if each.unfinished and "|" not in text:
                self.cut_short()  # and with it the example, whose label may have lost a digit
                return
            with line(self.name, each.number):
                try:
                    example.add(text)
                except ValueError:
                    # A label that stands before the bar is all there, and so is a feature before a blank.
                    if not (each.unfinished and text.endswith(":")):
                        raise
                    self.cut_short()  # and with it the example
                    return
        yield from self._finish(example)

    def _finish(self, example: _Example) -> Iterator[Event]:
        if not example.text:
            return
        with line(self.name, example.number):
            found = example.decided()
            matured = None if found is None else Matured(*found)
        if matured is None:
            self.counters[Skipped.UNLABELLED] += 1
            return
        yield matured.decision
        yield matured


def is_tag(word: str) -> bool:
    """Whether a word just before the bar names the line, as it may without its quote if it is no number.

    >>> is_tag("a1"), is_tag("1.5")
    (True, False)
    """
    try:
        float(word)
    except ValueError:
        return True
    return False


def _label(word: str) -> tuple[float, float]:
    """(cost, probability)"""
    parts = word.split(":")
    if len(parts) != 3:
        raise ValueError(
            f"the label {word!r} is not ACTION:COST:PROBABILITY, without which nothing can be estimated"
        )
    return float(parts[1]), probability(float(parts[2]), "the label's probability")


def _features(text: str, named: Named) -> None:
    """Adds what follows the first bar: namespaces, each led by its name, which may be missing."""
    for part in text.split("|"):
        namespace, scale = "", 1.0
        words = part.split()
        if words and not part[:1].isspace():
            namespace, colon, value = words.pop(0).partition(":")
            scale = float(value) if colon else 1.0
        for word in words:
            name, colon, value = word.rpartition(":") if ":" in word else (word, "", "")
            if not name:
                raise ValueError(f"the feature {word!r} has no name")
            if colon or scale != 1.0:
                named.number(namespace, name, scale * (float(value) if colon else 1.0))
            else:
                name, equals, value = word.partition("=")
                named.category(namespace, name or word, value if equals else "")
