"""Bad input: one line that names the file, before anything large is allocated."""

from __future__ import annotations

import gzip
import shutil
import struct
import tracemalloc
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recurseg.data.formats import open_volume
from recurseg.errors import DataError, RecursegError, ResourceError

from .foreign_files import as_ordinary_user, oblique_affine, save_dicom_series, save_nifti

RNG = np.random.default_rng(5)
NOISE = RNG.integers(0, 255, (20, 30, 40)).astype(np.uint8)


def refused(path: Path, match: str, **options) -> None:
    """Opening or reading ends in one line that names the file and says what to do."""
    with pytest.raises(DataError, match=match) as error:
        open_volume(path, **options).array[...]
    message = str(error.value)
    assert path.name in message
    assert "\n" not in message
    assert len(message) < 500
    assert ";" in message


def save(path: Path, array: np.ndarray = NOISE) -> Path:
    if path.name.endswith((".nii", ".nii.gz")):
        return save_nifti(path, array)
    if path.suffix in (".mha", ".nrrd"):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(path), "packed" in path.name)
    elif path.suffix == ".tif":
        compression = "zlib" if "packed" in path.name else None
        tifffile.imwrite(path, array, photometric="minisblack", compression=compression)
    else:
        Image.fromarray(array[0]).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))
    return path


NAMES = [
    "a.nii",
    "a.nii.gz",
    "a.mha",
    "packed.mha",
    "a.nrrd",
    "packed.nrrd",
    "a.tif",
    "packed.tif",
    "a.png",
    "a.webp",
]
NAMES += ["a.jpg", "a.bmp", "a.gif"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kept", [0, 3, 100, 0.5, 0.95])
def test_truncated_files_are_named(tmp_path, name, kept):
    path = save(tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: kept if isinstance(kept, int) else int(len(content) * kept)])
    refused(path, r"truncated|damaged|cannot be read")


@pytest.mark.parametrize("name", [*NAMES, "a.dcm"])
def test_files_of_another_kind_are_named(tmp_path, name):
    (tmp_path / name).write_text("Once upon a time there was a file with a misleading name. " * 20)
    refused(tmp_path / name, "cannot be read|damaged|truncated")


@pytest.mark.parametrize("name", NAMES)
@given(changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=5))
@settings(max_examples=25, deadline=None)
def test_any_damage_ends_in_one_line_or_in_an_array_as_announced(tmp_path_factory, name, changes):
    path = save(tmp_path_factory.mktemp("damage") / name, NOISE[:3])
    content = bytearray(path.read_bytes())
    for at, value in changes:
        content[at % len(content)] = value
    path.write_bytes(content)
    try:
        volume = open_volume(path, max_bytes=2**24)
        voxels = volume.array[...]
    except RecursegError as error:
        message = str(error)
    else:
        assert (voxels.shape, voxels.dtype) == (volume.shape, volume.array.dtype)
        assert len(volume.spacing) == len(volume.shape)
        assert min(volume.spacing) > 0
        return
    assert message.startswith(str(path))
    assert "\n" not in message


