"""Whether a log that rankd did not write is sound: the checks of `rankd validate` that any logged decisions allow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankd.commands.check import (
    MOST_LOST,
    MOST_UNREWARDED,
    Check,
    not_activated,
    share,
)
from rankd.commands.check_propensities import draws, overlap
from simulator.logs import DsjsonLog, LogFormatError, Skipped
from simulator.logs.lines import FileLog
from simulator.validation import validate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from simulator.logs import Decided, Log
    from simulator.validation import Order, Validation

# How far behind the latest decision before it a decision may be on average, as a share of the log's whole time. Shuffled
# rows are half of it behind; those of an export, which are in the order of their final rewards, as far as these were late.
_MOST_DISORDER = 0.1
_MICROSECONDS = 1e6


def check_feedback(log: Log) -> Iterator[Check]:
    """Every check, in order; the later ones only if the log can be read."""
    try:
        found = validate(log)
    except LogFormatError as error:
        yield Check("readable", False, str(error))
        return
    if not found.decided:
        yield Check(
            "readable", False, f"{log.name}: there is no decision in it{_passed_over(found)}"
        )
        return
    yield Check("readable", True, f"{log.name}: {found.decided:,} decisions{_passed_over(found)}")
    what = log.what if isinstance(log, FileLog) else "row"
    yield _time(found.order, what)
    yield _probabilities(found, what)
    yield from _drawn(found)
    yield overlap("", found.support, whole=found.whole == found.decided)
    yield _joins(found)
    yield _duplicates(found, what)
    yield _rewards(found)
    yield _deferred(found, log)
    yield _thinned(found)


def _passed_over(found: Validation) -> str:
    """What the log has beside decisions."""
    words = {
        Skipped.NOT_AN_OBJECT: "lines about no decision passed over ({})",
        Skipped.CUT_SHORT: "a last line that was cut short left out ({})",
    }
    said = [
        text.format(found.passed_over[name])
        for name, text in words.items()
        if found.passed_over[name]
    ]
    return "".join(f"; {text}" for text in said)


def _time(order: Order, what: str) -> Check:
    if not order.rows:
        return Check(
            "time", True, "the log tells no times; its rows are taken to be in their order"
        )
    if not order.falls or order.where is None:
        return Check("time", True, f"{order.rows:,} decisions in the order of their time")
    said = (
        f"{order.falls:,} decisions are stamped before the one that they follow, by up to "
        f"{order.greatest_us / _MICROSECONDS:,.6g} s; the first is {_place(order.where, what)}"
    )
    if order.disorder <= _MOST_DISORDER:
        return Check("time", True, f"{said}. As where rows are sorted by when their rewards came")
    return Check(
        "time",
        False,
        f"{said}. Sort the log by time: what learns on the way must not know what came later",
    )


def _probabilities(found: Validation, what: str) -> Check:
    if found.contradiction is not None:
        wrong = found.contradiction
        assert wrong.pmf is not None
        return Check(
            "probabilities",
            False,
            f"{found.contradictions:,} decisions contradict themselves; the first is {_place(wrong, what)}: its propensity "
            f"is {wrong.propensity:g}, its pmf has {wrong.pmf[wrong.chosen]:g}",
        )
    said = f"{found.decided:,} propensities in (0, 1]"
    if found.whole:
        return Check(
            "probabilities",
            True,
            f"{said}; {found.whole:,} pmfs sum to 1 and allow what was chosen",
        )
    return Check("probabilities", True, f"{said}; without pmfs, less can be checked and told")


def _drawn(found: Validation) -> Iterator[Check]:
    if found.whole:
        yield from draws("", found.propensities)
    alone = found.decided - found.whole
    if not alone:
        return
    weight = found.weight
    mean = 1.0 + weight.total / alone
    said = f"{mean:.4f} over {alone:,} decisions, z {weight.z:+.2f}: it must be near 1"
    far = weight.too_far(1)
    if far and mean < 1:
        said += "; some actions are never taken, or the propensities are too high"
    elif far:
        said += "; the propensities are too low: they are not those that were drawn with"
    name = "mean weight without pmf" if found.whole else "mean weight"
    yield Check(name, not far, said)


def _joins(found: Validation) -> Check:
    dangling = found.passed_over[Skipped.DANGLING]
    rewards = found.matured + dangling
    return Check(
        "joins",
        dangling <= MOST_LOST * rewards,
        f"{share(found.matured, rewards)} of {rewards:,} rewards have their decision, {dangling:,} have none",
    )


def _duplicates(found: Validation, what: str) -> Check:
    if found.duplicate is None:
        return Check("duplicates", True, "every decision has a name of its own")
    first, second = found.duplicate
    return Check(
        "duplicates",
        False,
        f"{found.duplicates:,} decisions have the name of an earlier one; the first is {_place(second, what)}, named as that "
        f"of {what} {first.at}. Each would count twice: leave one out, or give each a name of its own",
    )


def _rewards(found: Validation) -> Check:
    missing = found.decided - found.matured
    return Check(
        "rewards",
        missing <= MOST_UNREWARDED * found.decided,
        f"{found.matured:,} of {found.decided:,} decisions have their final reward; {share(missing, found.decided)} have none, "
        "and are left out of every estimate",
    )


def _deferred(found: Validation, log: Log) -> Check:
    """dsjson says `_skipLearn` of deferred decisions that nobody activated."""
    missing = found.passed_over[Skipped.SKIP_LEARN]
    if missing:
        return not_activated("", missing, found.decided + missing, " (_skipLearn)")
    said = "no decision is marked as never activated"
    if isinstance(log, DsjsonLog):
        said += (
            "; rankd's exports leave such decisions out, and its own log tells how many there are"
        )
    return Check("deferred", True, said)


def _thinned(found: Validation) -> Check:
    weights = sorted(found.weights)
    if weights == [1.0]:
        return Check("thinned", True, "no decision stands for others")
    if len(weights) == 1:
        return Check(
            "thinned",
            True,
            f"each decision stands for {weights[0]:g}: the others were dropped at random (pdrop), which changes no mean",
        )
    return Check(
        "thinned",
        False,
        f"decisions stand for {weights[0]:g} to {weights[-1]:g} others (pdrop): replay asks for one rate. Split the log by pdrop, or "
        "thin it to one rate: keep a row with probability (1 - greatest pdrop) / (1 - its own)",
    )


def _place(decision: Decided, what: str) -> str:
    return f"{decision.key!r} ({what} {decision.at})"
