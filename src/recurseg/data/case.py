"""A case: one subject or stack, its images by modality, its label, and where they lie in space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

IGNORE = 255
"""Label class that no loss and no metric counts."""


class LazyArray(Protocol):
    """What a volume's array must offer: nothing is read before `[...]`."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype: ...
    def __getitem__(self, index: Any, /) -> np.ndarray: ...


@dataclass(frozen=True)
class Deferred:
    """A lazy array made of a function that reads an index."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[Any], np.ndarray]

    def __getitem__(self, index: Any, /) -> np.ndarray:
        return self.read(index)


@dataclass(frozen=True)
class Volume:
    """One image or label array with its geometry, axes in the order in which the file stores them.

    Attributes:
        array: Lazy array, 2-D `(H, W)` or 3-D; NIfTI and ITK files as (x, y, z), stacks as (z, y, x).
        spacing: Millimetres per voxel, one number an axis of `array`.
        affine: 4×4 matrix from array index to world millimetres (RAS+); None where the format has no world.
        path: The file or folder it came from.
        format: "nifti", "tiff", "image" (one 2-D file), "folder" (a stack of 2-D files), "itk", "dicom", "idx" or
            "array".
        stack_axis: Axis along which sections were stacked, where the format knows it.
        spacing_known: False where the format carries no spacing and 1 mm stands in.
        notes: What reading decided and the user should know ("length-1 axis squeezed").
        files: The 2-D files of a folder, one a section, along axis 0; empty for other formats.
    """

    array: LazyArray
    spacing: tuple[float, ...]
    affine: np.ndarray | None
    path: Path
    format: str
    stack_axis: int | None = None
    spacing_known: bool = True
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def slice_axis(self) -> int | None:
        """Axis of sections: the coarsest spacing, the stacked axis or else the last on ties; None for 2-D."""
        if len(self.shape) == 2:
            return None
        coarsest = max(self.spacing)
        ties = [axis for axis, s in enumerate(self.spacing) if s >= coarsest * (1 - 1e-3)]
        return self.stack_axis if self.stack_axis in ties else ties[-1]

    def sections(self, start: int, stop: int) -> Volume:
        """The volume restricted to sections `start..stop-1` along the slice axis, still lazy."""
        axis = self.slice_axis
        assert axis is not None
        whole, shape = self.array, list(self.shape)
        shape[axis] = stop - start

        def read(index: Any) -> np.ndarray:
            return whole[_shifted(index, axis, range(start, stop), len(shape))]

        affine = self.affine
        if affine is not None:
            affine = affine.copy()
            affine[:3, 3] += affine[:3, axis] * start
        array = Deferred(tuple(shape), np.dtype(whole.dtype), read)
        files = self.files[start:stop] if axis == 0 else self.files
        return replace(self, array=array, affine=affine, stack_axis=axis, files=files)


def _shifted(index: Any, axis: int, kept: range, dims: int) -> tuple[Any, ...]:
    """A basic index into a part that keeps a range of one axis, as an index into the whole."""
    given = index if isinstance(index, tuple) else (index,)
    dots = next((place for place, part in enumerate(given) if part is Ellipsis), len(given))
    before, after = given[:dots], given[dots + 1 :]
    parts = [*before, *[slice(None)] * (dims - len(before) - len(after)), *after]
    chosen = kept[parts[axis]]
    if isinstance(chosen, range):
        chosen = slice(chosen.start, chosen.stop if chosen.stop >= 0 else None, chosen.step)
    parts[axis] = chosen
    return tuple(parts)


@dataclass(frozen=True)
class Case:
    """One subject or stack.

    Attributes:
        id: Unique in its data set; names the prediction.
        images: Modality name → volume, those that are there, in channel order; all on one grid.
        label: Label volume on the same grid, in the file's own values; None where there is none.
        patient: Cases of one patient never stand on both sides of a split.
        label_map: File value → class; values that are missing are an error. Empty: values are classes.
        notes: What was decided while reading.
        not_evaluated: Classes that are learned but not measured; metrics count no voxel whose label is one of them.
        tags: Words that mark the case, such as "child"; measures are given for each.
        modalities: All modalities of the data set in channel order; empty: those of `images`.
    """

    id: str
    images: Mapping[str, Volume]
    label: Volume | None = None
    patient: str = ""
    label_map: Mapping[int, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    not_evaluated: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[str, ...]:
        """The data set's modalities that the case has no image of."""
        return tuple(name for name in self.modalities if name not in self.images)

    @property
    def reference(self) -> Volume:
        """The first modality that is there, whose grid and geometry the case has."""
        return next(iter(self.images.values()))

    @property
    def shape(self) -> tuple[int, ...]:
        return self.reference.shape

    @property
    def spacing(self) -> tuple[float, ...]:
        return self.reference.spacing

    @property
    def affine(self) -> np.ndarray | None:
        return self.reference.affine

    @property
    def slice_axis(self) -> int | None:
        return self.reference.slice_axis

    def sections(self, start: int, stop: int) -> Case:
        """The case restricted to a range of sections; its id says which: `stack[16-19]`."""
        return replace(
            self,
            id=f"{self.id}[{start}-{stop - 1}]",
            images={name: volume.sections(start, stop) for name, volume in self.images.items()},
            label=None if self.label is None else self.label.sections(start, stop),
        )
