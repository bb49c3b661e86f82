"""Gliomas: nested tissues, each visible in some modalities and none in all, and no threshold that finds them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import mannwhitneyu

from recurseg.data.phantoms import write_phantom
from recurseg.data.phantoms.brain_tumour import CLASSES, SIGNAL, brain_tumour

NECROSIS, EDEMA, NON_ENHANCING, ENHANCING = 1, 2, 3, 4
OUTWARD = (NECROSIS, ENHANCING, NON_ENHANCING, EDEMA)
"""Tissues from the middle to the border."""
REGIONS = {"complete": (1, 2, 3, 4), "core": (1, 3, 4), **{name: (k,) for k, name in enumerate(CLASSES) if k}}
LIMITS = {"complete": 0.6, "core": 0.35, "necrosis": 0.35, "edema": 0.6, "non-enhancing": 0.2, "enhancing": 0.25}
"""Dice that no threshold may reach; a light U-Net reaches far more."""


@pytest.fixture(scope="module")
def heads() -> list[tuple[dict[str, np.ndarray], np.ndarray, tuple[float, ...], tuple[str, ...]]]:
    return [brain_tumour(case=case) for case in range(4)]


@pytest.fixture(scope="module")
def small_heads() -> list[tuple[dict[str, np.ndarray], np.ndarray, tuple[float, ...], tuple[str, ...]]]:
    return [brain_tumour(size=(16, 40, 40), case=case) for case in range(10)]


def brighter_than_around(image: np.ndarray, label: np.ndarray, tissue: int, spacing: tuple[float, ...]) -> float:
    """Chance that a voxel of the tissue is brighter than one outside it, at most 4 mm away: 0.5 is not visible."""
    within = np.isin(label, OUTWARD[: OUTWARD.index(tissue) + 1])
    away = np.empty(label.shape)
    ndimage.distance_transform_edt(~within, sampling=spacing, distances=away)
    inside, around = image[label == tissue], image[(away > 0) & (away < 4) & (image > 0)]
    return mannwhitneyu(inside, around).statistic / (len(inside) * len(around))


def best_band_dice(image: np.ndarray, truth: np.ndarray) -> float:
    """Largest Dice of any band of intensities with `truth`."""
    edges = np.append(np.unique(np.quantile(image, np.linspace(0, 1, 301))), image.max() + 1)
    hits, taken = (np.append(0, np.histogram(part, edges)[0].cumsum()) for part in (image[truth], image))
    low, high = np.triu_indices(len(edges), 1)
    return float((2 * (hits[high] - hits[low]) / (taken[high] - taken[low] + truth.sum())).max())


@pytest.mark.parametrize("tissue", OUTWARD, ids=lambda k: CLASSES[k])
def test_every_tissue_is_seen_in_at_least_two_modalities_and_missed_in_at_least_one(heads, tissue: int) -> None:
    seen = [
        abs(np.mean([brighter_than_around(images[m], label, tissue, mm) for images, label, mm, _ in heads]) - 0.5)
        for m in SIGNAL
    ]
    assert sum(difference > 0.22 for difference in seen) >= 2
    assert sum(difference < 0.12 for difference in seen) >= 1


def test_each_modality_sees_some_tissue_and_misses_another(heads) -> None:
    images, label, mm, _ = heads[0]
    for image in images.values():
        differences = [abs(brighter_than_around(image, label, tissue, mm) - 0.5) for tissue in OUTWARD]
        assert max(differences) > 0.3
        assert min(differences) < 0.2


@pytest.mark.parametrize(("region", "limit"), LIMITS.items())
def test_no_threshold_finds_it_in_any_modality_smoothed_or_not(heads, region: str, limit: float) -> None:
    for modality in SIGNAL:
        for millimetres in (0, 2, 4):
            scores = []
            for images, label, mm, _ in heads:
                image = ndimage.gaussian_filter(images[modality].astype(np.float32), millimetres / np.array(mm))
                head = images[modality] > 0
                scores.append(best_band_dice(image[head], np.isin(label, REGIONS[region])[head]))
            assert np.mean(scores) < limit


@pytest.mark.parametrize(
    ("modality", "tissue", "sign"),
    [("FLAIR", EDEMA, 1), ("T1", NECROSIS, -1), ("T1c", ENHANCING, 1), ("T2", NECROSIS, 1), ("T2", EDEMA, 1)],
    ids=["FLAIR bright", "T1 dark", "T1c bright", "T2 like necrosis", "T2 like edema"],
)
def test_healthy_voxels_look_like_tumour_in_a_single_modality(heads, modality: str, tissue: int, sign: int) -> None:
    shares = []
    for images, label, *_ in heads:
        image = sign * images[modality].astype(int)
        mimics = (label == 0) & (images[modality] > 0) & (image > np.median(image[label == tissue]))
        shares.append(mimics.sum() / np.sum(label == tissue))
    assert np.mean(shares) > 0.25


def test_codes_are_those_of_brats_and_every_tumour_has_all_tissues(heads) -> None:
    assert CLASSES == ("background", "necrosis", "edema", "non-enhancing", "enhancing")
    for images, label, *_ in heads:
        assert label.dtype == np.uint8
        assert list(images) == ["FLAIR", "T1", "T1c", "T2"]
        assert all(image.shape == label.shape == (120, 120, 40) for image in images.values())
        assert set(np.unique(label)) == set(range(5))
        assert not any(image.min() < 0 or image[label > 0].min() == 0 for image in images.values())


def test_tissues_are_nested(heads) -> None:
    for _, label, *_ in heads:
        for inner, around in ((NECROSIS, (ENHANCING, NON_ENHANCING)), (ENHANCING, (NON_ENHANCING, EDEMA, NECROSIS))):
            shell = ndimage.binary_dilation(label == inner) & (label != inner)
            assert np.mean(np.isin(label[shell], around)) > 0.8
        core = np.isin(label, (NECROSIS, ENHANCING, NON_ENHANCING))
        shell = ndimage.binary_dilation(core) & ~core
        assert np.mean(label[shell] == EDEMA) > 0.6


def test_volumes_vary_as_in_patients(small_heads) -> None:
    complete = np.array([np.sum(label > 0) * np.prod(mm) / 1000 for _, label, mm, _ in small_heads])  # millilitres
    assert 10 < complete.min() < complete.max() < 300
    assert complete.max() > 2 * complete.min()
    assert 30 < np.median(complete) < 150


def test_some_have_two_foci_and_are_tagged(small_heads) -> None:
    tags = [tags for *_, tags in small_heads]
    assert set(tags) == {(), ("two_foci",)}
    assert tags.count(("two_foci",)) < len(tags) / 2
    for _, label, _, own in small_heads:
        parts = np.empty(label.shape, np.int32)
        ndimage.label(np.isin(label, (NECROSIS, NON_ENHANCING, ENHANCING)), np.ones((3, 3, 3)), output=parts)
        foci = np.sum(np.bincount(parts.ravel())[1:] > 10)
        assert foci == (2 if own else 1)


def test_files_are_named_and_laid_out_as_in_brats_since_2018(tmp_path: Path) -> None:
    import nibabel
    import yaml

    out = write_phantom("brain_tumour", tmp_path / "tumours", cases=2, size=(8, 32, 32))
    names = [f"case_001_{suffix}.nii.gz" for suffix in ("flair", "seg", "t1", "t1ce", "t2")]
    assert sorted(path.name for path in (out / "case_001").iterdir()) == names
    images, label, mm, _ = brain_tumour(size=(8, 32, 32), case=1)
    for suffix, array in (("t1ce", images["T1c"]), ("seg", label)):
        file = nibabel.load(out / "case_002" / f"case_002_{suffix}.nii.gz")
        assert np.array_equal(np.asanyarray(file.dataobj), array)
        assert file.header.get_zooms() == pytest.approx(mm)
    manifest = yaml.safe_load((out / "dataset.yaml").read_text())
    assert manifest["modalities"] == ["FLAIR", "T1", "T1c", "T2"]
    assert list(manifest["classes"].values()) == list(CLASSES)


@pytest.mark.parametrize("size", [(8, 32, 32), (9, 33, 40)])
def test_every_small_head_has_a_tumour(size: tuple[int, int, int]) -> None:
    assert all((brain_tumour(size=size, case=case)[1] > 0).sum() > 5 for case in range(4))
