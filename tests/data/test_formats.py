"""Reading: what nibabel, tifffile, Pillow, SimpleITK and pydicom say about a file is what a volume says."""

from __future__ import annotations

import gzip
import os
import pickle
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from recurseg.data.formats import format_of, open_volume, stem_of, suffix_of
from recurseg.data.formats.lazy import PagedArray
from recurseg.errors import DataError

from .foreign_files import oblique_affine, save_dicom_series, save_nifti

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["<u1", "<i2", ">i2", "<u2", "<i4", "<f4", ">f4", "<f8"])
def test_nifti_is_read_as_nibabel_reads_it(tmp_path, suffix, dtype):
    array = RNG.integers(0, 120, (7, 5, 6)).astype(dtype)
    header = nib.Nifti1Header(endianness=np.dtype(dtype).newbyteorder("S").byteorder if dtype[0] == ">" else "<")
    header.set_data_dtype(dtype)
    path = tmp_path / f"a{suffix}"
    nib.save(nib.Nifti1Image(array, oblique_affine(), header), path)
    volume, image = open_volume(path), nib.load(path)
    assert (volume.format, volume.shape, volume.array.dtype) == (
        "nifti",
        (7, 5, 6),
        np.dtype(dtype).newbyteorder("="),
    )
    np.testing.assert_array_equal(volume.array[...], np.asarray(image.dataobj))
    np.testing.assert_array_equal(volume.array[2:5, :, 3], np.asarray(image.dataobj)[2:5, :, 3])
    np.testing.assert_allclose(volume.affine, image.affine)
    np.testing.assert_allclose(volume.spacing, image.header.get_zooms(), rtol=1e-6)
    assert volume.array[...].dtype.isnative
    assert volume.array[...].flags.writeable


def test_nifti_slope_and_intercept_are_applied(tmp_path):
    image = nib.Nifti1Image(RNG.integers(-500, 500, (4, 5, 6)).astype(np.int16), np.eye(4))
    image.header.set_slope_inter(0.25, -3)
    nib.save(image, tmp_path / "a.nii.gz")
    volume = open_volume(tmp_path / "a.nii.gz")
    assert volume.array.dtype == np.float32
    np.testing.assert_allclose(volume.array[...], nib.load(tmp_path / "a.nii.gz").get_fdata(), rtol=1e-6)


