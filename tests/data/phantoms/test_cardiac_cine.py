"""Beating hearts: volumes that follow the cycle, borders that one frame leaves open, and two unlike scanners."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import mannwhitneyu

from recurseg.data.phantoms import write_phantom
from recurseg.data.phantoms.cardiac_anatomy import GROUPS
from recurseg.data.phantoms.cardiac_cine import CLASSES, FRAMES, Cine, cardiac_cine

RIGHT, MUSCLE, LEFT = 1, 2, 3


@pytest.fixture(scope="module")
def hearts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small patients, written."""
    return write_phantom("cardiac_cine", tmp_path_factory.mktemp("hearts") / "out", cases=2, size=(4, 48, 48))


@pytest.fixture(scope="module")
def cines() -> list[Cine]:
    """Ten patients: every group twice, at the size that is written without asking."""
    return [cardiac_cine(case=case) for case in range(10)]


def millilitres(cine: Cine, structure: int) -> np.ndarray:
    """By frame."""
    return np.sum(cine.label == structure, (0, 1, 2)) * np.prod(cine.spacing) / 1000


def ejection_fraction(volume: np.ndarray) -> float:
    return float(1 - volume.min() / volume.max())


def best_band_dice(image: np.ndarray, truth: np.ndarray) -> float:
    """Largest Dice of any band of intensities with `truth`."""
    edges = np.append(np.unique(np.quantile(image, np.linspace(0, 1, 201))), image.max() + 1)
    hits, taken = (np.append(0, np.histogram(part, edges)[0].cumsum()) for part in (image[truth], image))
    low, high = np.triu_indices(len(edges), 1)
    return float((2 * (hits[high] - hits[low]) / (taken[high] - taken[low] + truth.sum())).max())


def test_the_left_ventricle_is_largest_at_end_diastole_and_smallest_at_end_systole(cines: list[Cine]) -> None:
    for cine in cines:
        volume = millilitres(cine, LEFT)
        assert np.argmax(volume) == 0
        assert np.argmin(volume) == cine.end_systole
        assert 0.3 * FRAMES <= cine.end_systole <= 0.45 * FRAMES


def test_the_labels_have_the_ejection_fraction_that_was_drawn(cines: list[Cine]) -> None:
    for cine in cines:
        drawn = cine.heart.ejection_fraction
        assert ejection_fraction(millilitres(cine, LEFT)) == pytest.approx(drawn, abs=0.03)


def test_the_volume_falls_once_and_fills_smoothly(cines: list[Cine]) -> None:
    for cine in cines:
        volume = millilitres(cine, LEFT)
        stroke = volume.max() - volume.min()
        assert np.diff(volume[: cine.end_systole + 1]).max() < 0.03 * stroke
        assert np.diff(volume[cine.end_systole :]).min() > -0.05 * stroke
        assert np.abs(np.diff(volume)).max() < 0.4 * stroke


def test_myocardium_is_hardly_compressed(cines: list[Cine]) -> None:
    for cine in cines:
        volume = millilitres(cine, MUSCLE)
        assert np.ptp(volume) < 0.1 * volume.mean()


def test_ejection_fractions_and_volumes_are_those_of_the_groups(cines: list[Cine]) -> None:
    by_group = {group: [cine for cine in cines if cine.heart.group == group] for group in GROUPS}
    assert all(len(own) == 2 for own in by_group.values())
    fraction = {g: np.mean([ejection_fraction(millilitres(c, LEFT)) for c in own]) for g, own in by_group.items()}
    largest = {g: np.mean([millilitres(c, LEFT).max() for c in own]) for g, own in by_group.items()}
    muscle = {g: np.mean([millilitres(c, MUSCLE)[0] for c in own]) for g, own in by_group.items()}
    right = {g: np.mean([millilitres(c, RIGHT).max() for c in own]) for g, own in by_group.items()}
    assert fraction["DCM"] < 0.38 < fraction["NOR"] < fraction["HCM"] < 0.78
    assert fraction["MINF"] < 0.48
    assert largest["DCM"] > 1.4 * largest["NOR"] > 1.6 * largest["HCM"]
    assert muscle["HCM"] > muscle["NOR"]
    assert right["RV"] > 1.25 * right["NOR"]
    assert 70 < largest["NOR"] < 190
    assert 70 < muscle["NOR"] < 170
    assert 80 < right["NOR"] < 220


