"""Cines: a volume of frames, in files, in manifests, and written back."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from recurseg.data.case import Deferred, Volume
from recurseg.data.check import check_dataset
from recurseg.data.dataset import open_dataset, require_trainable
from recurseg.data.formats import open_volume, write_like
from recurseg.data.labels import class_labels, count_values
from recurseg.data.manifest import read_manifest, relocate
from recurseg.data.mend import mend_dataset
from recurseg.data.slabs import slabs
from recurseg.errors import ConfigError, DataError

from .foreign_files import oblique_affine

RNG = np.random.default_rng(3)
FILM = RNG.integers(0, 900, (6, 5, 4, 7)).astype(np.int16)
"""(x, y, z, t)"""


def save_film(path: Path, array: np.ndarray = FILM, *, step: float = 30.0, unit: str | None = "msec") -> Path:
    image = nib.Nifti1Image(array, oblique_affine())
    if array.ndim > 3:
        image.header.set_zooms((*image.header.get_zooms()[:3], step))
    image.header.set_xyzt_units("mm", unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def save_label(path: Path, *values: int) -> Path:
    label = np.zeros(FILM.shape[:3], np.uint8)
    label[0, 0, : len(values)] = values
    return save_film(path, label)


def cine(tmp_path: Path, label=None, **entry) -> Path:
    """A data set of one film; what is said about its case goes into its manifest."""
    save_film(tmp_path / "film.nii.gz")
    case = {"id": "p1", "images": {"MR": "film.nii.gz"}, "label": label, **entry}
    document = {"name": "films", "modalities": ["MR"], "classes": {0: "background", 1: "heart"}, "cases": [case]}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(document))
    return tmp_path


def one_case(tmp_path: Path, **entry):
    return open_dataset(cine(tmp_path, **entry)).cases[0]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_4d_nifti_is_a_cine_as_nibabel_reads_it(tmp_path, suffix):
    path = save_film(tmp_path / f"a{suffix}")
    volume = open_volume(path)
    assert (volume.shape, volume.time_axis, volume.frames) == (FILM.shape, 3, 7)
    np.testing.assert_array_equal(volume.array[...], np.asarray(nib.load(path).dataobj))
    np.testing.assert_allclose(volume.affine, nib.load(path).affine)
    np.testing.assert_allclose(volume.spacing, (0.8, 1.1, 3.0, 0.03), rtol=1e-5)
    assert volume.slice_axis == 2


@pytest.mark.parametrize(
    ("step", "unit", "seconds"),
    [(40.0, "msec", 0.04), (0.04, "sec", 0.04), (40_000.0, "usec", 0.04), (0.04, None, 0.04), (40.0, "hz", 1.0)],
)
def test_time_between_frames_is_in_seconds(tmp_path, step, unit, seconds):
    volume = open_volume(save_film(tmp_path / "a.nii", step=step, unit=unit))
    assert volume.spacing[3] == pytest.approx(seconds)
    assert bool(volume.notes) == (unit == "hz")


def test_a_header_without_a_time_step_says_that_1_s_stands_in(tmp_path):
    volume = open_volume(save_film(tmp_path / "a.nii", step=0.0, unit="sec"))
    assert volume.spacing[3] == 1.0
    assert volume.notes == ("no time between frames in the header: 1 s stands in",)


def test_one_frame_is_no_cine(tmp_path):
    volume = open_volume(save_film(tmp_path / "a.nii.gz", FILM[..., :1]))
    assert (volume.shape, volume.time_axis, volume.frames) == (FILM.shape[:3], None, 1)
    assert volume.frame(0) is volume


def test_a_film_of_one_section_keeps_its_four_axes(tmp_path):
    save_film(tmp_path / "film.nii", FILM[:, :, :1])
    volume = open_volume(tmp_path / "film.nii")
    assert (volume.shape, volume.time_axis, volume.slice_axis) == ((6, 5, 1, 7), 3, 2)
    assert volume.frame(2).shape == (6, 5, 1)


def test_a_frame_is_the_3d_volume_of_its_moment(tmp_path):
    volume = open_volume(save_film(tmp_path / "a.nii.gz"))
    frame = volume.frame(5)
    assert (frame.shape, frame.time_axis, frame.slice_axis) == (FILM.shape[:3], None, 2)
    assert frame.spacing == volume.spacing[:3]
    for index in (..., 2, (slice(None), 1), (..., slice(0, 3, 2)), np.s_[::-1, 0]):
        np.testing.assert_array_equal(frame.array[index], FILM[..., 5][index])
    np.testing.assert_array_equal(volume.frame(-1).array[...], FILM[..., 6])
    with pytest.raises(IndexError):
        volume.frame(7)


@pytest.mark.parametrize("axis", [0, 3])
def test_a_frame_of_a_section_reads_no_more_than_that(axis):
    asked = []
    array = np.moveaxis(FILM, 3, axis)
    read = Deferred(array.shape, array.dtype, lambda index: (asked.append(index), array[index])[1])
    film = Volume(read, (1.0,) * 4, None, Path("x"), "array", stack_axis=1 if axis == 0 else 2, time_axis=axis)
    part = film.sections(1, 3).frame(4)
    np.testing.assert_array_equal(part.array[...], FILM[1:3, ..., 4] if axis == 0 else FILM[:, :, 1:3, 4])
    np.testing.assert_array_equal(film.frame(4).sections(1, 3).array[...], part.array[...])
    assert all(index[axis] == 4 for index in asked)


def test_sections_of_a_cine_keep_their_place_and_their_time(tmp_path):
    volume = open_volume(save_film(tmp_path / "a.nii.gz"))
    part = volume.sections(1, 3)
    np.testing.assert_array_equal(part.array[...], FILM[:, :, 1:3])
    assert part.time_axis == 3
    np.testing.assert_allclose(part.affine @ [0, 0, 0, 1], oblique_affine() @ [0, 0, 1, 1])


def test_time_is_never_the_axis_of_sections():
    film = Volume(FILM, (1.0, 1.0, 2.0, 5.0), None, Path("x"), "array", time_axis=3)
    assert film.slice_axis == 2
    flat = Volume(FILM[:, :, 0], (1.0, 1.0, 5.0), None, Path("x"), "array", time_axis=2)
    assert flat.slice_axis is None


def test_slabs_make_up_a_cine_frame_by_frame(tmp_path):
    volume = open_volume(save_film(tmp_path / "a.nii.gz"))
    parts = list(slabs(volume, max_bytes=1))
    assert [part.shape for part in parts] == [(6, 5, 4, 1)] * 7
    np.testing.assert_array_equal(np.concatenate(parts, 3), FILM)


@pytest.mark.parametrize("suffix", [None, ".nii"])
def test_4d_labels_are_written_with_the_header_of_their_source(tmp_path, suffix):
    source = open_volume(save_film(tmp_path / "a.nii.gz"))
    labels = (FILM % 4).astype(np.uint8)
    path = write_like(tmp_path / "out" / "a", labels, source, suffix)
    written, image = nib.load(path), nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), labels)
    np.testing.assert_array_equal(written.affine, image.affine)
    assert written.header.get_zooms() == image.header.get_zooms()
    assert written.header.get_xyzt_units() == ("mm", "msec")
    assert open_volume(path).spacing == source.spacing


def test_labels_of_one_frame_are_a_3d_file_in_the_place_of_the_film(tmp_path):
    source = open_volume(save_film(tmp_path / "a.nii.gz"))
    path = write_like(tmp_path / "b", (FILM[..., 2] % 3).astype(np.uint8), source.frame(2))
    written = nib.load(path)
    assert written.shape == FILM.shape[:3]
    np.testing.assert_allclose(written.affine, oblique_affine(), atol=1e-5)


def test_maps_of_a_cine_have_their_classes_behind_time(tmp_path):
    source = open_volume(save_film(tmp_path / "a.nii.gz"))
    maps = RNG.random((2, *FILM.shape)).astype(np.float32)
    written = nib.load(write_like(tmp_path / "b", maps, source))
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.moveaxis(maps, 0, -1))


@pytest.mark.parametrize("suffix", [".mha", ".tif", ".png"])
def test_formats_without_time_refuse_a_cine(tmp_path, suffix):
    source = open_volume(save_film(tmp_path / "a.nii.gz"))
    with pytest.raises(ConfigError, match=r"frames of a cine: choose \.nii\.gz, \.h5 or \.zarr"):
        write_like(tmp_path / "b", np.zeros(FILM.shape, np.uint8), source, suffix)


def test_labels_by_frame_are_one_4d_label_with_255_where_there_is_none(tmp_path):
    save_label(tmp_path / "ed.nii.gz", 1)
    save_label(tmp_path / "es.nii.gz", 1, 1, 1)
    case = one_case(tmp_path, label={5: "es.nii.gz", 0: "ed.nii.gz"}, phases={"ED": 0, "ES": 5})
    assert case.label.shape == case.shape == FILM.shape
    assert (case.label.time_axis, case.frames, case.labelled_frames) == (3, 7, (0, 5))
    whole = case.label.array[...]
    assert [int((whole[..., t] == 1).sum()) for t in (0, 5)] == [1, 3]
    assert all((whole[..., t] == 255).all() for t in (1, 2, 3, 4, 6))
    for index in np.s_[..., 5], np.s_[0, :, 1:3, ::-2], np.s_[0, 0, 0], np.s_[:, 1, :, 2:2], np.s_[:, 0, :, 4:6]:
        np.testing.assert_array_equal(case.label.array[index], whole[index])
    assert class_labels(case).shape == FILM.shape
    assert count_values(case) == {0: 2 * 120 - 4, 1: 4}
    require_trainable(open_dataset(tmp_path))


def test_a_frame_of_a_case_is_a_3d_case_of_the_same_id(tmp_path):
    save_label(tmp_path / "es.nii.gz", 1, 1)
    case = one_case(tmp_path, label={5: "es.nii.gz"}, phases={"ED": 0, "ES": 5})
    frame = case.frame(5)
    assert (frame.id, frame.shape, frame.time_axis, frame.frames) == ("p1", FILM.shape[:3], None, 1)
    assert frame.phases == {"ES": 0}
    assert int(class_labels(frame).sum()) == 2
    assert case.frame(3).phases == {}
    assert set(np.unique(case.frame(3).label.array[...])) == {255}


def test_a_4d_label_file_fits_a_4d_image(tmp_path):
    save_film(tmp_path / "labels.nii.gz", (FILM > 800).astype(np.uint8))
    case = one_case(tmp_path, label="labels.nii.gz")
    assert case.labelled_frames == tuple(range(7))
    np.testing.assert_array_equal(class_labels(case), FILM > 800)


def test_values_of_labels_by_frame_are_found_without_the_fill(tmp_path):
    save_label(tmp_path / "es.nii.gz", 7)
    cine(tmp_path, label={5: "es.nii.gz"})
    document = yaml.safe_load((tmp_path / "dataset.yaml").read_text())
    del document["classes"]
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(document))
    dataset = open_dataset(tmp_path)
    assert dataset.class_names == ["background", "foreground"]
    assert set(np.unique(class_labels(dataset.cases[0]))) == {0, 1, 255}
    save_label(tmp_path / "es.nii.gz", 255)
    with pytest.raises(DataError, match="255 marks frames without a label"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"label": "es.nii.gz"}, r"has no frames, its image .*film.nii.gz has 7: say in a dataset.yaml which frame"),
        ({"label": {7: "es.nii.gz"}}, "labels frame 7, .* has frames 0-6"),
        ({"label": {0: "es.nii.gz", 1: "small.nii.gz"}}, "another grid"),
        ({"label": {0: "small.nii.gz"}}, "label grid .* differs from image grid"),
        ({"label": {0: "gone.nii.gz"}}, "no such file"),
        ({"label": {0: "film.nii.gz"}}, "is itself a cine"),
        ({"phases": {"ED": 0, "ES": 9}}, "phase ES is frame 9, .* has frames 0-6"),
        (
            {"images": {"MR": "es.nii.gz"}, "label": {0: "es.nii.gz"}},
            "has no frames, yet its label is given by frame",
        ),
        ({"images": {"MR": "es.nii.gz"}, "phases": {"ES": 3}}, "phase ES is frame 3"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(tmp_path, entry, said):
    save_label(tmp_path / "es.nii.gz", 1)
    save_film(tmp_path / "small.nii.gz", FILM[:3, :, :, 0])
    with pytest.raises(DataError, match=said) as error:
        one_case(tmp_path, **entry)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"label": {}}, "a label by frame is a mapping"),
        ({"label": {-1: "es.nii.gz"}}, "a label by frame is a mapping"),
        ({"label": {"ED": "es.nii.gz"}}, "counted from 0"),
        ({"phases": {"ED": -1}}, "phases.ED"),
        ({"target": 2}, "case 'p1' has target 2, which classes does not have"),
        ({"target": -1}, "target"),
    ],
)
def test_mistakes_in_the_manifest_are_said_in_one_line(tmp_path, entry, said):
    with pytest.raises(ConfigError, match=said) as error:
        one_case(tmp_path, **entry)
    assert "\n" not in str(error.value)


def test_relocated_manifests_find_the_labels_of_frames(tmp_path):
    save_label(tmp_path / "es.nii.gz", 1)
    cine(tmp_path, label={5: "es.nii.gz"}, phases={"ES": 5})
    moved = relocate(read_manifest(tmp_path / "dataset.yaml"), tmp_path, tmp_path / "elsewhere")
    assert moved.cases[0].label == {5: "../es.nii.gz"}
    assert moved.cases[0].phases == {"ES": 5}


@pytest.mark.parametrize("spacing", [[2.0, 2.0, 8.0], [2.0, 2.0, 8.0, 0.05]])
def test_spacing_of_a_manifest_may_leave_out_the_time(tmp_path, spacing):
    save_label(tmp_path / "es.nii.gz", 1)
    cine(tmp_path, label={5: "es.nii.gz"})
    document = yaml.safe_load((tmp_path / "dataset.yaml").read_text())
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(document | {"spacing": spacing}))
    case = open_dataset(tmp_path).cases[0]
    assert case.spacing == pytest.approx((2.0, 2.0, 8.0, 0.05 if len(spacing) == 4 else 0.03))
    np.testing.assert_allclose(np.linalg.norm(case.affine[:3, :3], axis=0), (2, 2, 8))
    np.testing.assert_allclose(case.label.affine, case.affine)


def test_a_folder_of_films_needs_no_manifest(tmp_path):
    for name in ("a", "b"):
        save_film(tmp_path / "images" / f"{name}.nii.gz")
        save_film(tmp_path / "labels" / f"{name}.nii.gz", (FILM > 800).astype(np.uint8))
    cases = open_dataset(tmp_path).cases
    assert [(case.id, case.frames, len(case.labelled_frames)) for case in cases] == [("a", 7, 7), ("b", 7, 7)]


def test_check_reports_frames_their_time_and_phases(tmp_path):
    save_label(tmp_path / "es.nii.gz", 1, 1, 1)
    (case,) = check_dataset(cine(tmp_path, label={5: "es.nii.gz"}, phases={"ED": 0, "ES": 5})).cases
    assert (case.shape, case.frames, case.labelled_frames, case.phases) == ([6, 5, 4], 7, [5], {"ED": 0, "ES": 5})
    assert case.spacing_mm == pytest.approx([0.8, 1.1, 3.0])
    assert case.frame_seconds == pytest.approx(0.03)
    assert case.fractions == {"background": 117 / 120, "heart": 3 / 120}


def test_fix_writes_a_4d_label_with_classes(tmp_path):
    save_label(tmp_path / "data" / "es.nii.gz", 1, 9)
    cine(tmp_path / "data", label={5: "es.nii.gz"}, phases={"ES": 5})
    document = yaml.safe_load((tmp_path / "data" / "dataset.yaml").read_text())
    document["label_map"] = {0: 0, 1: 0, 9: 1}
    (tmp_path / "data" / "dataset.yaml").write_text(yaml.safe_dump(document))
    mended = mend_dataset(tmp_path / "data", tmp_path / "out")
    (case,) = open_dataset(mended.manifest).cases
    assert case.phases == {"ES": 5}
    whole = class_labels(case)
    assert [int((whole[..., t] == 255).all()) for t in range(7)] == [1, 1, 1, 1, 1, 0, 1]
    assert int((whole == 1).sum()) == 1


def images_with_targets(tmp_path: Path, *targets: int | None) -> Path:
    cases = []
    for number, target in enumerate(targets):
        nib.save(nib.Nifti1Image(RNG.random((6, 5, 4)).astype(np.float32), np.eye(4)), tmp_path / f"{number}.nii")
        cases.append({"id": str(number), "images": {"x": f"{number}.nii"}, "target": target})
    document = {"name": "d", "modalities": ["x"], "classes": {0: "apart", 1: "joined"}, "cases": cases}
    (tmp_path / "dataset.yaml").write_text(yaml.safe_dump(document))
    return tmp_path


def test_images_with_a_class_need_no_label(tmp_path):
    dataset = open_dataset(images_with_targets(tmp_path, 0, 1, 1))
    assert dataset.classifies
    assert [case.target for case in dataset.cases] == [0, 1, 1]
    require_trainable(dataset)
    report = check_dataset(tmp_path)
    assert report.usable
    assert [case.target for case in report.cases] == ["apart", "joined", "joined"]


def test_an_image_without_its_class_and_a_single_class_are_errors(tmp_path):
    with pytest.raises(DataError, match="case 1: image without its class"):
        require_trainable(open_dataset(images_with_targets(tmp_path, 0, None)))
    assert not check_dataset(tmp_path).usable
    with pytest.raises(DataError, match="every case is of class joined"):
        require_trainable(open_dataset(images_with_targets(tmp_path, 1, 1)))
