"""Through disk a case comes to the network, and the answer back, exactly as it does through memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recurseg.data.case import Case, Volume
from recurseg.data.formats.spool import scratch
from recurseg.errors import DataError
from recurseg.preprocess import Preprocessing, prepare, restore, restore_scores
from recurseg.preprocess.on_disk import prepare_on_disk
from recurseg.preprocess.restore_on_disk import is_direct, restore_on_disk

RNG = np.random.default_rng(8)
TURNED = np.array([[0, 0, -3.0, 5], [0.7, 0, 0, 1], [0, -0.9, 0, 2], [0, 0, 0, 1]])
"""An affine whose coarsest axis is stored last and runs the wrong way."""

CONFIGS = {
    "volume": Preprocessing(),
    "foreground cropped": Preprocessing(normalise="foreground", crop_foreground=True),
    "clipped": Preprocessing(clip_percentiles=(1, 99), normalise="volume"),
    "foreground clipped": Preprocessing(clip_percentiles=(0.5, 99.5), normalise="foreground"),
    "slice": Preprocessing(normalise="slice"),
    "unit": Preprocessing(normalise="unit", orientation="stored"),
    "slice unit": Preprocessing(normalise="slice_unit", smooth="gaussian_3x3"),
    "clahe": Preprocessing(equalise="clahe", normalise="none"),
    "local contrast": Preprocessing(local_contrast={"T1": "add"}),
    "resampled in plane": Preprocessing(in_plane_factor=0.6, normalise="volume"),
    "resampled": Preprocessing(spacing=(2.0, 1.0, 0.5), crop_foreground=True),
    "coarser first": Preprocessing(spacing=(7.0, None, 1.3)),
    "fitted": Preprocessing(in_plane_size=(12, 30), normalise="volume"),
    "shrunk": Preprocessing(in_plane_size=(8, 8), shrink_to_size=True, spacing=(2.0, None, None)),
    "replaced": Preprocessing(replace_non_finite=0.0),
}


def volume(shape: tuple[int, ...], affine: np.ndarray | None, seed: int = 0) -> Volume:
    array = np.random.default_rng(seed).gamma(4.0, 50.0, shape).astype(np.float32)
    edge = tuple(slice(0, 3) for _ in shape)
    array[edge[:1]] = 0
    array[(slice(None), *edge[1:2])] = 0
    if affine is None:
        return Volume(
            array, (1.5,) * len(shape), None, Path("a.tif"), "tiff", stack_axis=0 if len(shape) == 3 else None
        )
    return Volume(array, tuple(np.linalg.norm(affine[:3, :3], axis=0)), affine, Path("a.nii"), "nifti")


def case(shape: tuple[int, ...] = (13, 17, 11), affine: np.ndarray | None = TURNED) -> Case:
    return Case("c", {"T1": volume(shape, affine), "T2": volume(shape, affine, 1)})


@pytest.mark.parametrize("slab_bytes", [1, 5000, 10**9])
@pytest.mark.parametrize("name", CONFIGS)
def test_volumes_are_prepared_to_the_last_bit_as_in_memory(name: str, slab_bytes: int) -> None:
    given, config = case(), CONFIGS[name]
    if name == "replaced":
        np.asarray(given.images["T1"].array)[4, 5, 6] = np.nan
    found = prepare_on_disk(given, config, modalities=["T1", "T2"], slab_bytes=slab_bytes)
    expected = prepare(given, config)
    assert found.geometry == expected.geometry
    np.testing.assert_array_equal(found.image[...], expected.image)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in ("resampled", "coarser first", "shrunk")])
def test_images_are_prepared_to_the_last_bit_as_in_memory(name: str) -> None:
    given = case((37, 21), None)
    found = prepare_on_disk(given, CONFIGS[name], modalities=["T1", "T2"], slab_bytes=1)
    np.testing.assert_array_equal(found.image[...], prepare(given, CONFIGS[name]).image)


@pytest.mark.parametrize("shape", [(13, 17, 11), (37, 21)])
@pytest.mark.parametrize("name", CONFIGS)
def test_scores_come_back_to_the_last_bit_as_in_memory(name: str, shape: tuple[int, ...]) -> None:
    config = CONFIGS[name]
    if len(shape) == 2 and config.spacing:
        config = config.model_copy(update={"spacing": config.spacing[1:]})
    prepared = prepare(case(shape, TURNED if len(shape) == 3 else None), config)
    scores = RNG.random((3, *prepared.geometry.shape)).astype(np.float32)
    labels = scratch(Path("a.nii"), shape, np.uint8)
    maps = {number: scratch(Path("a.nii"), shape, np.float32) for number in range(3)}
    noted = []
    slabs = [(start, scores[:, start : start + 2]) for start in range(0, scores.shape[1], 2)]
    restore_on_disk(slabs, prepared.geometry, labels, maps, note=noted.append, slab_bytes=600)
    np.testing.assert_array_equal(labels[...], restore(scores, prepared.geometry))
    expected = restore_scores(scores, prepared.geometry)
    for number, found in maps.items():
        np.testing.assert_array_equal(found[...], expected[number])
    assert noted[-1:] == ([scores.shape[1]] if is_direct(prepared.geometry) else [])


def test_a_missing_modality_is_zero_and_marked() -> None:
    given = case()
    given = Case("c", {"T2": given.images["T2"]}, modalities=("T1", "T2"))
    found = prepare_on_disk(given, Preprocessing(), modalities=["T1", "T2"])
    expected = prepare(given, Preprocessing(), modalities=["T1", "T2"])
    np.testing.assert_array_equal(found.present, expected.present)
    np.testing.assert_array_equal(found.image[...], expected.image)


def test_nan_is_refused_in_the_same_words() -> None:
    given = case()
    voxels = np.asarray(given.images["T2"].array)
    voxels[5, 2, 9], voxels[3, 16, 10] = np.nan, np.inf
    with pytest.raises(DataError) as expected:
        prepare(given, Preprocessing())
    with pytest.raises(DataError) as found:
        prepare_on_disk(given, Preprocessing(), modalities=["T1", "T2"], slab_bytes=1)
    assert str(found.value) == str(expected.value)
