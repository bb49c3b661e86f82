"""Axes follow nibabel's idea of canonical, and every orientation comes back exactly."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import inv_ornt_aff

from recurseg.data.case import Case, Volume
from recurseg.preprocess import Preprocessing, prepare, restore, restore_scores
from recurseg.preprocess.orientation import orientation_of

SHAPE = (4, 5, 6)  # of right, anterior, superior
SPACING = (1.0, 2.0, 3.0)
STORAGE_ORDERS = [
    np.array(list(zip(axes, signs, strict=True)))
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
]


def brain(stored: np.ndarray, spacing: tuple[float, ...] = SPACING) -> tuple[np.ndarray, Case]:
    """The same anatomy, as RAS+ voxels and as a file that stores its axes in one of the 48 ways."""
    canonical = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    to_stored = nib.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), stored)
    data = nib.orientations.apply_orientation(canonical, to_stored)
    affine = np.diag([*spacing, 1.0]) @ inv_ornt_aff(to_stored, SHAPE)
    zooms = tuple(float(zoom) for zoom in nib.affines.voxel_sizes(affine))
    assert np.array_equal(nib.as_closest_canonical(nib.Nifti1Image(data, affine)).get_fdata(), canonical)
    labels = (data > 0).astype(np.uint8) + (data > 1)
    volume = Volume(data, zooms, affine, Path("brain.nii"), "nifti")
    return canonical, Case("brain", {"T1": volume}, Volume(labels, zooms, affine, Path("label.nii"), "nifti"))


@pytest.mark.parametrize("stored", STORAGE_ORDERS, ids=lambda o: "".join(nib.orientations.ornt2axcodes(o)))
def test_all_48_storage_orders_of_one_brain_give_one_image_and_come_back(stored: np.ndarray) -> None:
    canonical, case = brain(stored)
    prepared = prepare(case, Preprocessing(normalise="none"))
    assert prepared.spacing == (3.0, 1.0, 2.0)
    np.testing.assert_array_equal(prepared.image[0], np.moveaxis(canonical, 2, 0))

    assert prepared.label is not None
    assert case.label is not None
    scores = np.moveaxis(np.eye(3, dtype=np.float32)[prepared.label], -1, 0)
    np.testing.assert_array_equal(restore(scores, prepared.geometry), case.label.array[...])
    np.testing.assert_array_equal(restore_scores(scores, prepared.geometry).argmax(axis=0), case.label.array[...])


@pytest.mark.parametrize("stored", STORAGE_ORDERS[::5], ids=lambda o: "".join(nib.orientations.ornt2axcodes(o)))
def test_where_all_spacings_are_equal_slices_are_axial_however_the_file_is_stored(stored: np.ndarray) -> None:
    canonical, case = brain(stored, spacing=(1.0, 1.0, 1.0))
    prepared = prepare(case, Preprocessing(normalise="none"))
    np.testing.assert_array_equal(prepared.image[0], np.moveaxis(canonical, 2, 0))


@pytest.mark.parametrize("stored", STORAGE_ORDERS[::7], ids=lambda o: "".join(nib.orientations.ornt2axcodes(o)))
def test_stored_orientation_only_moves_the_slice_axis_to_the_front(stored: np.ndarray) -> None:
    _, case = brain(stored)
    data = case.reference.array[...]
    prepared = prepare(case, Preprocessing(orientation="stored", normalise="none"))
    np.testing.assert_array_equal(prepared.image[0], np.moveaxis(data, case.reference.spacing.index(3.0), 0))


def test_an_oblique_affine_is_turned_to_the_nearest_axes() -> None:
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ np.diag([-1.0, -1.0, 3.0, 1.0])
    data = np.arange(24.0).reshape(2, 3, 4)
    prepared = prepare(
        Case("c", {"T1": Volume(data, (1.0, 1.0, 3.0), affine, Path("c.nii"), "nifti")}),
        Preprocessing(normalise="none"),
    )
    expected = nib.as_closest_canonical(nib.Nifti1Image(data, affine)).get_fdata()
    np.testing.assert_array_equal(prepared.image[0], np.moveaxis(expected, 2, 0))


def test_a_stack_without_an_affine_keeps_its_sections_in_front_and_an_image_stays_as_it_is() -> None:
    stack = Volume(np.zeros((5, 6, 7)), (1.0, 1.0, 1.0), None, Path("s.tif"), "tiff", stack_axis=0)
    assert orientation_of(stack, "canonical").axes == (0, 1, 2)
    deep = Volume(np.zeros((5, 6, 7)), (1.0, 1.0, 4.0), None, Path("s.tif"), "tiff", stack_axis=0)
    assert orientation_of(deep, "canonical").axes == (2, 0, 1)
    image = Volume(np.zeros((5, 6)), (1.0, 2.0), None, Path("i.png"), "image")
    assert orientation_of(image, "canonical").axes == (0, 1)
