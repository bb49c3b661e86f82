"""`recurseg check`: what it reports, what it refuses, what it mends."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import typer
from PIL import Image
from typer.testing import CliRunner

from recurseg.cli.check import check
from recurseg.data.check import check_dataset
from recurseg.data.dataset import open_dataset
from recurseg.data.labels import class_labels
from recurseg.data.manifest import read_manifest, write_manifest
from recurseg.data.mend import mend_dataset
from recurseg.errors import ConfigError, DataError

SHAPE = (8, 7, 6)


def nifti(path: Path, array: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([1.0, 1, 2, 1]) if affine is None else affine), path)
    return path


def block(shape=SHAPE) -> np.ndarray:
    label = np.zeros(shape, np.uint8)
    label[2:6, 2:5, 1:5] = 1
    return label


def volumes(root: Path, *names: str) -> Path:
    """Cases with a block of foreground, every image different."""
    for number, name in enumerate(names):
        image = np.random.default_rng(number).normal(size=SHAPE).astype(np.float32)
        nifti(root / "images" / f"{name}.nii.gz", image)
        nifti(root / "labels" / f"{name}.nii.gz", block())
    return root


def errors(report) -> list[str]:
    return [f"{problem.case}: {problem.message}" for problem in report.problems if problem.severity == "error"]


def warnings(report) -> list[str]:
    return [f"{problem.case}: {problem.message}" for problem in report.problems if problem.severity == "warning"]


def test_numbers_of_a_good_data_set(tmp_path):
    image = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    nifti(tmp_path / "images" / "a.nii.gz", image)
    nifti(tmp_path / "labels" / "a.nii.gz", block())
    report = check_dataset(tmp_path)
    assert report.usable
    assert report.problems == []
    (case,) = report.cases
    assert case.shape == list(SHAPE)
    assert case.spacing_mm == [1, 1, 2]
    assert case.orientation == "RAS"
    found = case.intensity["image"]
    assert (found.minimum, found.maximum, found.mean, found.not_finite) == (0, 335, 167.5, 0)
    assert case.fractions == {"background": pytest.approx(1 - 48 / 336), "foreground": pytest.approx(48 / 336)}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
def test_voxels_that_are_no_number_are_counted_and_named(tmp_path, value):
    volumes(tmp_path, "a", "b")
    image = np.zeros(SHAPE, np.float32)
    image[0, 0, :3] = value
    image[1] = 5
    nifti(tmp_path / "images" / "b.nii.gz", image)
    report = check_dataset(tmp_path)
    assert not report.usable
    (message,) = errors(report)
    assert message.startswith("b: image has 3 NaN or infinite voxels")
    assert report.cases[1].intensity["image"].maximum == 5


def test_every_broken_case_is_reported_not_only_the_first(tmp_path):
    volumes(tmp_path, "a", "b", "c", "d")
    nifti(tmp_path / "labels" / "b.nii.gz", block((8, 7, 5)))
    (tmp_path / "images" / "c.nii.gz").write_bytes(b"\x1f\x8b broken")
    nifti(tmp_path / "labels" / "d.nii.gz", block() * np.float32(0.5))
    report = check_dataset(tmp_path)
    assert [case.id for case in report.cases] == ["a"]
    assert [problem.case for problem in report.problems] == ["b", "c", "d"]
    assert "--fix" in report.problems[0].mend


def test_identical_images_are_found_by_content_whatever_their_names(tmp_path):
    volumes(tmp_path, "a", "b", "c")
    image = nib.load(tmp_path / "images" / "a.nii.gz")
    nib.save(image, tmp_path / "images" / "c.nii.gz")
    (message,) = warnings(check_dataset(tmp_path))
    assert "identical voxels in a image, c image" in message


def with_splits(root: Path, **changes) -> Path:
    dataset = open_dataset(root)
    path = root / "dataset.yaml"
    write_manifest(dataset.manifest.model_copy(update=changes), path)
    return path


def test_one_patient_on_both_sides_of_named_splits_is_leakage(tmp_path):
    volumes(tmp_path, "patient1_a", "patient1_b", "patient2_a")
    splits = {"train": ["patient1_a", "patient2_a"], "val": ["patient1_b"]}
    report = check_dataset(with_splits(tmp_path, splits=splits))
    assert errors(report) == [": patient patient1 is in the splits 'train' and 'val'"]


def test_the_same_image_in_two_splits_is_leakage(tmp_path):
    volumes(tmp_path, "a", "b", "c")
    nib.save(nib.load(tmp_path / "images" / "a.nii.gz"), tmp_path / "images" / "b.nii.gz")
    report = check_dataset(with_splits(tmp_path, splits={"train": ["a", "c"], "val": ["b"]}))
    assert any(
        "case a in split 'train' and case b in 'val' are the same image" in message for message in errors(report)
    )


def test_a_healthy_case_is_a_warning_and_no_foreground_at_all_an_error(tmp_path):
    volumes(tmp_path, "a", "b")
    nifti(tmp_path / "labels" / "b.nii.gz", np.zeros(SHAPE, np.uint8))
    report = check_dataset(tmp_path)
    assert report.usable
    assert [message.split(" in ")[0] for message in warnings(report)] == ["b: no foreground"]
    nifti(tmp_path / "labels" / "a.nii.gz", np.zeros(SHAPE, np.uint8))
    report = check_dataset(tmp_path)
    assert not report.usable
    assert "foreground" in errors(report)[0]


def test_a_class_that_the_manifest_does_not_know_is_an_error(tmp_path):
    path = with_splits(volumes(tmp_path, "a", "b"))
    nifti(tmp_path / "labels" / "b.nii.gz", block() * np.uint8(4))
    (message,) = errors(check_dataset(path))
    assert "b.nii.gz holds value 4, known are 0 background, 1 foreground" in message


def test_some_images_without_labels_are_errors_none_with_labels_is_fine(tmp_path):
    volumes(tmp_path, "a", "b")
    (tmp_path / "labels" / "b.nii.gz").unlink()
    assert "b: image without its label" in errors(check_dataset(tmp_path))[0]
    assert check_dataset(tmp_path / "images").usable


def test_progress_goes_from_nothing_to_all_files(tmp_path):
    seen = []
    check_dataset(volumes(tmp_path, "a", "b"), progress=lambda done, total, case: seen.append((done, total, case)))
    opening, reading = seen[:2], seen[2:]
    assert opening == [(0, 2, "a"), (1, 2, "b")]
    assert reading == [(0, 4, "a"), (1, 4, "a"), (2, 4, "b"), (3, 4, "b"), (4, 4, "")]


# mending


def test_labels_are_resampled_to_the_image_grid_as_simpleitk_does(tmp_path):
    root = tmp_path / "data"
    fine = np.zeros((16, 14, 12), np.uint8)
    fine[3:12, 4:11, 2:10] = 1
    fine[5:8, 5:8, 4:7] = 2
    image = nifti(root / "images" / "a.nii.gz", np.random.default_rng(0).normal(size=SHAPE).astype(np.float32))
    label_affine = np.diag([0.5, 0.5, 1.0, 1])
    label_affine[:3, 3] = (-0.2, -0.2, -0.4)
    label = nifti(root / "labels" / "a.nii.gz", fine, label_affine)

    mended = mend_dataset(root, tmp_path / "new")
    assert mended.done == ["case a: label resampled to the image grid"]
    assert mended.left == []
    (case,) = open_dataset(tmp_path / "new").cases
    expected = sitk.Resample(
        sitk.ReadImage(str(label)), sitk.ReadImage(str(image)), sitk.Transform(), sitk.sitkNearestNeighbor, 255
    )
    assert np.array_equal(class_labels(case), sitk.GetArrayFromImage(expected).transpose())


def test_voxels_outside_the_labels_field_are_ignored(tmp_path):
    root = volumes(tmp_path / "data", "a")
    nifti(root / "labels" / "a.nii.gz", block()[:, :, :5])
    mend_dataset(root, tmp_path / "new")
    classes = class_labels(open_dataset(tmp_path / "new").cases[0])
    assert np.array_equal(classes[:, :, :5], block()[:, :, :5])
    assert (classes[:, :, 5] == 255).all()


def test_a_label_whose_header_puts_it_outside_the_image_is_left_to_a_person(tmp_path):
    root = volumes(tmp_path / "data", "a", "b")
    affine = np.diag([1.0, 1, 2, 1])
    affine[0, 3] = 100
    nifti(root / "labels" / "b.nii.gz", block(), affine)
    mended = mend_dataset(root, tmp_path / "new")
    assert "case b: 100% of the foreground" in mended.left[0]
    assert [case.id for case in open_dataset(tmp_path / "new").cases] == ["a"]


def test_values_become_classes_and_images_stay_where_they_are(tmp_path):
    for name in ("a", "b"):
        for folder, values in (("images", np.arange(48)), ("masks", np.arange(48) % 2 * 255)):
            (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.reshape(6, 8).astype(np.uint8)).save(tmp_path / "data" / folder / f"{name}.png")
    before = sorted(tmp_path.glob("data/**/*"))
    mended = mend_dataset(tmp_path / "data", tmp_path / "new")
    manifest = read_manifest(mended.manifest)
    assert manifest.label_map == {}
    assert manifest.cases[0].images == {"image": "../data/images/a.png"}
    assert np.unique(np.asarray(Image.open(tmp_path / "new" / "labels" / "a.png"))).tolist() == [0, 1]
    assert sorted(tmp_path.glob("data/**/*")) == before
    assert check_dataset(tmp_path / "new").usable


def test_a_folder_that_is_not_empty_is_never_written_to(tmp_path):
    root = volumes(tmp_path / "data", "a")
    with pytest.raises(ConfigError, match="not empty"):
        mend_dataset(root, root)


def test_nothing_is_left_behind_when_nothing_can_be_mended(tmp_path):
    root = volumes(tmp_path / "data", "a")
    (root / "images" / "a.nii.gz").write_bytes(b"broken")
    with pytest.raises(DataError):
        mend_dataset(root, tmp_path / "new")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


# the command


def run(*arguments: str):
    app = typer.Typer()
    app.command()(check)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_prints_what_was_decided_and_ends_with_zero(tmp_path):
    result = run(volumes(tmp_path, "a", "b"))
    assert result.exit_code == 0
    for part in ("paired_folders", "8 × 7 × 6", "1 × 1 × 2 mm", "no problems found"):
        assert part in result.output


def test_the_command_ends_with_three_when_data_cannot_be_used(tmp_path):
    volumes(tmp_path, "a", "b")
    nifti(tmp_path / "labels" / "b.nii.gz", block((8, 7, 5)))
    result = run(tmp_path)
    assert result.exit_code == 3
    assert "error case b: label grid (8, 7, 5)" in result.output
    assert "errors: 1, warnings: 0" in result.output


def test_json_is_one_document_on_standard_output(tmp_path):
    document = json.loads(run(volumes(tmp_path, "a", "b"), "--json").stdout)
    assert document["schema_version"] == 1
    assert [case["id"] for case in document["cases"]] == ["a", "b"]


def test_write_gives_a_manifest_that_opens_the_same_cases(tmp_path):
    root = volumes(tmp_path / "data", "a", "b")
    assert run(root, "--write", tmp_path / "mine.yaml").exit_code == 0
    assert [case.id for case in open_dataset(tmp_path / "mine.yaml").cases] == ["a", "b"]


def test_fix_mends_and_says_what_it_did(tmp_path):
    root = volumes(tmp_path / "data", "a", "b")
    nifti(root / "labels" / "b.nii.gz", block()[:, :, :5])
    result = run(root, "--fix", tmp_path / "new")
    assert result.exit_code == 0
    assert "mended case b: label resampled to the image grid" in result.output
    assert check_dataset(tmp_path / "new").usable


def test_an_unknown_as_names_the_nearest(tmp_path, capsys):
    from recurseg.cli.main import main

    assert main(["check", str(volumes(tmp_path, "a")), "--as", "stak"]) == 2
    assert "did you mean 'stack'" in capsys.readouterr().err
