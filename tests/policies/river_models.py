"""Every regressor and classifier that River has, as a specification; and, run as a script, what became of each.

Prints JSON: {name: {"refused": reason} or {"state": sha256 after 400 lessons, "problems": [...]}}.
"""

from __future__ import annotations

import inspect
import json
import sys
import warnings
from hashlib import sha256
from importlib import import_module
from random import Random
from typing import Any

from river.base import Classifier, Regressor

from policies import PolicyError
from policies.river.reward_model import RewardModel

LOGISTIC, LINEAR = "linear_model.LogisticRegression", "linear_model.LinearRegression"
TWO_CLASSIFIERS = {"models": [LOGISTIC, {LOGISTIC: {"l2": 0.1}}], "metric": "metrics.Accuracy"}
TWO_REGRESSORS = {"models": [LINEAR, {LINEAR: {"l2": 0.1}}], "metric": "metrics.MAE"}
BANDIT = {"policy": {"bandit.EpsilonGreedy": {"epsilon": 0.1}}}
SAMPLED = {"classifier": LOGISTIC, "desired_dist": {"true": 0.5, "false": 0.5}}
SOON = {"grace_period": 50}  # lessons before a tree tries to split

# What those need, or get to be quicker, that are not made with their defaults.
PARAMETERS: dict[str, dict[str, Any]] = {
    "active.EntropySampler": {"classifier": LOGISTIC},
    "conf.RegressionJackknife": {"regressor": LINEAR},
    "drift.DriftRetrainingClassifier": {"model": LOGISTIC},
    "dummy.StatisticRegressor": {"statistic": "stats.Mean"},
    "ensemble.ADWINBaggingClassifier": {"model": LOGISTIC, "n_models": 3},
    "ensemble.ADWINBoostingClassifier": {"model": LOGISTIC, "n_models": 3},
    "ensemble.AdaBoostClassifier": {"model": LOGISTIC, "n_models": 3},
    "ensemble.BOLEClassifier": {"model": LOGISTIC, "n_models": 3},
    "ensemble.BaggingClassifier": {"model": LOGISTIC, "n_models": 3},
    "ensemble.BaggingRegressor": {"model": LINEAR, "n_models": 3},
    "ensemble.EWARegressor": {"models": [LINEAR, "linear_model.PARegressor"]},
    "ensemble.LeveragingBaggingClassifier": {"model": LOGISTIC, "n_models": 3},
    "ensemble.SRPClassifier": {"n_models": 2},
    "ensemble.SRPRegressor": {"n_models": 2},
    "ensemble.StackingClassifier": {
        "models": [LOGISTIC, "naive_bayes.GaussianNB"],
        "meta_classifier": LOGISTIC,
    },
    "ensemble.VotingClassifier": {"models": [LOGISTIC, "naive_bayes.GaussianNB"]},
    "forest.AMFClassifier": {"n_estimators": 2},
    "forest.AMFRegressor": {"n_estimators": 2},
    "forest.ARFClassifier": {"n_models": 2, **SOON},
    "forest.ARFRegressor": {"n_models": 2, **SOON},
    "forest.OXTRegressor": {"n_models": 2, **SOON},
    "imblearn.ChebyshevOverSampler": {"regressor": LINEAR},
    "imblearn.ChebyshevUnderSampler": {"regressor": LINEAR},
    "imblearn.HardSamplingClassifier": {"classifier": LOGISTIC, "size": 10, "p": 0.5},
    "imblearn.HardSamplingRegressor": {"regressor": LINEAR, "size": 10, "p": 0.5},
    "imblearn.RandomOverSampler": SAMPLED,
    "imblearn.RandomSampler": SAMPLED,
    "imblearn.RandomUnderSampler": SAMPLED,
    "model_selection.BanditClassifier": {**TWO_CLASSIFIERS, **BANDIT},
    "model_selection.BanditRegressor": {**TWO_REGRESSORS, **BANDIT},
    "model_selection.GreedyRegressor": TWO_REGRESSORS,
    "model_selection.SuccessiveHalvingClassifier": {**TWO_CLASSIFIERS, "budget": 100},
    "model_selection.SuccessiveHalvingRegressor": {**TWO_REGRESSORS, "budget": 100},
    "multiclass.OneVsOneClassifier": {"classifier": LOGISTIC},
    "multiclass.OneVsRestClassifier": {"classifier": LOGISTIC},
    "multiclass.OutputCodeClassifier": {"classifier": LOGISTIC, "code_size": 4},
    "neighbors.KNNClassifier": {"engine": {"neighbors.LazySearch": {"window_size": 100}}},
    "neighbors.KNNRegressor": {"engine": {"neighbors.LazySearch": {"window_size": 100}}},
    "preprocessing.PredClipper": {"regressor": LINEAR, "y_min": 0, "y_max": 1},
    "preprocessing.TargetMinMaxScaler": {"regressor": LINEAR},
    "preprocessing.TargetStandardScaler": {"regressor": LINEAR},
    "tree.ExtremelyFastDecisionTreeClassifier": SOON,
    "tree.HoeffdingAdaptiveTreeClassifier": SOON,
    "tree.HoeffdingAdaptiveTreeRegressor": SOON,
    "tree.HoeffdingTreeClassifier": SOON,
    "tree.HoeffdingTreeRegressor": SOON,
}

