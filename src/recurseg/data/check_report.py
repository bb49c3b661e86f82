"""What `recurseg check` says about a data set, as data."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Intensity(BaseModel):
    """What one modality of one case holds."""

    minimum: float
    """Smallest finite value."""
    maximum: float
    """Largest finite value."""
    mean: float
    """Mean of the finite values."""
    not_finite: int
    """Number of NaN and infinite voxels."""


class CaseReport(BaseModel):
    """One case in numbers."""

    id: str
    patient: str
    format: str
    shape: list[int]
    """Voxels an axis, in the file's axis order."""
    spacing_mm: list[float]
    """Millimetres per voxel, in the same order."""
    spacing_known: bool
    """False where the file carries no spacing and 1 mm stands in."""
    orientation: str | None
    """World direction of each axis, for example RAS; null where the format has no world."""
    intensity: dict[str, Intensity]
    """By modality."""
    fractions: dict[str, float] | None
    """Class → share of the voxels that are not ignored; null without a label."""


class Problem(BaseModel):
    """Something to mend, or to know."""

    severity: Literal["error", "warning"]
    case: str
    """Case id; empty where the whole data set is meant."""
    message: str
    mend: str
    """What to do about it."""


class CheckReport(BaseModel):
    """What `recurseg check` found."""

    schema_version: int = 1
    name: str
    root: str
    layout: str
    modalities: list[str]
    classes: dict[int, str]
    label_map: dict[int, int]
    splits: dict[str, int]
    """Named splits and their numbers of cases."""
    notes: list[str]
    """What was decided while reading."""
    cases: list[CaseReport]
    problems: list[Problem]

    @property
    def usable(self) -> bool:
        """Whether there is no error."""
        return all(problem.severity != "error" for problem in self.problems)
