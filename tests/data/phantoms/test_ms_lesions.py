"""Multiple-sclerosis lesions: of the paper's spacing and load, and no local reader tells them from their twins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import ks_2samp, mannwhitneyu

from recurseg.data.phantoms import write_phantom
from recurseg.data.phantoms.brain_anatomy import Tissue
from recurseg.data.phantoms.brain_tissue import draw_head
from recurseg.data.phantoms.fields import generator
from recurseg.data.phantoms.ms_lesions import FIELD_OF_VIEW, FINE, SIGNAL, TILT, lesion_load, ms_lesions
from recurseg.data.phantoms.ms_spots import Spot

SIZE = (20, 96, 72)
CASES = range(8)
Head = tuple[dict[str, np.ndarray], np.ndarray, tuple[float, ...], list[Spot]]


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return [ms_lesions(size=SIZE, case=case) for case in CASES]


@pytest.fixture(scope="module")
def tissues() -> list[Tissue]:
    rngs = (generator("ms_lesions", 0, case, SIZE) for case in CASES[:2])
    return [draw_head(rng, SIZE, fine=FINE, field_of_view=FIELD_OF_VIEW, tilt=TILT)[0] for rng in rngs]


def best_band_dice(image: np.ndarray, truth: np.ndarray) -> float:
    """Largest Dice of any band of intensities with `truth`."""
    levels = (np.quantile(image, np.linspace(0, 1, 301)), np.quantile(image[truth], np.linspace(0, 1, 41)))
    edges = np.append(np.unique(np.concatenate(levels)), image.max() + 1)
    hits, taken = (np.append(0, np.histogram(part, edges)[0].cumsum()) for part in (image[truth], image))
    low, high = np.triu_indices(len(edges), 1)
    return float((2 * (hits[high] - hits[low]) / (taken[high] - taken[low] + truth.sum())).max())


def scaled(images: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Images of mean 0 and standard deviation 1 in the head, 0 outside."""
    return {m: np.where(v > 0, (v - v[v > 0].mean()) / v[v > 0].std(), 0) for m, v in images.items()}


def views(head: Head) -> list[list[float]]:
    """What a reader of 21 voxels around every spot sees: mean and deviation of rings in each modality."""
    images, label, spacing, spots = head
    parts = scaled(images).values()
    seen = []
    for spot in spots:
        middle = np.round(spot.centre / spacing).astype(int)
        window = tuple(slice(max(0, m - 10), min(n, m + 11)) for m, n in zip(middle, label.shape, strict=True))
        away = (i * mm - c for i, mm, c in zip(np.ogrid[window], spacing, spot.centre, strict=True))
        radius = np.sqrt(sum(np.square(mm) for mm in away))
        rings = [(radius >= low) & (radius < high) for low, high in ((0, 4), (4, 8), (8, 13), (13, 20))]
        seen.append([f(part[window][ring]) for part in parts for ring in rings for f in (np.mean, np.std)])
    return seen


@pytest.fixture(scope="module")
def seen(heads: list[Head]) -> dict[str, np.ndarray]:
    """Views by kind of spot, `(spots, features)`."""
    rows = [(spot.kind, view) for head in heads for spot, view in zip(head[3], views(head), strict=True)]
    return {kind: np.array([view for k, view in rows if k == kind]) for kind in ("lesion", "twin", "stray")}


def opposite(head: Head, spot: Spot) -> np.ndarray:
    """Where, in millimetres, the spot would lie in the other hemisphere: mirrored in the middle of the head."""
    columns = np.flatnonzero((head[0]["T1"] > 0).any((1, 2)))
    middle = (columns[0] + columns[-1]) / 2 * head[2][0]
    return spot.centre * (-1, 1, 1) + (2 * middle, 0, 0)


def test_full_size_has_the_voxels_of_the_paper() -> None:
    assert np.array(FIELD_OF_VIEW) / (48, 320, 240) == pytest.approx((3, 0.7, 0.7))


