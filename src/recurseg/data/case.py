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
        array: Lazy array, 2-D `(H, W)` or 3-D; NIfTI and ITK files as (x, y, z), stacks as (z, y, x). A cine is 4-D,
            NIfTI as (x, y, z, t), HDF5 as (t, z, y, x).
        spacing: Millimetres per voxel, one number an axis of `array`; seconds per frame for the time axis.
        affine: 4×4 matrix from array index, that of time left out, to world millimetres (RAS+); None where the
            format has no world.
        path: The file or folder it came from.
        format: "nifti", "tiff", "image" (one 2-D file), "folder" (a stack of 2-D files), "itk", "dicom", "idx",
            "hdf5", "zarr" or "array".
        stack_axis: Axis along which sections were stacked, where the format knows it.
        spacing_known: False where the format carries no spacing and 1 mm stands in.
        notes: What reading decided and the user should know ("length-1 axis squeezed").
        files: The 2-D files of a folder, one a section, along axis 0; of a label that is given by frame, its files;
            empty for all others.
        time_axis: Axis along which the frames of a cine lie; None where there are no frames.
        given_frames: The frames that a label given by frame has a file of, counted from 0; the others are
            `IGNORE` throughout. None: all of them.
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
    time_axis: int | None = None
    given_frames: tuple[int, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def slice_axis(self) -> int | None:
        """Axis of sections: the coarsest spacing, the stacked axis or else the last on ties; None for 2-D.

        Of a cine an index among its four axes, never the time axis.
        """
        axes = [axis for axis in range(len(self.shape)) if axis != self.time_axis]
        if len(axes) == 2:
            return None
        coarsest = max(self.spacing[axis] for axis in axes)
        ties = [axis for axis in axes if self.spacing[axis] >= coarsest * (1 - 1e-3)]
        return self.stack_axis if self.stack_axis in ties else ties[-1]

    @property
    def frames(self) -> int:
        """Number of frames; 1 without a time axis."""
        return 1 if self.time_axis is None else self.shape[self.time_axis]

    def frame(self, number: int) -> Volume:
        """One frame of a cine as a 3-D volume, still lazy; a volume without frames is its own frame 0.

        Args:
            number: Counted from 0.

        Raises:
            IndexError: There is no such frame.
        """
        number = range(self.frames)[number]
        axis, whole, dims = self.time_axis, self.array, len(self.shape)
        if axis is None:
            return self

        def read(index: Any) -> np.ndarray:
            parts = _parts(index, dims - 1)
            return whole[(*parts[:axis], number, *parts[axis:])]

        stack_axis = self.stack_axis
        return replace(
            self,
            array=Deferred(_without(self.shape, axis), np.dtype(whole.dtype), read),
            spacing=_without(self.spacing, axis),
            stack_axis=None if stack_axis is None else stack_axis - (stack_axis > axis),
            time_axis=None,
            given_frames=None,
        )

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
            column = axis - (self.time_axis is not None and self.time_axis < axis)
            affine = affine.copy()
            affine[:3, 3] += affine[:3, column] * start
        array = Deferred(tuple(shape), np.dtype(whole.dtype), read)
        files = self.files[start:stop] if axis == 0 and self.time_axis is None else self.files
        return replace(self, array=array, affine=affine, stack_axis=axis, files=files)


def _shifted(index: Any, axis: int, kept: range, dims: int) -> tuple[Any, ...]:
    """A basic index into a part that keeps a range of one axis, as an index into the whole."""
    parts = _parts(index, dims)
    chosen = kept[parts[axis]]
    if isinstance(chosen, range):
        chosen = slice(chosen.start, chosen.stop if chosen.stop >= 0 else None, chosen.step)
    parts[axis] = chosen
    return tuple(parts)


def _parts(index: Any, dims: int) -> list[Any]:
    """A basic index with one part an axis."""
    given = index if isinstance(index, tuple) else (index,)
    dots = next((place for place, part in enumerate(given) if part is Ellipsis), len(given))
    before, after = given[:dots], given[dots + 1 :]
    return [*before, *[slice(None)] * (dims - len(before) - len(after)), *after]


def _without(values: tuple[Any, ...], axis: int) -> tuple[Any, ...]:
    return values[:axis] + values[axis + 1 :]


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
        phases: Name of a moment ("ED" end-diastole, "ES" end-systole) → its frame, counted from 0; a 3-D case that is
            one phase has `{"ED": 0}`.
        target: Class of the whole image, for classification; None where there is none.
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
    phases: Mapping[str, int] = field(default_factory=dict)
    target: int | None = None

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

    @property
    def time_axis(self) -> int | None:
        return self.reference.time_axis

    @property
    def frames(self) -> int:
        """Number of frames; 1 for what is no cine."""
        return self.reference.frames

    @property
    def labelled_frames(self) -> tuple[int, ...]:
        """The frames that have a label, counted from 0; empty where the case has none."""
        if self.label is None:
            return ()
        given = self.label.given_frames
        return tuple(range(self.label.frames)) if given is None else given

    def frame(self, number: int) -> Case:
        """One frame of a cine as a 3-D case of the same id, still lazy; its phases are those that it shows.

        Args:
            number: Counted from 0.

        Raises:
            IndexError: There is no such frame.
        """
        number = range(self.frames)[number]
        return replace(
            self,
            images={name: volume.frame(number) for name, volume in self.images.items()},
            label=None if self.label is None else self.label.frame(number),
            phases={name: 0 for name, at in self.phases.items() if at == number},
        )

    def sections(self, start: int, stop: int) -> Case:
        """The case restricted to a range of sections; its id says which: `stack[16-19]`."""
        return replace(
            self,
            id=f"{self.id}[{start}-{stop - 1}]",
            images={name: volume.sections(start, stop) for name, volume in self.images.items()},
            label=None if self.label is None else self.label.sections(start, stop),
        )
