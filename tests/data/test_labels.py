"""Label values and what class each is."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from recurseg.data.case import IGNORE, Case, Volume
from recurseg.data.labels import class_labels, complete_map, count_values, infer_classes
from recurseg.data.slabs import slabs
from recurseg.errors import DataError


def volume(array: np.ndarray) -> Volume:
    return Volume(array, (1.0,) * array.ndim, None, Path("seg.nii.gz"), "array")


def case(label: np.ndarray | None, label_map: dict[int, int] | None = None) -> Case:
    image = volume(np.zeros((2, 2) if label is None else label.shape))
    return Case("p1", {"T1": image}, None if label is None else volume(label), label_map=label_map or {})


def test_membrane_coding_turns_black_into_class_one():
    label = np.array([[0, 255], [255, 0]], np.uint8)
    classes = class_labels(case(label, {255: 0, 0: 1}))
    assert classes.tolist() == [[1, 0], [0, 1]]
    assert classes.dtype == np.int64


def test_a_part_of_the_label_can_be_given():
    label = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert class_labels(case(label), label[1:]).tolist() == [[3, 4, 5]]


def test_floats_that_are_whole_numbers_are_labels():
    assert class_labels(case(np.array([[0.0, 2.0]], np.float32))).tolist() == [[0, 2]]


@pytest.mark.parametrize("bad", [0.5, np.nan, np.inf], ids=str)
def test_interpolated_labels_are_refused(bad):
    with pytest.raises(DataError, match=r"case p1.*seg\.nii\.gz.*whole numbers"):
        class_labels(case(np.array([[0.0, bad]])))


@pytest.mark.parametrize("value", [7, -3, 70000], ids=str)
def test_a_value_that_nobody_explained_is_named_with_case_and_file(value):
    with pytest.raises(DataError, match=rf"case p1: label seg\.nii\.gz holds value {value}, known are 0, 1"):
        class_labels(case(np.array([[0, value]]), {0: 0, 1: 1, 255: 255}))


def test_negative_and_large_values_can_be_mapped():
    label = np.array([[-1, 0, 100000]])
    assert class_labels(case(label, {-1: IGNORE, 0: 0, 100000: 1})).tolist() == [[IGNORE, 0, 1]]


def test_no_label_is_an_error():
    with pytest.raises(DataError, match="no label"):
        class_labels(case(None))


@given(arrays(np.int16, array_shapes(min_dims=2, max_dims=3, max_side=5), elements=st.integers(-2, 9)), st.data())
def test_mapping_equals_a_dictionary_look_up(label, data):
    mapping = {v: data.draw(st.integers(0, 5)) for v in range(-2, 10)}
    expected = [mapping[v] for v in label.ravel().tolist()]
    assert class_labels(case(label, mapping)).ravel().tolist() == expected


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=3, max_side=6)))
def test_counts_equal_numpy_unique(label):
    values, numbers = np.unique(label, return_counts=True)
    assert count_values(case(label)) == dict(zip(values.tolist(), numbers.tolist(), strict=True))


def test_an_image_in_place_of_a_label_is_recognised():
    with pytest.raises(DataError, match="looks like an image"):
        count_values(case(np.arange(400, dtype=np.int16).reshape(20, 20)))


@given(arrays(np.uint8, array_shapes(min_dims=2, max_dims=3, max_side=6)), st.integers(1, 40), st.booleans())
def test_slabs_together_are_the_volume(array, max_bytes, stacked):
    whole = volume(array)
    if stacked:
        whole = Volume(array, whole.spacing, None, whole.path, "folder", stack_axis=0)
    pieces = list(slabs(whole, max_bytes=max_bytes))
    axis = 0 if stacked else array.ndim - 1
    assert np.array_equal(np.concatenate(pieces, axis=axis), array)


@pytest.mark.parametrize(
    ("values", "names", "mapping"),
    [
        ({0, 1}, ["background", "foreground"], {}),
        ({0, 255}, ["background", "foreground"], {0: 0, 255: 1}),
        ({0, 1, 2}, ["background", "label 1", "label 2"], {}),
        ({0, 1, 2, 255}, ["background", "label 1", "label 2"], {}),
        ({0, 1, 2, 4}, ["background", "label 1", "label 2", "label 4"], {0: 0, 1: 1, 2: 2, 4: 3}),
        ({0, 128, 255}, ["background", "label 128", "label 255"], {0: 0, 128: 1, 255: 2}),
    ],
    ids=str,
)
def test_classes_are_found_in_label_values(values, names, mapping):
    found = infer_classes(values)
    assert found.names == names
    assert found.values == mapping


def test_remapping_and_ignoring_are_said():
    assert "255 is class 1" in infer_classes({0, 255}).notes[0]
    assert "ignored" in infer_classes({0, 1, 2, 255}).notes[0]
    assert "4 is class 3" in infer_classes({0, 1, 2, 4}).notes[0]


@pytest.mark.parametrize(
    ("values", "said"),
    [({0}, "foreground"), ({-1, 0, 1}, "negative"), (set(range(300)), "images")],
    ids=["empty", "neg", "many"],
)
def test_values_that_make_no_classes_are_an_error(values, said):
    with pytest.raises(DataError, match=said):
        infer_classes(values)


def test_255_is_ignored_unless_it_is_a_class():
    assert complete_map({}, 2) == {0: 0, 1: 1, 255: IGNORE}
    assert complete_map({0: 0, 255: 1}, 2) == {0: 0, 255: 1}