def test_lesions_fill_the_share_of_the_paper_on_average_and_few_to_many_millilitres(heads: list[Head]) -> None:
    loads = np.array([lesion_load(0, case) for case in range(43)])  # millilitres
    assert loads.mean() / np.prod(FIELD_OF_VIEW) * 1000 == pytest.approx(5.15e-4, rel=0.1)
    assert loads.min() < 0.8 < 8 < loads.max()
    filled = [label.sum() * np.prod(spacing) / 1000 for _, label, spacing, _ in heads]
    assert np.corrcoef(filled, loads[: len(heads)])[0, 1] > 0.9
    assert np.mean(filled) == pytest.approx(loads[: len(heads)].mean(), rel=0.25)


def test_images_share_a_grid_and_labels_are_lesions_within_the_head(heads: list[Head]) -> None:
    for images, label, _, spots in heads:
        assert list(images) == ["FLAIR", "T1", "T2"]
        assert label.dtype == np.uint8
        assert all(image.shape == label.shape == SIZE[::-1] for image in images.values())
        assert all(image.dtype == np.int16 and image.min() == 0 for image in images.values())
        assert label.max() == 1
        assert images["T1"][label > 0].min() > 0
        parts = np.zeros(label.shape, bool)
        for spot in spots:
            parts[spot.box] |= spot.filled & (spot.kind == "lesion")
        assert np.array_equal(parts, label > 0)


def test_lesions_are_bright_in_flair_and_t2_and_some_are_black_holes_in_t1(heads: list[Head]) -> None:
    for modality, sign in (("FLAIR", 1), ("T2", 1), ("T1", -1)):
        contrast = []
        for images, label, *_ in heads:
            near = ndimage.binary_dilation(label, iterations=3) & ~ndimage.binary_dilation(label)
            around = images[modality][near & (images[modality] > 0)]
            contrast.append(sign * (np.median(images[modality][label > 0]) - np.median(around)))
        assert np.mean(np.array(contrast) > 0) > 0.85
    dark = np.array([spot.look.darkness for *_, spots in heads for spot in spots])
    assert 0.15 < np.mean(dark > 0.6) < 0.45


def test_lesions_and_twins_touch_a_ventricle_or_the_cortex(heads: list[Head], tissues: list[Tissue]) -> None:
    for (_, _, spacing, spots), tissue in zip(heads, tissues, strict=False):
        wall = np.empty(tissue.gm.shape)
        ndimage.distance_transform_edt((tissue.ventricle < 0.3) & (tissue.gm < 0.3), sampling=spacing, distances=wall)
        gaps = [wall[spot.box][spot.filled].min() for spot in spots if spot.kind != "stray"]
        assert np.mean(np.array(gaps) <= max(spacing)) > 0.9


@pytest.mark.parametrize("modality", [*SIGNAL, "FLAIR + T2", "FLAIR - T1", "FLAIR + T2 - T1"])
def test_no_threshold_finds_them_in_any_modality_or_sum_smoothed_or_not(heads: list[Head], modality: str) -> None:
    for millimetres in (0, 2, 4):
        scores = []
        for images, label, spacing, _ in heads[:6]:
            part = {**scaled(images), "-": np.zeros(label.shape)}
            terms = modality.replace("- ", "+ -").split(" + ")
            image = sum(part[t.strip("-")] * (-1 if t[0] == "-" else 1) for t in terms)
            head = images["T1"] > 0
            image = ndimage.gaussian_filter(image, millimetres / np.array(spacing))
            scores.append(best_band_dice(image[head], label[head] > 0))
        assert np.mean(scores) < 0.35


def test_there_are_as_many_lesions_as_twins_and_some_strays(heads: list[Head]) -> None:
    kinds = [spot.kind for *_, spots in heads for spot in spots]
    assert kinds.count("twin") / kinds.count("lesion") == pytest.approx(1, abs=0.2)
    assert 0.3 < kinds.count("stray") / kinds.count("lesion") < 0.8


def test_twins_lie_opposite_each_other_and_opposite_a_lesion_is_nothing(heads: list[Head]) -> None:
    near: dict[str, list[bool]] = {"lesion": [], "twin": []}
    for head in heads:
        for spot in head[3]:
            if spot.kind != "stray":
                others = [other for other in head[3] if other is not spot]
                gaps = [np.linalg.norm(opposite(head, spot) - other.centre) for other in others]
                near[spot.kind].append(min(gaps) < 14)
    assert np.mean(near["twin"]) > 0.9
    assert np.mean(near["lesion"]) < 0.25


