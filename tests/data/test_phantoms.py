"""Phantoms: reproducible, in real formats, shaped like what they stand for, and no threshold solves them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from recurseg.data.phantoms import PHANTOMS, write_phantom
from recurseg.data.phantoms.brain_tissue import CLASSES, brain_tissue
from recurseg.data.phantoms.brain_tumour import CLASSES as TUMOUR_CLASSES
from recurseg.data.phantoms.brain_tumour import brain_tumour
from recurseg.data.phantoms.cardiac_cine import cardiac_cine
from recurseg.data.phantoms.chest_findings import FINDINGS
from recurseg.data.phantoms.chest_xray import LUNG, chest_xray
from recurseg.data.phantoms.em_membranes import CELL, MEMBRANE, em_membranes
from recurseg.data.phantoms.fields import band_noise, even_coin, smooth_noise
from recurseg.data.phantoms.ms_lesions import ms_lesions
from recurseg.data.phantoms.pathfinder import pathfinder
from recurseg.errors import ConfigError, ResourceError

SMALL = {
    "em_membranes": (4, 96, 96),
    "brain_tissue": (12, 48, 48),
    "brain_tumour": (12, 48, 48),
    "ms_lesions": (12, 48, 36),
    "chest_xray": (1, 96, 96),
    **dict.fromkeys(("cardiac_cine", "cardiac_cine_a", "cardiac_cine_b"), (4, 48, 48)),
    **dict.fromkeys(("pathfinder", "pathfinder_9", "pathfinder_14"), (1, 96, 96)),
}


@pytest.fixture(scope="module")
def stack() -> tuple[np.ndarray, np.ndarray]:
    return em_membranes(size=(8, 192, 192), seed=0)


@pytest.fixture(scope="module")
def head() -> tuple[dict[str, np.ndarray], np.ndarray, tuple[float, ...]]:
    return brain_tissue(size=(32, 96, 96), seed=0)


def best_threshold_dice(image: np.ndarray, truth: np.ndarray) -> float:
    """Largest Dice of any band of intensities with `truth`, by trying them all."""
    levels = np.unique(np.percentile(image, np.arange(0, 101, 2)))
    bands = [(low, high) for low in levels for high in levels if low < high]
    masks = ((image >= low) & (image <= high) for low, high in bands)
    return max(2 * np.sum(mask & truth) / (mask.sum() + truth.sum()) for mask in masks)


def make(name: str, seed: int = 0, case: int = 0) -> list[np.ndarray]:
    if name == "em_membranes":
        return list(em_membranes(size=SMALL[name], seed=seed, case=case))
    if name == "chest_xray":
        return list(chest_xray(size=SMALL[name], seed=seed, case=case)[:2])
    if name.startswith("cardiac_cine"):
        scanner = {"a": "scanner_a", "b": "scanner_b"}.get(name[-1]) if name != "cardiac_cine" else None
        cine = cardiac_cine(size=SMALL[name], seed=seed, case=case, scanner=scanner)
        return [cine.image, cine.label]
    if name.startswith("pathfinder"):
        length = int(name.partition("_")[2] or 6)
        return [pathfinder(length=length, size=SMALL[name], seed=seed, case=case)[0]]
    brains = {"brain_tissue": brain_tissue, "brain_tumour": brain_tumour, "ms_lesions": ms_lesions}
    images, label, *_ = brains[name](size=SMALL[name], seed=seed, case=case)
    return [*images.values(), label]


@pytest.mark.parametrize("name", PHANTOMS)
def test_same_seed_same_images_and_another_seed_or_case_others(name: str) -> None:
    first, again, other_seed, other_case = make(name), make(name), make(name, seed=1), make(name, case=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other_seed, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other_case, strict=True))


def test_smooth_noise_has_mean_0_and_sd_1_and_the_asked_smoothness() -> None:
    field = smooth_noise(np.random.default_rng(0), (64, 256, 256), (1, 8, 8))
    assert field.mean() == pytest.approx(0, abs=0.05)
    assert field.std() == pytest.approx(1, abs=0.05)
    assert np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1] > 0.95
    assert abs(np.corrcoef(field[1:].ravel(), field[:-1].ravel())[0, 1]) < 0.05


def test_an_even_coin_shows_each_side_once_in_two_throws_in_no_order() -> None:
    throws = np.array([[even_coin("coin", seed, case) for case in range(64)] for seed in range(4)])
    assert np.all(throws[:, ::2] + throws[:, 1::2] == 1)
    assert 40 < throws[:, ::2].sum() < 88
    assert not np.array_equal(throws[0], throws[1])


def test_band_noise_changes_sign_twice_a_wavelength() -> None:
    field = band_noise(np.random.default_rng(0), (512,), wavelength=16, spread=0.1)
    assert np.sum(np.diff(np.sign(field)) != 0) == pytest.approx(2 * 512 / 16, rel=0.1)


class TestEM:
    def test_label_is_coded_as_in_the_isbi_2012_challenge(self, stack: tuple[np.ndarray, np.ndarray]) -> None:
        image, label = stack
        assert image.dtype == label.dtype == np.uint8
        assert set(np.unique(label)) == {MEMBRANE, CELL} == {0, 255}

    def test_about_a_fifth_is_membrane(self) -> None:
        shares = [np.mean(em_membranes(size=(6, 192, 192), seed=s)[1] == MEMBRANE) for s in range(3)]
        assert 0.18 < np.mean(shares) < 0.27

    def test_membrane_is_dark_yet_no_threshold_finds_it(self, stack: tuple[np.ndarray, np.ndarray]) -> None:
        image, label = stack
        assert image[label == MEMBRANE].mean() < image[label == CELL].mean() - 25
        assert best_threshold_dice(image, label == MEMBRANE) < 0.75

    def test_cells_run_on_from_section_to_section_but_move(self, stack: tuple[np.ndarray, np.ndarray]) -> None:
        membrane = stack[1] == MEMBRANE
        next_section = np.corrcoef(membrane[1:].ravel(), membrane[:-1].ravel())[0, 1]
        far_section = np.corrcoef(membrane[5:].ravel(), membrane[:-5].ravel())[0, 1]
        assert 0.15 < next_section < 0.55
        assert far_section < next_section / 2

    def test_membranes_enclose_cells_of_widely_differing_size(self, stack: tuple[np.ndarray, np.ndarray]) -> None:
        areas = np.concatenate([np.bincount(ndimage.label(s == CELL)[0].ravel())[1:] for s in stack[1]])
        assert len(areas) / stack[1].size * 1e6 > 250  # cells per million pixels of section
        assert np.percentile(areas, 95) > 8 * np.median(areas)

    def test_brightness_differs_from_section_to_section(self, stack: tuple[np.ndarray, np.ndarray]) -> None:
        assert 3 < stack[0].mean((1, 2)).std() < 30


class TestBrain:
    def test_modalities_share_one_grid_and_have_air_around(self, head) -> None:
        images, label, spacing = head
        assert list(images) == ["T1", "IR", "FLAIR"]
        assert all(image.shape == label.shape == (96, 96, 32) for image in images.values())
        assert spacing == pytest.approx((2.4, 2.4, 4.5))
        border = np.ones(label.shape, bool)
        border[1:-1, 1:-1] = False
        assert not label[border].any()
        assert not any(image[label == 0].mean() > 20 for image in images.values())

    def test_full_size_has_the_voxels_of_mrbrains(self) -> None:
        *_, spacing = brain_tissue(size=(8, 240, 240))
        assert spacing[:2] == pytest.approx((0.96, 0.96))
        assert 8 * spacing[2] == pytest.approx(48 * 3)

    def test_volumes_are_those_of_an_adult_brain(self) -> None:
        for case in range(2):
            _, label, spacing = brain_tissue(size=(24, 72, 72), case=case)
            millilitres = np.bincount(label.ravel(), minlength=4) * np.prod(spacing) / 1000
            assert 1000 < millilitres[2:].sum() < 1700  # brain without fluid
            assert 1.2 < millilitres[2] / millilitres[3] < 2.6  # grey to white

    def test_contrasts_order_the_tissues_as_physics_does(self, head) -> None:
        images, label, _ = head
        means = {m: [image[label == k].mean() for k in (1, 2, 3)] for m, image in images.items()}
        assert means["T1"][0] < means["T1"][1] < means["T1"][2]
        assert means["IR"][2] < means["IR"][1] < means["IR"][0]
        assert means["FLAIR"][0] < means["FLAIR"][2] < means["FLAIR"][1]

    def test_no_band_of_t1_intensities_separates_a_tissue(self, head) -> None:
        images, label, _ = head
        for tissue in range(1, len(CLASSES)):
            assert best_threshold_dice(images["T1"], label == tissue) < 0.9

    def test_grey_matter_lies_around_white_matter(self) -> None:
        _, label, _ = brain_tissue(size=(24, 120, 120))
        outside = ndimage.distance_transform_edt(label > 0)
        assert outside[label == 2].mean() < outside[label == 3].mean()
        shell = ndimage.binary_dilation(label == 3) & (label != 3)
        assert np.mean(label[shell] == 2) > 0.85


@pytest.fixture(scope="module")
def chests() -> list[tuple[np.ndarray, np.ndarray, tuple[str, ...]]]:
    return [chest_xray(size=(1, 128, 128), case=case) for case in range(14)]


class TestChest:
    def test_labels_are_coded_as_in_the_montgomery_and_shenzhen_masks(self, chests) -> None:
        for image, label, _ in chests:
            assert image.dtype == label.dtype == np.uint8
            assert image.shape == label.shape == (128, 128)
            assert set(np.unique(label)) == {0, LUNG} == {0, 255}

    def test_there_are_two_lungs_and_they_fill_what_they_fill_in_real_films(self, chests) -> None:
        shares = [np.mean(label > 0) for _, label, _ in chests]
        assert 0.18 < np.mean(shares) < 0.32  # 0.258 with sd 0.060 in 300 films of Montgomery and Shenzhen
        assert all(0.1 < share < 0.42 for share in shares)
        assert all(ndimage.label(label)[1] == 2 for _, label, _ in chests)

    def test_the_heart_takes_from_the_left_lung_which_lies_at_the_images_right(self, chests) -> None:
        halves = [np.array_split((label > 0).sum(0), 2) for _, label, _ in chests]
        right, left = np.sum(halves, (0, 2))
        assert left < 0.97 * right

    def test_air_is_dark_and_bone_bright_with_the_lungs_between(self, chests) -> None:
        for image, label, _ in chests:
            lung = image[label > 0].mean()
            around = image[ndimage.binary_dilation(label > 0, iterations=5) & (label == 0)].mean()
            assert lung < around - 20  # 61 with sd 16 in real films
            assert image.min() < 20
            assert image.max() > 200

    def test_no_threshold_finds_the_lungs(self, chests) -> None:
        best = [best_threshold_dice(image, label > 0) for image, label, _ in chests]
        assert np.mean(best) < 0.78  # 0.72 with sd 0.07 in real films
        images, labels = (np.stack(part) for part in list(zip(*chests, strict=True))[:2])
        assert best_threshold_dice(images, labels > 0) < 0.72  # one band for all; 0.64 in real films

    def test_lungs_and_their_grey_values_lie_as_in_real_films(self) -> None:
        from PIL import Image

        root = Path(os.environ.get("RECURSEG_DATA", "")) / "cxr_lung"
        if not os.environ.get("RECURSEG_DATA") or not root.is_dir():
            pytest.skip("RECURSEG_DATA does not name a folder with cxr_lung")

        def shares_and_overlap(image: np.ndarray, lung: np.ndarray) -> tuple[float, float, float]:
            inside, outside = (np.histogram(image[mask], 32, (0, 256))[0] / mask.sum() for mask in (lung, ~lung))
            return lung.mean(), np.minimum(inside, outside).sum(), image[~lung].mean() - image[lung].mean()

        names = sorted(path.name for path in (root / "images").iterdir())[::8]
        films = [[np.array(Image.open(root / f / name).convert("L")) for f in ("images", "masks")] for name in names]
        real = np.mean([shares_and_overlap(image, mask > 127) for image, mask in films], 0)
        phantoms = [chest_xray(case=case) for case in range(24)]
        made = np.mean([shares_and_overlap(image, label > 0) for image, label, _ in phantoms], 0)
        assert made == pytest.approx(real, rel=0.35)

    def test_children_have_larger_hearts_for_their_chests(self) -> None:
        ratios = {True: [], False: []}  # heart to chest, above the diaphragm
        for case in range(18):
            _, label, tags = chest_xray(size=(1, 96, 96), seed=5, case=case)
            rows = label[label.any(1)]
            across = [np.flatnonzero(row) for row in rows[: int(0.65 * len(rows))]]
            widest = max(np.diff(columns).max() for columns in across)
            ratios["child" in tags].append(widest / max(np.ptp(columns) for columns in across))
        assert np.mean(ratios[True]) > np.mean(ratios[False]) + 0.03

    def test_fluid_and_lesions_are_bright_but_belong_to_the_lung(self) -> None:
        def brightest(case: int) -> float:
            image, label, _ = chest_xray(size=(1, 96, 96), seed=3, case=case)
            smooth = ndimage.gaussian_filter(image.astype(float), 2)
            inside = ndimage.binary_erosion(label > 0, iterations=3)
            return np.percentile(smooth[inside], 97) - np.median(smooth[inside])

        sick = [brightest(case) for case in range(28) if FINDINGS[case % 7] in ("effusion", "lesion")]
        plain = [brightest(case) for case in range(28) if not FINDINGS[case % 7]]
        assert np.mean(sick) > np.mean(plain) + 10

    def test_every_nth_case_held_out_has_every_finding(self) -> None:
        for n in (2, 3, 4, 5):
            held_out = {FINDINGS[case % 7] for case in range(0, 7 * n, n)}
            assert held_out == {"", "effusion", "device", "lesion"}

    def test_tags_are_words_of_the_documented_list(self, chests) -> None:
        known = {"child", "effusion", "device", "lesion", "rotated", "underexposed"}
        assert {tag for *_, tags in chests for tag in tags} <= known
        assert sum("child" in tags for *_, tags in chests) == 4


class TestWriting:
    def test_one_em_stack_is_two_imagej_tiffs_with_its_spacing(self, tmp_path: Path) -> None:
        tifffile = pytest.importorskip("tifffile")
        out = write_phantom("em_membranes", tmp_path / "em", size=SMALL["em_membranes"])
        image, label = make("em_membranes")
        assert np.array_equal(tifffile.imread(out / "label.tif"), label)
        with tifffile.TiffFile(out / "image.tif") as tiff:
            assert np.array_equal(tiff.asarray(), image)
            assert tiff.imagej_metadata["spacing"] == pytest.approx(0.05)
            numerator, denominator = tiff.pages[0].tags["XResolution"].value
            assert denominator / numerator == pytest.approx(0.004)

    def test_several_stacks_go_into_two_folders_with_matching_names(self, tmp_path: Path) -> None:
        out = write_phantom("em_membranes", tmp_path / "em", cases=2, size=(2, 64, 64))
        names = [sorted(p.name for p in (out / folder).iterdir()) for folder in ("images", "labels")]
        assert names[0] == names[1] == ["stack_01.tif", "stack_02.tif"]

    def test_brains_are_nifti_with_a_true_affine(self, tmp_path: Path) -> None:
        nibabel = pytest.importorskip("nibabel")
        out = write_phantom("brain_tissue", tmp_path / "brains", cases=1, size=SMALL["brain_tissue"])
        assert sorted(p.name for p in (out / "case_01").iterdir()) == [
            "FLAIR.nii.gz",
            "IR.nii.gz",
            "T1.nii.gz",
            "labels.nii.gz",
        ]
        image = nibabel.load(out / "case_01" / "T1.nii.gz")
        assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
        assert image.header.get_zooms() == pytest.approx((4.8, 4.8, 12.0))
        centre = (np.array(image.shape) - 1) / 2
        assert nibabel.affines.apply_affine(image.affine, centre) == pytest.approx([0, 0, 0], abs=1e-4)

    @pytest.mark.parametrize(
        ("name", "cases"),
        [
            ("em_membranes", 1),
            ("em_membranes", 2),
            ("brain_tissue", 2),
            ("brain_tumour", 2),
            ("ms_lesions", 2),
            ("chest_xray", 3),
        ],
    )
    def test_recurseg_opens_what_it_wrote(self, tmp_path: Path, name: str, cases: int) -> None:
        from recurseg.data.dataset import open_dataset

        dataset = open_dataset(write_phantom(name, tmp_path / "phantom", cases=cases, size=SMALL[name]))
        assert len(dataset.cases) == cases
        assert all(case.label is not None for case in dataset.cases)
        classes = {
            "em_membranes": ["cell", "membrane"],
            "brain_tissue": list(CLASSES),
            "brain_tumour": list(TUMOUR_CLASSES),
            "ms_lesions": ["background", "lesion"],
            "chest_xray": ["background", "lung"],
        }
        assert dataset.class_names == classes[name]
        modalities = {"em_membranes": 1, "brain_tissue": 3, "brain_tumour": 4, "ms_lesions": 3, "chest_xray": 1}
        assert len(dataset.modalities) == modalities[name]

    @pytest.mark.parametrize("name", [name for name in PHANTOMS if not name.startswith("pathfinder")])
    def test_the_layout_is_known_without_the_manifest(self, tmp_path: Path, name: str) -> None:
        from recurseg.data.dataset import open_dataset

        out = write_phantom(name, tmp_path / "phantom", cases=2, size=SMALL[name])
        for manifest in out.glob("*.yaml"):
            manifest.unlink()
        assert {case.label is not None for case in open_dataset(out).cases} == {True}

    def test_radiographs_are_png_with_masks_of_0_and_255_and_their_tags(self, tmp_path: Path) -> None:
        from PIL import Image

        from recurseg.data.dataset import open_dataset

        out = write_phantom("chest_xray", tmp_path / "chest", cases=3, size=SMALL["chest_xray"])
        image, label = make("chest_xray", case=1)
        assert np.array_equal(np.array(Image.open(out / "images" / "chest_002.png")), image)
        assert np.array_equal(np.array(Image.open(out / "masks" / "chest_002.png")), label)
        cases = open_dataset(out).cases
        assert cases[0].shape == (96, 96)
        assert "effusion" in cases[1].tags
        assert "child" in cases[2].tags
        assert len({case.patient for case in cases}) == 3

    def test_brains_read_the_same_in_itk(self, tmp_path: Path) -> None:
        sitk = pytest.importorskip("SimpleITK")
        out = write_phantom("brain_tissue", tmp_path / "brains", cases=1, size=SMALL["brain_tissue"])
        read = sitk.ReadImage(str(out / "case_01" / "labels.nii.gz"))
        assert np.array_equal(sitk.GetArrayFromImage(read).T, make("brain_tissue")[-1])
        assert read.GetSpacing() == pytest.approx((4.8, 4.8, 12.0))

    def test_a_folder_with_files_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "mine.txt").write_text("keep")
        with pytest.raises(ConfigError, match="not an empty folder"):
            write_phantom("em_membranes", tmp_path, size=SMALL["em_membranes"])
        assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]

    def test_a_failure_leaves_nothing_half_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def full_disk(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("nibabel.save", full_disk)
        with pytest.raises(ResourceError, match="No space left"):
            write_phantom("brain_tissue", tmp_path / "brains", cases=1, size=SMALL["brain_tissue"])
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("brain_tisue", {}, "did you mean 'brain_tissue'"),
            ("em_membranes", {"cases": 0}, "at least 1"),
            ("em_membranes", {"size": (4, 8, 8)}, "1x32x32"),
            ("em_membranes", {"seed": -1}, "negative"),
            ("chest_xray", {"size": (1, 32, 32)}, "1x64x64"),
            ("chest_xray", {"size": (4, 64, 64)}, "pictures of 1 slice"),
        ],
    )
    def test_mistakes_end_in_one_line(self, tmp_path: Path, name: str, options: dict, message: str) -> None:
        with pytest.raises(ConfigError, match=message) as caught:
            write_phantom(name, tmp_path / "out", **options)
        assert "\n" not in str(caught.value)


class TestCommand:
    def test_it_writes_and_says_so_in_json(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from recurseg.cli.main import main

        assert main(["phantom", "em_membranes", str(tmp_path / "em"), "--size", "2x64x64", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["files"] == ["dataset.yaml", "image.tif", "label.tif"]

    def test_a_picture_needs_no_slices_in_its_size(self, tmp_path: Path) -> None:
        from PIL import Image

        from recurseg.cli.main import main

        assert main(["phantom", "chest_xray", str(tmp_path / "chest"), "--cases", "1", "--size", "64x80"]) == 0
        assert Image.open(tmp_path / "chest" / "masks" / "chest_001.png").size == (80, 64)

    def test_a_size_that_is_none_is_a_usage_error(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        from recurseg.cli.main import main

        assert main(["phantom", "em_membranes", str(tmp_path / "em"), "--size", "big"]) == 2
        assert "--size big" in capsys.readouterr().err
