"""Detectors of drift, and their settings.

They are River's (Montiel et al. 2021, "River: machine learning for streaming data in Python"); each class names the paper, and
River's symbols are kept. All are shown errors in [0, 1], in shares of the reward range, and only a rise counts: errors
fall because a policy learns.
"""

from __future__ import annotations

from abc import abstractmethod
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from policies.policy import PolicyError, PolicySettings
from policies.registry import checked, nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class DriftSettings(PolicySettings):
    """A detector, and what follows what it detects. These settings are every detector's; `detector` says which it is.

    All watch an error in [0, 1], in shares of the reward range, and only its rise counts.
    """

    libraries: ClassVar[tuple[str, ...]] = ("river",)
    """Distributions whose version can change what it detects."""

    on: Literal["reward", "residual"] = Field(
        default="reward",
        description="reward: the detector sees rewards, and waits for lower ones; right for clicks, and for every policy. "
        "residual: it sees how far rewards are from what the policy expected just before it learned them, and waits for larger "
        "errors, so that contexts which earn less are no alarm. For rewards that vary about as much whatever they are: clicks vary "
        "more as there are more of them, and a policy that improves would seem to err more. Not every policy expects something.",
    )
    action: Literal["alert", "explore", "restart"] = Field(
        default="alert",
        description="What follows a detection. alert: no more than an alarm in `rankd status`. explore: more exploration for a "
        "while. restart: an untrained policy takes over; it forgets everything, which pays where everything has changed.",
    )
    rounds: int = Field(
        default=1000,
        ge=1,
        description="For how many learned interactions a detection counts as recent: so long the alarm is shown, and, with "
        "`explore`, more is explored.",
    )
    exploration: float = Field(
        default=0.2,
        ge=0.0,
        le=1.0,
        description="explore: what min_exploration is raised to for `rounds`. Watch residuals then: more exploration earns "
        "less, which a detector on rewards takes for another change.",
    )
    min_rounds: int = Field(
        default=0,
        ge=0,
        description="restart: the fewest learned interactions between two restarts. A detection that comes sooner is counted, "
        "and the policy stays.",
    )

    @abstractmethod
    def make(self) -> Any:
        """A new detector."""

    def worse(self, detector: Any, error: float) -> bool:
        """Shows the detector one error, in [0, 1]. Whether it says that errors have become larger."""
        detector.update(error)
        return bool(detector.drift_detected)


class Adwin(DriftSettings):
    """ADWIN (Bifet & Gavalda 2007, "Learning from Time-Changing Data with Adaptive Windowing"): a window that is cut where its
    two parts differ. For all kinds of change, with hardly a false alarm.

    State: O(log n) numbers after n interactions: 6 kB after 10^9.
    """

    detector: Literal["adwin"] = "adwin"
    delta: float = Field(
        default=0.002,
        gt=0.0,
        lt=1.0,
        description="Probability of a false alarm. Higher detects sooner.",
    )
    clock: int = Field(default=32, ge=1, description="Looks after every so many interactions.")
    grace_period: int = Field(
        default=10, ge=1, description="Does not look before so many interactions."
    )
    min_window_length: int = Field(
        default=5, ge=1, description="The fewest interactions on either side of a cut."
    )

    def make(self) -> Any:
        from river.drift import ADWIN

        return ADWIN(  # type: ignore[no-untyped-call]  # River annotates only some
            delta=self.delta,
            clock=self.clock,
            grace_period=self.grace_period,
            min_window_length=self.min_window_length,
        )

    def worse(self, detector: Any, error: float) -> bool:
        before = detector.estimation
        detector.update(error)
        return _if_worse(detector, detector.drift_detected and detector.estimation > before)


class PageHinkley(DriftSettings):
    """Page-Hinkley (Page 1954, "Continuous Inspection Schemes"): sums up by how much errors exceed their mean. For abrupt
    changes; cheap, but its threshold must be tried out.

    State: a dozen numbers.
    """

    detector: Literal["page_hinkley"] = "page_hinkley"
    threshold: float = Field(
        default=50.0,
        gt=0.0,
        description="How much excess, summed up, is a change, in reward ranges: 50 suits clicks. Rewards that mostly keep to a "
        "tenth of their range need about 2. Higher gives fewer false alarms, later.",
    )
    delta: float = Field(
        default=0.02,
        ge=0.0,
        lt=1.0,
        description="Excess of each error, in reward ranges, that is tolerated.",
    )
    alpha: float = Field(
        default=0.9999, gt=0.0, le=1.0, description="Factor by which old excess is forgotten."
    )
    min_instances: int = Field(
        default=30, ge=1, description="Does not look before so many interactions."
    )

    def make(self) -> Any:
        from river.drift import PageHinkley as Detector

        return Detector(
            min_instances=self.min_instances,
            delta=self.delta,
            threshold=self.threshold,
            alpha=self.alpha,
            mode="up",
        )


