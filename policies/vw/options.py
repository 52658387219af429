"""Vowpal Wabbit command lines: which options rankd runs, and how they are handed over.

VW's options open files, sockets and consoles, and a few crash the process. So a line is never given to VW as it stands:
it is parsed here against VW's own table of options, only what is known to be harmless passes, and VW
gets `--name=value` tokens that leave nothing to interpret.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING

import vowpalwabbit

from policies.policy import PolicyError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vowpalwabbit.pyvw import VWOption

# VW's groups of general options that only shape the model. All others feed, watch, store or distribute VW.
_GROUPS = {
    "Example Options",
    "Feature Options",
    "Randomization Options",
    "Update Options",
    "Weight Options",
}

# VW's parts ("reductions") that work below --cb_explore_adf in 9.11.9: each was run with its options through the round
# trip of tests/policies/test_vw.py. Left out are those that crash (cbify_ldf), wait for the network
# (active), answer something other than probabilities of actions, or save less than they know (replay, OjaNewton).
_REDUCTIONS = {
    "autolink",
    "automl",
    "baseline",
    "baseline_challenger_cb",
    "boosting",
    "bootstrap",
    "cb_adf",
    "cb_dro",
    "cb_explore_adf_bag",
    "cb_explore_adf_cover",
    "cb_explore_adf_first",
    "cb_explore_adf_graph_feedback",
    "cb_explore_adf_greedy",
    "cb_explore_adf_large_action_space",
    "cb_explore_adf_regcb",
    "cb_explore_adf_rnd",
    "cb_explore_adf_softmax",
    "cb_explore_adf_squarecb",
    "cb_explore_adf_synthcover",
    "ccb_explore_adf",
    "csoaa_ldf",
    "epsilon_decay",
    "ftrl",
    "gd",
    "generate_interactions",
    "interact",
    "lrq",
    "lrqfa",
    "marginal",
    "new_mf",
    "nn",
    "scorer",
    "stage_poly",
}

_FILE = "it names a file, and a policy touches none"
_WORDS = "it works on words, and rankd hands over hashed features"
_READING = "it steers how VW reads a file; rankd hands over each interaction once, as it comes"
_REFUSED = {
    "affix": _WORDS,
    "csv_trace": _FILE,
    "dictionary": _FILE,
    "dictionary_path": _FILE,
    "early_terminate": _READING,
    "elim": "VW 9.11 answers with probabilities below 0; use --squarecb alone, or --regcb",
    "epsilon_decay_audit": _FILE,
    "examples": _READING,
    "feature_mask": _FILE,
    "freegrad": "VW 9.11 estimates NaN after a few rounds; use --coin, which needs no learning rate either",
    "holdout_after": _READING,
    "holdout_off": _READING,
    "holdout_period": _READING,
    "initial_pass_length": _READING,
    "initial_regressor": "a model is loaded from the policy's state",
    "input_feature_regularizer": _FILE,
    "ngram": _WORDS,
    "passes": _READING,
    "skips": _WORDS,
    "slates": "its slots have actions of their own each, and rankd's share theirs; use --ccb_explore_adf",
    "spelling": _WORDS,
    "testonly": "it would never learn",
    "thread_pool_size": "a sum may depend on how threads share it",
}

# Given or not, these hold: VW is always quiet, never reads the console, and models keep all they need to go on.
_OURS = {"no_stdin", "preserve_performance_counters", "quiet", "save_resume"}

# What only counts at birth. A saved model holds the state of the random generator, and VW refuses a seed beside it;
# random weights would be drawn again for every weight that is 0.
_BIRTH = {"normal_weights", "random_seed", "random_weights", "truncated_normal_weights"}

# Most policies of a bag, units of a network and so on, each of which a prediction must pay for. --first is no such size
# but a number of interactions.
_MOST = 1000

# RegCB's confidence bounds are clipped to these costs; outside of them it never learns anything.
_BOUNDED = {"regcb", "regcbopt"}


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command line that passed all checks, as VW gets it."""

    new: tuple[str, ...]  # for a workspace without a model
    resume: tuple[str, ...]  # beside a saved model, which holds the other options itself
    names: frozenset[str]  # of all options, without dashes

    @property
    def ccb(self) -> bool:
        """Whether it fills slots, rather than choosing one action."""
        return "ccb_explore_adf" in self.names


