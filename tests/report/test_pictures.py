"""Pictures: the right case, the right sections, the right way up, the right colours."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest

from recurseg.data.case import Volume
from recurseg.report.folder import read_run
from recurseg.report.layers import EXTRA, MISSED, PREDICTION, _borders, errors, grey, outline
from recurseg.report.overlays import draw_cases
from recurseg.report.view import view_of


def decoded(uri: str) -> np.ndarray:
    from PIL import Image

    assert uri.startswith("data:image/webp;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def volume(array: np.ndarray, affine: np.ndarray | None, spacing=(1.0, 1.0, 3.0)) -> Volume:
    return Volume(array, spacing, affine, Path("x"), "nifti")


def test_patient_right_is_left_and_front_is_up():
    array = np.zeros((4, 5, 3))
    array[3, 4, 1] = 1  # right-most, front-most
    view = view_of(volume(array, np.diag([1.0, 1.0, 3.0, 1.0])))
    picture = view.section(array, 1)
    assert picture.shape == (5, 4)
    assert picture[0, 0] == 1
    assert view.letters == ("R", "L", "A", "P")


@pytest.mark.parametrize("code", ["RAS", "LPS", "LAI", "PSR", "SAL", "IRP"])
def test_picture_does_not_depend_on_how_the_file_stores_it(code):
    import nibabel as nib
    from nibabel.orientations import axcodes2ornt, ornt_transform

    image = nib.Nifti1Image(np.random.default_rng(0).normal(size=(4, 5, 3)), np.diag([1.0, 1.0, 3.0, 1.0]))
    turned = image.as_reoriented(ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(code)))

    def middle(file):
        array = file.get_fdata()
        view = view_of(volume(array, file.affine, tuple(float(s) for s in file.header.get_zooms())))
        return view.section(array, 1), view.letters, view.pixel

    (one, letters, pixel), (other, others, pixels) = middle(image), middle(turned)
    np.testing.assert_array_equal(one, other)
    assert letters == others
    assert pixel == pixels


def test_stack_without_world_is_shown_as_stored():
    array = np.arange(24).reshape(2, 3, 4)
    stack = Volume(array, (50.0, 4.0, 4.0), None, Path("x"), "folder", stack_axis=0)
    view = view_of(stack)
    np.testing.assert_array_equal(view.section(array, 1), array[1])
    assert view.letters is None


def test_thick_pixels_keep_their_shape(tmp_path, make):
    import nibabel as nib

    data = tmp_path / "volumes"
    label = np.zeros((10, 20, 12), np.uint8)
    label[2:8, 5:15, 3:9] = 1
    for number in range(2):
        folder = data / f"s{number}"
        folder.mkdir(parents=True)
        affine = np.diag([2.0, 1.0, 4.0, 1.0])
        nib.save(nib.Nifti1Image(label * 50.0 + 1, affine), folder / "t1.nii.gz")
        nib.save(nib.Nifti1Image(label, affine), folder / "label.nii.gz")
    drawn, _, _ = draw_cases(read_run(make.run(tmp_path / "run", data, holdout="s1")))
    assert drawn[0].ratio == pytest.approx((10 * 2.0) / (20 * 1.0))
    rows, columns = decoded(drawn[0].sections[0]["reference"]).shape[:2]
    assert columns / rows == pytest.approx(1.0, abs=0.02)


def test_missed_is_blue_and_extra_is_orange():
    reference = np.array([[1, 0, 0, 255]], np.uint8)
    prediction = np.array([[0, 1, 0, 1]], np.uint8)
    layer = decoded(errors(reference, prediction, (1, 4)))
    assert tuple(layer[0, 0]) == MISSED
    assert tuple(layer[0, 1]) == EXTRA
    assert layer[0, 2, 3] == 0
    assert 0 < layer[0, 3, 3] < 255


def test_borders_are_those_of_scikit_image():
    from scipy.ndimage import binary_dilation, gaussian_filter
    from skimage.segmentation import find_boundaries

    classes = (gaussian_filter(np.random.default_rng(0).normal(size=(60, 50)), 3) * 12).round().astype(np.uint8) % 3
    thick = find_boundaries(classes, mode="thick", connectivity=1)
    np.testing.assert_array_equal(_borders(classes, 1), thick)
    wider = binary_dilation(thick)
    assert not (_borders(classes, 2) & ~binary_dilation(wider)).any()
    assert (thick <= _borders(classes, 2)).all()


def test_outline_runs_around_the_object_only():
    classes = np.zeros((20, 20), np.uint8)
    classes[5:15, 5:15] = 1
    layer = decoded(outline(classes, PREDICTION, (80, 80), 2))
    assert layer[40, 40, 3] == 0
    assert layer[2, 2, 3] == 0
    assert tuple(layer[40, 20]) == (*PREDICTION, 255)


def test_grey_picture_spans_black_to_white():
    picture = decoded(grey(np.linspace(0, 100, 64).reshape(8, 8), 0, 100, (640, 640), 90))
    assert picture.min() < 10
    assert picture.max() > 245


def test_sections_open_at_the_worst_with_their_number_in_the_file(stack_run):
    drawn, missing, _ = draw_cases(read_run(stack_run))
    assert missing == ""
    (case,) = drawn
    assert [section["name"] for section in case.sections] == ["section 4", "section 5"]
    wrong = [section["wrong"] for section in case.sections]
    assert case.start == int(np.argmax(wrong))


def test_many_sections_are_thinned_evenly_and_keep_the_worst(tmp_path, make):
    run = make.run(tmp_path / "run", make.stack(tmp_path / "stack", sections=50, size=24), holdout="5-49")
    (case,), _, _ = draw_cases(read_run(run))
    numbers = [int(section["name"].split()[1]) for section in case.sections]
    assert len(numbers) <= 32
    assert numbers == sorted(set(numbers))
    assert numbers[0] >= 5
    assert max(np.diff(numbers)) <= 3


def test_two_cases_are_both_shown_the_worse_first(volume_run):
    drawn, _, _ = draw_cases(read_run(volume_run))
    assert [(case.id, case.why) for case in drawn] == [("subject_2", "worst case"), ("subject_1", "better case")]
    assert drawn[0].multiclass


def test_low_is_good_for_errors(tmp_path, make):

    names = [f"p{number}" for number in range(6)]
    data = make.images(tmp_path / "images", names)
    run = make.run(tmp_path / "run", data, holdout=",".join(names[1:]), metric="avd_percent")
    values = read_run(run).evaluation.by_class()
    drawn, _, _ = draw_cases(read_run(run))
    (errors_by_case,) = [cases for (metric, _), cases in values.items() if metric == "avd_percent"]
    assert errors_by_case[drawn[0].id] == max(errors_by_case.values())
