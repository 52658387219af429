"""A River estimator as a model of rewards, in units of their range: 0 is the lowest reward that the app accepts, 1 the highest.

A regressor learns the reward and predicts it. A classifier learns the labels False (0) and True (1), and predicts the
probability of True. A reward in between is two lessons to it, True with the reward as its weight and False with the rest,
if the classifier takes weights (`w`). Otherwise it is one lesson, whose label is True with the reward as its probability,
so that the mean is kept (Agrawal & Goyal 2012, "Analysis of Thompson Sampling", algorithm 2).
"""

from __future__ import annotations

import inspect
import json
from functools import lru_cache
from hashlib import blake2b
from math import isfinite
from typing import TYPE_CHECKING, Any

from river.base import Classifier, MultiLabelClassifier, MultiTargetRegressor, Regressor
from river.compose import Pipeline
from river.facto.base import BaseFM

from policies.policy import PolicyError
from policies.river.objects import decode, encode
from policies.river.spec import build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from policies.river.spec import Spec

    Row = Mapping[int, float]  # one action's features, by the hash of their names

# A prediction of a reward in [0, 1] that is greater is none. Up to it no sum or product of an explorer's overflows.
_GREATEST = 1e100
_DIVERGED = "it has diverged: roll back to an earlier version, and let it learn in smaller steps, or from standardised features"


class RewardModel:
    """An estimator, the number of interactions that it has learned, and of those that it could not.

    Some estimators change when they predict: a scaler notes a feature that it has not seen, a pipeline plans its steps.
    These predict from a copy, made anew after each lesson. Where even that is not enough, because a prediction changes
    the next, the estimator is refused. Factorization machines draw random weights for features that they have not seen, also when
    they predict: they are asked about features only that they have learned of, which is as if those weights were 0.

    Args:
        spec: see `policies.river.spec`.
        saved: what `save` gave, together with the numbers; None for an untrained model.

    Raises:
        PolicyError: the specification is wrong, or its estimator may not serve: it is no regressor or classifier, it
            cannot be saved, or it does not do the same thing twice. The message gives the reason.
    """

    def __init__(
        self, spec: Spec, saved: bytes | None = None, learned: int = 0, skipped: int = 0
    ) -> None:
        try:
            written = json.dumps(spec, allow_nan=False)
        except ValueError as error:
            raise PolicyError(f"model: {error}; numbers must be finite") from error
        self._pure = _try_out(written)
        self._estimator = _Estimator(build(spec))
        if saved is not None:
            self._estimator = self._estimator.of(decode(saved))
        self.learned = learned
        self.skipped = skipped
        self._reader: _Estimator | None = None  # what predicts; made when first needed

    def predict(self, rows: Iterable[Row]) -> list[float]:
        """The expected reward of each row. Changes no state.

        Raises:
            PolicyError: a prediction is not finite, beyond all measure, or fails. Such a model has diverged, and does
                not come back.
        """
        if self._reader is None:
            # Untrained, even estimators that are pure later on may have something to set up.
            alone = self._pure and self.learned > 0
            self._reader = self._estimator if alone else self._estimator.of(decode(self.save()))
        try:
            answers = [self._reader.predict(row) for row in rows]
        except (ArithmeticError, ValueError) as error:
            raise PolicyError(f"model: cannot predict any more: {error!r}; {_DIVERGED}") from error
        for answer in answers:
            if not abs(answer) <= _GREATEST:  # NaN compares false
                raise PolicyError(f"model: predicts {answer}; {_DIVERGED}")
        return answers

    def learn(self, row: Row, reward: float) -> None:
        """One lesson.

        An interaction over which the estimator's arithmetic fails is skipped and counted: the log that it comes from
        cannot be changed, and raising would mean never to learn again.

        Args:
            reward: in [0, 1].
        """
        self._reader = None
        self.learned += 1
        try:
            self._estimator.learn(row, reward, self.learned)
        except (ArithmeticError, ValueError):
            self.skipped += 1

    def save(self) -> bytes:
        """The estimator's canonical bytes."""
        return encode(self._estimator.inner)