def test_nifti_in_micrometres_has_spacing_in_millimetres(tmp_path):
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.uint8), np.diag([4.0, 4.0, 50.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(open_volume(tmp_path / "a.nii").spacing, (4e-3, 4e-3, 50e-3))
    itk = sitk.ReadImage(str(tmp_path / "a.nii"))
    np.testing.assert_allclose(itk.GetSpacing(), (4e-3, 4e-3, 50e-3))


@pytest.mark.parametrize(
    ("stored", "read", "columns"),
    [((6, 1, 5, 1), (6, 5), (0, 2, 1)), ((1, 4, 5), (4, 5), (1, 2, 0)), ((4, 5, 6, 1), (4, 5, 6), (0, 1, 2))],
)
def test_nifti_axes_of_length_one_are_squeezed_and_said_so(tmp_path, stored, read, columns):
    array = RNG.integers(0, 9, stored).astype(np.uint8)
    volume = open_volume(save_nifti(tmp_path / "a.nii.gz", array))
    assert volume.shape == read
    assert any("squeezed" in note for note in volume.notes)
    np.testing.assert_array_equal(volume.array[...], array.squeeze())
    np.testing.assert_allclose(volume.affine[:3, :3], oblique_affine()[:3, columns], atol=1e-6)


def test_a_compressed_volume_reads_nothing_at_open_and_leaves_no_spool(tmp_path, monkeypatch):
    path = save_nifti(tmp_path / "a.nii.gz", RNG.integers(0, 9, (8, 8, 8)).astype(np.int16))
    volume = open_volume(path)
    spool = volume.array.file.path
    assert not spool.exists()
    part = volume.array[3]
    assert spool.stat().st_size == 8 * 8 * 8 * 2
    path.unlink()  # spooled once: the source is no longer needed
    np.testing.assert_array_equal(volume.array[3], part)
    del volume
    assert not spool.exists()


def test_a_killed_program_leaves_a_spool_that_the_next_one_sweeps(tmp_path):
    path = save_nifti(tmp_path / "a.nii.gz", np.ones((4, 4, 4), np.int16))
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    code = f"from recurseg.data.formats import open_volume\nv = open_volume({str(path)!r}); v.array[0]\n"
    run = {"env": {**os.environ, "TMPDIR": str(temporary)}, "check": False}
    subprocess.run([sys.executable, "-c", code + "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"], **run)
    (left,) = temporary.iterdir()
    os.utime(left, (0, 0))
    subprocess.run([sys.executable, "-c", code], **run)
    assert list(temporary.iterdir()) == []


def test_forked_workers_leave_the_spool_of_their_parent_alone(tmp_path):
    volume = open_volume(save_nifti(tmp_path / "a.nii.gz", np.ones((4, 4, 4), np.int16)))
    volume.array[0]
    child = os.fork()
    if child == 0:
        del volume
        os._exit(0)
    os.waitpid(child, 0)
    assert volume.array.file.path.exists()


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.mha", "a.tif", "a.png", "stack"])
def test_lazy_arrays_can_be_pickled_for_spawned_workers(tmp_path, name):
    array = RNG.integers(0, 200, (5, 6, 7)).astype(np.uint8)
    path = tmp_path / name
    match path.suffix:
        case ".mha":
            sitk.WriteImage(sitk.GetImageFromArray(array.T), str(path))
        case ".tif":
            tifffile.imwrite(path, array, compression="zlib", photometric="minisblack")
        case ".png":
            array = array[0]
            Image.fromarray(array).save(path)
        case "":
            path.mkdir()
            for number, plane in enumerate(array):
                Image.fromarray(plane).save(path / f"{number}.png")
        case _:
            save_nifti(path, array)
    volume = open_volume(path)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(volume.array))[...], array)


@pytest.mark.parametrize(
    ("metadata", "resolution", "unit", "options", "expected"),
    [
        ({"spacing": 0.05, "unit": "um"}, (250, 125), None, {"imagej": True}, (5e-5, 8e-6, 4e-6)),
        ({"spacing": 50.0, "unit": "nm"}, (0.25, 0.25), None, {"imagej": True}, (5e-5, 4e-6, 4e-6)),
        ({"spacing": 3.0, "unit": "mm"}, (2, 2), None, {"imagej": True}, (3.0, 0.5, 0.5)),
        ({"spacing": 0.1, "unit": "cm"}, (20, 20), None, {"imagej": True}, (1.0, 0.5, 0.5)),
        ({"spacing": 1.0, "unit": "inch"}, (254, 254), None, {"imagej": True}, (25.4, 0.1, 0.1)),
        ({"spacing": 0.05, "unit": "\\u00B5m"}, (250, 250), None, {"imagej": True}, (5e-5, 4e-6, 4e-6)),
        ({"unit": "um"}, (4, 4), None, {"imagej": True}, (1e-3, 2.5e-4, 2.5e-4)),
        ({"spacing": 2.0}, (4, 4), None, {"imagej": True}, None),
        ({"spacing": 2.0, "unit": "pixel"}, (4, 4), None, {"imagej": True}, None),
        ({}, (100, 100), "CENTIMETER", {}, None),
        ({}, None, None, {}, None),
        (
            {"PhysicalSizeX": 4.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 8.0, "PhysicalSizeYUnit": "nm"}
            | {"PhysicalSizeZ": 0.05, "PhysicalSizeZUnit": "µm"},
            None,
            None,
            {"ome": True},
            (5e-5, 8e-6, 4e-6),
        ),
        ({"PhysicalSizeX": 4.0, "PhysicalSizeY": 4.0}, None, None, {"ome": True}, None),
    ],
)
def test_tiff_spacing_is_in_millimetres(tmp_path, metadata, resolution, unit, options, expected):
    array = RNG.integers(0, 200, (3, 8, 9)).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif",
        array,
        photometric="minisblack",
        resolution=resolution,
        resolutionunit=unit,
        metadata={"axes": "ZYX", **metadata},
        **options,
    )
    volume = open_volume(tmp_path / "a.tif")
    assert volume.format == "tiff"
    assert volume.slice_axis == 0
    np.testing.assert_array_equal(volume.array[...], array)
    assert volume.spacing_known == (expected is not None)
    np.testing.assert_allclose(volume.spacing, expected or (1, 1, 1), rtol=1e-6)


