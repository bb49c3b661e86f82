"""Writing: results lie where their source lies, say nibabel, tifffile and SimpleITK."""

from __future__ import annotations

import resource
import signal
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recurseg.data.case import Volume
from recurseg.data.formats import open_volume, open_written, write_like
from recurseg.data.formats.folder import open_folder
from recurseg.errors import ConfigError, DataError, ResourceError

from .foreign_files import as_ordinary_user, oblique_affine, save_dicom_series, save_nifti

RNG = np.random.default_rng(11)
FORMATS = [
    "nii",
    "nii.gz",
    "mha",
    "nrrd",
    "tif",
    "folder-png",
    "folder-webp",
    "folder-tif",
    "png",
    "webp",
    "page.tif",
    "dicom",
]


def source(folder: Path, kind: str) -> Path:
    """An image of one kind with a world that is neither diagonal nor isotropic, where the kind has one."""
    array = RNG.integers(0, 200, (6, 7, 8)).astype(np.uint8)
    path = folder / f"image.{kind}"
    if kind in ("nii", "nii.gz"):
        return save_nifti(path, array)
    if kind in ("mha", "nrrd"):
        save_nifti(folder / "t.nii", array)
        sitk.WriteImage(sitk.ReadImage(str(folder / "t.nii")), str(path))
    elif kind == "tif":
        tifffile.imwrite(
            path, array, imagej=True, resolution=(250, 250), metadata={"axes": "ZYX", "spacing": 0.05, "unit": "um"}
        )
    elif kind == "page.tif":
        tifffile.imwrite(path, array[0], resolution=(400, 400), resolutionunit="CENTIMETER")
    elif kind in ("png", "webp"):
        Image.fromarray(array[0]).save(path)
    elif kind == "dicom":
        path = folder / "series"
        save_dicom_series(path, array.astype(np.int16), oblique_affine())
    else:
        path = folder / "stack"
        path.mkdir()
        for number, plane in enumerate(array):
            Image.fromarray(plane).save(path / f"{number:02d}.{kind.removeprefix('folder-')}")
    return path


@pytest.mark.parametrize("kind", FORMATS)
def test_labels_come_back_on_the_grid_of_their_source(tmp_path, kind):
    image = open_volume(source(tmp_path, kind))
    labels = RNG.integers(0, 4, image.shape).astype(np.uint8)
    written = write_like(tmp_path / "out" / "case.1", labels, image)
    back = open_volume(written)
    np.testing.assert_array_equal(back.array[...], labels)
    assert back.array.dtype == np.uint8
    assert back.spacing_known == image.spacing_known
    np.testing.assert_allclose(back.spacing, image.spacing, rtol=1e-6)
    if image.affine is not None:
        np.testing.assert_allclose(back.affine, image.affine, rtol=0, atol=1e-5)
    suffix = {
        "folder-webp": "",
        "folder-png": "",
        "folder-tif": "",
        "webp": ".png",
        "page.tif": ".tif",
        "dicom": ".nii.gz",
    }
    assert written == tmp_path / "out" / f"case.1{suffix.get(kind, f'.{kind}')}"
    assert [f.name for f in (tmp_path / "out").iterdir()] == [written.name]


@pytest.mark.parametrize("kind", FORMATS)
def test_sixteen_bit_labels_survive(tmp_path, kind):
    image = open_volume(source(tmp_path, kind))
    labels = RNG.integers(0, 65535, image.shape).astype(np.uint16)
    np.testing.assert_array_equal(open_volume(write_like(tmp_path / "o", labels, image)).array[...], labels)


@pytest.mark.parametrize("kind", ["nii", "nii.gz", "mha", "nrrd", "tif", "folder-png", "folder-webp", "dicom"])
def test_labels_of_some_sections_lie_at_these_sections(tmp_path, kind):
    image = open_volume(source(tmp_path, kind))
    axis = image.slice_axis
    labels = RNG.integers(0, 4, image.shape).astype(np.uint8)
    part = image.sections(2, 5)
    written = write_like(tmp_path / "out" / "part", np.take(labels, range(2, 5), axis), part)
    back = open_volume(written)
    np.testing.assert_array_equal(back.array[...], np.take(labels, range(2, 5), axis))
    if image.affine is not None:
        index = np.array([1, 1, 1, 1])
        index_in_whole = index.copy()
        index_in_whole[axis] += 2
        np.testing.assert_allclose(back.affine @ index, image.affine @ index_in_whole, atol=1e-4)
    if written.is_dir():
        assert sorted(f.name for f in written.iterdir()) == ["02.png", "03.png", "04.png"]