def test_a_gzip_with_a_wrong_checksum_is_damaged(tmp_path):
    path = save(tmp_path / "a.nii.gz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 0xFF
    path.write_bytes(content)
    refused(path, "damaged")


def png_claiming(path: Path, width: int, height: int) -> Path:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def claiming(folder: Path, name: str) -> Path:
    """A small file whose header claims about 100 TB."""
    path = folder / name
    if name == "a.png":
        return png_claiming(path, 2_000_000, 50_000_000)
    if name.endswith((".nii", ".nii.gz")):
        header = nib.Nifti1Header()
        header.set_data_dtype(np.float32)
        header.set_data_shape((30000, 30000, 30000))
        header["vox_offset"] = 352
        content = header.binaryblock + bytes(400)
        path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    elif name == "a.mha":
        sitk.WriteImage(sitk.Image(6, 5, 4, sitk.sitkUInt16), str(path))
        path.write_bytes(path.read_bytes().replace(b"DimSize = 6 5 4", b"DimSize = 60000 50000 40000"))
    elif name == "a.nrrd":
        sitk.WriteImage(sitk.Image(6, 5, 4, sitk.sitkUInt16), str(path))
        path.write_bytes(path.read_bytes().replace(b"sizes: 6 5 4", b"sizes: 60000 50000 40000"))
    else:
        tifffile.imwrite(path, np.zeros((5, 6), np.uint16))
        with tifffile.TiffFile(path, mode="r+b") as file:
            file.pages[0].tags["ImageLength"].overwrite(10_000_000)
            file.pages[0].tags["ImageWidth"].overwrite(5_000_000)
    return path


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.nrrd", "a.tif", "a.png"])
def test_a_header_that_claims_too_much_is_refused_before_allocation(tmp_path, name):
    path = claiming(tmp_path, name)
    tracemalloc.start()
    try:
        refused(path, "budget")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


def test_a_folder_and_a_series_have_one_budget(tmp_path):
    (tmp_path / "stack").mkdir()
    for number in range(6):
        Image.fromarray(NOISE[number]).save(tmp_path / "stack" / f"{number}.png")
    refused(tmp_path / "stack", "budget", max_bytes=5 * 30 * 40)
    assert open_volume(tmp_path / "stack", max_bytes=6 * 30 * 40).shape == (6, 30, 40)
    series = save_dicom_series(tmp_path / "series", NOISE.astype(np.int16), oblique_affine())
    refused(series, "budget", max_bytes=2 * NOISE.size - 1)


def test_an_image_over_pillows_own_limit_but_in_budget_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = save(tmp_path / "a.png")
    np.testing.assert_array_equal(open_volume(path).array[...], NOISE[0])
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_spool_that_the_disk_cannot_hold_is_a_resource_error(tmp_path, monkeypatch):
    path = save(tmp_path / "a.nii.gz")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(ResourceError, match="TMPDIR"):
        open_volume(path).array[...]


@pytest.mark.parametrize(
    ("matrix", "match"),
    [
        (np.zeros((3, 3)), "size zero"),
        (np.diag([1.0, 0.0, 1.0]), "size zero"),
        (np.array([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]]), "singular"),
        (np.array([[1.0, 0.2, 0], [0, 1, 0], [0, 0, 1]]), "sheared"),
        (np.diag([1.0, np.nan, 1.0]), "NaN"),
        (np.diag([np.inf, 1.0, 1.0]), "NaN or infinity"),
    ],
)
def test_unusable_nifti_geometry_is_refused(tmp_path, matrix, match):
    path = save_nifti(tmp_path / "a.nii", NOISE, np.eye(4))
    content = bytearray(path.read_bytes())
    srow = np.zeros((3, 4), "<f4")
    srow[:, :3] = matrix
    content[280:328] = srow.tobytes()
    path.write_bytes(content)
    refused(path, match)


def test_a_rounded_rotation_is_no_shear(tmp_path):
    affine = np.round(oblique_affine(), 4)
    assert open_volume(save_nifti(tmp_path / "a.nii", NOISE, affine)).shape == NOISE.shape


def test_a_nifti_whose_pixdim_is_zero_or_not_a_number_is_refused(tmp_path):
    path = save_nifti(tmp_path / "a.nii", NOISE, np.eye(4))
    for value in (0.0, np.nan):
        content = bytearray(path.read_bytes())
        content[80:84] = struct.pack("<f", value)
        content[252:256] = bytes(4)  # no qform, no sform
        (tmp_path / "b.nii").write_bytes(content)
        refused(tmp_path / "b.nii", "must be positive")


def test_metaimage_and_nrrd_with_bad_geometry_are_refused(tmp_path):
    path = save(tmp_path / "a.mha")
    content = path.read_bytes()
    path.write_bytes(content.replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 0 1 1"))
    refused(path, "spacing|damaged")
    path.write_bytes(content.replace(b"ElementSpacing = 1 1 1", b"ElementSpacing = 1 1 -1"))
    refused(path, "spacing|damaged")
    path = save(tmp_path / "a.nrrd")
    path.write_bytes(path.read_bytes().replace(b"(1,0,0)", b"(1,0.2,0)"))
    refused(path, "sheared")


@pytest.mark.parametrize("spacing", [0, -0.5])
def test_tiff_with_a_section_distance_that_is_not_positive_is_refused(tmp_path, spacing):
    metadata = {"axes": "ZYX", "spacing": spacing, "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", NOISE, imagej=True, resolution=(4, 4), metadata=metadata)
    refused(tmp_path / "a.tif", "positive")


def test_axes_beyond_space_and_time_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 2, 3), np.uint8), np.eye(4)), tmp_path / "a.nii.gz")
    refused(tmp_path / "a.nii.gz", "3-D image is meant")
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 1, 3), np.uint8), np.eye(4)), tmp_path / "b.nii.gz")
    refused(tmp_path / "b.nii.gz", "3-D image is meant")
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 3, 5, 6), np.uint8), imagej=True, metadata={"axes": "TZYX"})
    refused(tmp_path / "a.tif", "3-D image is meant")
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((2, 5, 6), np.uint8), imagej=True, metadata={"axes": "CYX"})
    refused(tmp_path / "c.tif", "channels")
    sitk.WriteImage(sitk.Image([3, 4, 5, 2], sitk.sitkUInt8), str(tmp_path / "a.mha"))
    refused(tmp_path / "a.mha", "3-D image is meant")


