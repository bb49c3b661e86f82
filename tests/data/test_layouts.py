"""Folders are recognised as they lie."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from recurseg.data.check import check_dataset
from recurseg.data.dataset import open_dataset, require_trainable
from recurseg.data.labels import class_labels
from recurseg.data.manifest import save_manifest
from recurseg.data.splits import split_cases
from recurseg.errors import ConfigError, DataError

RNG = np.random.default_rng(0)


def png(path: Path, array: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(RNG.integers(1, 255, (6, 8)) if array is None else array, np.uint8)).save(path)
    return path


def mask(path: Path, value: int = 255) -> Path:
    return png(path, np.eye(6, 8) * value)


def nifti(path: Path, array: np.ndarray | None = None, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = RNG.normal(size=(5, 6, 4)).astype(np.float32) if array is None else array
    nib.save(nib.Nifti1Image(array, np.diag([1, 1, 2, 1]).astype(float) if affine is None else affine), path)
    return path


def seg(path: Path, *values: int, dtype=np.uint8) -> Path:
    array = np.zeros((5, 6, 4), dtype)
    array.flat[: len(values) or 1] = values or 1
    return nifti(path, array)


def ids(dataset) -> list[str]:
    return [case.id for case in dataset.cases]


# published sets


def test_isbi2012_is_one_stack_of_50_nm_sections_with_membrane_as_class_one(tmp_path):
    root = tmp_path / "isbi2012_em"
    for number in range(5):
        png(root / "image" / f"{number:02d}.png")
        mask(root / "label" / f"{number:02d}.png")
    dataset = open_dataset(root)
    assert dataset.manifest.layout == "isbi2012_em"
    assert dataset.class_names == ["cell", "membrane"]
    (case,) = dataset.cases
    assert case.id == "isbi2012_em"
    assert case.shape == (5, 6, 8)
    assert case.spacing == (50e-6, 4e-6, 4e-6)
    assert case.slice_axis == 0
    assert class_labels(case)[0].tolist() == (1 - np.eye(6, 8)).astype(int).tolist()


def test_the_same_stack_under_another_name_is_a_general_pair_of_folders(tmp_path):
    for number in range(3):
        png(tmp_path / "image" / f"{number:02d}.png")
        mask(tmp_path / "label" / f"{number:02d}.png")
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.layout == "paired_folders"
    assert dataset.class_names == ["background", "foreground"]
    assert any("255 is class 1" in note for note in dataset.notes)
    assert any("one stack" in note for note in dataset.notes)


def em_volume(path: Path, *values: int, sections: int = 5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = RNG.choice(values or range(1, 255), (sections, 6, 8)).astype(np.uint8)
    tifffile.imwrite(path, array, photometric="minisblack")
    return path


def test_isbi2012_as_distributed_trains_on_one_volume_and_leaves_the_other_for_prediction(tmp_path):
    for name, values in (("train-volume", ()), ("train-labels", (0, 255)), ("test-volume", ())):
        em_volume(tmp_path / f"{name}.tif", *values)
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.layout == "isbi2012"
    assert {case.id: case.label is not None for case in dataset.cases} == {"train": True, "test": False}
    assert dataset.class_names == ["cell", "membrane"]
    train = dataset.cases[0]
    assert (train.shape, train.spacing, train.slice_axis) == ((5, 6, 8), (50e-6, 4e-6, 4e-6), 0)
    stored = tifffile.imread(tmp_path / "train-labels.tif")
    assert class_labels(train).tolist() == (stored == 0).astype(int).tolist()
    require_trainable(dataset)
    split = split_cases(dataset)
    assert ([case.id for case in split.train], [case.id for case in split.validation]) == (
        ["train[0-3]"],
        ["train[4-4]"],
    )
    assert check_dataset(tmp_path).problems == []


def test_isbi2012_without_test_volume_or_with_longer_suffixes(tmp_path):
    em_volume(tmp_path / "train-volume.tiff"), em_volume(tmp_path / "train-labels.tiff", 0, 255)
    assert ids(open_dataset(tmp_path)) == ["train"]
    em_volume(tmp_path / "train-labels.tiff", 0, 1, 2)
    assert open_dataset(tmp_path).manifest.layout != "isbi2012", "labels of several cells are another data set"


@pytest.mark.parametrize(
    ("images", "labels", "test"),
    [("train/imgs", "train/labels", "test/imgs"), ("train/image", "train/label", "test"), ("image", "label", "test")],
    ids=str,
)
def test_isbi2012_as_folders_of_sections(tmp_path, images, labels, test):
    root = tmp_path / "ISBI-2012"
    for number in range(5):
        (
            png(root / images / f"{number}.png"),
            mask(root / labels / f"{number}.png"),
            png(root / test / f"{number}.png"),
        )
    dataset = open_dataset(root)
    assert dataset.manifest.layout.startswith("isbi2012")
    assert {case.id: (case.shape, case.label is not None) for case in dataset.cases} == {
        "ISBI-2012" if images == "image" else "train": ((5, 6, 8), True),
        "test": ((5, 6, 8), False),
    }
    assert dataset.modalities == ["EM"]
    assert class_labels(dataset.cases[0])[0].tolist() == (1 - np.eye(6, 8)).astype(int).tolist()
    assert [case.label is not None for case in split_cases(dataset).train] == [True]
    assert len(open_dataset(root, as_="images").cases) == 10


def mrbrains(root: Path, label: str, *, suffix: str = ".nii", values: int = 9) -> Path:
    """Training patients 1 and 2 with labels and a test patient 1 without, in the names of 2013."""
    for folder in ("TrainingData/1", "TrainingData/2", "TestData/1"):
        for name in ("T1", "T1_IR", "T2_FLAIR"):
            nifti(root / folder / f"{name}{suffix}")
        nifti(root / folder / f"T1_1mm{suffix}", np.zeros((9, 9, 9), np.float32))
    for folder in ("TrainingData/1", "TrainingData/2"):
        seg(root / folder / f"{label}{suffix}", *range(values))
    return root


def test_mrbrains13_groups_eight_labels_and_does_not_evaluate_cerebellum_and_stem(tmp_path):
    dataset = open_dataset(mrbrains(tmp_path, "LabelsForTraining"))
    assert dataset.manifest.layout == "mrbrains"
    assert ids(dataset) == ["1", "2", "test_1"]
    assert dataset.modalities == ["T1", "T1_IR", "FLAIR"]
    assert dataset.class_names == ["background", "CSF", "GM", "WM", "cerebellum and brain stem"]
    # cortical GM, basal ganglia; WM, lesions; CSF, ventricles; cerebellum, brain stem
    assert class_labels(dataset.cases[0]).flat[:9].tolist() == [0, 2, 2, 3, 3, 1, 1, 4, 4]
    assert dataset.cases[0].not_evaluated == (4,)
    assert dataset.cases[0].shape == (5, 6, 4), "T1_1mm lies on another grid"
    assert dataset.cases[2].label is None
    require_trainable(dataset)
    assert sorted(case.id for case in [*split_cases(dataset).train, *split_cases(dataset).validation]) == ["1", "2"]
    written = tmp_path / "mrb.yaml"
    save_manifest(dataset.manifest, dataset.root, written)
    assert open_dataset(written).cases[0].not_evaluated == (4,)


def test_mrbrains13_with_testing_labels_alone_has_three_tissues(tmp_path):
    dataset = open_dataset(mrbrains(tmp_path, "LabelsForTesting", suffix=".nii.gz", values=4) / "TrainingData")
    assert ids(dataset) == ["1", "2"]
    assert dataset.class_names == ["background", "CSF", "GM", "WM"]
    assert class_labels(dataset.cases[0]).flat[:4].tolist() == [0, 1, 2, 3]
    assert dataset.manifest.not_evaluated == []


def test_mrbrains13_takes_the_eight_labels_where_both_files_are_there(tmp_path):
    mrbrains(tmp_path, "LabelsForTesting", values=4)
    mrbrains(tmp_path, "LabelsForTraining")
    assert len(open_dataset(tmp_path).class_names) == 5


def test_mrbrains18_has_its_images_in_pre_and_ignores_infarcts(tmp_path):
    for patient in ("1", "4"):
        for name in ("reg_T1", "reg_IR", "FLAIR"):
            nifti(tmp_path / "training" / patient / "pre" / f"{name}.nii.gz")
        seg(tmp_path / "training" / patient / "segm.nii.gz", *range(11))
    dataset = open_dataset(tmp_path)
    assert (dataset.manifest.layout, ids(dataset)) == ("mrbrains", ["1", "4"])
    assert dataset.modalities == ["T1", "T1_IR", "FLAIR"]
    assert class_labels(dataset.cases[0]).flat[:11].tolist() == [0, 2, 2, 3, 3, 1, 1, 4, 4, 255, 255]


def test_mrbrains_one_patient_and_a_patient_without_a_modality(tmp_path):
    root = mrbrains(tmp_path / "set", "LabelsForTraining")
    assert ids(open_dataset(root / "TrainingData" / "2")) == ["2"]
    (root / "TrainingData" / "2" / "T1_IR.nii").unlink()
    dataset = open_dataset(root)
    assert dataset.modalities == ["T1", "T1_IR", "FLAIR"]
    assert {case.id: list(case.images) for case in dataset.cases}["2"] == ["T1", "FLAIR"]
    for part in ("T1", "T2_FLAIR", "T1_1mm"):
        (root / "TrainingData" / "2" / f"{part}.nii").unlink()
    with pytest.raises(DataError, match="case 2: label without an image"):
        open_dataset(root)


def test_mrbrains_training_patient_without_labels_is_an_error_and_not_left_aside(tmp_path):
    root = mrbrains(tmp_path, "LabelsForTraining")
    (root / "TrainingData" / "2" / "LabelsForTraining.nii").unlink()
    with pytest.raises(DataError, match="case 2: image without its label"):
        require_trainable(open_dataset(root))


def test_ibsr18_has_four_tissues_and_says_that_an_axis_was_squeezed(tmp_path):
    for name in ("IBSR_01", "IBSR_02"):
        nifti(tmp_path / name / f"{name}.nii.gz", np.ones((5, 6, 4, 1), np.int16))
        nifti(tmp_path / name / f"{name}_seg.nii.gz", np.ones((5, 6, 4, 1), np.int16))
    dataset = open_dataset(tmp_path)
    assert (dataset.manifest.layout, ids(dataset)) == ("ibsr18", ["IBSR_01", "IBSR_02"])
    assert dataset.class_names == ["background", "CSF", "GM", "WM"]
    assert dataset.cases[0].shape == (5, 6, 4)
    assert any("squeezed" in note for note in dataset.notes)


def test_ibsr18_without_a_label_is_a_case_for_prediction_only(tmp_path):
    nifti(tmp_path / "IBSR_01" / "IBSR_01.nii.gz")
    dataset = open_dataset(tmp_path)
    assert dataset.cases[0].label is None
    with pytest.raises(DataError, match="case IBSR_01: image without its label"):
        require_trainable(dataset)


def test_radiographs_are_a_case_each_with_lung_at_255(tmp_path):
    for name in ("MCUCXR_0001_0", "CHNCXR_0003_1"):
        png(tmp_path / "images" / f"{name}.png")
        mask(tmp_path / "masks" / f"{name}.png")
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.layout == "cxr_lung"
    assert dataset.class_names == ["background", "lung"]
    assert class_labels(dataset.cases[0]).max() == 1


def test_ms_lesions_has_four_modalities_in_a_fixed_order(tmp_path):
    for patient in ("patient07", "patient19"):
        for modality in ("T2", "T1POST", "FLAIR", "T1"):
            nifti(tmp_path / patient / f"{modality}_N4_regtoMNI.nii.gz")
        seg(tmp_path / patient / "GOLD_STANDARD_N4_regtoMNI.nii.gz")
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.layout == "ms_lesions"
    assert list(dataset.cases[1].images) == ["FLAIR", "T1", "T1POST", "T2"]
    (tmp_path / "patient19" / "FLAIR_N4_regtoMNI.nii.gz").unlink()
    assert {case.id: case.missing for case in open_dataset(tmp_path).cases} == {
        "patient07": (),
        "patient19": ("FLAIR",),
    }
    dataset = open_dataset(tmp_path / "patient19")
    assert (dataset.manifest.layout, dataset.modalities) == ("ms_lesions", ["T1", "T1POST", "T2"])
    assert "no case has FLAIR" in dataset.notes


# two folders


@pytest.mark.parametrize(
    ("images", "labels", "label_name"),
    [
        ("images", "masks", "{}"),
        ("img", "gt", "{}_gt"),
        ("raw", "annotations", "{}-annotation"),
        ("x", "y", "{}"),
        ("Images", "Segmentations", "{}_seg"),
        ("image", "ground_truth", "mask_{}"),
        ("frames", "Labels", "{}_labels"),
    ],
    ids=lambda value: value,
)
def test_folders_with_matching_names_are_pairs(tmp_path, images, labels, label_name):
    for name in ("cat", "dog2"):
        png(tmp_path / images / f"{name}.png")
        mask(tmp_path / labels / f"{label_name.format(name)}.png", 1)
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["cat", "dog2"]
    assert all(case.label is not None for case in dataset.cases)


def test_volumes_and_labels_may_have_different_formats(tmp_path):
    nifti(tmp_path / "images" / "a.nii.gz")
    seg(tmp_path / "labels" / "a_seg.nii")
    assert ids(open_dataset(tmp_path)) == ["a"]


def test_several_folders_beside_labels_are_modalities(tmp_path):
    for name in ("a", "b"):
        nifti(tmp_path / "T1" / f"{name}.nii.gz")
        nifti(tmp_path / "FLAIR" / f"{name}.nii.gz")
        seg(tmp_path / "labels" / f"{name}.nii.gz")
    dataset = open_dataset(tmp_path)
    assert dataset.modalities == ["FLAIR", "T1"]
    assert ids(dataset) == ["a", "b"]


@pytest.mark.parametrize(
    "names",
    [("train", "trainannot", "val", "valannot"), ("train/images", "train/masks", "val/images", "val/masks")],
    ids=str,
)
def test_train_and_val_folders_become_named_splits(tmp_path, names):
    for folder, name in zip(names, ("s1", "s1", "s2", "s2"), strict=True):
        (mask if folder.endswith(("annot", "masks")) else png)(tmp_path / folder / f"{name}.png")
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.splits == {"train": ["s1"], "val": ["s2"]}


def test_tiff_stacks_with_numbered_names_are_volumes_not_sections(tmp_path):
    for number in (1, 2):
        for folder, values in (("images", RNG.integers(0, 9, (3, 6, 8))), ("labels", np.ones((3, 6, 8)))):
            (tmp_path / folder).mkdir(exist_ok=True)
            tifffile.imwrite(tmp_path / folder / f"{number}.tif", values.astype(np.uint8), photometric="minisblack")
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["1", "2"]
    assert dataset.cases[0].shape == (3, 6, 8)


def test_folders_of_sections_inside_images_and_labels_are_stacks(tmp_path):
    for name in ("fly", "mouse"):
        for number in range(3):
            png(tmp_path / "images" / name / f"{number}.png")
            mask(tmp_path / "labels" / name / f"{number}.png")
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["fly", "mouse"]
    assert dataset.cases[0].shape == (3, 6, 8)


def test_sections_are_ordered_by_number_not_by_letter(tmp_path):
    for number in range(1, 12):
        png(tmp_path / f"{number}.png", np.full((6, 8), number))
    (case,) = open_dataset(tmp_path).cases
    assert case.reference.array[...][:, 0, 0].tolist() == list(range(1, 12))


def test_numbers_with_a_gap_are_separate_images_and_it_is_said(tmp_path):
    for number in (0, 1, 3):
        png(tmp_path / f"{number}.png")
    dataset = open_dataset(tmp_path)
    assert len(dataset.cases) == 3
    assert any("--as stack" in note for note in dataset.notes)
    (case,) = open_dataset(tmp_path, as_="stack").cases
    assert case.shape == (3, 6, 8)


def test_as_stack_matches_sections_by_what_their_names_share(tmp_path):
    for number in (1, 2, 10):
        png(tmp_path / "images" / f"image_{number}.png", np.full((6, 8), number))
        mask(tmp_path / "labels" / f"label_{number}.png")
    (case,) = open_dataset(tmp_path, as_="stack").cases
    assert case.reference.array[...][:, 0, 0].tolist() == [1, 2, 10]
    assert case.label.shape == (3, 6, 8)


def test_as_images_takes_a_numbered_stack_apart(tmp_path):
    root = tmp_path / "isbi2012_em"
    for number in range(3):
        png(root / "image" / f"{number:02d}.png")
        mask(root / "label" / f"{number:02d}.png")
    dataset = open_dataset(root, as_="images")
    assert ids(dataset) == ["00", "01", "02"]
    assert dataset.cases[0].spacing == (4e-6, 4e-6)
    assert dataset.class_names == ["cell", "membrane"]


def test_as_sequence_groups_frames_by_the_name_before_their_number(tmp_path):
    for name in ("a_001", "a_010", "a_002", "b_7"):
        png(tmp_path / "images" / f"{name}.png", np.full((6, 8), int(name.split("_")[1])))
        mask(tmp_path / "labels" / f"{name}.png")
    dataset = open_dataset(tmp_path, as_="sequence")
    assert ids(dataset) == ["a", "b"]
    assert dataset.cases[0].shape == (3, 6, 8)
    assert dataset.cases[0].reference.array[...][:, 0, 0].tolist() == [1, 2, 10]


def test_as_stack_for_volumes_is_a_wrong_option(tmp_path):
    nifti(tmp_path / "images" / "a.nii.gz")
    seg(tmp_path / "labels" / "a.nii.gz")
    with pytest.raises(ConfigError, match="--as stack"):
        open_dataset(tmp_path, as_="stack")


def test_cases_of_one_patient_are_told_by_their_names(tmp_path):
    for name in ("patient001_frame01", "patient001_frame12", "patient002_frame01"):
        png(tmp_path / "images" / f"{name}.png")
        mask(tmp_path / "labels" / f"{name}.png")
    assert [case.patient for case in open_dataset(tmp_path).cases] == ["patient001", "patient001", "patient002"]


# nnU-Net, case folders, plain folders


def test_nnunet_channels_and_classes_come_from_its_dataset_json(tmp_path):
    for name in ("la_001", "la_002"):
        nifti(tmp_path / "imagesTr" / f"{name}_0000.nii.gz")
        nifti(tmp_path / "imagesTr" / f"{name}_0001.nii.gz")
        seg(tmp_path / "labelsTr" / f"{name}.nii.gz", 1, 2)
    document = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "edema": 1, "core": 2}}
    (tmp_path / "dataset.json").write_text(json.dumps(document))
    dataset = open_dataset(tmp_path)
    assert dataset.modalities == ["T1", "T2"]
    assert dataset.class_names == ["background", "edema", "core"]
    assert ids(dataset) == ["la_001", "la_002"]


def test_nnunet_ignore_label_is_ignored(tmp_path):
    nifti(tmp_path / "imagesTr" / "a_0000.nii.gz")
    seg(tmp_path / "labelsTr" / "a.nii.gz", 1, 2)
    labels = {"background": 0, "core": 1, "ignore": 2}
    (tmp_path / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": labels}))
    (case,) = open_dataset(tmp_path).cases
    assert class_labels(case).flat[:2].tolist() == [1, 255]


def test_nnunet_test_images_are_cases_of_several_channels(tmp_path):
    for name in ("a_0000", "a_0001", "b_0000", "b_0001"):
        nifti(tmp_path / f"{name}.nii.gz")
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["a", "b"]
    assert len(dataset.modalities) == 2


def test_case_folders_tell_modalities_by_what_names_have_in_common(tmp_path):
    for number, case in enumerate(("BRATS_HG0001", "BRATS_HG0002", "BRATS_HG0003")):
        for part in ("FLAIR", "T1", "T1C", "T2"):
            nifti(tmp_path / case / f"{case}_{part}_slice{90 + number}.nii.gz")
        seg(tmp_path / case / f"{case}_truth_slice{90 + number}.nii.gz", 1, 2)
        seg(tmp_path / case / f"{case}_MASK_slice{90 + number}.nii.gz")
    dataset = open_dataset(tmp_path)
    assert dataset.modalities == ["FLAIR", "T1", "T1C", "T2"]
    assert dataset.class_names == ["background", "label 1", "label 2"]
    assert any("MASK" in note and "left aside" in note for note in dataset.notes)


def test_case_folders_with_the_case_in_front_of_the_names(tmp_path):
    for case in ("Tumour20_001", "Tumour20_002"):
        for part in ("flair", "t1", "t1ce", "t2"):
            nifti(tmp_path / case / f"{case}_{part}.nii.gz")
        seg(tmp_path / case / f"{case}_seg.nii.gz", 1, 2, 4)
    dataset = open_dataset(tmp_path)
    assert dataset.modalities == ["flair", "t1", "t1ce", "t2"]
    assert dataset.manifest.label_map == {0: 0, 1: 1, 2: 2, 4: 3}


def test_a_case_folder_may_lack_a_modality_that_others_have(tmp_path):
    for case, parts in {"a": ("T1", "T2"), "b": ("T1",), "c": ("T1",), "d": ("T1", "FLAIR")}.items():
        for part in parts:
            nifti(tmp_path / case / f"{part}.nii.gz")
        seg(tmp_path / case / "seg.nii.gz")
    dataset = open_dataset(tmp_path)
    assert dataset.modalities == ["FLAIR", "T1", "T2"]
    assert [case.missing for case in dataset.cases] == [("FLAIR",), ("FLAIR", "T2"), ("FLAIR", "T2"), ("T2",)]


def test_the_one_file_of_a_case_has_the_modality_that_the_name_says_elsewhere(tmp_path):
    for case, parts in {"a": ("T1", "T2"), "b": ("T2",), "c": ("T1", "T2")}.items():
        for part in parts:
            nifti(tmp_path / case / f"{case}_{part}_brain.nii.gz")
    dataset = open_dataset(tmp_path)
    assert dataset.modalities == ["T1", "T2"]
    assert [case.missing for case in dataset.cases] == [(), ("T1",), ()]


def test_a_file_that_is_named_like_no_other_is_no_modality(tmp_path):
    for case in ("a", "b", "c"):
        for part in ("T1", "T2", "seg"):
            (seg if part == "seg" else nifti)(tmp_path / case / f"{part}.nii.gz")
    (tmp_path / "b" / "T2.nii.gz").rename(tmp_path / "b" / "scan.nii.gz")
    with pytest.raises(DataError, match=r"case b: .*scan\.nii\.gz has no name that files of other cases have"):
        open_dataset(tmp_path)


def test_a_case_folder_that_holds_its_label_alone_is_named(tmp_path):
    for case in ("a", "b", "c"):
        for part in ("T1", "seg"):
            (seg if part == "seg" else nifti)(tmp_path / case / f"{part}.nii.gz")
    (tmp_path / "b" / "T1.nii.gz").unlink()
    with pytest.raises(DataError, match="case b: label without an image"):
        open_dataset(tmp_path)


def test_the_folder_of_one_case_is_a_data_set_of_one(tmp_path):
    root = tmp_path / "subject3"
    for part in ("T1", "FLAIR"):
        nifti(root / f"{part}.nii.gz")
    dataset = open_dataset(root)
    assert ids(dataset) == ["subject3"]
    assert dataset.modalities == ["FLAIR", "T1"]


def test_images_alone_are_cases_for_prediction(tmp_path):
    png(tmp_path / "a.png")
    png(tmp_path / "b.png")
    (tmp_path / "readme.txt").write_text("hello")
    (tmp_path / "._a.png").write_bytes(b"")
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["a", "b"]
    assert dataset.class_names == []


def test_labels_may_lie_beside_their_images(tmp_path):
    for name in ("a", "b"):
        png(tmp_path / f"{name}.png")
        mask(tmp_path / f"{name}_mask.png")
    dataset = open_dataset(tmp_path)
    assert ids(dataset) == ["a", "b"]
    assert all(case.label is not None for case in dataset.cases)


def test_one_file_is_a_data_set_of_one_case(tmp_path):
    dataset = open_dataset(nifti(tmp_path / "brain.nii.gz"))
    assert ids(dataset) == ["brain"]
    assert dataset.cases[0].shape == (5, 6, 4)


def test_a_relative_path_names_the_stack_after_its_folder(tmp_path, monkeypatch):
    for number in range(3):
        png(tmp_path / "fly" / f"{number}.png")
    monkeypatch.chdir(tmp_path / "fly")
    assert ids(open_dataset(".")) == ["fly"]


def test_prediction_leaves_bad_labels_alone(tmp_path):
    png(tmp_path / "images" / "a.png")
    png(tmp_path / "labels" / "a.png", np.zeros((3, 3)))
    dataset = open_dataset(tmp_path, with_labels=False)
    assert dataset.cases[0].label is None


def test_one_bad_case_is_named_and_the_others_are_kept(tmp_path):
    png(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no image")
    dataset = open_dataset(tmp_path, on_error="collect")
    assert ids(dataset) == ["a"]
    assert [failure.case for failure in dataset.failures] == ["b"]


# what cannot be used


def pair(root: Path, image=None, label=None, affine=None) -> Path:
    nifti(root / "images" / "case12.nii.gz", image)
    nifti(root / "labels" / "case12.nii.gz", np.ones((5, 6, 4), np.uint8) if label is None else label, affine)
    return root


def shifted(millimetres: float) -> np.ndarray:
    affine = np.diag([1.0, 1, 2, 1])
    affine[0, 3] = millimetres
    return affine


def broken(root: Path, how: str) -> Path:
    if how == "label grid":
        return pair(root, label=np.ones((5, 6, 3), np.uint8))
    if how == "label affine":
        return pair(root, affine=shifted(3))
    if how == "fractional label":
        return pair(root, label=np.full((5, 6, 4), 0.5, np.float32))
    if how == "image as label":
        return pair(root, np.zeros((10, 10, 4)), np.arange(400, dtype=np.int16).reshape(10, 10, 4))
    if how == "no foreground":
        return pair(root, label=np.zeros((5, 6, 4), np.uint8))
    if how == "label without image":
        pair(root)
        seg(root / "labels" / "case13.nii.gz")
        return root
    if how == "nothing matches":
        nifti(root / "images" / "a.nii.gz")
        seg(root / "labels" / "b.nii.gz")
        return root
    if how == "two ids":
        nifti(pair(root) / "images" / "case12.nii")
        return root
    if how == "no images":
        (root / "images").mkdir(parents=True)
        seg(root / "labels" / "a.nii.gz")
        return root
    if how == "missing section":
        for number in range(3):
            png(root / "images" / f"{number}.png")
            mask(root / "labels" / f"{number}.png")
        (root / "labels" / "1.png").unlink()
        return root
    if how == "modality grids":
        for name in ("a", "b"):
            nifti(root / name / "T1.nii.gz")
            nifti(root / name / "T2.nii.gz", np.zeros((5, 6, 5), np.float32))
        return root
    if how == "modality affines":
        for name in ("a", "b"):
            nifti(root / name / "T1.nii.gz")
            nifti(root / name / "T2.nii.gz", affine=shifted(1))
        return root
    if how == "empty":
        root.mkdir()
        return root
    if how == "absent":
        return root / "nowhere"
    assert how == "unknown"
    root.mkdir()
    (root / "notes.docx").write_text("x")
    return root


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("label grid", ["case12", "(5, 6, 3)", "(5, 6, 4)", "--fix"]),
        ("label affine", ["case12", "affines differ", "--fix"]),
        ("fractional label", ["case12", "0.5", "whole numbers"]),
        ("image as label", ["case12", "looks like an image"]),
        ("no foreground", ["foreground"]),
        ("label without image", ["case13.nii.gz", "label without an image"]),
        ("nothing matches", ["labels", "no label has the name of an image"]),
        ("two ids", ["two cases have the id case12", "case12.nii.gz", "case12.nii"]),
        ("no images", ["images", "no image files"]),
        ("missing section", ["section without its label", "1.png"]),
        ("modality grids", ["case a", "T2", "(5, 6, 5)"]),
        ("modality affines", ["case a", "T2", "affines differ"]),
        ("empty", ["empty"]),
        ("absent", ["nowhere", "no such"]),
        ("unknown", ["notes.docx", "images/ and labels/", "dataset.yaml"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_one_line_with_the_file_and_the_way_out(tmp_path, how, said):
    with pytest.raises(DataError) as error:
        open_dataset(broken(tmp_path / "data", how))
    message = str(error.value)
    assert "\n" not in message
    for part in said:
        assert part in message


def test_headers_that_differ_by_rounding_are_one_grid(tmp_path):
    assert len(open_dataset(pair(tmp_path, affine=shifted(1e-3))).cases) == 1


def test_a_class_that_the_manifest_does_not_know_is_found(tmp_path):
    nifti(tmp_path / "IBSR_01" / "IBSR_01.nii.gz")
    seg(tmp_path / "IBSR_01" / "IBSR_01_seg.nii.gz", 3, 9)
    with pytest.raises(DataError, match=r"case IBSR_01.*IBSR_01_seg.nii.gz holds value 9, known are 0, 1, 2, 3"):
        require_trainable(open_dataset(tmp_path))


def test_a_known_layout_without_any_foreground_cannot_be_trained_on(tmp_path):
    nifti(tmp_path / "IBSR_01" / "IBSR_01.nii.gz")
    seg(tmp_path / "IBSR_01" / "IBSR_01_seg.nii.gz", 0)
    with pytest.raises(DataError, match="no case has any foreground"):
        require_trainable(open_dataset(tmp_path))


def test_a_healthy_case_is_a_note(tmp_path):
    for name, value in (("a", 1), ("b", 0)):
        nifti(tmp_path / "images" / f"{name}.nii.gz")
        seg(tmp_path / "labels" / f"{name}.nii.gz", value)
    assert any("case b has no foreground" in note for note in open_dataset(tmp_path).notes)


# the real folders


@pytest.mark.parametrize(
    ("name", "cases", "modalities", "classes"),
    [
        ("isbi2012_em", 1, ["EM"], ["cell", "membrane"]),
        ("ibsr18", 10, ["T1"], ["background", "CSF", "GM", "WM"]),
        ("cxr_lung", 300, ["CXR"], ["background", "lung"]),
        ("ms_lesions", 2, ["FLAIR", "T1", "T1POST", "T2"], ["background", "lesion"]),
    ],
)
def test_published_data_is_read_as_it_lies(name, cases, modalities, classes):
    root = Path(os.environ.get("RECURSEG_DATA", "")) / name
    if not os.environ.get("RECURSEG_DATA") or not root.is_dir():
        pytest.skip(f"RECURSEG_DATA names no folder with {name}")
    dataset = open_dataset(root)
    assert dataset.manifest.layout == name
    assert len(dataset.cases) == cases
    assert dataset.modalities == modalities
    assert dataset.class_names == classes