@pytest.mark.parametrize("stored", [(6, 7, 8), (6, 7, 8, 1), (6, 1, 8), (6, 7)])
@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (2, 1), (0, 0), (4, 3)])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_nifti_geometry_is_copied_bit_by_bit(tmp_path, stored, codes, kind):
    image = kind(RNG.integers(0, 99, stored).astype(np.int16), None)
    image.header.set_qform(oblique_affine(), code=codes[1])
    image.header.set_sform(oblique_affine() + np.diag([1e-3, 0, 0, 0]), code=codes[0])
    image.header.set_slope_inter(0.5, 3)
    image.header.set_xyzt_units("mm", "sec")
    image.header["intent_code"] = 3
    nib.save(image, tmp_path / "a.nii.gz")
    like = open_volume(tmp_path / "a.nii.gz")
    labels = RNG.integers(0, 5, like.shape).astype(np.uint8)
    before, after = nib.load(tmp_path / "a.nii.gz"), nib.load(write_like(tmp_path / "b", labels, like))
    for field in ("dim", "pixdim", "qform_code", "sform_code", "xyzt_units", "srow_x", "srow_y", "srow_z"):
        np.testing.assert_array_equal(before.header[field], after.header[field], err_msg=field)
    for field in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        np.testing.assert_array_equal(before.header[field], after.header[field], err_msg=field)
    np.testing.assert_array_equal(before.affine, after.affine)
    assert after.header.get_data_dtype() == np.uint8
    assert after.header["intent_code"] == 0
    np.testing.assert_array_equal(np.asarray(after.dataobj).squeeze(), labels.squeeze())


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1), (0, 0)])
def test_nifti_sections_move_every_form_that_the_header_has(tmp_path, codes):
    image = nib.Nifti1Image(np.zeros((6, 7, 8), np.int16), None)
    image.header.set_qform(oblique_affine(), code=codes[1])
    image.header.set_sform(oblique_affine(), code=codes[0])
    nib.save(image, tmp_path / "a.nii")
    part = open_volume(tmp_path / "a.nii").sections(3, 6)
    after = nib.load(write_like(tmp_path / "b", np.zeros((6, 7, 3), np.uint8), part))
    expected = nib.load(tmp_path / "a.nii").slicer[:, :, 3:6].affine
    np.testing.assert_allclose(after.affine, expected, atol=1e-5)
    for form, code in zip((after.get_sform, after.get_qform), codes, strict=True):
        if code:
            np.testing.assert_allclose(form(), expected, atol=1e-5)


def test_sections_of_a_volume_with_corrected_spacing_keep_their_place(tmp_path):
    from dataclasses import replace

    like = open_volume(save_nifti(tmp_path / "a.nii", np.zeros((6, 7, 8), np.uint8), np.diag([1.0, 1.0, 2.0, 1.0])))
    corrected = replace(like, spacing=(1.0, 1.0, 4.0), affine=np.diag([1.0, 1.0, 4.0, 1.0])).sections(3, 5)
    after = nib.load(write_like(tmp_path / "b", np.zeros((6, 7, 2), np.uint8), corrected))
    np.testing.assert_allclose(after.affine[:3, 3], [0, 0, 6])


@pytest.mark.parametrize("kind", FORMATS)
def test_probabilities_keep_their_class_axis(tmp_path, kind):
    image = open_volume(source(tmp_path, kind))
    maps = RNG.random((3, *image.shape)).astype(np.float32)
    written = write_like(tmp_path / "out" / "p", maps, image)
    if written.name.endswith((".nii", ".nii.gz")):
        stored = nib.load(written)
        np.testing.assert_array_equal(np.moveaxis(np.asarray(stored.dataobj), -1, 0).reshape(maps.shape), maps)
        np.testing.assert_allclose(stored.affine, image.affine, atol=1e-5)
    elif written.suffix in (".mha", ".nrrd"):
        stored = sitk.ReadImage(str(written))
        assert stored.GetNumberOfComponentsPerPixel() == 3
        np.testing.assert_array_equal(sitk.GetArrayFromImage(stored).transpose(3, 2, 1, 0), maps)
        assert stored.GetOrigin() == sitk.ReadImage(str(image.path)).GetOrigin()
        direction = sitk.ReadImage(str(image.path)).GetDirection()
        np.testing.assert_allclose(stored.GetDirection(), direction, rtol=1e-12)
    else:
        with tifffile.TiffFile(written) as stored:
            assert stored.series[0].axes == ("CZYX" if len(image.shape) == 3 else "CYX")
            np.testing.assert_array_equal(stored.asarray(), maps)
            if image.spacing_known:
                pixels = tifffile.xml2dict(stored.ome_metadata)["OME"]["Image"]["Pixels"]
                assert pixels["PhysicalSizeX"] == pytest.approx(image.spacing[-1] * 1e3)