def test_true_colour_is_refused(tmp_path):
    colour = RNG.integers(0, 255, (8, 9, 3)).astype(np.uint8)
    for name in ("a.png", "a.jpg", "a.webp", "a.tif", "b.bmp"):
        Image.fromarray(colour).save(tmp_path / name)
        refused(tmp_path / name, "colour")
    Image.fromarray(colour).convert("CMYK").save(tmp_path / "c.jpg")
    refused(tmp_path / "c.jpg", "colour")
    sitk.WriteImage(sitk.GetImageFromArray(colour, isVector=True), str(tmp_path / "a.mha"))
    refused(tmp_path / "a.mha", "3 values a voxel")
    rgb = np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.save(nib.Nifti1Image(rgb, np.eye(4)), tmp_path / "a.nii")
    refused(tmp_path / "a.nii", "one number each")
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.complex64), np.eye(4)), tmp_path / "b.nii")
    refused(tmp_path / "b.nii", "one number each")


def test_one_coloured_section_of_a_stack_is_named(tmp_path):
    grey = np.stack([NOISE[0]] * 3, -1)
    Image.fromarray(grey).save(tmp_path / "0.png")
    grey[3, 3, 1] ^= 1
    Image.fromarray(grey).save(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"1\.png.*colour"):
        open_volume(tmp_path).array[...]


def test_animations_are_refused(tmp_path):
    frames = [Image.fromarray(NOISE[i]) for i in range(3)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    refused(tmp_path / "a.gif", "3 frames")


def test_paths_that_lead_nowhere_are_named(tmp_path):
    refused(tmp_path / "absent.nii.gz", "does not exist")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty folder")
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("text")
    refused(tmp_path / "texts", "no image files")
    (tmp_path / "a.docx").write_text("text")
    refused(tmp_path / "a.docx", r"'\.docx' is no image format")
    refused(tmp_path / "a.docx" / "b.nii", "does not exist|cannot be read")


@pytest.mark.parametrize("name", NAMES)
def test_unreadable_files_are_named(tmp_path, name):
    path = save(tmp_path / name)
    path.chmod(0)
    with as_ordinary_user(tmp_path):
        refused(path, "permission")


def test_unreadable_folders_are_named(tmp_path):
    folder = numbered(tmp_path / "stack", ["0.png", "1.png"])
    folder.chmod(0)
    with as_ordinary_user(tmp_path):
        refused(folder, "permission")


def numbered(folder: Path, names: list[str]) -> Path:
    folder.mkdir()
    for name in names:
        Image.fromarray(NOISE[0]).save(folder / name)
    return folder


def test_folders_that_are_no_stack_say_why(tmp_path):
    refused(numbered(tmp_path / "gap", ["0.png", "1.png", "3.png"]), "no file with number 2")
    refused(numbered(tmp_path / "twice", ["1.png", "01.png"]), "one number")
    refused(numbered(tmp_path / "names", ["mary.png", "john.png"]), "no stack")
    refused(numbered(tmp_path / "mixed", ["a1.png", "b2.png"]), "no stack")
    folder = numbered(tmp_path / "sizes", ["0.png", "1.png"])
    Image.fromarray(NOISE[0][:5]).save(folder / "2.png")
    with pytest.raises(DataError, match=r"2\.png: is 5×40 uint8 where 0\.png is 30×40 uint8"):
        open_volume(folder)
    folder = numbered(tmp_path / "damaged", ["0.png", "1.png"])
    (folder / "1.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"1\.png.*cannot be read"):
        open_volume(folder)


def test_dicom_series_with_a_missing_slice_a_tilt_or_a_second_series_are_refused(tmp_path):
    array = NOISE[:6, :7, :8].astype(np.int16)
    series = save_dicom_series(tmp_path / "missing", array, oblique_affine())
    sorted(series.iterdir())[3].unlink()
    refused(series, "missing slice")
    two = save_dicom_series(tmp_path / "two", array, oblique_affine())
    for file in save_dicom_series(tmp_path / "other", array, oblique_affine()).iterdir():
        shutil.copy(file, two / f"other{file.name}")
    refused(two, "2 DICOM series")
    tilted = oblique_affine()
    tilted[:3, 2] += 0.3 * tilted[:3, 1]
    refused(save_dicom_series(tmp_path / "tilt", array, tilted), "sheared")


def test_dicom_frames_at_one_position_are_refused(tmp_path):
    affine = np.diag([1.0, 1.0, 1e-7, 1.0])
    refused(
        save_dicom_series(tmp_path / "cine", NOISE[:6, :7, :3].astype(np.int16), affine),
        "one position|spacing|series",
    )


def test_a_truncated_dicom_slice_is_named(tmp_path):
    series = save_dicom_series(tmp_path / "s", NOISE.astype(np.int16), oblique_affine())
    file = sorted(series.iterdir())[5]
    file.write_bytes(file.read_bytes()[:-300])
    with pytest.raises(DataError, match=r"truncated|damaged|missing slice"):
        open_volume(series).array[...]
