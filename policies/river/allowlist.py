"""What a saved River model may be made of: the only classes and functions that `objects` will ever name.

A name is "module:qualified name". Whatever is not listed is refused before anything is imported or called.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict, defaultdict, deque
from functools import partial
from importlib import import_module
from random import Random
from statistics import NormalDist

# River's packages that only compute. Left out are those that read files, fetch data, or wrap other libraries:
# bandit.datasets, checks, compat, datasets, evaluate, reco, stream, time_series.
PACKAGES = frozenset(
    {
        "_river_rust",
        "active",
        "anomaly",
        "bandit",
        "base",
        "cluster",
        "compose",
        "conf",
        "covariance",
        "drift",
        "dummy",
        "ensemble",
        "facto",
        "feature_extraction",
        "feature_selection",
        "forest",
        "imblearn",
        "linear_model",
        "metrics",
        "misc",
        "model_selection",
        "multiclass",
        "multioutput",
        "naive_bayes",
        "neighbors",
        "optim",
        "preprocessing",
        "proba",
        "rules",
        "sketch",
        "stats",
        "tree",
        "utils",
    }
)
_RIVER = re.compile(r"river\.([a-z_]+)(?:\.[a-z0-9_]+)*")

_STANDARD = {
    f"{cls.__module__}:{cls.__qualname__}": cls
    for cls in (
        *(bool, dict, float, frozenset, int, list, set, str, tuple),
        *(Counter, OrderedDict, defaultdict, deque, partial, Random, NormalDist),
    )
}

# Classes whose objects are made by calling the class with what they hold. All others come from __new__ alone, so that
# no constructor runs.
CALLED = frozenset(
    {
        "collections:Counter",
        "collections:OrderedDict",
        "collections:defaultdict",
        "collections:deque",
        "functools:partial",
        "random:Random",
        "river._river_rust.vectordict:VectorDict",
    }
)

# Functions that River's models keep among their attributes. None does more than arithmetic on what it is given.
_FUNCTIONS = frozenset(
    {
        "copy:deepcopy",
        "river._river_rust.vectordict:euclidean_distance_tuple",
        "river.forest.online_extra_trees:ExtraTrees._detection_mode_all",
        "river.forest.online_extra_trees:ExtraTrees._detection_mode_drop",
        "river.forest.online_extra_trees:ExtraTrees._detection_mode_off",
        "river.naive_bayes.gaussian:GaussianNB._make_gaussian",
        "river.tree.splitter.ebst_splitter:EBSTNode._update_estimator_multivariate",
        "river.tree.splitter.ebst_splitter:EBSTNode._update_estimator_univariate",
        "river.tree.splitter.qo_splitter:Slot._update_estimator_multivariate",
        "river.tree.splitter.qo_splitter:Slot._update_estimator_univariate",
    }
)


class RefusedError(ValueError):
    """A name that is not on the list."""


def is_river(name: str) -> bool:
    """Whether a class of this name may be one of River's."""
    module = _RIVER.fullmatch(name.partition(":")[0])
    return module is not None and module[1] in PACKAGES and ".datasets" not in module[0]


def find_class(name: str) -> type:
    """The class of that name.

    >>> find_class("collections:deque")
    <class 'collections.deque'>

    Raises:
        RefusedError: it is not on the list, or there is no such class.
    """
    if name in _STANDARD:
        return _STANDARD[name]
    found = _find(name) if is_river(name) else None
    if not isinstance(found, type) or name_of(found) != name:
        raise RefusedError(f"the class {name!r}")
    return found


def find_function(name: str) -> object:
    """The function of that name.

    Raises:
        RefusedError: it is not on the list.
    """
    found = _find(name) if name in _FUNCTIONS else None
    if found is None:
        raise RefusedError(f"the function {name!r}")
    return found


def name_of(thing: object) -> str:
    """The name of a class or a function; it need not be on the list.

    >>> name_of(deque)
    'collections:deque'
    """
    return f"{getattr(thing, '__module__', None)}:{getattr(thing, '__qualname__', None)}"


def _find(name: str) -> object:
    module, _, path = name.partition(":")
    try:
        found: object = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    return found