_AMBIGUOUS = "a prediction changes those that come after it"
_NO_PROBABILITIES = "it gives no probabilities"
_FIELDS = "has no attribute 'split'"
_NEGATIVE = "math domain error"
# Why some are refused, as far as the message tells.
REFUSED = {
    "active.EntropySampler": "'tuple' object",  # answers two things
    "compose.TargetTransformRegressor": "func",  # functions cannot be written in a configuration
    "ensemble.VotingClassifier": _NO_PROBABILITIES,
    "facto.FFMClassifier": _FIELDS,  # reads fields out of features' names
    "facto.FFMRegressor": _FIELDS,
    "facto.FwFMClassifier": _FIELDS,
    "facto.FwFMRegressor": _FIELDS,
    "imblearn.RandomOverSampler": "KeyError",  # needs True and False for keys, and JSON has strings only
    "imblearn.RandomSampler": "KeyError",
    "imblearn.RandomUnderSampler": "KeyError",
    "misc.ZstdClassifier": "ZstdClassifier",  # classifies text
    "multiclass.OneVsOneClassifier": _NO_PROBABILITIES,
    "multiclass.OutputCodeClassifier": _NO_PROBABILITIES,
    "naive_bayes.ComplementNB": _NEGATIVE,  # wants counts
    "naive_bayes.MultinomialNB": _NEGATIVE,
    "tree.ISOUPTreeRegressor": "one target",
}


def names() -> list[str]:
    """Every regressor and classifier among River's public classes."""
    found = set()
    # River's compat wraps other libraries, and is there only where they are.
    for package in set(import_module("river.api").__all__) - {"compat"}:
        for name, cls in inspect.getmembers(import_module(f"river.{package}"), inspect.isclass):
            if issubclass(cls, Regressor | Classifier) and not inspect.isabstract(cls):
                found.add(f"{package}.{name}")
    return sorted(found)


def lessons(count: int) -> list[tuple[dict[int, float], float]]:
    """Rows of three actions' features, and rewards of which one in six is neither 0 nor 1."""
    random = Random(1)
    rows = []
    for i in range(count):
        action = 1_000 * (i % 3 + 1)
        row = {action: 1.0, 7: float(i % 4), 10**18 + i % 7: 1.0}
        row |= {action + 1 + j: random.gauss(0, 1) for j in range(4)}
        paid = row[action + 1] + 0.5 * random.gauss(0, 1) > 0
        rows.append((row, float(paid) if i % 6 else 0.3))
    return rows


def outcome(name: str) -> dict[str, Any]:
    """What becomes of this estimator as a model of rewards."""
    spec = {name: PARAMETERS.get(name, {})}
    try:
        model = RewardModel(spec)
    except PolicyError as error:
        return {"refused": str(error)}
    rows = lessons(400)
    for lesson in rows[:250]:
        model.learn(*lesson)
    saved = model.save()
    resumed = RewardModel(spec, saved, model.learned, model.skipped)
    asked = [row for row, _ in rows[-20:]] + [{5: 1.0}]
    checks = {
        "saved bytes are not those of the loaded model": resumed.save() == saved,
        "the loaded model predicts something else": resumed.predict(asked) == model.predict(asked),
        "predicting changed the model": model.save() == resumed.save() == saved,
    }
    for lesson in rows[250:]:
        model.learn(*lesson)
        resumed.learn(*lesson)
    checks["going on from the saved state is not the same"] = model.save() == resumed.save()
    problems = [problem for problem, fine in checks.items() if not fine]
    return {"state": sha256(model.save()).hexdigest(), "problems": problems}


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # some of River's own
    json.dump({name: outcome(name) for name in names()}, sys.stdout)