@pytest.mark.parametrize(("unit", "expected"), [("CENTIMETER", 0.1), ("INCH", 0.254)])
def test_a_single_page_tiff_is_an_image_with_the_spacing_of_its_resolution(tmp_path, unit, expected):
    array = RNG.integers(0, 60000, (6, 7)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array, resolution=(100, 100), resolutionunit=unit)
    volume = open_volume(tmp_path / "a.tif")
    assert (volume.format, volume.shape) == ("image", (6, 7))
    np.testing.assert_array_equal(volume.array[...], array)
    np.testing.assert_allclose(volume.spacing, (expected, expected))


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
@pytest.mark.parametrize("dtype", [">u2", "<u2", "<f4", "<u1", "?"])
def test_tiff_stacks_are_read_as_tifffile_reads_them(tmp_path, compression, dtype):
    array = (RNG.random((5, 16, 17)) * 2).astype(dtype)
    tifffile.imwrite(
        tmp_path / "a.tif",
        array,
        photometric="minisblack",
        compression=compression,
        byteorder=dtype[0] if dtype[0] in "<>" else None,
    )
    volume, whole = open_volume(tmp_path / "a.tif"), tifffile.imread(tmp_path / "a.tif")
    np.testing.assert_array_equal(volume.array[...], whole)
    np.testing.assert_array_equal(volume.array[-2, ::3, 5], whole[-2, ::3, 5])
    np.testing.assert_array_equal(volume.array[1:4][..., ::-1], whole[1:4][..., ::-1])
    assert volume.array[...].dtype == volume.array.dtype


INDEX = hnp.basic_indices((4, 3, 5), allow_newaxis=False, allow_ellipsis=True)


@given(index=INDEX, axis=st.integers(0, 2))
@settings(max_examples=200, deadline=None)
def test_an_index_into_pages_is_that_index_into_the_array(index, axis):
    array = np.arange(60).reshape(4, 3, 5)
    touched: set[int] = set()

    def read(numbers):
        touched.update(numbers)
        return (np.take(array, number, axis) for number in numbers)

    paged = PagedArray(array.shape, array.dtype, read, axis)
    np.testing.assert_array_equal(paged[index], array[index])
    assert touched <= set(np.moveaxis(np.indices(array.shape)[axis], axis, 0)[..., 0, 0].tolist())


def test_an_index_into_pages_decodes_only_what_it_touches():
    touched = []

    def read(numbers):
        touched.extend(numbers)
        return (np.full((2, 2), number) for number in numbers)

    paged = PagedArray((9, 2, 2), np.dtype(int), read)
    assert paged[3:6, 1].tolist() == [[3, 3], [4, 4], [5, 5]]
    assert touched == [3, 4, 5]
    assert paged[np.array([1, 8])].shape == (2, 2, 2)
    with pytest.raises(IndexError):
        paged[9]