def command_line(args: str, reward_range: tuple[float, float]) -> CommandLine:
    """Checks a command line as one would type it after `vw`.

    Costs are negative rewards, so RegCB's `--cb_min_cost` and `--cb_max_cost` default to the reward range's.

    >>> command_line("--cb_explore_adf -q ci -l 0.1", (0.0, 1.0)).new
    ('--cb_explore_adf', '--quadratic=ci', '--learning_rate=0.1', '--random_seed=1')

    Raises:
        PolicyError: neither --cb_explore_adf nor --ccb_explore_adf, an unknown option, one that rankd does not run, or a value that is missing
            or wrong. The message names the option and says what to do.
    """
    given: list[tuple[str, str | None]] = []
    seen: set[str] = set()
    for name, value in _parse(args):
        option = _table()[name]
        if name in seen and not option.many:
            raise PolicyError(f"args: --{name} comes twice")
        seen.add(name)
        if name in _OURS:
            continue
        reason = _refusal(name, option)
        if reason:
            raise PolicyError(f"args: --{name} is refused: {reason}; leave it out")
        numbers = option.numbers
        if numbers and not (value and value.isdecimal() and int(value) in numbers):
            raise PolicyError(
                f"args: --{name} is {value!r}; must be a whole number "
                f"from {numbers.start} to {numbers.stop - 1}"
            )
        given.append((name, value))
    kinds = {"cb_explore_adf", "ccb_explore_adf"} & seen
    if len(kinds) != 1:
        what = (
            "is missing; add it, or"
            if not kinds
            else "and --ccb_explore_adf exclude each other; use"
        )
        raise PolicyError(f"args: --cb_explore_adf {what} --ccb_explore_adf for slots only")
    if seen & _BOUNDED:
        low, high = reward_range
        bounds = {"cb_min_cost": -high, "cb_max_cost": -low}
        given += [(name, f"{cost:.9g}") for name, cost in bounds.items() if name not in seen]
    if "random_seed" not in seen:
        given.append(("random_seed", "1"))
    tokens = [
        (name, f"--{name}" if value is None else f"--{name}={value}") for name, value in given
    ]
    return CommandLine(
        new=tuple(token for _, token in tokens),
        resume=tuple(t for name, t in tokens if name not in _BIRTH and not _table()[name].keep),
        names=frozenset(name for name, _ in given),
    )


@dataclass(frozen=True, slots=True)
class _Option:
    """One option as VW describes it."""

    flag: bool  # takes no value
    many: bool  # may come several times
    numbers: range | None  # what it may be, if it is a whole number of 0 or more
    keep: bool  # saved with the model
    places: tuple[tuple[str, str], ...]  # (reduction or "general", group) of each definition


@cache
def _table() -> dict[str, _Option]:
    """VW's own table of its options: about 500, by long name."""
    places: dict[str, list[tuple[str, str]]] = {}
    options: dict[str, list[VWOption]] = {}
    for reduction, group, option in _definitions():
        places.setdefault(option.name, []).append((reduction, group))
        options.setdefault(option.name, []).append(option)
    return {
        name: _Option(
            flag=isinstance(defined[0].default_value, bool),
            many=isinstance(defined[0].default_value, list),
            numbers=min(filter(None, map(_numbers, defined)), key=len, default=None),
            keep=any(option.keep for option in defined),
            places=tuple(places[name]),
        )
        for name, defined in options.items()
    }


def _numbers(option: VWOption) -> range | None:
    """VW reads -1 as 4,294,967,295, and crashes on some zeros and some millions."""
    if type(option.default_value) is not int or option.default_value < 0:
        return None
    if option.necessary and option.name != "first":
        return range(1, _MOST + 1)
    return range(2**32)


@cache
def _short_names() -> dict[str, str]:
    """The long name of each one-letter option."""
    return {option.short_name: option.name for _, _, option in _definitions() if option.short_name}


@cache
def _definitions() -> list[tuple[str, str, VWOption]]:
    """(reduction, group, option) of every definition. An option may be defined in several places."""
    workspace = vowpalwabbit.Workspace(arg_list=["--cb_explore_adf", "--quiet"])
    try:
        config = workspace.get_config(filtered_enabled_reductions_only=False)
    finally:
        workspace.finish()
    return [
        (reduction, group, option)
        for reduction, groups in sorted(config.items())
        for group, options in groups
        for option in options
    ]


def _parse(args: str) -> Iterator[tuple[str, str | None]]:
    """(long name, value) of each option; the value of a flag is None."""
    try:
        words = iter(shlex.split(args))
    except ValueError as error:
        raise PolicyError(f"args: {error}") from error
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
        elif word.startswith("-") and len(word) > 1:
            name, value = _short_names().get(word[1], word[1]), word[2:]
            equals = value
        else:
            raise PolicyError(
                f"args: {word!r} stands alone; an option comes before each value, as in -q ci -q ca"
            )
        option = _table().get(name)
        if option is None:
            close = get_close_matches(name, _table(), n=1)
            hint = f"did you mean --{close[0]}?" if close else "leave it out"
            raise PolicyError(f"args: Vowpal Wabbit has no option {word!r}; {hint}")
        if option.flag:
            if equals:
                raise PolicyError(f"args: --{name} takes no value, but has {value!r}")
            yield name, None
        else:
            if not equals:
                value = next(words, "")
            if not value or value.startswith("--"):
                raise PolicyError(f"args: --{name} needs a value")
            yield name, value


def _refusal(name: str, option: _Option) -> str:
    """Why the option may not be used, or nothing."""
    if name in _REFUSED:
        return _REFUSED[name]
    if any(
        group in _GROUPS if reduction == "general" else reduction in _REDUCTIONS
        for reduction, group in option.places
    ):
        return ""
    reduction, group = option.places[0]
    if reduction == "general":
        return f"it is one of VW's {group.lower()}, and rankd itself feeds, watches and stores VW"
    return f"it belongs to VW's {reduction}, which rankd does not run"
