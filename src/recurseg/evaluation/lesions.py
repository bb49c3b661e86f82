"""Lesions as objects: the connected components of a mask, which of them are found, and which predicted are false."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal, NamedTuple, cast

import numpy as np

from recurseg.errors import ConfigError, DataError
from recurseg.evaluation.masks import masks

Neighbours = Literal[4, 6, 8, 18, 26]
IN_A_PLANE: dict[int, Neighbours] = {6: 4, 18: 8, 26: 8}
"""Neighbours of a voxel that touch it by a face (6), or an edge too (18), or a corner too (26) → those of a pixel."""
SIZES = (30.0, 150.0)
"""mm³ up to which a lesion is small, and up to which it is medium: the 10 and 50 voxels of 1 × 1 × 3 mm at which
Nair et al. 2020 (Medical Image Analysis 59) part lesions of multiple sclerosis."""
ROUNDING = 1e-6
"""Share by which a volume may exceed a bound: spacings come out of files in single precision."""


class Components(NamedTuple):
    """The lesions of one side, int (lesions,) each: voxels, and how many of them are lesion on the other side too."""

    voxels: np.ndarray
    shared: np.ndarray


class Matched(NamedTuple):
    """The lesions of reference and prediction; `voxel_mm3` is None where lesions have no volume."""

    reference: Components
    prediction: Components
    voxel_mm3: float | None


class Detected(NamedTuple):
    """Lesions of the reference and the found ones of them, lesions of the prediction and the false ones of them.

    Integers, or arrays of one shape.
    """

    lesions: Any
    found: Any
    predicted: Any
    false: Any


@dataclass(frozen=True)
class Rule:
    """What a lesion is, and when it is matched; written as "any_overlap_26" or "overlap_0.1_18".

    Attributes:
        connectivity: Voxels are of one lesion where a chain of neighbours joins them, neighbours by faces (6), edges
            (18) or corners (26). In an image of two axes 6 means the 4 and 18 and 26 the 8 neighbours of a pixel.
        least: The share of a lesion's own voxels, 0..1, that must lie in lesions of the other side, in whichever and
            however many of them; 0 asks for one voxel.
    """

    connectivity: int = 26
    least: float = 0.0

    @classmethod
    def read(cls, text: str) -> Rule:
        """Raises ConfigError where the text is no rule."""
        found = re.fullmatch(r"(?:any_overlap|overlap_(0?\.\d+|1))_(6|18|26)", text)
        if found is None or (found[1] and not float(found[1])):
            raise ConfigError(
                f"lesion rule '{text}': write any_overlap_26, or overlap_0.1_26 for a tenth of a lesion; 26, 18 or 6"
            )
        return cls(int(found[2]), float(found[1] or 0))

    def __str__(self) -> str:
        return f"{f'overlap_{self.least:g}' if self.least else 'any_overlap'}_{self.connectivity}"

    @property
    def words(self) -> str:
        """The rule for reading."""
        return (
            f"{self.connectivity}-connected, {f'{100 * self.least:g} % of' if self.least else 'any'} overlap counts"
        )

    def matches(self, side: Components) -> np.ndarray:
        """Which lesions of one side the other side has too, bool (lesions,)."""
        return (side.shared > 0) & (side.shared / side.voxels >= self.least)


class Size(NamedTuple):
    """A range of volumes in mm³, its upper end included; written "to_30mm3", "30_to_150mm3" or "over_150mm3"."""

    above: float
    to: float

    @classmethod
    def read(cls, text: str) -> Size:
        """Raises ValueError where the text is no size."""
        number = r"(\d+(?:\.\d+)?)"
        found = re.fullmatch(f"(?:to_{number}|{number}_to_{number}|over_{number})mm3", text)
        if found is None:
            raise ValueError(text)
        alone, low, high, over = found.groups()
        return cls(float(low or over or 0), float(alone or high or math.inf))

    def holds(self, volumes: np.ndarray) -> np.ndarray:
        """Which volumes in mm³ are of this size, bool of their shape."""
        return (volumes > self.above * (1 + ROUNDING)) & (volumes <= self.to * (1 + ROUNDING))


def sizes_of(bounds: Sequence[float]) -> dict[str, Size]:
    """Small, medium and large lesions.

    Args:
        bounds: The mm³ up to which a lesion is small, and up to which it is medium.

    Raises:
        ConfigError: Not two ascending volumes.
    """
    if len(bounds) != 2 or not 0 < bounds[0] < bounds[1] < math.inf:
        raise ConfigError(f"lesion sizes {','.join(f'{b:g}' for b in bounds)}: name two ascending volumes in mm³")
    small, medium = map(float, bounds)
    return {"small": Size(0, small), "medium": Size(small, medium), "large": Size(medium, math.inf)}


def named_lesions(names: Iterable[str]) -> list[str]:
    """The classes and regions that are called lesions."""
    return [name for name in names if re.search(r"\blesions?\b", re.sub(r"[_-]", " ", name.lower()))]


def match_lesions(
    prediction: np.ndarray, reference: np.ndarray, spacing: Sequence[float] | None = None, *, connectivity: int = 26
) -> Matched:
    """Takes two masks apart into lesions and counts what they share.

    A predicted lesion that covers two of the reference is one that is right and finds both; two that lie in one
    are both right. Lesions touch where they share voxels; lying side by side is not enough.

    Args:
        prediction: Mask of one class, (H, W) or (D, H, W), as `masks` takes it.
        reference: The same; voxels of 255 belong to no lesion on either side.
        spacing: Millimetres per voxel.
        connectivity: 6, 18 or 26.
    """
    found, expected = (np.ascontiguousarray(mask) for mask in masks(prediction, reference))
    both = found & expected
    solid = spacing is not None and found.ndim == 3
    return Matched(
        _components(expected, both, connectivity),
        _components(found, both, connectivity),
        math.prod(spacing) if spacing is not None and solid else None,
    )


def _components(mask: np.ndarray, shared: np.ndarray, connectivity: int) -> Components:
    from cc3d import connected_components

    neighbours = cast("Neighbours", connectivity) if mask.ndim == 3 else IN_A_PLANE[connectivity]
    room = np.pad(mask, (0, 1))  # cc3d 4.1 refuses some masks in which every second voxel is set up to an odd end
    numbers, count = connected_components(room, connectivity=neighbours, return_N=True)
    numbers = numbers[(slice(-1),) * mask.ndim]
    return Components(*(np.bincount(numbers[where], minlength=count + 1)[1:] for where in (mask, shared)))


@cache
def matcher(connectivity: int) -> partial[Matched]:
    """`match_lesions` of a connectivity, the same object each time."""
    return partial(match_lesions, connectivity=connectivity)


def detected(matched: Matched, rule: Rule, size: Size | None = None) -> Detected:
    """Counts lesions, found and false ones.

    Args:
        matched: With the connectivity of the rule.
        rule: When a lesion is found, and a predicted one is not false.
        size: Only lesions whose own volume lies in it; what matches them may be of any size.

    Raises:
        DataError: A size of lesions that have no volume.
    """
    expected, found = rule.matches(matched.reference), rule.matches(matched.prediction)
    if size is not None:
        expected, found = (
            matches[size.holds(volumes_mm3(side, matched.voxel_mm3))]
            for matches, side in ((expected, matched.reference), (found, matched.prediction))
        )
    return Detected(len(expected), int(expected.sum()), len(found), int((~found).sum()))


def volumes_mm3(side: Components, voxel_mm3: float | None) -> np.ndarray:
    """Volume of each lesion in mm³. Raises DataError for lesions of an image of two axes."""
    if voxel_mm3 is None:
        raise DataError("sizes in mm³ are of lesions in three axes with a spacing: leave them out of the metrics")
    return side.voxels * voxel_mm3


def tpr(counts: Detected) -> Any:
    """Found / lesions; without lesions 0 where one is false, else nan."""
    return _ratio(counts.found, counts.lesions, worst=0.0, unmatched=counts.false)


def fpr(counts: Detected) -> Any:
    """False / predicted; without predicted lesions 1 where one is missed, else nan."""
    return _ratio(counts.false, counts.predicted, worst=1.0, unmatched=counts.lesions - counts.found)


def f1(counts: Detected) -> Any:
    """Harmonic mean of `tpr` and 1 − `fpr`; 0 where either of them is 0."""
    sensitivity, precision = tpr(counts), 1 - fpr(counts)
    both = sensitivity + precision
    return np.divide(2 * sensitivity * precision, both, out=np.zeros(np.shape(both)), where=~(both == 0))[()]


def _ratio(part: Any, whole: Any, *, worst: float, unmatched: Any) -> Any:
    otherwise = np.where(np.asarray(unmatched) > 0, worst, np.nan)
    return np.divide(part, whole, out=otherwise, where=np.asarray(whole) > 0)[()]


RATES = {"tpr": tpr, "fpr": fpr, "f1": f1}


def rate(matched: Matched, *, name: str, rule: Rule, size: Size | None) -> float:
    """Rate "tpr", "fpr" or "f1" of one case."""
    return float(RATES[name](detected(matched, rule, size)))