class _Estimator:
    """An estimator behind one face, be it a regressor or a classifier."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        *_, last = _steps(inner)
        self.classifies = isinstance(last, Classifier) and not isinstance(
            last, MultiLabelClassifier
        )
        regresses = isinstance(last, Regressor) and not isinstance(last, MultiTargetRegressor)
        if not (self.classifies or regresses):
            raise PolicyError(
                f"model: {type(last).__name__} is neither a regressor nor a classifier of one target"
            )
        self.factorizes = isinstance(inner, BaseFM)
        self.weighs = "w" in inspect.signature(last.learn_one).parameters

    def of(self, inner: Any) -> _Estimator:
        """The same for another state of the estimator."""
        if type(inner) is not type(self.inner):
            raise PolicyError(
                f"a state of {type(inner).__name__}, expected {type(self.inner).__name__}"
            )
        return _Estimator(inner)

    def predict(self, row: Row) -> float:
        if self.factorizes:
            weights = self.inner.weights
            row = {name: value for name, value in row.items() if name in weights}
            if len(row) < 2 and not self.classifies:  # without a pair River's answer has no .item()
                return float(self.inner.intercept + sum(weights[j] * x for j, x in row.items()))
        if self.classifies:
            return float(self.inner.predict_proba_one(row).get(True, 0.0))
        return float(self.inner.predict_one(row) or 0.0)  # None from some that know nothing yet

    def learn(self, row: Row, reward: float, number: int) -> None:
        learn = self.inner.learn_one
        if not self.classifies:
            learn(row, reward)
        elif reward in (0.0, 1.0):
            learn(row, reward == 1.0)
        elif self.weighs:
            learn(row, True, w=reward)
            learn(row, False, w=1.0 - reward)
        else:
            learn(row, _uniform(number) < reward)


def _uniform(number: int) -> float:
    """A number in [0, 1) that belongs to the lesson of this number."""
    digest = blake2b(number.to_bytes(8, "little"), digest_size=8, person=b"rankd.river")
    return (int.from_bytes(digest.digest(), "little") >> 11) / 2**53


@lru_cache(maxsize=64)
def _try_out(spec: str) -> bool:
    """Whether predicting leaves a trained estimator as it is.

    Found out by trying, on estimators that are thrown away: nowhere is it written down.

    Raises:
        PolicyError: see `RewardModel`.
    """
    written = json.loads(spec)
    one, other = _Estimator(build(written)), _Estimator(build(written))
    name = " | ".join(type(step).__name__ for step in _steps(one.inner))
    try:
        return _trial(one, other)
    except PolicyError as error:
        raise PolicyError(f"model: {name} cannot be used: {error}") from error
    except NotImplementedError as error:
        raise PolicyError(f"model: {name} cannot be used: it gives no probabilities") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise PolicyError(f"model: {name} cannot be used for rewards: {reason}") from error


def _steps(estimator: Any) -> Iterable[Any]:
    return estimator.steps.values() if isinstance(estimator, Pipeline) else (estimator,)


def _trial(one: _Estimator, other: _Estimator) -> bool:
    rows = [_row(k) for k in range(_ROWS)]
    _predictions(encode(one.inner), one, rows)
    for estimator in (one, other):
        _teach(estimator, rows)
    saved = encode(one.inner)
    if encode(other.inner) != saved:
        raise PolicyError(
            "it does not learn the same thing twice; name a seed for each part that takes one"
        )
    pure = _predictions(saved, one, [*rows, *_UNSEEN])
    resumed = one.of(decode(saved))
    for estimator in (one, resumed):
        _teach(estimator, rows)
    if encode(one.inner) != encode(resumed.inner):
        raise PolicyError("to go on from its saved state is not the same as not to have stopped")
    return pure


def _predictions(saved: bytes, estimator: _Estimator, rows: Sequence[Row]) -> bool:
    """Whether predicting leaves this state as it is.

    Raises:
        PolicyError: it does not survive being saved, a prediction is not finite, or one changes another.
    """
    answers = [estimator.of(decode(saved)).predict(row) for row in rows]
    for answer in answers:
        if not isfinite(answer):
            raise PolicyError(f"it predicts {answer}")
    pure = True
    for step in (1, -1):
        copy = estimator.of(decode(saved))
        if encode(copy.inner) != saved:
            raise PolicyError("its saved state is not what it was")
        if [copy.predict(row) for row in rows[::step]] != answers[::step]:
            raise PolicyError("a prediction changes those that come after it")
        pure &= encode(copy.inner) == saved
    return pure


def _teach(estimator: _Estimator, rows: Sequence[Row]) -> None:
    for number, row in enumerate(rows):
        estimator.learn(row, (1.0, 0.0, 1.0, 0.25, 0.0)[number % 5], number)


# Enough for each of three actions to be learned several times, few enough to take milliseconds.
_ROWS = 30


def _row(k: int) -> Row:
    """The features of an action: its id, numbers of its own, numbers of the context crossed with it."""
    action = 1_000 * (k % 3 + 1)
    numbers = {action + 1 + j: (7 * k + 5 * j) % 11 / 4.0 - 1.25 for j in range(3)}
    return {action: 1.0, 7: (3 * k) % 5 / 2.0, **numbers}


# An action never learned, features never seen, and no features but the id.
_UNSEEN: tuple[Row, ...] = (
    {9_000: 1.0, 9_001: 0.5, 9_002: -0.5},
    {1_000: 1.0, 8: 1.0},
    {2_000: 1.0},
)