class Kswin(DriftSettings):
    """KSWIN (Raab, Heusinger & Schleif 2020, "Reactive Soft Prototype Computing for Concept Drift Streams"): a
    Kolmogorov-Smirnov test of the last errors against ones before. Sees changes of any shape; slow (1 ms an interaction), and with many
    looks come false alarms. A change after which the mean error is no larger does not count.

    State: `window_size` numbers, and 6 kB of random bits.
    """

    libraries = ("numpy", "river", "scipy")

    detector: Literal["kswin"] = "kswin"
    alpha: float = Field(
        default=0.0001,
        gt=0.0,
        lt=1.0,
        description="Significance of each single test. There is one for each interaction, so it must be small.",
    )
    window_size: int = Field(
        default=300, ge=4, le=10_000, description="Interactions in the window."
    )
    stat_size: int = Field(
        default=50,
        ge=2,
        description="How many of them are the last ones; as many are drawn at random from the others. Half of the window at most.",
    )
    seed: int = Field(default=0, ge=0, description="Of the random draws.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if 2 * self.stat_size > self.window_size:
            raise ValueError(
                f"stat_size ({self.stat_size}) must be at most half of window_size ({self.window_size})"
            )
        return self

    def make(self) -> Any:
        from river.drift import KSWIN

        return KSWIN(
            alpha=self.alpha,
            window_size=self.window_size,
            stat_size=self.stat_size,
            seed=self.seed,
        )

    def worse(self, detector: Any, error: float) -> bool:
        window = detector.window
        detector.update(error)
        if not detector.drift_detected:
            return False
        # River has kept the last `stat_size` in a window of their own, and the whole in the old one.
        older = list(islice(window, self.window_size - self.stat_size))
        return _if_worse(detector, _mean(detector.window) > _mean(older))


class _Counting(DriftSettings):
    """What counts errors can be told."""

    error_above: float = Field(
        default=0.5,
        ge=0.0,
        lt=1.0,
        description="An interaction counts as an error if its reward is further than this share of the reward range from the "
        "highest (`on: reward`) or from the expected one (`on: residual`). 0.5 suits clicks: no click is an error, or a click where "
        "none was expected, and the reverse. Other rewards need a share that is seldom reached while all is well.",
    )

    def worse(self, detector: Any, error: float) -> bool:
        return super().worse(detector, error > self.error_above)


class Ddm(_Counting):
    """DDM (Gama, Medas, Castillo & Rodrigues 2004, "Learning with Drift Detection"): the share of errors has risen by some standard
    deviations above its lowest. For abrupt changes.

    State: a dozen numbers.
    """

    detector: Literal["ddm"] = "ddm"
    drift_threshold: float = Field(
        default=3.0, gt=0.0, description="The standard deviations. Higher detects later."
    )
    warm_start: int = Field(
        default=30, ge=1, description="Does not look before so many interactions."
    )

    def make(self) -> Any:
        from river.drift.binary import DDM

        return DDM(warm_start=self.warm_start, drift_threshold=self.drift_threshold)


class Eddm(_Counting):
    """EDDM (Baena-Garcia et al. 2006, "Early Drift Detection Method"): errors come closer together than they ever did. For slow
    changes of something that errs seldom; prone to false alarms.

    State: a dozen numbers.
    """

    detector: Literal["eddm"] = "eddm"
    beta: float = Field(
        default=0.9,
        gt=0.0,
        lt=1.0,
        description="How close: as a share of the greatest distance. Lower detects later.",
    )
    warm_start: int = Field(default=30, ge=1, description="Does not look before so many errors.")

    def make(self) -> Any:
        from river.drift.binary import EDDM

        return EDDM(warm_start=self.warm_start, alpha=self.beta, beta=self.beta)


class HddmA(DriftSettings):
    """HDDM_A (Frias-Blanco et al. 2015, "Online and Non-Parametric Drift Detection Methods Based on Hoeffding's Bounds"): the mean error
    has risen by more than Hoeffding's bound, which holds for all numbers in [0, 1]. For abrupt changes of clicks; blind
    where rewards keep to a small part of their range.

    State: a dozen numbers.
    """

    detector: Literal["hddm_a"] = "hddm_a"
    drift_confidence: float = Field(
        default=0.001,
        gt=0.0,
        lt=1.0,
        description="Probability of a false alarm at each look. Higher detects sooner.",
    )

    def make(self) -> Any:
        from river.drift.binary import HDDMA

        confidence = self.drift_confidence
        return HDDMA(confidence, confidence)  # type: ignore[no-untyped-call]


class HddmW(DriftSettings):
    """HDDM_W (the same paper as HDDM_A): likewise with a mean in which recent errors weigh more. Quicker, with more false alarms where
    clicks are rare.

    State: three dozen numbers.
    """

    detector: Literal["hddm_w"] = "hddm_w"
    drift_confidence: float = Field(
        default=0.001,
        gt=0.0,
        lt=1.0,
        description="Probability of a false alarm at each look. Higher detects sooner.",
    )
    lambda_val: float = Field(
        default=0.05, gt=0.0, lt=1.0, description="Weight of the newest error in the mean."
    )

    def make(self) -> Any:
        from river.drift.binary import HDDMW

        confidence = self.drift_confidence
        return HDDMW(confidence, confidence, self.lambda_val)  # type: ignore[no-untyped-call]


DETECTORS: dict[str, type[DriftSettings]] = {
    "adwin": Adwin,
    "page_hinkley": PageHinkley,
    "kswin": Kswin,
    "ddm": Ddm,
    "eddm": Eddm,
    "hddm_a": HddmA,
    "hddm_w": HddmW,
}


def drift_settings(config: Mapping[str, object]) -> DriftSettings:
    """The checked settings of `{"detector": name, setting: value ...}`.

    Raises:
        PolicyError: an unknown detector or setting, or a value that the setting refuses; the message names it.
    """
    name = config.get("detector")
    if name is None:
        raise PolicyError(f"drift.detector: is missing; known are {', '.join(DETECTORS)}")
    if name not in DETECTORS:
        hint = nearest(str(name), list(DETECTORS))
        raise PolicyError(f"drift.detector: no detector {name!r}; {hint}")
    return checked(DETECTORS[str(name)], config, str(name), "drift.")


def _if_worse(detector: Any, worse: bool) -> bool:
    """Lets a detector that has noticed an improvement go on with what it has kept. River would empty it, and a change
    that comes then would be all it knows."""
    if not worse:
        detector._drift_detected = False
    return worse


def _mean(values: Sequence[float]) -> float:
    return float(np.add.accumulate(np.array(values))[-1]) / len(values)
