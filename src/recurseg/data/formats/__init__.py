"""Reading and writing images and labels: one file a format, `open_volume` and `write_like` for all of them.

| format | names | array | world |
|---|---|---|---|
| nifti | `.nii`, `.nii.gz` | (x, y, z), a cine (x, y, z, t) | affine, RAS+ mm |
| itk | `.mha`, `.mhd`, `.nrrd`, `.nhdr` | (x, y, z) | affine, RAS+ mm |
| dicom | a folder with one series, or a `.dcm` file | (x, y, z) | affine, RAS+ mm |
| tiff | `.tif`, `.tiff` of several pages | (z, y, x) | spacing of OME, ImageJ or resolution tags |
| folder | a folder of `.png`, `.tif`, `.webp` ... with consecutive numbers in their stems | (z, y, x) | none |
| hdf5 | `.h5`, `.hdf5`, `.hdf`, or `scan.h5:dataset` | (z, y, x), a cine (t, z, y, x) | spacing of an attribute |
| idx | `-idx3-ubyte`, `-idx3-ubyte.gz`, as MNIST is published | (n, y, x) | none |
| zarr | `.zarr`, plain or OME-Zarr, and groups or arrays inside one | (z, y, x), a cine (t, z, y, x) | units of OME |
| image | one `.png`, `.webp`, `.jpg`, `.bmp`, `.gif` or single-page `.tif` | (y, x) | none |
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from recurseg.data.case import LazyArray, Volume
from recurseg.data.formats import dicom, folder, hdf5, idx, image, itk, nifti, tiff, zarr, zarr_writing
from recurseg.data.formats.header import DEFAULT_MAX_BYTES, reading
from recurseg.data.formats.lazy import transposed
from recurseg.errors import ConfigError, DataError, did_you_mean

__all__ = [
    "DEFAULT_MAX_BYTES",
    "X_FIRST",
    "format_of",
    "is_colour",
    "name_of",
    "open_volume",
    "open_written",
    "stem_of",
    "suffix_like",
    "suffix_of",
    "write_like",
    "written_path",
]

SUFFIXES: dict[str, str] = {
    **dict.fromkeys(nifti.SUFFIXES, "nifti"),
    **dict.fromkeys(tiff.SUFFIXES, "tiff"),
    **dict.fromkeys(image.SUFFIXES, "image"),
    **dict.fromkeys(itk.SUFFIXES, "itk"),
    **dict.fromkeys(dicom.SUFFIXES, "dicom"),
    **dict.fromkeys(idx.SUFFIXES, "idx"),
    **dict.fromkeys(hdf5.SUFFIXES, "hdf5"),
    **dict.fromkeys(zarr.SUFFIXES, "zarr"),
}
"""File name suffix → format that reads it."""

_COMPOUND = (".nii.gz", ".ome.tiff", ".ome.tif", ".ome.zarr", *idx.SUFFIXES)
X_FIRST = ("nifti", "itk", "dicom")
"""Formats whose arrays are (x, y, z), x fastest in the file; of all others the last axis is."""
_COLOURED = ("image", "tiff")


def suffix_of(path: Path | str) -> str:
    """The suffix of a file name as the file spells it, `.nii.gz` and `.ome.tif` as one; "" where it has none."""
    name = Path(path).name
    compound = next((s for s in _COMPOUND if name.lower().endswith(s)), None)
    return name[-len(compound) :] if compound else Path(name).suffix


def stem_of(path: Path | str) -> str:
    """The file name without `suffix_of`."""
    name = Path(path).name
    return name.removesuffix(suffix_of(name))


def name_of(path: Path) -> str:
    """What a volume at a path is called: the name of a folder, that of a file or Zarr store without its suffix."""
    return path.name if path.is_dir() and format_of(path) != "zarr" else stem_of(path)


def format_of(path: Path | str) -> str | None:
    """The format that reads files of this name: "nifti", "tiff", "image", "itk", "dicom", "idx", "hdf5",
    "zarr", or None."""
    suffix = suffix_of(path).lower()
    return SUFFIXES.get(suffix, "tiff" if suffix.startswith(".ome.") else None)


def open_volume(path: Path | str, *, max_bytes: int = DEFAULT_MAX_BYTES, channel: int | None = None) -> Volume:
    """Opens an image or label of any known format; headers are read, voxels wait for `volume.array[...]`.

    Args:
        path: A file, a dataset of an HDF5 file (`scan.h5:name`), a folder of slices or with a DICOM series, a Zarr
            store or what is inside one (`scan.zarr/name`).
        max_bytes: The most bytes of voxels that headers may claim; checked before anything is allocated.
        channel: Of colour images, which channel is read: 0 red, 1 green, 2 blue; None takes grey ones alone. Of an
            OME-Zarr image its number.

    Returns:
        The volume, axes in the file's order, axes of length 1 squeezed (see its `notes`).

    Raises:
        DataError: Absent, empty or unreadable path; unknown or damaged format; colour without a `channel`, or a
            `channel` of a format without colour; more than three axes (of a cine, four); an unusable affine or
            spacing; more bytes than the budget.
    """
    path, dataset = hdf5.split_address(Path(path))
    with reading(path, "a file or folder"):
        is_folder = path.is_dir()
        if not path.exists():
            raise FileNotFoundError
    if dataset and channel is None:
        return hdf5.open_hdf5(path, dataset, max_bytes=max_bytes)
    if zarr.is_store(path):
        return zarr.open_zarr(path, max_bytes=max_bytes, channel=channel)
    volume = _open_folder(path, max_bytes, channel) if is_folder else _open_file(path, max_bytes, channel)
    if image.EQUAL_CHANNELS in volume.notes:
        volume.array[0]
    return volume


def open_written(path: Path | str) -> Volume:
    """Opens what `write_like` wrote; a folder has all of its sections, whatever numbers their names have.

    Raises:
        DataError: As `open_volume` does.
    """
    path = Path(path)
    files = folder.image_files(path) if path.is_dir() else []
    return folder.open_folder(path, files=files, max_bytes=DEFAULT_MAX_BYTES) if files else open_volume(path)


def is_colour(path: Path) -> bool:
    """Whether a file is an image whose colour channels differ; of a stack, its first section is looked at."""
    if format_of(path) not in _COLOURED:
        return False
    try:
        open_volume(path)
    except image.ColourError:
        return True
    except DataError:
        return False
    return False


def write_like(path_without_suffix: Path | str, array: LazyArray, like: Volume, suffix: str | None = None) -> Path:
    """Writes labels or maps on the grid and geometry of `like`, in its format unless `suffix` asks for another.

    NIfTI, MetaImage, NRRD, HDF5, TIFF and Zarr stay what they are (two-file formats become their one-file twin); a
    folder becomes a folder with the same names (PNG where the source was lossy), a single image a PNG, DICOM a NIfTI,
    IDX a TIFF. Maps of folders and single images become one multi-page float32 TIFF. An HDF5 file has one dataset,
    `label` or, of maps, `image`; a cine can only be NIfTI, HDF5 or Zarr. The file appears whole or not at all. A lazy
    array is read piece by piece, but for MetaImage and NRRD.

    Args:
        path_without_suffix: Final path less its suffix; missing folders are made.
        array: Integer labels of `like.shape`, or floating maps of `like.shape` or with a leading class axis.
        like: The source volume, a range of its sections or one of its frames.
        suffix: `.nii.gz`, `.nii`, `.mha`, `.nrrd`, `.h5`, `.zarr`, `.tif`, `.tiff` or `.png`;
            None keeps that of `like`.

    Returns:
        The path written.

    Raises:
        ConfigError: The result would replace its own source, or `suffix` cannot hold it.
        ResourceError: No permission, or a full disk.
    """
    array = _storable(array)
    if array.shape[-len(like.shape) :] != like.shape or len(array.shape) > len(like.shape) + 1:
        raise ValueError(f"array {array.shape} does not lie on the grid {like.shape}")
    classes = len(array.shape) > len(like.shape)
    suffix = suffix_like(like, maps=array.dtype.kind == "f") if suffix is None else suffix
    path = written_path(Path(path_without_suffix), suffix, like)
    if not suffix and like.files and array.dtype.kind == "u":
        return folder.write_folder(path, array, like)
    format = format_of(path)
    if format in ("tiff", "nifti", "itk", "hdf5", "zarr") and (like.format in X_FIRST or like.affine is not None) != (
        format in ("nifti", "itk")
    ):
        array, like = _reversed(array, like, classes)
    if format == "nifti":
        return nifti.write_nifti(path, array, like)
    if format == "hdf5":
        return hdf5.write_hdf5(path, array, like)
    if format == "zarr":
        return zarr_writing.write_zarr(path, array, like)
    if like.time_axis is not None:
        raise ConfigError(f"{path}: '{suffix}' cannot hold the frames of a cine: choose .nii.gz, .h5 or .zarr")
    if format == "itk" and suffix.lower() not in itk.SINGLE_FILE:
        return itk.write_itk(path, array[...], like)
    if format == "tiff":
        return tiff.write_tiff(path, array, like)
    if suffix.lower() == ".png" and len(array.shape) == 2 and array.dtype.kind == "u":
        return image.write_image(path, array[...])
    raise ConfigError(
        f"{path}: '{suffix}' cannot hold {array.dtype} of shape {array.shape}"
        + did_you_mean(suffix, [".nii.gz", ".nii", ".mha", ".nrrd", ".h5", ".tif"])
    )


def _open_folder(path: Path, max_bytes: int, channel: int | None) -> Volume:
    with reading(path, "a folder"):
        if not any(path.iterdir()):
            raise DataError(f"{path}: is an empty folder; check the path")
    if not folder.image_files(path) and dicom.is_series(path):
        return dicom.open_series(path, max_bytes=max_bytes)
    return folder.open_folder(path, max_bytes=max_bytes, channel=channel)


def _open_file(path: Path, max_bytes: int, channel: int | None) -> Volume:
    if channel is not None and format_of(path) not in _COLOURED:
        raise DataError(f"{path}: has no colour channels; take its modality from 'channels' in the dataset.yaml")
    match format_of(path):
        case "nifti":
            return nifti.open_nifti(path, max_bytes=max_bytes)
        case "tiff":
            return tiff.open_tiff(path, max_bytes=max_bytes, channel=channel)
        case "image":
            return image.open_image(path, max_bytes=max_bytes, channel=channel)
        case "itk":
            return itk.open_itk(path, max_bytes=max_bytes)
        case "dicom":
            return itk.open_itk(path, max_bytes=max_bytes, format="dicom")
        case "hdf5":
            return hdf5.open_hdf5(path, max_bytes=max_bytes)
        case "idx":
            return idx.open_idx(path, max_bytes=max_bytes)
    known = ", ".join(SUFFIXES)
    raise DataError(f"{path}: '{suffix_of(path)}' is no image format known here ({known}); convert it")


def suffix_like(like: Volume, *, maps: bool) -> str:
    """The suffix in which `write_like` writes labels or maps of a volume; "" is a folder."""
    own = suffix_of(like.path)
    if like.format in ("nifti", "tiff", "hdf5"):
        return own
    if like.format == "zarr":
        return own if format_of(like.path) == "zarr" else zarr.SUFFIX
    if like.format == "itk":
        return itk.SINGLE_FILE.get(own.lower(), own)
    if like.format == "dicom" or like.affine is not None or like.time_axis is not None:
        return ".nii.gz"
    if like.format == "image" and format_of(like.path) == "tiff":
        return own
    if maps or (like.format in ("array", "idx") and len(like.shape) == 3):
        return ".tif"
    return ".png" if len(like.shape) == 2 else ""


def written_path(base: Path, suffix: str, like: Volume) -> Path:
    """The path of a result. Raises ConfigError where it is that of its source."""
    path = base.with_name(base.name + suffix)
    if path.resolve() == like.path.resolve():
        raise ConfigError(f"{path}: would replace its own source; choose another output folder")
    return path


def _storable(array: LazyArray) -> LazyArray:
    """Maps as float32, labels as uint8 or else uint16; lazy arrays stay so where they have such a type."""
    if array.dtype in (np.float32, np.uint8, np.uint16):
        return array
    array = np.asarray(array[...])
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
    if low < 0 or high > 65535:
        raise DataError(f"labels {low} to {high} do not fit into 16 bits; use class numbers from 0 to 65535")
    return array.astype(np.uint8 if high < 256 else np.uint16)


def _reversed(array: LazyArray, like: Volume, classes: bool) -> tuple[LazyArray, Volume]:
    """Array and grid with their axes turned round, between (z, y, x) and (x, y, z)."""
    axes = tuple(range(len(array.shape)))
    array = transposed(array, axes[:1] + axes[:0:-1] if classes else axes[::-1])
    shape = like.shape[::-1]
    turned = transposed(like.array, range(len(shape))[::-1])
    affine = like.affine
    if affine is not None:
        ndim = len(shape) - (like.time_axis is not None)
        affine = affine.copy()
        affine[:3, :ndim] = affine[:3, :ndim][:, ::-1]
    time_axis = None if like.time_axis is None else len(shape) - 1 - like.time_axis
    spacing = like.spacing[::-1]
    return array, replace(like, array=turned, spacing=spacing, affine=affine, stack_axis=None, time_axis=time_axis)