def test_a_window_of_21_voxels_never_holds_both_twins(heads: list[Head]) -> None:
    for _, _, spacing, spots in heads:
        twins = [spot.centre for spot in spots if spot.kind == "twin"]
        for right, left in zip(twins[::2], twins[1::2], strict=True):
            assert abs(right[0] - left[0]) > 24
            assert abs(right[0] - left[0]) / spacing[0] > 10


def test_what_is_seen_around_lesions_and_twins_has_one_distribution(seen: dict[str, np.ndarray]) -> None:
    def unlike(kind: str) -> np.ndarray:
        return np.array([ks_2samp(a, b).pvalue for a, b in zip(seen["lesion"].T, seen[kind].T, strict=True)])

    significant = 0.05 / seen["lesion"].shape[1]
    assert unlike("twin").min() > significant
    assert unlike("stray").min() < significant  # the test does see differences


def test_a_reader_of_21_voxels_does_no_better_than_chance_on_twins(seen: dict[str, np.ndarray]) -> None:
    """A linear discriminant, fitted on every second spot, tells strays from lesions among the others, not twins."""

    def told(kind: str) -> float:
        a, b = seen["lesion"], seen[kind]
        pooled = np.cov(np.vstack([a[::2] - a[::2].mean(0), b[::2] - b[::2].mean(0)]).T) + 0.2 * np.eye(a.shape[1])
        direction = np.linalg.solve(pooled, a[::2].mean(0) - b[::2].mean(0))
        inside, outside = a[1::2] @ direction, b[1::2] @ direction
        return mannwhitneyu(inside, outside).statistic / (len(inside) * len(outside))

    assert abs(told("twin") - 0.5) < 0.15
    assert told("stray") > 0.65


def test_a_reader_of_the_other_hemisphere_tells_twins_from_lesions(heads: list[Head]) -> None:
    bright: dict[str, list[float]] = {"lesion": [], "twin": []}
    for head in heads:
        images, _, spacing, spots = head
        part = scaled(images)
        spotted = part["FLAIR"] + part["T2"] - part["T1"]
        spotted = ndimage.gaussian_filter(spotted, 1.5 / np.array(spacing))
        spotted -= ndimage.gaussian_filter(spotted, 6 / np.array(spacing))
        for spot in spots:
            if spot.kind != "stray":
                middle, reach = opposite(head, spot) / spacing, 10 / np.array(spacing)
                window = tuple(slice(max(0, int(m - r)), int(m + r) + 2) for m, r in zip(middle, reach, strict=True))
                bright[spot.kind].append(spotted[window].max())
    pairs = len(bright["twin"]) * len(bright["lesion"])
    assert mannwhitneyu(bright["twin"], bright["lesion"]).statistic / pairs > 0.7


def test_a_folder_a_patient_with_a_file_a_modality_and_nothing_to_complain_of(tmp_path: Path) -> None:
    import nibabel

    from recurseg.data.check import check_dataset

    out = write_phantom("ms_lesions", tmp_path / "lesions", cases=2, size=(12, 48, 36))
    names = ["FLAIR.nii.gz", "T1.nii.gz", "T2.nii.gz", "labels.nii.gz"]
    assert sorted(path.name for path in (out / "patient_001").iterdir()) == names
    images, label, spacing, _ = ms_lesions(size=(12, 48, 36), case=1)
    for name, array in {**images, "labels": label}.items():
        file = nibabel.load(out / "patient_002" / f"{name}.nii.gz")
        assert np.array_equal(np.asanyarray(file.dataobj), array)
        assert file.header.get_zooms() == pytest.approx(spacing)
    report = check_dataset(out)
    assert report.modalities == ["FLAIR", "T1", "T2"]
    assert report.classes == {0: "background", 1: "lesion"}
    assert not report.problems


@pytest.mark.parametrize("size", [(12, 48, 36), (16, 80, 64), (13, 65, 49)])
def test_every_small_head_has_a_lesion(size: tuple[int, int, int]) -> None:
    assert all(ms_lesions(size=size, case=case)[1].any() for case in range(3))