def test_a_single_map_without_class_axis_keeps_the_grid(tmp_path):
    image = open_volume(source(tmp_path, "nii.gz"))
    probability = RNG.random(image.shape)
    back = open_volume(write_like(tmp_path / "p", probability, image))
    np.testing.assert_array_equal(back.array[...], probability.astype(np.float32))


def test_imagej_stacks_stay_imagej_stacks(tmp_path):
    image = open_volume(source(tmp_path, "tif"))
    with tifffile.TiffFile(write_like(tmp_path / "o", np.ones(image.shape, np.uint8), image)) as file:
        assert file.imagej_metadata["spacing"] == 0.05
        assert file.imagej_metadata["unit"] == "um"
        assert file.pages[0].tags["XResolution"].value == (250, 1)
        assert file.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE


@pytest.mark.parametrize(("unit", "size"), [("\\u00B5m", 1e-3), ("\\u00C5", 1e-7)])
def test_imagej_units_that_are_not_ascii_stay_as_imagej_writes_them(tmp_path, unit, size):
    array = np.zeros((3, 5, 6), np.uint8)
    metadata = {"axes": "ZYX", "spacing": 5.0, "unit": unit}
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, resolution=(1, 1), metadata=metadata)
    image = open_volume(tmp_path / "a.tif")
    assert image.spacing == pytest.approx((5 * size, size, size))
    assert open_volume(write_like(tmp_path / "o", array, image)).spacing == image.spacing


def test_plain_tiff_keeps_its_resolution_tags(tmp_path):
    array = np.zeros((3, 5, 6), np.uint8)
    tifffile.imwrite(tmp_path / "a.tiff", array, photometric="minisblack", resolution=(123, 77), resolutionunit=3)
    written = write_like(tmp_path / "o", array, open_volume(tmp_path / "a.tiff"))
    with tifffile.TiffFile(written) as file:
        tags = file.pages[0].tags
        assert (written.suffix, tags["XResolution"].value, tags["YResolution"].value) == (".tiff", (123, 1), (77, 1))
        assert tags["ResolutionUnit"].value == 3


@pytest.mark.parametrize("kind", ["nii.gz", "tif", "folder-png", "dicom", "mha"])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".tif"])
def test_another_format_may_be_asked_for(tmp_path, kind, suffix):
    image = open_volume(source(tmp_path, kind))
    labels = RNG.integers(0, 4, image.shape).astype(np.uint8)
    back = open_volume(write_like(tmp_path / "o", labels, image, suffix))
    turned = labels if (image.affine is None) == (suffix == ".tif") else labels.transpose()
    np.testing.assert_array_equal(back.array[...], turned)
    assert sorted(back.spacing) == pytest.approx(sorted(image.spacing))
    if image.affine is not None and back.affine is not None:
        np.testing.assert_allclose(back.affine, image.affine, atol=1e-5)


def test_arrays_without_a_file_are_written_too(tmp_path):
    for shape, affine, suffix in (
        ((4, 5, 6), np.eye(4), ".nii.gz"),
        ((4, 5, 6), None, ".tif"),
        ((5, 6), None, ".png"),
    ):
        labels = RNG.integers(0, 4, shape)
        like = Volume(labels, (2.0,) * len(shape), affine, Path("array"), "array")
        written = write_like(tmp_path / "a", labels, like)
        assert written.name == f"a{suffix}"
        np.testing.assert_array_equal(open_volume(written).array[...], labels)


