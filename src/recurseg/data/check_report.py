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
    """Voxels an axis, in the file's axis order; of a cine, those of one frame."""
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
    frames: int = 1
    """Number of frames of a cine; 1 for all others."""
    frame_seconds: float | None = None
    """Seconds from frame to frame; null for what is no cine."""
    labelled_frames: list[int] = []
    """Frames that have a label, counted from 0."""
    phases: dict[str, int] = {}
    """Name of a moment, such as ED or ES → its frame, counted from 0."""
    target: str | None = None
    """Class of the whole image, for classification."""


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
