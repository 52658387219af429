"""Data sets that come inside River and scikit-learn: nothing is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.datasets.labelled import Labelled
from simulator.environments.environment import EnvironmentSpecError

if TYPE_CHECKING:
    from collections.abc import Iterator


def from_river(name: str) -> Labelled:
    """The set that River calls by that name."""
    from river import datasets  # half a second, and only these sets need it

    rows: Any = getattr(datasets, name)()
    return Labelled.of(
        name, (({key: float(v) for key, v in x.items()}, str(label)) for x, label in rows)
    )


def from_sklearn(name: str) -> Labelled:
    """The set that scikit-learn loads by `load_` and that name.

    Raises:
        EnvironmentSpecError: scikit-learn is not installed.
    """
    try:
        from sklearn import datasets
    except ImportError as error:
        raise EnvironmentSpecError(
            f"{name}: comes with scikit-learn, which is not installed: pip install scikit-learn"
        ) from error
    return Labelled.of(name, _sklearn_rows(getattr(datasets, f"load_{name}")()))


def _sklearn_rows(bunch: Any) -> Iterator[tuple[dict[str, float], str]]:
    names = [str(name) for name in bunch.feature_names]
    classes = [str(name) for name in bunch.target_names]
    for values, label in zip(bunch.data.tolist(), bunch.target.tolist(), strict=True):
        yield dict(zip(names, values, strict=True)), classes[label]
