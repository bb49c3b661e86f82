"""Regions: sets of classes measured as one mask, and the names ppv and sensitivity."""

import numpy as np
import pytest

from recurseg.cli.evaluate import named_classes
from recurseg.errors import ConfigError
from recurseg.evaluation import compare, evaluate, read_evaluation

# BraTS codes: 1 necrosis, 2 edema, 3 non-enhancing core, 4 enhancing core
BRATS = {"complete": [1, 2, 3, 4], "core": [1, 3, 4], "enhancing": [4]}
REFERENCE = np.array([[0, 0, 2, 2, 2, 1, 3, 4, 4, 4]])
PREDICTION = np.array([[0, 2, 2, 2, 4, 4, 3, 4, 1, 0]])


def test_a_case_of_brats_worked_by_hand():
    found = evaluate({"a": PREDICTION}, {"a": REFERENCE}, regions=BRATS, metrics=["dice", "ppv", "sensitivity"])
    got = {(row.metric, row.class_name): row.value for row in found.rows if row.class_name in BRATS}
    assert got == pytest.approx(
        {
            ("dice", "complete"): 2 * 7 / (8 + 8), ("ppv", "complete"): 7 / 8, ("sensitivity", "complete"): 7 / 8,
            ("dice", "core"): 2 * 4 / (5 + 5), ("ppv", "core"): 4 / 5, ("sensitivity", "core"): 4 / 5,
            ("dice", "enhancing"): 2 * 1 / (3 + 3), ("ppv", "enhancing"): 1 / 3, ("sensitivity", "enhancing"): 1 / 3,
        }
    )  # fmt: skip


def test_ppv_divides_by_what_was_predicted_and_sensitivity_by_what_is_there():
    reference = np.array([[1, 1, 0], [1, 0, 0]])  # three voxels
    prediction = np.array([[1, 0, 1], [1, 1, 1]])  # five, two of them right
    found = evaluate({"a": prediction}, {"a": reference}, metrics=["ppv", "sensitivity", "precision", "recall"])
    values = {row.metric: row.value for row in found.rows}
    assert values == pytest.approx({"ppv": 2 / 5, "sensitivity": 2 / 3, "precision": 2 / 5, "recall": 2 / 3})
    assert [line.metric for line in compare(found, found, metrics=["ppv"]).lines] == ["ppv"]


def test_other_names_are_not_computed_unless_asked_for():
    assert not {"ppv", "sensitivity"} & {row.metric for row in evaluate({"a": REFERENCE}, {"a": REFERENCE}).rows}


def test_the_mean_of_classes_leaves_regions_out_also_when_read_again(tmp_path):
    plain = evaluate({"a": PREDICTION}, {"a": REFERENCE}, metrics=["dice"])
    found = evaluate({"a": PREDICTION}, {"a": REFERENCE}, metrics=["dice"], regions={"core": [1, 3, 4]})
    assert found.value("dice") == plain.value("dice")
    assert read_evaluation(found.to_csv(tmp_path / "a.csv")).value("dice") == plain.value("dice")
    again = read_evaluation(found.to_json(tmp_path / "a.json"))
    assert again.value("dice") == plain.value("dice")
    assert again.regions == {"core": [1, 3, 4]}


def test_with_a_single_class_the_metric_is_still_that_of_the_class():
    names = ["background", "tumour"]
    found = evaluate({"a": PREDICTION > 0}, {"a": REFERENCE > 0}, class_names=names, regions={"all": [1]})
    assert found.value("dice") == found.value("dice", class_name="tumour")


def test_ignored_voxels_are_in_no_region():
    reference = np.where(REFERENCE == 4, 255, REFERENCE)
    found = evaluate({"a": PREDICTION}, {"a": reference}, metrics=["recall"], regions=BRATS | {"rim": [4]})
    assert found.value("recall", class_name="complete") == 1


def test_a_region_that_is_the_class_of_its_name_is_measured_once():
    names = ["background", "necrosis", "edema", "non-enhancing", "enhancing"]
    found = evaluate({"a": PREDICTION}, {"a": REFERENCE}, class_names=names, metrics=["dice"], regions=BRATS)
    assert [row.class_name for row in found.rows] == [*names[1:], "complete", "core"]
    assert list(found.regions) == list(BRATS)
    assert found.notes[-3:] == [
        "complete is one mask of necrosis, edema, non-enhancing, enhancing",
        "core is one mask of necrosis, non-enhancing, enhancing",
        "enhancing is one mask of enhancing",
    ]


@pytest.mark.parametrize("regions", [{"a": [5]}, {"a": [0, 1]}, {"a": []}, {"class 1": [1, 2]}])
def test_a_region_of_what_is_no_class_is_refused(regions):
    with pytest.raises(ConfigError, match="foreground classes are 1 class 1"):
        evaluate({"a": PREDICTION}, {"a": REFERENCE}, regions=regions)


def test_regions_of_a_data_set_are_measured_by_default(tmp_path):
    from PIL import Image

    from recurseg.data.dataset import open_dataset

    (tmp_path / "predicted").mkdir()
    for name in ("a", "b"):
        for suffix, values in (("", REFERENCE * 9), ("_seg", REFERENCE)):
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / f"{name}{suffix}.png")
        Image.fromarray(PREDICTION.astype(np.uint8)).save(tmp_path / "predicted" / f"{name}.png")
    (tmp_path / "dataset.yaml").write_text(
        "schema_version: 1\nname: tumours\nmodalities: [FLAIR]\n"
        "classes: {0: background, 1: necrosis, 2: edema, 3: non-enhancing, 4: enhancing}\n"
        "regions: {core: [1, 3, 4]}\n"
        "cases:\n  - {id: a, images: {FLAIR: a.png}, label: a_seg.png}\n"
        "  - {id: b, images: {FLAIR: b.png}, label: b_seg.png}\n"
    )
    found = evaluate(tmp_path / "predicted", open_dataset(tmp_path))
    assert found.value("dice", class_name="core") == pytest.approx(0.8)
    assert not evaluate(tmp_path / "predicted", open_dataset(tmp_path), regions={}).regions


def test_the_command_reads_regions_in_one_text_or_in_several():
    both = {"complete": [1, 2, 3, 4], "core": [1, 3, 4]}
    assert named_classes(["complete=1,2,3,4 core=1,3,4"]) == both
    assert named_classes(["complete=1,2,3,4", "core=1,3,4"]) == both
    assert named_classes(None) is None
    for wrong in ("core", "core=1;3", "core="):
        with pytest.raises(ConfigError, match="such as core=1,3,4"):
            named_classes([wrong])
