"""`evaluate` on files: data sets, folders of label files, indexed predictions, probabilities."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from recurseg.data.formats import open_volume, write_like
from recurseg.errors import DataError, ResourceError
from recurseg.evaluation import evaluate

nib = pytest.importorskip("nibabel")

SHAPE = (6, 7, 4)


def labels(seed, classes=3):
    return np.random.default_rng(seed).integers(0, classes, SHAPE).astype(np.uint8)


def nifti(path, array, spacing=(1.0, 1.0, 3.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1.0])), path)
    return path


def png_stack(folder, stack, first=0):
    from PIL import Image

    folder.mkdir(parents=True)
    for number, section in enumerate(stack, start=first):
        Image.fromarray(section.astype(np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def index(folder, cases, **more):
    document = {"schema_version": 1, "class_names": [], "label_map": {}, "cases": cases} | more
    (folder / "predictions.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def dataset(tmp_path):
    """Three patients with image and label in folders with matching stems."""
    for n in range(3):
        nifti(tmp_path / "set" / "images" / f"p{n}.nii.gz", labels(n).astype(np.float32))
        nifti(tmp_path / "set" / "labels" / f"p{n}.nii.gz", labels(n))
    return tmp_path / "set"


def test_indexed_predictions_against_a_data_set(tmp_path, dataset):
    wrong = labels(1)
    wrong[wrong == 2] = 0
    out = tmp_path / "out"
    nifti(out / "p0.nii.gz", labels(0)), nifti(out / "p1.nii.gz", wrong)
    cases = {f"p{n}": {"label": f"p{n}.nii.gz", "probabilities": None} for n in range(2)}
    index(out, cases, class_names=["background", "GM", "WM"], label_map={"0": 0, "1": 1, "2": 2})
    found = evaluate(out, dataset)
    assert found.cases == ["p0", "p1"]
    assert found.value("dice") == pytest.approx((1 + 0.5) / 2)
    assert any(r.metric == "hd95_mm" for r in found.rows), "NIfTI knows its spacing"
    assert any("no prediction: p2" in note for note in found.notes), "what was left out is named"


def test_a_folder_of_label_files_against_a_folder_of_label_files(tmp_path):
    for n in range(2):
        nifti(tmp_path / "a" / f"case{n}_seg.nii.gz", labels(n))
        nifti(tmp_path / "b" / f"case{n}.nii.gz", labels(n))
    assert evaluate(tmp_path / "a", tmp_path / "b").value("dice") == 1
    (tmp_path / "a" / "case1_seg.nii.gz").unlink()
    nifti(tmp_path / "b" / "case2.nii.gz", labels(2))
    with pytest.raises(DataError, match="no prediction for reference 'case1', 'case2'"):
        evaluate(tmp_path / "a", tmp_path / "b")


def test_a_data_set_written_as_yaml_is_a_data_set(tmp_path, dataset):
    (dataset / "dataset.yaml").write_text(
        "schema_version: 1\nname: x\nmodalities: [T1]\nclasses: {0: background, 1: GM, 2: WM}\n"
        "cases:\n- {id: p0, images: {T1: images/p0.nii.gz}, label: labels/p0.nii.gz}\n"
    )
    nifti(tmp_path / "out" / "p0.nii.gz", labels(0))
    for source in (dataset, dataset / "dataset.yaml"):
        assert evaluate(tmp_path / "out", source).value("dice", class_name="WM") == 1


def test_a_file_against_a_file_gives_millimetres_along_the_right_axes(tmp_path):
    a, b = np.zeros((2, *SHAPE), np.uint8)
    a[2, 3, 0], b[2, 3, 2] = 1, 1
    paths = nifti(tmp_path / "a.nii.gz", a), nifti(tmp_path / "b.nii.gz", b)
    assert evaluate(*paths).value("hd95_mm") == pytest.approx(6)
    assert evaluate(*paths, spacing=(1, 1, 0.5)).value("hd95_mm") == pytest.approx(1)


def test_files_that_lie_elsewhere_in_the_world_are_refused(tmp_path):
    a = nifti(tmp_path / "a.nii.gz", labels(0))
    moved = np.diag([1.0, 1.0, 3.0, 1.0])
    moved[0, 3] = 5
    nib.save(nib.Nifti1Image(labels(0), moved), tmp_path / "b.nii.gz")
    with pytest.raises(DataError, match="elsewhere"):
        evaluate(a, tmp_path / "b.nii.gz")


def test_consecutive_pngs_are_one_stack_and_0_255_is_a_mask(tmp_path):
    stack = labels(0, 2)
    predicted, expected = png_stack(tmp_path / "p", stack), png_stack(tmp_path / "r", stack * 255)
    found = evaluate(predicted, expected, metrics=["dice"])
    assert found.cases == ["r"]
    assert found.value("dice") == 1
    only = png_stack(tmp_path / "only", stack[2:5], first=2)
    assert evaluate(only, expected, metrics=["dice"], sections="2-4").value("dice") == 1


@pytest.mark.parametrize("saved", ["all classes", "one map"])
def test_saved_probabilities_of_a_nifti_case_are_used(tmp_path, saved):
    wall = np.zeros(SHAPE, np.uint8)
    wall[3] = 1
    reference = nifti(tmp_path / "ref" / "a.nii.gz", wall)
    like, out = open_volume(reference), tmp_path / "out"
    membrane = (0.4 * wall + 0.05).astype(np.float32)
    maps = np.stack([1 - membrane, membrane]) if saved == "all classes" else membrane
    label = write_like(out / "a", np.zeros(SHAPE, np.uint8), like)
    probabilities = write_like(out / "a_probabilities", maps, like)
    index(
        out,
        {"a": {"label": label.name, "probabilities": probabilities.name}},
        class_names=["cell", "membrane"],
        label_map={"0": 0, "1": 1},
    )
    found = evaluate(out, reference)
    assert found.value("dice") == 0
    assert found.value("pixel_error:best_f") == 0
    assert found.value("rand_error") == 0


def test_saved_probabilities_of_sections_of_a_png_stack_are_used(tmp_path):
    wall = np.zeros((5, 6, 7), np.uint8)
    wall[:, 3] = 1
    reference = png_stack(tmp_path / "ref", wall * 255)
    like, out = open_volume(reference).sections(3, 5), tmp_path / "out"
    membrane = (0.4 * wall[3:] + 0.05).astype(np.float32)
    label = write_like(out / "ref[3-4]", np.zeros_like(wall[3:]), like)
    maps = write_like(out / "ref[3-4]_probabilities", np.stack([1 - membrane, membrane]), like)
    index(
        out,
        {"ref[3-4]": {"label": label.name, "probabilities": maps.name}},
        class_names=["cell", "membrane"],
        label_map={"0": 0, "255": 1},
    )
    for sections in (None, "3-4"):
        assert evaluate(out, reference, sections=sections).value("pixel_error:best_f") == 0


def test_a_data_set_says_which_class_is_not_evaluated(tmp_path, dataset):
    (dataset / "dataset.yaml").write_text(
        "name: brains\nmodalities: [T1]\nclasses: {0: background, 1: GM, 2: stem}\nnot_evaluated: [2]\n"
        "cases: [{id: p0, images: {T1: images/p0.nii.gz}, label: labels/p0.nii.gz}]\n"
    )
    called_stem = np.where(labels(0) == 2, 1, labels(0)).astype(np.uint8)  # GM all over the stem
    nifti(tmp_path / "out" / "p0.nii.gz", called_stem)
    found = evaluate(tmp_path / "out", dataset, metrics=["dice"])
    assert [(row.class_name, row.value) for row in found.rows] == [("GM", 1.0)]
    assert found.as_dict()["notes"] == ["stem is not evaluated: voxels with this reference count nowhere"]


def test_an_index_that_names_a_missing_file_or_is_broken_is_one_line(tmp_path, dataset):
    out = tmp_path / "out"
    out.mkdir()
    index(out, {"p0": {"label": "gone.nii.gz"}})
    with pytest.raises(DataError, match="gone"):
        evaluate(out, dataset)
    (out / "predictions.json").write_text('{"cases": 3}')
    with pytest.raises(DataError, match="not an index"):
        evaluate(out, dataset)


def test_an_unknown_label_value_is_named(tmp_path, dataset):
    nifti(tmp_path / "out" / "p0.nii.gz", np.where(labels(0) == 2, 7, labels(0)).astype(np.uint8))
    with pytest.raises(DataError, match="class 7"):
        evaluate(tmp_path / "out", dataset)


@pytest.mark.parametrize("missing", ["predictions", "labels"])
def test_absent_and_empty_folders_are_named(tmp_path, dataset, missing):
    (tmp_path / "empty").mkdir()
    for bad in ("absent", "empty"):
        pair = (tmp_path / bad, dataset) if missing == "predictions" else (dataset / "labels", tmp_path / bad)
        with pytest.raises(DataError, match=bad):
            evaluate(*pair)


def test_a_place_that_cannot_be_written_is_a_resource_error(tmp_path):
    with pytest.raises(ResourceError, match="cannot be written"):
        evaluate({"a": labels(0)}, {"a": labels(0)}).to_csv(tmp_path)


def test_calling_everything_cell_on_the_real_em_stack_misses_its_membranes():
    root = Path(os.environ.get("RECURSEG_DATA", "")) / "isbi2012_em"
    if not os.environ.get("RECURSEG_DATA") or not root.is_dir():
        pytest.skip("RECURSEG_DATA does not name a folder with isbi2012_em")
    found = evaluate({"all-cell": np.full((4, 512, 512), 255, np.uint8)}, root, sections="16-19")
    assert 0.20 < found.value("pixel_error:fraction@0.5") < 0.23
    assert found.value("pixel_error:best_f") == 1
    assert found.value("rand_error") > 0.8
