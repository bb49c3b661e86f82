"""HDF5: datasets inside files, as h5py reads them."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from recurseg.data.dataset import open_dataset
from recurseg.data.formats import format_of, open_volume, stem_of, write_like
from recurseg.data.formats.hdf5 import split_address
from recurseg.data.labels import class_labels
from recurseg.errors import DataError

RNG = np.random.default_rng(11)
STACK = RNG.random((5, 7, 6)).astype(np.float32)
"""(z, y, x)"""


def save(path: Path, attributes=None, /, **datasets) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, array in datasets.items():
            file.create_dataset(name.replace("__", "/"), data=array)
        file.attrs.update(attributes or {})
    return path


def test_the_image_of_a_file_is_a_stack(tmp_path):
    path = save(tmp_path / "a.h5", image=STACK, label=np.ones(STACK.shape, np.uint8), scribble=STACK)
    volume = open_volume(path)
    assert (volume.format, volume.shape, volume.array.dtype) == ("hdf5", (5, 7, 6), np.float32)
    assert (volume.slice_axis, volume.spacing_known, volume.affine, volume.time_axis) == (0, False, None, None)
    np.testing.assert_array_equal(volume.array[...], STACK)


@pytest.mark.parametrize("name", ["label", "parts/raw", "/parts/raw"])
def test_a_dataset_is_named_behind_a_colon(tmp_path, name):
    path = save(tmp_path / "a.H5", image=STACK, label=STACK[:4], parts__raw=STACK[:4])
    np.testing.assert_array_equal(open_volume(f"{path}:{name}").array[...], STACK[:4])


def test_the_only_dataset_needs_no_name(tmp_path):
    np.testing.assert_array_equal(open_volume(save(tmp_path / "a.hdf5", t__raw=STACK)).array[...], STACK)


@pytest.mark.parametrize(
    ("text", "file", "dataset"),
    [
        ("C:/data/a.h5", "C:/data/a.h5", ""),
        ("C:/data/a.h5:raw", "C:/data/a.h5", "raw"),
        ("a.hdf5:g/raw", "a.hdf5", "g/raw"),
        ("C:a.nii.gz", "C:a.nii.gz", ""),
        ("a.h5/b.nii", "a.h5/b.nii", ""),
    ],
)
def test_drives_and_other_names_are_no_addresses(text, file, dataset):
    assert split_address(Path(text)) == (Path(file), dataset)


def test_a_file_that_is_really_called_so_goes_first(tmp_path):
    odd = save(tmp_path / "a.h5:b.h5", image=STACK)
    assert split_address(odd) == (odd, "")


def test_names_of_hdf5_files():
    assert [format_of(name) for name in ("a.h5", "a.HDF5", "a.hdf")] == ["hdf5"] * 3
    assert stem_of("patient001_frame01.h5") == "patient001_frame01"


@given(index=hnp.basic_indices(STACK.shape, allow_newaxis=False, allow_ellipsis=True))
@settings(max_examples=60, deadline=None)
def test_any_index_gives_what_numpy_gives(tmp_path_factory, index):
    path = tmp_path_factory.getbasetemp() / "indexed.h5"
    if not path.exists():
        save(path, image=STACK)
    np.testing.assert_array_equal(open_volume(path).array[index], STACK[index])


def test_other_indices_and_types(tmp_path):
    path = save(tmp_path / "a.h5", image=STACK.astype(">f8"), flags=STACK > 0.5)
    array = open_volume(path).array
    assert array.dtype == np.float64
    assert array.dtype.isnative
    np.testing.assert_array_equal(array[[3, 1]], STACK[[3, 1]])
    np.testing.assert_array_equal(open_volume(f"{path}:flags").array[...], STACK > 0.5)
    with pytest.raises(IndexError):
        array[5]


def test_nothing_stays_open_and_workers_get_a_copy(tmp_path):
    volume = open_volume(save(tmp_path / "a.h5", image=STACK))
    copy = pickle.loads(pickle.dumps(volume.array))
    assert copy[2, 3, 4] == STACK[2, 3, 4]
    (tmp_path / "a.h5").unlink()
    with pytest.raises(DataError, match="does not exist"):
        volume.array[...]
    save(tmp_path / "a.h5", image=STACK + 1)
    np.testing.assert_array_equal(volume.array[0], STACK[0] + 1)


def test_spacing_comes_from_an_attribute_of_the_file_or_the_dataset(tmp_path):
    path = save(tmp_path / "a.h5", {"spacing": (8.0, 1.5, 1.4)}, image=STACK)
    volume = open_volume(path)
    assert (volume.spacing, volume.spacing_known) == ((8.0, 1.5, 1.4), True)
    with h5py.File(path, "a") as file:
        file["image"].attrs["spacing"] = [5.0, 1.0, 1.0]
    assert open_volume(path).spacing == (5.0, 1.0, 1.0)


def test_four_axes_are_a_cine_with_time_first(tmp_path):
    film = RNG.random((3, *STACK.shape)).astype(np.float32)
    volume = open_volume(save(tmp_path / "a.h5", {"spacing": (8.0, 1.5, 1.4)}, image=film))
    assert (volume.time_axis, volume.slice_axis, volume.frames) == (0, 1, 3)
    assert volume.spacing == (1.0, 8.0, 1.5, 1.4)
    np.testing.assert_array_equal(volume.frame(2).array[1:3], film[2, 1:3])
    assert volume.frame(2).slice_axis == 0
    timed = open_volume(save(tmp_path / "b.h5", {"spacing": (0.03, 8.0, 1.5, 1.4)}, image=film))
    assert timed.spacing == (0.03, 8.0, 1.5, 1.4)


@pytest.mark.parametrize(
    ("shape", "read"),
    [((1, 7, 6), (7, 6)), ((1, 5, 7, 6), (5, 7, 6)), ((5, 7, 6, 1), (5, 7, 6)), ((3, 1, 7, 6), (3, 1, 7, 6))],
)
def test_axes_of_length_1_are_squeezed_except_the_section_of_a_film(tmp_path, shape, read):
    array = RNG.random(shape)
    volume = open_volume(save(tmp_path / "a.h5", image=array))
    assert volume.shape == read
    np.testing.assert_array_equal(volume.array[...], array.reshape(read))
    assert bool(volume.notes) == (shape != read)


@pytest.mark.parametrize(
    ("datasets", "name", "said"),
    [
        ({"image": STACK}, ":imgae", "no dataset 'imgae'; did you mean 'image'"),
        ({"g__raw": STACK}, ":g", "no dataset 'g'.*; it holds g/raw"),
        ({"raw": STACK, "gt": STACK}, "", "which dataset is meant; it holds gt, raw"),
        ({}, "", "which dataset is meant; it holds none"),
        ({"image": np.zeros((2, 2, 2, 2, 2))}, "", "has 5 axes"),
        ({"image": np.array([b"a", b"bc"])}, "", "holds strings"),
        ({"image": np.zeros((4, 4), [("r", "u1"), ("g", "u1")])}, "", "holds compound values"),
        ({"image": np.zeros((4, 4), complex)}, "", "holds complex128 values"),
        ({"image": np.float32(3)}, "", "2-D or 3-D image is meant"),
        ({"image": np.zeros((0, 4, 4))}, "", "empty image"),
    ],
)
def test_what_cannot_be_a_volume_is_said_in_one_line(tmp_path, datasets, name, said):
    path = save(tmp_path / "a.h5", **datasets)
    with pytest.raises(DataError, match=said) as error:
        open_volume(f"{path}{name}")
    assert "\n" not in str(error.value)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("spacing", [(1.0, 2.0), (1.0, 2.0, 0.0), (1.0, 2.0, float("nan")), "fine"])
def test_a_spacing_that_does_not_fit_is_an_error(tmp_path, spacing):
    with pytest.raises(DataError, match=r"spacing|cannot be read"):
        open_volume(save(tmp_path / "a.h5", {"spacing": spacing}, image=STACK))


def test_other_files_and_damaged_ones_are_named(tmp_path):
    (tmp_path / "a.h5").write_text("no HDF5 at all")
    with pytest.raises(DataError, match=r"a\.h5: is no HDF5 file"):
        open_volume(tmp_path / "a.h5")
    with pytest.raises(DataError, match="does not exist"):
        open_volume(tmp_path / "gone.h5:raw")
    whole = save(tmp_path / "b.h5", image=RNG.random((50, 50, 50))).read_bytes()
    (tmp_path / "b.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"b\.h5: .*(truncated|cannot be read)"):
        open_volume(tmp_path / "b.h5").array[...]


def test_a_claim_beyond_the_budget_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("image", (10**4, 10**4, 10**4), "u1", chunks=(1, 10**3, 10**3))
    with pytest.raises(DataError, match="more than the budget"):
        open_volume(tmp_path / "a.h5")


def test_results_stay_hdf5_with_their_spacing(tmp_path):
    source = open_volume(save(tmp_path / "a.h5", {"spacing": (8.0, 1.5, 1.4)}, image=STACK))
    labels = (STACK > 0.5).astype(np.uint8)
    path = write_like(tmp_path / "out" / "a", labels, source)
    assert path.name == "a.h5"
    with h5py.File(path) as file:
        assert list(file) == ["label"]
        np.testing.assert_array_equal(file["label"], labels)
        assert tuple(file["label"].attrs["spacing"]) == (8.0, 1.5, 1.4)
    assert open_volume(path).spacing == source.spacing
    maps = write_like(tmp_path / "out" / "b", STACK, source)
    np.testing.assert_array_equal(open_volume(maps).array[...], STACK)


def test_results_may_be_nifti_with_x_first(tmp_path):
    source = open_volume(save(tmp_path / "a.h5", {"spacing": (8.0, 1.5, 1.4)}, image=STACK))
    written = nib.load(write_like(tmp_path / "b", (STACK > 0.5).astype(np.uint8), source, ".nii.gz"))
    np.testing.assert_array_equal(np.asarray(written.dataobj), (STACK > 0.5).T)
    assert written.header.get_zooms() == pytest.approx((1.4, 1.5, 8.0))


def test_a_film_crosses_between_hdf5_and_nifti(tmp_path):
    film = RNG.integers(0, 4, (3, *STACK.shape)).astype(np.uint8)
    source = open_volume(save(tmp_path / "a.h5", {"spacing": (0.04, 8.0, 1.5, 1.4)}, image=film))
    path = write_like(tmp_path / "b", film, source, ".nii.gz")
    written = nib.load(path)
    np.testing.assert_array_equal(np.asarray(written.dataobj), film.T)
    assert written.header.get_zooms() == pytest.approx((1.4, 1.5, 8.0, 0.04))
    assert written.header.get_xyzt_units() == ("mm", "sec")
    back = open_volume(write_like(tmp_path / "c", film.T, open_volume(path), ".h5"))
    np.testing.assert_array_equal(back.array[...], film)
    assert back.spacing == pytest.approx((0.04, 8.0, 1.5, 1.4))
    assert back.time_axis == 0


def test_a_folder_of_files_with_image_and_label_is_a_data_set(tmp_path):
    for name in ("a", "b"):
        save(tmp_path / f"{name}.h5", image=STACK, label=(STACK > 0.5).astype(np.uint8))
    cases = open_dataset(tmp_path).cases
    assert [case.id for case in cases] == ["a", "b"]
    np.testing.assert_array_equal(class_labels(cases[0]), STACK > 0.5)


def test_a_manifest_names_datasets(tmp_path):
    save(tmp_path / "vol.h5", raw=STACK, seg__cells=(STACK > 0.5).astype(np.uint8))
    case = {"id": "a", "images": {"EM": "vol.h5:raw"}, "label": "vol.h5:seg/cells"}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({"name": "d", "modalities": ["EM"], "cases": [case]}))
    (opened,) = open_dataset(tmp_path).cases
    np.testing.assert_array_equal(class_labels(opened), STACK > 0.5)
    case["images"]["EM"] = "gone.h5:raw"
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump({"name": "d", "modalities": ["EM"], "cases": [case]}))
    with pytest.raises(DataError, match=r"gone\.h5:raw: no such file"):
        open_dataset(tmp_path)


def test_one_dataset_of_a_file_is_a_data_set_of_its_own(tmp_path):
    path = save(tmp_path / "vol.h5", raw=STACK, g__other=STACK[1:])
    (case,) = open_dataset(f"{path}:g/other").cases
    assert (case.id, case.shape) == ("vol", (4, 7, 6))