def test_an_infarct_hardly_moves_and_healthy_muscle_does() -> None:
    share = {}
    for group, case in (("NOR", 0), ("MINF", 3)):
        cine = cardiac_cine(case=case)
        assert cine.heart.group == group
        section = cine.label[:, :, 3]
        middle = np.mean(np.argwhere(section[..., 0] == LEFT), 0)
        at = np.argwhere(section[..., 0] == LEFT) - middle
        angle = np.floor(np.arctan2(at[:, 1], at[:, 0]) / (2 * np.pi) * 8).astype(int) % 8
        left = section[..., cine.end_systole][section[..., 0] == LEFT] == LEFT
        share[group] = np.array([left[angle == sector].mean() for sector in range(8)])
    assert np.ptp(share["MINF"]) > np.ptp(share["NOR"])
    assert share["MINF"].max() > 0.8


def test_muscle_lies_around_the_left_cavity_and_the_right_ventricle_beside_it(cines: list[Cine]) -> None:
    for cine in cines:
        label = cine.label[..., 0]
        shell = ndimage.binary_dilation(label == LEFT, np.ones((3, 3, 1))) & (label != LEFT)
        assert np.mean(label[shell] == MUSCLE) > 0.85
        left, right = (np.mean(np.argwhere(label == structure), 0) for structure in (LEFT, RIGHT))
        assert right[0] < left[0]  # x runs to the patient's left


def test_slices_reach_from_the_apex_to_the_base_and_some_have_no_cavity(cines: list[Cine]) -> None:
    empty = [np.sum(cine.label == LEFT, (0, 1)) == 0 for cine in cines]  # (z, t)
    assert any(own[0].all() for own in empty)
    assert any(own[-1, cine.end_systole] and not own[-1, 0] for own, cine in zip(empty, cines, strict=True))
    assert all(not own[2:5].any() for own in empty)


@pytest.mark.parametrize("structure", [RIGHT, MUSCLE, LEFT], ids=lambda k: CLASSES[k])
def test_no_threshold_finds_it(cines: list[Cine], structure: int) -> None:
    for millimetres in (0, 2):
        scores = []
        for cine in cines:
            for t in (0, cine.end_systole):
                sigma = millimetres / cine.spacing[0]
                image = ndimage.gaussian_filter(cine.image[..., t].astype(np.float32), (sigma, sigma, 0))
                scores.append(best_band_dice(image, cine.label[..., t] == structure))
        assert np.mean(scores) < 0.5


def test_frames_nearby_show_the_border_that_one_frame_leaves_open(cines: list[Cine]) -> None:
    told_apart = []
    for cine in cines[:6]:
        for t in (0, cine.end_systole):  # where the heart is slow
            label = cine.label[..., t]
            cavity, muscle = (
                np.stack([ndimage.distance_transform_edt(mask) for mask in np.moveaxis(label == k, 2, 0)], 2)
                for k in (LEFT, MUSCLE)
            )
            inside = (cavity > 0) & (cavity * cine.spacing[0] < 4)
            outside = (muscle > 0) & ndimage.binary_dilation(cavity > 0, np.ones((3, 3, 1)), 3)
            film = cine.image[..., np.arange(t - 2, t + 3) % FRAMES].astype(np.float32)
            still = film[..., 2]
            told_apart.append(
                [
                    mannwhitneyu(image[inside], image[outside]).statistic / (inside.sum() * outside.sum())
                    for image in (still, ndimage.gaussian_filter(still, (1, 1, 0)), film.mean(3))
                ]
            )
    single, smoothed, several = np.mean(told_apart, 0)  # chance that cavity is brighter than muscle, 4 mm around
    assert single < 0.8
    assert several > single + 0.05
    assert several > smoothed + 0.03


def test_scanners_differ_in_range_field_and_noise(cines: list[Cine]) -> None:
    first, second = (cardiac_cine(case=0, scanner=f"scanner_{x}") for x in "ab")
    assert first.image.dtype == np.uint8
    assert second.image.dtype == np.int16
    assert 200 < first.image.max() <= 255
    assert 1500 < second.image.max() <= 4095
    assert {cine.scanner for cine in cines} == {"scanner_a", "scanner_b"}
    for one, low, high in ((first, 1.4, 1.6), (second, 1.6, 1.8)):
        assert low < one.spacing[0] == one.spacing[1] < high
        assert 7.5 < one.spacing[2] < 12
        assert 0.03 < one.seconds < 0.06

    def contrast(cine: Cine) -> float:
        cavity, muscle = (cine.image[cine.label == k].astype(float) for k in (LEFT, MUSCLE))
        return (np.median(cavity) - np.median(muscle)) / (cavity.std() + muscle.std())

    assert contrast(first) > 1.3 * contrast(second) > 0.4