def test_a_folder_is_a_stack_in_the_order_of_its_numbers(tmp_path):
    for number in range(8, 12):
        Image.fromarray(np.full((4, 5), number, np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no section")
    volume = open_volume(tmp_path)
    assert (volume.format, volume.shape, volume.slice_axis) == ("folder", (4, 4, 5), 0)
    assert volume.array[:, 0, 0].tolist() == [8, 9, 10, 11]
    part = volume.sections(1, 3)
    assert [f.name for f in part.files] == ["9.png", "10.png"]
    assert part.array[:, 0, 0].tolist() == [9, 10]


def test_a_folder_may_name_its_sections_before_and_after_the_number(tmp_path):
    for number in range(1, 4):
        tifffile.imwrite(tmp_path / f"s2_{number}_raw.tif", np.full((4, 5), number, np.uint16))
    assert open_volume(tmp_path).array[:, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_grey_stored_as_colour_becomes_grey_and_says_so(tmp_path, suffix):
    grey = RNG.integers(0, 255, (6, 7)).astype(np.uint8)
    colour = Image.fromarray(np.stack([grey] * 3, -1))
    colour.save(tmp_path / f"a.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    volume = open_volume(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(volume.array[...], grey)
    assert any("grey" in note for note in volume.notes)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_palette_and_one_bit_labels_keep_their_index_values(tmp_path, suffix):
    labels = RNG.integers(0, 4, (6, 7)).astype(np.uint8)
    palette = Image.fromarray(labels)
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.save(tmp_path / f"p.{suffix}")
    Image.fromarray(labels > 1).save(tmp_path / f"b.{suffix}")
    np.testing.assert_array_equal(open_volume(tmp_path / f"p.{suffix}").array[...], labels)
    one_bit = open_volume(tmp_path / f"b.{suffix}")
    np.testing.assert_array_equal(one_bit.array[...], (labels > 1).astype(np.uint8))
    assert one_bit.array.dtype == np.uint8


def test_sixteen_bit_png_keeps_its_values(tmp_path):
    array = RNG.integers(0, 65535, (6, 7)).astype(np.uint16)
    Image.fromarray(array).save(tmp_path / "a.png")
    volume = open_volume(tmp_path / "a.png")
    assert volume.array.dtype == np.uint16
    np.testing.assert_array_equal(volume.array[...], array)


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".nrrd", "-dicom"])
def test_one_world_coordinate_holds_one_value_in_every_format(tmp_path, suffix):
    array = RNG.integers(-900, 900, (9, 8, 6)).astype(np.int16)
    affine = oblique_affine()
    path = tmp_path / f"a{suffix}"
    if suffix == "-dicom":
        save_dicom_series(path, array, affine)
    elif suffix == ".nii.gz":
        save_nifti(path, array, affine)
    else:
        lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
        lengths = np.linalg.norm(lps[:3, :3], axis=0)
        image = sitk.GetImageFromArray(array.transpose())
        image.SetOrigin(lps[:3, 3].tolist())
        image.SetSpacing(lengths.tolist())
        image.SetDirection((lps[:3, :3] / lengths).ravel().tolist())
        sitk.WriteImage(image, str(path), suffix == ".nrrd")
    volume = open_volume(path)
    voxels = volume.array[...]
    assert voxels.dtype == np.int16
    for index in [(0, 0, 0), (8, 0, 3), (2, 7, 5), (4, 4, 4)]:
        world = affine @ [*index, 1]
        found = np.linalg.solve(volume.affine, world)[:3]
        np.testing.assert_allclose(found, np.rint(found), atol=1e-3)
        assert voxels[tuple(np.rint(found).astype(int))] == array[index]
    np.testing.assert_allclose(sorted(volume.spacing), (0.8, 1.1, 3.0), rtol=1e-5)
    assert volume.slice_axis == 2


def test_itk_agrees_with_a_large_streamed_metaimage(tmp_path, monkeypatch):
    monkeypatch.setattr("recurseg.data.formats.itk._SLAB_BYTES", 100)
    array = RNG.integers(0, 999, (7, 5, 4)).astype(np.uint16)
    for name, compress in (("a.mha", False), ("b.mha", True), ("c.mhd", False), ("d.nhdr", False)):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / name), compress)
        np.testing.assert_array_equal(open_volume(tmp_path / name).array[...], array.transpose())


