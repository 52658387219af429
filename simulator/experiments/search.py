"""Which settings, from a log: candidates are compared on its earlier part, and the best is valued on the later part alone.

The cut is at a decision, in log time. What was not known when that decision was made is not used to choose: a reward of an earlier
decision that was final only later counts for neither part. Policies that learn all the while learn it when it was final, as
they would have live.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from policies import PolicyError
from simulator.estimators import DM, ESTIMATORS, MRDR
from simulator.experiments.ask import Ask, Question
from simulator.experiments.choice import choose
from simulator.experiments.cut import Part
from simulator.experiments.fingerprint import survey
from simulator.experiments.grid import candidates_of, same
from simulator.experiments.run import run
from simulator.experiments.source import source_of
from simulator.experiments.tuning import Compared, Tuning, Valued
from simulator.met import check_range, rewards_met, widened
from simulator.specs import policy_of
from simulator.targets import FROZEN, TRAINED_ON_LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from os import PathLike
    from pathlib import Path

    from simulator.experiments.choice import Choice
    from simulator.experiments.grid import Candidate
    from simulator.experiments.source import Source
    from simulator.logs import Log

CHOOSE_ON = 0.6
"""Share of the decisions to choose on, unless one says otherwise."""
ESTIMATOR_NAMES = tuple(
    name
    for name, cls in ESTIMATORS.items()
    if cls.tuned is None and name not in (MRDR.name, DM.name)
)
"""Estimators that candidates can be compared by: those with no setting of their own, which would have to be chosen, too, and whose
rows tell their error, as those of dm do not."""
# Of the draws that tell luck; nothing that is chosen or valued depends on it.
_SEED = 1


class NothingToChooseError(Exception):
    """The log cannot tell the value of any candidate, or has too few decisions. The message says why."""


def tune(
    source: Source | Log | str | PathLike[str],
    specs: Sequence[str],
    *,
    estimator: str = "dr",
    estimand: str = TRAINED_ON_LOG,
    choose_on: float = CHOOSE_ON,
    score_on_chosen: bool = False,
    reward_range: tuple[float, float] | None = None,
    standardise: bool = True,
    min_exploration: float = 0.05,
    reward_model: str = "linucb",
    alpha: float = 0.05,
    force: bool = False,
    jobs: int | None = None,
    folder: Path | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> Tuning:
    """Compares every candidate of some grids on a log's earlier part, and values the best on the later part.

    >>> from simulator.experiments import Opened
    >>> from simulator.logs import ArraysLog
    >>> rng = np.random.default_rng(1)
    >>> x, action = rng.standard_normal((1_000, 2)), rng.integers(2, size=1_000)
    >>> reward = (action == (x[:, 0] > 0)).astype(float)
    >>> log = ArraysLog({"context": x, "action": action, "reward": reward, "pi_b": np.full((1_000, 2), 0.5)})
    >>> found = tune(Opened(log), ["linucb:alpha=[0.1,0.3]", "uniform"])
    >>> found.policies[0].policy, found.chosen_on, found.valued_on, found.policies[0].estimate["value"] > 0.9
    ('linucb:alpha=0.1', 600, 400, True)

    Args:
        source: of the log; or a file, or a log that is at hand.
        specs: policies, with lists for what varies: see `grid`.
        estimator: that candidates are compared and valued by; one of ESTIMATOR_NAMES.
        estimand: "trained_on_log": candidates learn all the while, and only the rows of one part count. "frozen": they learn what was
            known when a part began, and stay as they are; to be compared, they learn the first `choose_on` of the earlier part.
        choose_on: share of the decisions, in (0, 1), that candidates are compared on.
        score_on_chosen: choose and value on the same rows, all of them; what comes out is too high.
        reward_range: (lowest, highest) reward that can be; else as the log says, or as it has them.
        standardise, min_exploration: of every candidate, as in the service.
        reward_model: the policy whose expectations dr and its kin use.
        alpha: in (0, 1), the share of logs whose interval misses the value.
        force: whether to choose by numbers that should not be believed, too.
        jobs, folder: as `run` has them.
        progress: called with what is done so far and of how much, in passes over the log.

    Raises:
        ValueError: choose_on, alpha or a name is not what it can be, or a reward is outside the range that was given.
        PolicyError: a candidate cannot be; the message names it.
        LogFormatError: the log is not what its format says.
        NothingToChooseError: no candidate has a value.
        StoreError: the folder cannot be used.
    """
    _check(estimator, estimand, choose_on, alpha)
    candidates = candidates_of(specs)
    source = source_of(source)
    total = len(candidates) + 2  # passes: one to survey, one for each candidate, one to value
    tell = progress or _nobody
    tell(0, total)
    with source.open() as log:
        known = survey(log)
        if reward_range is not None and known.matured:
            check_range((known.low, known.high), reward_range)
        limits = early = reward_range or log.reward_range
    cut = known.decided if score_on_chosen else int(choose_on * known.decided)
    range_met = limits is None
    if limits is None or early is None:  # what is chosen must not hang on rewards after the cut
        limits = widened(known.low, known.high)
        with source.open() as log:
            early = rewards_met(Part(log, 0, cut))
    question = Question(
        estimand,
        estimator,
        limits,
        range_met,
        standardise,
        min_exploration,
        policy_of(reward_model, "--reward-model"),
        alpha,
        force,
    )
    choosing = replace(question, reward_range=early)
    for each in candidates:  # what cannot be is said before the first pass
        _build(question, each)
    begin = int(choose_on * cut) if estimand == FROZEN else 0
    if not begin < cut or not (score_on_chosen or cut < known.decided):
        raise NothingToChooseError(
            f"{known.decided} decisions: too few to choose on {choose_on:g} of them"
        )
    experiment = {
        "log": known.facts,
        "question": question.facts,
        "choosing": choosing.facts,
        "begin": begin,
        "cut": cut,
    }
    until = None if score_on_chosen else cut

    def done(trials: Sequence[Ask], before: int) -> list[dict[str, Any]]:
        return run(
            trials,
            experiment=experiment,
            folder=folder,
            jobs=jobs,
            progress=lambda part: tell(before + part, total),
        )

    compared = done([Ask(source, known, choosing, (each,), begin, until) for each in candidates], 1)
    choice = _chosen(candidates, compared)
    finalists = _finalists(candidates, choice)
    those = tuple(candidates[i] for i in finalists.values())
    last = Ask(source, known, question, those, begin if score_on_chosen else cut, None)
    (valued,) = done([last], 1 + len(candidates))
    first = compared[choice.winner]
    told = [
        Compared(each.name, policy["estimate"], policy["vs_logged"], chance)
        for each, policy, chance in zip(
            candidates, (found["policies"][0] for found in compared), choice.chances, strict=True
        )
    ]
    minus = [None, *valued["first_minus"]]
    return Tuning(
        estimand=estimand,
        estimator=estimator,
        decided=known.decided,
        choose_on=1.0 if score_on_chosen else choose_on,
        cut=cut,
        chosen_on=first["rows"],
        valued_on=valued["rows"],
        left_out=0 if score_on_chosen else valued["before"] - first["before"] - first["rows"],
        optimistic=score_on_chosen,
        optimism=choice.optimism,
        reward_range=limits,
        candidates=told,
        logged=valued["logged"],
        policies=[
            Valued(told[i].policy, role, now["estimate"], now["vs_logged"], more, told[i])
            for (role, i), now, more in zip(
                finalists.items(), valued["policies"], minus, strict=True
            )
        ],
    )


def _nobody(done: float, of: int) -> None:
    """Is told, and does nothing."""


def _check(estimator: str, estimand: str, choose_on: float, alpha: float) -> None:
    if estimator not in ESTIMATOR_NAMES:
        why = (
            "has a setting or a model to be chosen itself"
            if estimator in ESTIMATORS
            else "there is none"
        )
        raise ValueError(f"estimator {estimator}: {why}; take one of {', '.join(ESTIMATOR_NAMES)}")
    if estimand not in (TRAINED_ON_LOG, FROZEN):
        raise ValueError(f"estimand {estimand}: must be {TRAINED_ON_LOG} or {FROZEN}")
    if not 0 < choose_on < 1:
        raise ValueError(
            f"choose_on {choose_on:g}: must be in (0, 1). Rows that were chosen on cannot be valued on: the best of many estimates is "
            "too high. To see it all the same, score on what was chosen on, and say so"
        )
    if not 0 < alpha < 1:
        raise ValueError(f"alpha {alpha:g}: must be in (0, 1)")


def _build(question: Question, candidate: Candidate) -> None:
    try:
        question.spec(dict(candidate.policy)).build()
    except PolicyError as error:
        raise PolicyError(f"--policy {candidate.name}: {error}") from error


def _chosen(candidates: Sequence[Candidate], compared: Sequence[dict[str, Any]]) -> Choice:
    results = [found["policies"][0] for found in compared]
    values = [result["estimate"]["value"] for result in results]
    if all(value is None for value in values):
        reason = results[0]["estimate"]["reason"]
        raise NothingToChooseError(
            f"the earlier part of the log cannot tell the value of any candidate. {candidates[0].name}: {reason}"
        )
    return choose(values, [result["blocks"] for result in results], np.random.default_rng(_SEED))


def _finalists(candidates: Sequence[Candidate], choice: Choice) -> dict[str, int]:
    """Whom to value: role and place of each, the winner first. A candidate has one role only."""
    found = {"winner": choice.winner}
    if len(choice.order) > 1:
        found["runner-up"] = choice.order[1]
    default = candidates[choice.winner].default
    if default is not None:
        place = next(i for i, each in enumerate(candidates) if same(each, default))
        if place not in found.values():
            found["default"] = place
        elif place == found.get("runner-up"):
            found["runner-up, default"] = found.pop("runner-up")
    return found