def test_of_two_patients_in_a_row_each_scanner_has_one() -> None:
    taken_by = [cardiac_cine(size=(4, 48, 48), case=case).scanner for case in range(4)]
    assert all({a, b} == {"scanner_a", "scanner_b"} for a, b in zip(taken_by[::2], taken_by[1::2], strict=True))


def test_files_are_those_of_acdc_and_of_every_frame(hearts: Path) -> None:
    import nibabel

    cine = cardiac_cine(size=(4, 48, 48))
    systole = f"{cine.end_systole + 1:02d}"
    assert sorted(path.name for path in (hearts / "patient001").iterdir()) == [
        "Info.cfg",
        *sorted(
            f"patient001_{end}.nii.gz"
            for end in ("4d", "4d_gt", "frame01", "frame01_gt", f"frame{systole}", f"frame{systole}_gt")
        ),
    ]
    film = nibabel.load(hearts / "patient001" / "patient001_4d.nii.gz")
    assert np.array_equal(np.asanyarray(film.dataobj), cine.image)
    assert film.header.get_zooms() == pytest.approx((*cine.spacing, cine.seconds))
    assert film.header.get_xyzt_units() == ("mm", "sec")
    assert nibabel.aff2axcodes(film.affine) == ("L", "P", "S")
    truth = nibabel.load(hearts / "patient001" / f"patient001_frame{systole}_gt.nii.gz")
    assert np.array_equal(np.asanyarray(truth.dataobj), cine.label[..., cine.end_systole])
    assert np.allclose(truth.affine, film.affine)
    assert f"ES: {cine.end_systole + 1}\nGroup: NOR\n" in (hearts / "patient001" / "Info.cfg").read_text()


def test_frames_films_and_films_with_every_label_are_three_data_sets(hearts: Path) -> None:
    from recurseg.data.dataset import open_dataset

    cine = cardiac_cine(size=(4, 48, 48))
    frames, films, contoured = (open_dataset(hearts / f"{n}.yaml") for n in ("dataset", "cine", "cine_all_frames"))
    assert [case.shape for case in frames.cases] == [(48, 48, 4)] * 4
    assert [list(case.phases) for case in frames.cases] == [["ED"], ["ES"]] * 2
    for dataset in (films, contoured):
        case = dataset.cases[0]
        assert (case.shape, case.frames) == ((48, 48, 4, FRAMES), FRAMES)
        assert case.phases == {"ED": 0, "ES": cine.end_systole}
        assert case.label is not None
    given = np.asarray(films.cases[0].label.array[...])
    for t in range(FRAMES):
        expected = cine.label[..., t] if t in (0, cine.end_systole) else 255
        assert np.all(given[..., t] == expected)
    assert np.array_equal(contoured.cases[0].label.array[...], cine.label)
    assert frames.class_names == list(CLASSES)


def test_acdcs_layout_reads_the_same_folder(hearts: Path, tmp_path: Path) -> None:
    import shutil

    from recurseg.data.dataset import open_dataset

    bare = shutil.copytree(hearts, tmp_path / "bare", ignore=shutil.ignore_patterns("*.yaml"))
    named, found = open_dataset(hearts), open_dataset(bare)
    assert found.manifest.layout == "acdc"
    assert [(c.id, c.patient, c.phases) for c in found.cases] == [(c.id, c.patient, c.phases) for c in named.cases]


def test_a_split_for_each_scanner_unless_there_is_one(hearts: Path, tmp_path: Path) -> None:
    from recurseg.data.manifest import read_manifest

    both = read_manifest(hearts / "dataset.yaml")
    assert {name: len(ids) for name, ids in both.splits.items()} == {"scanner_a": 2, "scanner_b": 2}
    one = read_manifest(write_phantom("cardiac_cine_b", tmp_path / "one", cases=2, size=(4, 48, 48)) / "dataset.yaml")
    assert not one.splits
    assert all("scanner_b" in case.tags for case in one.cases)
