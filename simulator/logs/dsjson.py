"""dsjson, the log of Vowpal Wabbit's decision service: one decision with its reward on each line.

https://github.com/VowpalWabbit/vowpal_wabbit/wiki/DSJSON and VW's own parser say what it is. A line is for
contextual bandits (`_label_cost`, `a`, `p`), or for several slots (`_outcomes`), which share the line's actions.

    {"_label_cost": -1, "_label_probability": 0.8, "_label_Action": 2, "_labelIndex": 1, "EventId": "e", "a": [2, 1],
     "c": {"user": {"age": 31}, "_multi": [{"i": {"id": "x"}}, {"i": {"id": "y"}}]}, "p": [0.8, 0.2]}

- The reward is minus the cost. `p` follows the order of `a`, whose first entry was chosen; both are turned to the order of
  `_multi` here. `a` counts from 1, and `_a` of a slot from 0.
- An action is called what `_tag` says, else the feature `id` in namespace `i`, else its number, from 1. One id for two actions
  of a line is followed by "#" and its number.
- Lines that do not begin with "{", objects with nothing of a decision in them (checkpoints), those with `_skipLearn`, and rewards without a
  decision are counted and passed over. A file without any decision that has such objects is refused: it is no dsjson.
- Names that rankd's own export led with a backslash are what they were: see `server.exports.dsjson`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from simulator.logs.dsjson_slots import Outcome, slots_of
from simulator.logs.events import Decided, LogFormatError, Matured, Skipped, probability
from simulator.logs.lines import FileLog, line
from simulator.logs.named import Named, encode_all
from simulator.logs.times import microseconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from policies import ActionSet
    from simulator.logs.events import Event

# Where the service and rankd's export say an action's id.
_ID_NAMESPACE, _ID = "i", "id"
# What a line that is about a decision has, or a part of.
_OF_DECISIONS = frozenset(
    {
        "EventId",
        "RewardValue",
        "_label_cost",
        "_label_probability",
        "_label_Action",
        "_labelIndex",
        "_outcomes",
        "a",
        "c",
        "p",
    }
)
_NO_DECISION = "neither a decision (c, with _multi) nor a reward without one"


class DsjsonLog(FileLog):
    """A file of dsjson: see `events.Log`. `Decided.raw` is the line's object."""

    def events(self) -> Iterator[Event]:
        known, foreign = (
            False,
            0,
        )  # whether a line was dsjson's; the first line that is an object and none of dsjson's
        for each in self.lines():
            text = each.text.lstrip()
            if not text.startswith("{"):
                if text:
                    self.counters[Skipped.NOT_AN_OBJECT] += 1
                continue
            with line(self.name, each.number):
                try:
                    raw = json.loads(each.text, parse_constant=_refuse)
                except json.JSONDecodeError as error:
                    if not each.unfinished:
                        raise ValueError(
                            f"no JSON object from column {error.colno} on ({error.msg}): mend the line, or leave it out"
                        ) from error
                    self.cut_short()
                    return
                if _OF_DECISIONS.isdisjoint(raw):
                    self.counters[Skipped.NOT_AN_OBJECT] += 1
                    foreign = foreign or each.number
                    continue
                known = True
                found = self._read(raw, each.number)
            yield from found
        if foreign and not known:
            raise LogFormatError(f"{self.name}, line {foreign}: {_NO_DECISION}")

    def _read(self, raw: dict[str, Any], number: int) -> list[Event]:
        """The events of one line."""
        if raw.get("_skipLearn") is True:
            self.counters[Skipped.SKIP_LEARN] += 1
            return []
        shared = raw.get("c")
        if shared is None and "RewardValue" in raw:
            self.counters[Skipped.DANGLING] += 1
            return []
        if not isinstance(shared, dict) or not isinstance(shared.get("_multi"), list):
            raise ValueError(_NO_DECISION)
        multi: list[dict[str, Any]] = shared["_multi"]
        if not multi or not all(isinstance(action, dict) for action in multi):
            raise ValueError("c._multi: must be a list of at least one action, each an object")
        actions = _actions(multi)
        event = raw.get("EventId")
        key = event if isinstance(event, str) and event else str(number)
        if "_outcomes" in raw:
            outcomes = slots_of(raw, key, len(multi))
        else:
            outcomes = [_outcome(raw, key, len(multi))]
        found = [
            event for one in outcomes for event in self._slot(raw, number, shared, actions, one)
        ]
        # All slots were decided before anything came of one of them.
        return sorted(found, key=lambda event: isinstance(event, Matured))

    def _slot(
        self,
        raw: dict[str, Any],
        number: int,
        shared: dict[str, Any],
        actions: ActionSet,
        outcome: Outcome,
    ) -> Iterator[Event]:
        context = Named()
        context.json(shared, unescaped)
        for name, value in outcome.features.items():
            # Under names of their own: a slot and the context may have features that are called the same.
            if not name.startswith("_"):
                context.json({f"slot.{name}": value}, unescaped)
        if outcome.eligible != list(range(len(actions))):
            actions = actions.take(np.array(outcome.eligible, np.intp))
        decided = Decided(
            outcome.key,
            outcome.slot,
            context.encode(),
            actions,
            outcome.eligible.index(outcome.chosen),
            outcome.pmf,
            outcome.propensity,
            raw=raw,
            weight=_weight(raw),
            at=number,
            time_us=_time(raw),
            slate=outcome.slate,
        )
        yield decided
        if outcome.cost is None:
            self.counters[Skipped.UNLABELLED] += 1
        else:
            yield Matured(decided, 0.0 - outcome.cost)  # 0.0, not -0.0, of a cost of 0


