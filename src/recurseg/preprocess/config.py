"""What happens to a case before the network, as data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, field_validator, model_validator

from recurseg.errors import ConfigError, did_you_mean
from recurseg.preprocess.intensity import Normalisation


class Preprocessing(BaseModel):
    """The steps from a case to the network's input, in the order in which they happen."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, validate_assignment=True)

    replace_non_finite: float | None = None
    """Value that NaN and infinite voxels become; null refuses images that have any."""
    orientation: Literal["canonical", "stored"] = "canonical"
    """canonical: the nearest right-anterior-superior axes, where the file knows them, with the slice axis moved to
    the front; stored: the file's own axes and directions, with the slice axis moved to the front."""
    crop_foreground: bool = False
    """Whether to cut to the box of voxels that are not 0 in some modality, with a margin of two voxels; outside
    of it everything is background. Later steps see only what is left."""
    clip_percentiles: tuple[float, float] | None = None
    """Percentiles, such as (0.5, 99.5), to which each modality is clipped; over the voxels that are not 0 where
    `normalise` is foreground. null: no clipping."""
    smooth: Literal["gaussian_3x3"] | None = None
    """gaussian_3x3: a Gaussian of 3 × 3 pixels and standard deviation 1 in each section, against noise."""
    equalise: Literal["clahe"] | None = None
    """clahe: contrast-limited adaptive histogram equalisation of each section, 8 × 8 tiles and limit 2 on 16 bits;
    the result goes from 0 to 65,535."""
    local_contrast: dict[str, Literal["add", "replace"]] = Field(default_factory=dict)
    """Modalities whose sections are high-pass filtered and locally equalised (Stollenga et al. 2015): as a further
    channel behind all modalities, or in the place of the original."""
    normalise: Normalisation = "volume"
    """z-score of each channel with mean and standard deviation of each slice, of the volume, or of the voxels that
    are not 0 (which alone are changed); unit: lowest and highest value of the volume become 0 and 1, as image
    completion needs it; slice_unit: those of each slice; none: values as they are."""
    spacing: tuple[float | None, ...] | None = Field(default=None, min_length=2, max_length=3)
    """Millimetres per voxel to resample to, in the order of the network's axes (slice axis first); a null entry
    keeps that axis, null keeps all."""
    in_plane_factor: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How many pixels become of one along both sides of a section, such as 0.5 for half the resolution; needs no
    spacing, and takes the place of `spacing`."""
    in_plane_size: tuple[PositiveInt, PositiveInt] | None = None
    """Height and width that sections are cut or filled up with zeros to, around their centre, as the last step; what
    is cut off becomes background."""
    shrink_to_size: bool = False
    """Whether a section whose shorter side exceeds `in_plane_size` is first shrunk until that side fits."""

    def channels(self, modalities: Sequence[str]) -> list[tuple[str, bool]]:
        """The network's channels in their order: modality, and whether it is the locally equalised one.

        Raises:
            ConfigError: If `local_contrast` names a modality that is not among them.
        """
        for name in self.local_contrast:
            if name not in modalities:
                near = did_you_mean(name, modalities)
                raise ConfigError(f"preprocessing.local_contrast: no modality '{name}'{near}")
        added = [(name, True) for name in modalities if self.local_contrast.get(name) == "add"]
        return [(name, self.local_contrast.get(name) == "replace") for name in modalities] + added

    @model_validator(mode="after")
    def _one_way_to_resample(self) -> Preprocessing:
        if self.in_plane_factor is not None and self.spacing is not None:
            raise ValueError("spacing and in_plane_factor both say how to resample: leave one out")
        if self.shrink_to_size and self.in_plane_size is None:
            raise ValueError("shrink_to_size needs an in_plane_size")
        return self

    @field_validator("clip_percentiles")
    @classmethod
    def _ordered(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and not 0 <= value[0] < value[1] <= 100:
            raise ValueError(f"two percentiles with 0 <= low < high <= 100 expected, not {value}")
        return value

    @field_validator("spacing")
    @classmethod
    def _positive(cls, value: tuple[float | None, ...] | None) -> tuple[float | None, ...] | None:
        if value is not None and not all(mm is None or 0 < mm < float("inf") for mm in value):
            raise ValueError(f"positive millimetres expected, not {value}")
        return value

    @field_validator("replace_non_finite")
    @classmethod
    def _finite(cls, value: float | None) -> float | None:
        if value is not None and not abs(value) < float("inf"):
            raise ValueError("a finite number expected")
        return value
