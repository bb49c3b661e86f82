"""Agreement of two ways to measure a quantity: bias, limits of agreement, absolute error and correlation."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from recurseg.evaluation.statistics import FEWEST, deviation, mean_interval
from recurseg.evaluation.summary import mean_of

WIDE = 1.96
"""Standard deviations that hold 95 % of normally distributed differences."""
Pair = tuple[float, float]
"""What was predicted and what the label says."""


@dataclass(frozen=True)
class Quantity:
    """Something that is measured of a patient or case.

    Attributes:
        id: Name that says what and in which unit.
        name: For reading.
        unit: Such as "ml"; "" for a count.
        definition: Formula in one line.
    """

    id: str
    name: str
    unit: str
    definition: str


@dataclass(frozen=True)
class Agreement:
    """A quantity over patients, predicted against labelled (Bland and Altman 1986); nan where undefined.

    Attributes:
        n: Patients with both values; all numbers are over these.
        prediction: Mean of the predicted values.
        label: Mean of the labels' values.
        bias: Mean of prediction − label.
        interval: 95 % bootstrap interval of the bias from six patients up, else None.
        sd: Standard deviation of prediction − label (n − 1 in the denominator).
        limits: bias ± 1.96·sd; None below two patients.
        mean_absolute_error: Mean of |prediction − label|.
        mean_absolute_error_interval: As `interval`.
        correlation: Pearson's r of the two; nan below three patients, or where one of them does not vary.
        undefined: Patients without one of the two values.
        values: Patient → prediction − label, listed where there are fewer than six; else empty.
    """

    n: int
    prediction: float
    label: float
    bias: float
    interval: tuple[float, float] | None
    sd: float
    limits: tuple[float, float] | None
    mean_absolute_error: float
    mean_absolute_error_interval: tuple[float, float] | None
    correlation: float
    undefined: list[str]
    values: dict[str, float]

    @property
    def digits(self) -> int:
        """Decimals that show three digits of the larger mean, at least one and at most six."""
        size = max(abs(self.prediction), abs(self.label)) if self.n else 0.0
        return min(max(2 - math.floor(math.log10(size)), 1), 6) if size else 1

    def as_dict(self) -> dict[str, Any]:
        """Returns plain data, with null for what is undefined."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


def agreement(pairs: Mapping[str, Pair]) -> Agreement:
    """Compares predicted values with those of the labels.

    Args:
        pairs: Patient → (prediction, label), nan where undefined.
    """
    both = {patient: pair for patient, pair in pairs.items() if not any(map(math.isnan, pair))}
    predicted, expected = np.array([*both.values()], float).reshape(-1, 2).T
    difference = predicted - expected
    bias, sd = mean_of(difference), deviation(difference.tolist())
    varies = len(both) > 2 and np.ptp(predicted) > 0 and np.ptp(expected) > 0
    return Agreement(
        n=len(both),
        prediction=mean_of(predicted),
        label=mean_of(expected),
        bias=bias,
        interval=mean_interval(difference),
        sd=sd,
        limits=None if math.isnan(sd) else (bias - WIDE * sd, bias + WIDE * sd),
        mean_absolute_error=mean_of(abs(difference)),
        mean_absolute_error_interval=mean_interval(abs(difference)),
        correlation=float(np.corrcoef(predicted, expected)[0, 1]) if varies else float("nan"),
        undefined=[patient for patient in pairs if patient not in both],
        values=dict(zip(both, difference.tolist(), strict=True)) if len(both) < FEWEST else {},
    )


class Agreeing(ABC):
    """Quantities of patients or cases, predicted and from the labels.

    Attributes:
        one: What a quantity is of, "patient" or "case".
        what: What is measured, "hearts" or "lesions".
    """

    one: ClassVar[str]
    what: ClassVar[str]

    @property
    @abstractmethod
    def ids(self) -> list[str]:
        """The patients or cases."""

    @property
    @abstractmethod
    def quantities(self) -> Sequence[Quantity]:
        """What was measured."""

    @property
    def plotted(self) -> Sequence[Quantity]:
        """What has a Bland-Altman plot."""
        return self.quantities

    @abstractmethod
    def pairs(self, quantity: str) -> dict[str, Pair]:
        """Returns patient or case → (prediction, label) of a quantity, nan where undefined."""

    @cached_property
    def agreement(self) -> dict[str, Agreement]:
        """Quantity → how predictions agree with labels."""
        return {quantity.id: agreement(self.pairs(quantity.id)) for quantity in self.quantities}