def test_dicom_rescale_gives_the_values_that_it_means(tmp_path):
    array = RNG.integers(0, 100, (5, 4, 3)).astype(np.int16)
    volume = open_volume(save_dicom_series(tmp_path / "s", array, np.diag([1.0, 1.0, 2.0, 1.0]), slope=0.5))
    assert sorted(volume.array[...].ravel()) == sorted(array.ravel() * 0.5)


def test_suffix_and_stem_know_double_suffixes():
    assert [suffix_of(n) for n in ("a.nii.gz", "b.v2.OME.TIF", "c.mha", "d")] == [".nii.gz", ".OME.TIF", ".mha", ""]
    assert [stem_of(n) for n in ("a.nii.gz", "b.v2.OME.TIF", "stack[1-2].mha")] == ["a", "b.v2", "stack[1-2]"]
    assert [format_of(n) for n in ("A.NII", "a.ome.tif", "a.webp", "a.ima", "a.gz")] == [
        "nifti",
        "tiff",
        "image",
        "dicom",
        None,
    ]


def test_gzip_of_another_program_with_a_longer_tail_is_read(tmp_path):
    path = save_nifti(tmp_path / "a.nii", np.arange(8, dtype=np.int16).reshape(2, 2, 2))
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(path.read_bytes() + bytes(64)))
    np.testing.assert_array_equal(open_volume(tmp_path / "b.nii.gz").array[...], np.arange(8).reshape(2, 2, 2))


def data_root() -> Path:
    root = os.environ.get("RECURSEG_DATA")
    if not root or not Path(root).is_dir():
        pytest.skip("RECURSEG_DATA names no folder with the real data sets")
    return Path(root)


def real(name: str) -> Path:
    path = data_root() / name
    if not path.exists():
        pytest.skip(f"RECURSEG_DATA holds no {name}")
    return path


def test_real_ibsr18_loses_its_fourth_axis():
    path = real("ibsr18/IBSR_01/IBSR_01.nii.gz")
    volume = open_volume(path)
    assert volume.shape == (256, 128, 256)
    assert any("squeezed" in note for note in volume.notes)
    np.testing.assert_array_equal(volume.array[:, 60, :], np.asarray(nib.load(path).dataobj)[:, 60, :, 0])
    assert volume.slice_axis == 1


def test_real_em_stack_is_a_folder_of_sections():
    volume = open_volume(real("isbi2012_em/image"))
    assert volume.shape == (20, 512, 512)
    np.testing.assert_array_equal(volume.array[13], np.asarray(Image.open(real("isbi2012_em/image/13.png"))))


def test_real_radiographs_are_grey_images():
    for path in sorted(real("cxr_lung/images").glob("*.png"))[:20]:
        assert open_volume(path).shape == (256, 256)


def test_real_road_frames_are_refused_as_colour():
    path = next(iter(sorted(real("camvid/val").glob("*.webp"))))
    with pytest.raises(DataError, match="colour"):
        open_volume(path)


def test_real_lesion_volumes_agree_with_nibabel_and_simpleitk():
    for path in sorted(real("ms_lesions/patient07").glob("*.nii.gz")):
        volume, image = open_volume(path), nib.load(path)
        np.testing.assert_allclose(volume.affine, image.affine)
        plane = volume.array[:, :, 90]
        np.testing.assert_allclose(plane, np.asarray(image.dataobj[:, :, 90]), rtol=1e-6, atol=1e-4)
        itk = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        np.testing.assert_allclose(plane, itk[90].T, rtol=1e-4, atol=1e-3)