@given(shape=st.tuples(*[st.integers(2, 6)] * 3), start=st.integers(0, 4), length=st.integers(2, 4), data=st.data())
@settings(max_examples=25, deadline=None)
def test_nibabel_and_simpleitk_find_a_predicted_voxel_at_one_place(tmp_path_factory, shape, start, length, data):
    folder = tmp_path_factory.mktemp("place")
    affine = np.eye(4)
    affine[:3, :3] = oblique_affine()[:3, :3][:, data.draw(st.permutations([0, 1, 2]))]
    affine[:3, :3] *= data.draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    affine[:3, 3] = data.draw(st.tuples(*[st.integers(-50, 50)] * 3))
    like = open_volume(save_nifti(folder / "a.nii.gz", np.zeros(shape, np.uint8), affine))
    axis = like.slice_axis
    start = min(start, shape[axis] - 1)
    part = like.sections(start, min(start + length, shape[axis]))
    at = tuple(data.draw(st.integers(0, n - 1)) for n in part.shape)
    labels = np.zeros(part.shape, np.uint8)
    labels[at] = 1
    whole_index = np.array([*at, 1.0])
    whole_index[axis] += start
    world = affine @ whole_index
    nifti = nib.load(write_like(folder / "n", labels, part))
    (found,) = np.argwhere(np.asarray(nifti.dataobj).reshape(part.shape))
    np.testing.assert_allclose((nifti.affine @ [*found, 1])[:3], world[:3], atol=1e-3)
    itk = sitk.ReadImage(str(write_like(folder / "i", labels, part, ".mha")))
    point = itk.TransformIndexToPhysicalPoint([int(i) for i in np.argwhere(sitk.GetArrayFromImage(itk).T)[0]])
    np.testing.assert_allclose(point * np.array([-1, -1, 1]), world[:3], atol=1e-3)


def test_a_result_never_replaces_its_source(tmp_path):
    for kind in ("nii.gz", "folder-png", "tif"):
        path = source(tmp_path, kind)
        image = open_volume(path)
        with pytest.raises(ConfigError, match="own source"):
            write_like(path.with_name(path.name.removesuffix(f".{kind}")), np.zeros(image.shape, np.uint8), image)


def test_labels_of_sections_whose_numbers_have_gaps_are_read_back(tmp_path):
    files = [tmp_path / "film" / f"frame_{number:03d}.png" for number in (98, 100, 102)]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(file)
    like = open_folder(files[0].parent, files=files, max_bytes=2**20)
    labels = np.arange(60, dtype=np.uint8).reshape(3, 4, 5)
    written = open_written(write_like(tmp_path / "found" / "film", labels, like))
    np.testing.assert_array_equal(written.array[...], labels)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="empty"):
        open_written(tmp_path / "nothing")


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    image = open_volume(source(tmp_path, "folder-png"))
    labels = np.zeros(image.shape, np.uint8)
    written = write_like(tmp_path / "o", labels, image)
    write_like(tmp_path / "o", labels + 1, image)
    assert open_volume(written).array[...].min() == 1
    (written / "thesis.txt").write_text("precious")
    with pytest.raises(ConfigError, match="other files"):
        write_like(tmp_path / "o", labels, image)
    assert (written / "thesis.txt").read_text() == "precious"
    assert sorted(f.name for f in tmp_path.iterdir()) == ["o", "stack"]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_output_that_cannot_be_written_is_a_resource_error(tmp_path, kind):
    image = open_volume(source(tmp_path, kind))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ResourceError, match="cannot be written") as error:
        write_like(tmp_path / "file" / "o", np.zeros(image.shape, np.uint8), image)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_read_only_folder_is_a_resource_error(tmp_path, kind):
    image = open_volume(source(tmp_path, kind))
    (tmp_path / "out").mkdir(mode=0o555)
    with as_ordinary_user(tmp_path), pytest.raises(ResourceError, match="cannot be written"):
        write_like(tmp_path / "out" / "o", np.zeros(image.shape, np.uint8), image)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", ["nii", "nii.gz", "mha", "nrrd", "tif", "folder-png", "dicom"])
def test_a_full_disk_is_a_resource_error_and_leaves_nothing(tmp_path, kind):
    image = open_volume(source(tmp_path, kind))
    maps = RNG.random((400, *image.shape)).astype(np.float32)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(ResourceError, match="cannot be written"):
            write_like(tmp_path / "out" / "o", maps, image)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list((tmp_path / "out").iterdir()) == []


def test_labels_that_no_format_holds_are_refused(tmp_path):
    image = open_volume(source(tmp_path, "nii"))
    with pytest.raises(DataError, match="16 bits"):
        write_like(tmp_path / "o", np.full(image.shape, -1), image)
    with pytest.raises(ConfigError, match="cannot hold"):
        write_like(tmp_path / "o", np.zeros(image.shape, np.uint8), image, ".png")
    with pytest.raises(ValueError, match="grid"):
        write_like(tmp_path / "o", np.zeros((2, 2, 2), np.uint8), image)