def unescaped(name: str) -> str:
    """What rankd's export called so: see `server.exports.dsjson`.

    >>> unescaped(" "), unescaped("age"), unescaped("\\\\_age")
    ('', 'age', '_age')
    """
    if name == " ":
        return ""
    return name[1:] if name.startswith(("\\_", "\\\\", "\\ ")) else name


def _outcome(raw: dict[str, Any], key: str, count: int) -> Outcome:
    """What came of a contextual bandit's decision.

    Raises:
        ValueError: the label is incomplete or contradicts itself.
    """
    order, probabilities = raw.get("a"), raw.get("p")
    pmf = None
    if isinstance(order, list) and isinstance(probabilities, list):
        pmf = _spread([_index(a, 1, count, "a") for a in order], probabilities, count)
    chosen = _chosen(raw, count)
    if "_label_probability" in raw:
        propensity = probability(_number(raw, "_label_probability"), "_label_probability")
    elif pmf is not None:
        propensity = probability(float(pmf[chosen]), "p")
    else:
        raise ValueError(
            "_label_probability is missing: without the probability with which the action was drawn, nothing can be estimated"
        )
    cost = _number(raw, "_label_cost") if "_label_cost" in raw else None
    slot = raw.get("Slot")  # in rankd's exports, which have one line for each slot
    slate = key if isinstance(slot, str) and slot else ""
    key = f"{key}/{slot}" if slate else key
    return Outcome(key, 0, chosen, list(range(count)), pmf, propensity, cost, {}, slate)


def _chosen(raw: dict[str, Any], count: int) -> int:
    """Index of the action. `a` says it where there is no label."""
    said = set()
    if "_label_Action" in raw:
        said.add(_index(raw["_label_Action"], 1, count, "_label_Action"))
    if "_labelIndex" in raw:
        said.add(_index(raw["_labelIndex"], 0, count, "_labelIndex"))
    if not said and isinstance(raw.get("a"), list) and raw["a"]:
        said.add(_index(raw["a"][0], 1, count, "a"))
    if len(said) != 1:
        raise ValueError(
            "_label_Action and _labelIndex name two actions" if said else "no action is named"
        )
    return said.pop()


def _spread(order: list[int], probabilities: list[Any], count: int) -> NDArray[np.float64]:
    """The pmf [K] in the order of the actions; 0 where `a` does not name one."""
    if len(order) != len(probabilities) or len(set(order)) != len(order):
        raise ValueError(
            f"a and p: {len(order)} actions, {len(probabilities)} probabilities; "
            "must be as many, and each action once"
        )
    pmf = np.zeros(count)
    pmf[order] = np.array(probabilities, np.float64)
    return pmf


def _actions(multi: list[dict[str, Any]]) -> ActionSet:
    ids: dict[str, None] = {}
    features = []
    for k, action in enumerate(multi):
        if "_slot_id" in action:
            raise ValueError("a slate, whose slots have actions of their own: not read here")
        named = Named()
        named.json(action, unescaped)
        name = _name(action, named) or str(k + 1)
        ids[name if name not in ids else f"{name}#{k + 1}"] = None
        features.append(named)
    return encode_all(list(ids), features)


def _name(action: dict[str, Any], named: Named) -> str:
    """The action's id. Where a feature says it, it is none any more: policies know every action's id."""
    space = named.spaces.get(_ID_NAMESPACE)
    found = [v for name, v in space.categories if name == _ID] if space is not None else []
    if space is not None and found:
        del space.categories[_ID, found[0]]
    tag = action.get("_tag")
    return tag if isinstance(tag, str) and tag else found[0] if found else ""


def _weight(raw: dict[str, Any]) -> float:
    """Of what was logged, a share `pdrop` was dropped at random."""
    dropped = _number(raw, "pdrop") if "pdrop" in raw else 0.0
    if not 0.0 <= dropped < 1.0:
        raise ValueError(f"pdrop is {dropped}: must be in [0, 1)")
    return 1.0 / (1.0 - dropped)


def _time(raw: dict[str, Any]) -> int | None:
    """VW passes over it, so whatever is no time is none."""
    try:
        return microseconds(raw["Timestamp"])
    except (KeyError, ValueError):
        return None


def _number(raw: dict[str, Any], name: str) -> float:
    value = raw[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name} is {value!r}: must be a number")
    return float(value)


def _index(value: object, first: int, count: int, name: str) -> int:
    """The action's index, of a number that counts from `first`."""
    if isinstance(value, bool) or not isinstance(value, int) or not first <= value < first + count:
        raise ValueError(f"{name} is {value!r}: must be from {first} to {first + count - 1}")
    return value - first


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON number")
