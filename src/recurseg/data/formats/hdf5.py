"""HDF5 files through h5py: a dataset of one is a volume, arrays in (z, y, x) or, of a cine, (t, z, y, x).

`scan.h5:raw` and `scan.h5:group/raw` name a dataset inside a file, in a manifest as on the command line; the colon
after `.h5`, `.hdf5` or `.hdf` is never that of a drive, and a file that is really called so goes first. Without a
name the dataset is `image`, else `label`, else the only one. An attribute `spacing`, of the dataset or of the file,
has the millimetres per voxel in the order of the axes (and, of a cine, may begin with the seconds per frame).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import LazyArray, Volume
from recurseg.data.formats.header import check_budget, check_spacing, kept_axes, reading, squeeze_note
from recurseg.data.formats.lazy import basic_index
from recurseg.data.formats.writing import finished
from recurseg.errors import DataError, did_you_mean

SUFFIXES = (".h5", ".hdf5", ".hdf")
_ADDRESS = re.compile(r"(.+\.(?:h5|hdf5|hdf)):([^:]+)", re.IGNORECASE)
_DEFAULTS = ("image", "label")
_CHUNK = 2**20


@dataclass(frozen=True)
class Hdf5Array:
    """A dataset that is opened anew for every read: no file stays open, workers share nothing.

    Attributes:
        path: The file.
        dataset: Its name inside the file.
        stored: Length of each axis in the file.
        kept: Those of its axes that are not squeezed.
        dtype: What `[...]` gives, in the machine's byte order.
    """

    path: Path
    dataset: str
    stored: tuple[int, ...]
    kept: tuple[int, ...]
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.stored[axis] for axis in self.kept)

    def __getitem__(self, index: Any, /) -> np.ndarray:
        parts = basic_index(index, len(self.kept))
        if parts is None or any(isinstance(part, slice) and (part.step or 1) < 0 for part in parts):
            return self[...][index]
        chosen: list[int | slice] = [0] * len(self.stored)
        for axis, part in zip(self.kept, parts, strict=True):
            chosen[axis] = part if isinstance(part, slice) else range(self.stored[axis])[part]
        with reading(self.path, "HDF5"), _opened(self.path) as file:
            return np.asarray(file[self.dataset][tuple(chosen)], self.dtype)


def split_address(path: Path) -> tuple[Path, str]:
    """The file that a path names, and the dataset in it: "" for all but `scan.h5:raw`."""
    match = _ADDRESS.fullmatch(str(path))
    if match is None or path.exists():
        return path, ""
    return Path(match[1]), match[2].strip("/")


def datasets_in(path: Path) -> list[str]:
    """The names of the datasets in a file, those inside groups with their path.

    Raises:
        DataError: No HDF5 file, or a damaged one.
    """
    import h5py

    names: list[str] = []
    with reading(path, "HDF5"), _opened(path) as file:
        file.visititems(lambda name, held: names.append(name) if isinstance(held, h5py.Dataset) else None)
    return names


def open_hdf5(path: Path, dataset: str = "", *, max_bytes: int) -> Volume:
    """Opens a dataset of an HDF5 file; its shape and attributes are read, voxels wait for `[...]`.

    Args:
        path: The file.
        dataset: Name inside it, `group/name` for nested ones; "" takes `image`, else `label`, else the only one.
        max_bytes: The most bytes of voxels that it may claim.

    Raises:
        DataError: No HDF5 file, no such dataset, anything but numbers, more than four axes, a spacing that does not
            fit, or more bytes than `max_bytes`.
    """
    dataset = _chosen(path, dataset)
    with reading(path, "HDF5"), _opened(path) as file:
        found = file[dataset]
        shape, dtype = found.shape or (), found.dtype
        spacing = found.attrs.get("spacing", file.attrs.get("spacing"))
        spacing = None if spacing is None else np.ravel(spacing).astype(float).tolist()
    if dtype.kind not in "iufb":
        raise DataError(f"{path}: dataset '{dataset}' holds {_kind(dtype)}, not numbers; name another dataset")
    check_budget(path, shape, dtype, max_bytes)
    kept = _kept(path, dataset, shape)
    cine = len(kept) == 4
    return Volume(
        array=Hdf5Array(path, dataset, shape, kept, dtype.newbyteorder("=")),
        spacing=_spacing(path, spacing, shape, kept),
        affine=None,
        path=path,
        format="hdf5",
        stack_axis={2: None, 3: 0, 4: 1}[len(kept)],
        spacing_known=spacing is not None,
        notes=squeeze_note(shape, kept),
        time_axis=0 if cine else None,
    )


def write_hdf5(path: Path, array: LazyArray, like: Volume) -> Path:
    """Writes a file with one dataset, `label` of whole numbers or `image` of floating maps, chunk by chunk.

    Args:
        path: Final name.
        array: In the axis order of `like`, maybe with a leading class axis.
        like: The source; its spacing, where it knows one, becomes the attribute `spacing`.
    """
    import h5py

    with finished(path) as part, h5py.File(part, "w") as file:
        name = "image" if array.dtype.kind == "f" else "label"
        stored = file.create_dataset(name, array.shape, array.dtype, compression="gzip", chunks=True)
        for chunk in stored.iter_chunks():
            stored[chunk] = array[chunk]
        if like.spacing_known:
            stored.attrs["spacing"] = like.spacing
    return path


def _opened(path: Path) -> Any:
    import h5py

    path.open("rb").close()
    if not h5py.is_hdf5(path):
        raise DataError(f"{path}: is no HDF5 file; copy or export it again")
    return h5py.File(path, "r")


def _chosen(path: Path, dataset: str) -> str:
    import h5py

    with reading(path, "HDF5"), _opened(path) as file:
        for name in (dataset,) if dataset else _DEFAULTS:
            if isinstance(file.get(name), h5py.Dataset):
                return name
    names = datasets_in(path)
    said = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "") if names else "none"
    if dataset:
        raise DataError(f"{path}: no dataset '{dataset}'{did_you_mean(dataset, names)}; it holds {said}")
    if len(names) != 1:
        raise DataError(f"{path}: which dataset is meant; it holds {said}: name one as {path.name}:name")
    return names[0]


def _kept(path: Path, dataset: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes that stay: all four of a cine; an axis of one frame or one channel goes, as do others of length 1."""
    if len(shape) > 4:
        raise DataError(
            f"{path}: dataset '{dataset}' has {len(shape)} axes {shape} where (z, y, x) or, of a cine, (t, z, y, x) "
            "is meant; save one channel a dataset"
        )
    if len(shape) < 4:
        return kept_axes(path, shape)
    if shape[0] > 1 and shape[3] > 1:
        return (0, 1, 2, 3)
    space = (1, 2, 3) if shape[0] == 1 else (0, 1, 2)
    return tuple(space[axis] for axis in kept_axes(path, [shape[axis] for axis in space]))


def _spacing(
    path: Path, given: list[float] | None, shape: tuple[int, ...], kept: tuple[int, ...]
) -> tuple[float, ...]:
    if given is None:
        return (1.0,) * len(kept)
    whole = [1.0, *given] if len(given) == 3 and len(shape) == 4 else given
    if len(whole) != len(shape):
        raise DataError(f"{path}: its attribute spacing has {len(given)} numbers for {len(shape)} axes; correct it")
    return check_spacing(path, [whole[axis] for axis in kept])


def _kind(dtype: np.dtype) -> str:
    return "strings" if dtype.kind in "OSUT" else "compound values" if dtype.names else f"{dtype} values"
