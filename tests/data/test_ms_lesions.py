"""Published sets of multiple-sclerosis lesions are recognised as they lie."""

from __future__ import annotations

import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from recurseg.data.check import check_dataset
from recurseg.data.dataset import open_dataset
from recurseg.data.labels import class_labels
from recurseg.data.splits import split_cases
from recurseg.errors import ConfigError, DataError

AFFINE = np.diag([0.7, 0.7, 3.0, 1.0])


def image(path: Path, *, affine: np.ndarray = AFFINE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.random.default_rng(zlib.crc32(str(path).encode())).normal(size=(7, 8, 4)).astype(np.float32)
    nib.save(nib.Nifti1Image(array, affine), path)


def mask(path: Path, voxels: int = 3, *, value: float = 1, shape: tuple[int, ...] = (7, 8, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.zeros(shape, np.float32 if value % 1 else np.uint8)
    array.flat[:voxels] = value
    nib.save(nib.Nifti1Image(array, AFFINE), path)


def lesion_voxels(case) -> int:
    return int((class_labels(case) == 1).sum())


def lesjak(root: Path, patient: str, prefix: str = "") -> None:
    for name in ("FLAIR", "T1W", "T1WKS", "T2W"):
        image(root / patient / f"{prefix}{name}.nii.gz")
    mask(root / patient / f"{prefix}consensus_gt.nii.gz")
    mask(root / patient / f"{prefix}brainmask.nii.gz", 100)


def msseg(root: Path, centre: str, patient: str, *, label: bool = True) -> None:
    folder = root / centre / patient
    for name in ("FLAIR", "T1", "T2", "DP", "GADO"):
        image(folder / "Preprocessed_Data" / f"{name}_preprocessed.nii.gz")
        image(folder / "Raw_Data" / f"{name}.nii.gz")
    if label:
        mask(folder / "Masks" / "Consensus.nii.gz", 5)
        for expert in range(1, 8):
            mask(folder / "Masks" / f"ManualSegmentation_{expert}.nii.gz", 10 + expert)
    mask(folder / "Masks" / "Brain_Mask.nii.gz", 100)


def isbi(folder: Path, visits: int, *, masks: bool = True, suffix: str = ".nii") -> None:
    for visit in range(1, visits + 1):
        name = f"{folder.name}_{visit:02d}"
        for modality in ("flair", "mprage", "t2", "pd"):
            image(folder / "preprocessed" / f"{name}_{modality}_pp{suffix}")
            image(folder / "orig" / f"{name}_{modality}.nii.gz", affine=np.eye(4))
        if masks:
            mask(folder / "masks" / f"{name}_mask1{suffix}", visit)
            mask(folder / "masks" / f"{name}_mask2{suffix}", 20)


# 3D-MR-MS


@pytest.mark.parametrize("named", [True, False], ids=["patient01_FLAIR", "FLAIR"])
def test_3d_mr_ms_is_read_as_given_out(tmp_path, named):
    for patient in ("patient01", "patient02"):
        lesjak(tmp_path, patient, f"{patient}_" if named else "")
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.layout == "ms_lesions"
    assert dataset.modalities == ["FLAIR", "T1", "T1POST", "T2"]
    assert dataset.class_names == ["background", "lesion"]
    assert [(case.id, lesion_voxels(case)) for case in dataset.cases] == [("patient01", 3), ("patient02", 3)]


def test_other_folders_with_t1_and_flair_are_not_taken_for_it(tmp_path):
    for patient in ("a", "b"):
        for name in ("FLAIR", "T1", "T1POST"):
            image(tmp_path / patient / f"{name}.nii.gz")
        mask(tmp_path / patient / "seg.nii.gz")
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.layout == "case_folders"
    assert all(case.label is not None for case in dataset.cases)


# MSSEG


def test_msseg_2016_is_read_by_centre_with_the_consensus_as_label(tmp_path):
    msseg(tmp_path / "Training", "Center_01", "Patient_01")
    msseg(tmp_path / "Training", "Center_07", "Patient_01")
    dataset = open_dataset(tmp_path / "Training")
    assert dataset.manifest.layout == "msseg2016"
    assert dataset.modalities == ["FLAIR", "T1", "T1POST", "T2", "PD"]
    assert [case.id for case in dataset.cases] == ["Center_01_Patient_01", "Center_07_Patient_01"]
    assert [case.tags for case in dataset.cases] == [("Center_01",), ("Center_07",)]
    assert [lesion_voxels(case) for case in dataset.cases] == [5, 5]
    assert any("consensus" in note for note in dataset.notes)
    one = open_dataset(tmp_path / "Training" / "Center_01" / "Patient_01")
    assert (one.manifest.layout, len(one.cases)) == ("msseg2016", 1)


def test_msseg_2016_keeps_its_own_test_patients_apart(tmp_path):
    for patient in ("Patient_01", "Patient_02"):
        msseg(tmp_path / "Training", "Center_01", patient)
    msseg(tmp_path / "Testing", "Center_01", "Patient_01")
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.splits["test"] == ["test_Center_01_Patient_01"]
    split = split_cases(dataset, "0.5")
    assert {case.id for case in split.train + split.validation} == {"Center_01_Patient_01", "Center_01_Patient_02"}
    assert [case.id for case in split_cases(dataset, "test").validation] == ["test_Center_01_Patient_01"]


def test_msseg_2016_may_lie_in_one_folder_a_patient(tmp_path):
    for name in ("3DFLAIR", "3DT1", "3DT1GADO", "T2", "DP"):
        image(tmp_path / "01016SACH" / f"{name}.nii")
    mask(tmp_path / "01016SACH" / "Consensus.nii")
    mask(tmp_path / "01016SACH" / "ManualSegmentation_1.nii")
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.layout == "msseg2016"
    assert dataset.modalities == ["FLAIR", "T1", "T1POST", "T2", "PD"]
    assert dataset.cases[0].label is not None


def test_msseg_2_is_two_flair_images_and_new_lesions(tmp_path):
    for patient, voxels in (("013", 2), ("015", 0)):
        for time in ("01", "02"):
            image(tmp_path / "training" / patient / f"flair_time{time}_on_middle_space.nii.gz")
        mask(tmp_path / "training" / patient / "ground_truth.nii.gz", voxels)
        mask(tmp_path / "training" / patient / "ground_truth_expert1.nii.gz", 9)
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.layout == "msseg2"
    assert dataset.modalities == ["FLAIR_time01", "FLAIR_time02"]
    assert dataset.class_names == ["background", "new lesion"]
    assert [lesion_voxels(case) for case in dataset.cases] == [2, 0]


# ISBI 2015


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_isbi_2015_has_a_case_a_time_point_labelled_by_rater_1(tmp_path, suffix):
    isbi(tmp_path / "training" / "training01", 4, suffix=suffix)
    isbi(tmp_path / "training" / "training02", 2, suffix=suffix)
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.layout == "isbi2015_ms"
    assert dataset.modalities == ["FLAIR", "T1", "T2", "PD"]
    assert [case.id for case in dataset.cases][::4] == ["training01_01", "training02_01"]
    assert [lesion_voxels(case) for case in dataset.cases] == [1, 2, 3, 4, 1, 2]
    assert "6 time points of 2 patients, a case each" in dataset.notes
    assert any("rater 1" in note and "mask2" in note for note in dataset.notes)


def test_time_points_of_an_isbi_2015_patient_never_lie_on_both_sides(tmp_path):
    for patient in range(1, 6):
        isbi(tmp_path / f"training{patient:02d}", 2)
    dataset = open_dataset(tmp_path)
    for seed in range(5):
        split = split_cases(dataset, "0.4", seed=seed)
        assert not {case.patient for case in split.train} & {case.patient for case in split.validation}
        assert len(split.validation) == 4
    assert len(split_cases(dataset, "training03").validation) == 2
    with pytest.raises(ConfigError, match="training03 on both sides"):
        split_cases(dataset, "training03_01")


def test_isbi_2015_test_patients_are_for_prediction(tmp_path):
    isbi(tmp_path / "training" / "training01", 2)
    isbi(tmp_path / "testdata_website" / "test01", 2, masks=False)
    dataset = open_dataset(tmp_path)
    assert len(dataset.cases) == 4
    assert [case.id for case in dataset.to_learn_from] == ["training01_01", "training01_02"]
    assert not check_dataset(tmp_path).problems
    patient = open_dataset(tmp_path / "testdata_website" / "test01")
    assert [case.id for case in patient.cases] == ["test01_01", "test01_02"]


def test_isbi_2015_masks_alone_are_no_data_set_of_its_layout(tmp_path):
    isbi(tmp_path / "training01", 2)
    assert open_dataset(tmp_path / "training01" / "masks").manifest.layout != "isbi2015_ms"


# what is wrong with them


def test_a_patient_may_lack_a_modality_and_it_is_said(tmp_path):
    isbi(tmp_path / "training01", 2)
    (tmp_path / "training01" / "preprocessed" / "training01_02_pd_pp.nii").unlink()
    assert "PD is missing in 1 of 2 cases (training01_02)" in check_dataset(tmp_path).notes


def only_problem(root: Path) -> tuple[str, str, str]:
    (problem,) = check_dataset(root).problems
    return problem.case, problem.message, problem.mend


def test_a_label_on_another_grid_is_named_with_the_way_to_mend_it(tmp_path):
    for patient in ("patient01", "patient02"):
        lesjak(tmp_path, patient)
    mask(tmp_path / "patient02" / "consensus_gt.nii.gz", shape=(7, 8, 5))
    case, message, mend = only_problem(tmp_path)
    assert case == "patient02"
    assert "label grid (7, 8, 5)" in message
    assert "--fix" in mend


@pytest.mark.parametrize(
    ("value", "says", "mends"),
    [
        (2, "holds value 2, known are 0 background, 1 lesion", "label_map"),
        (0.5, "holds 0.5, labels are whole numbers", "interpolated"),
        (255, "no foreground in", "label_map: {0: 0, 255: 1}"),
    ],
)
def test_a_label_that_is_not_binary_is_named_with_the_way_to_mend_it(tmp_path, value, says, mends):
    for patient in ("Patient_01", "Patient_02"):
        msseg(tmp_path, "Center_01", patient)
    mask(tmp_path / "Center_01" / "Patient_02" / "Masks" / "Consensus.nii.gz", value=value)
    case, message, mend = only_problem(tmp_path)
    assert case == "Center_01_Patient_02"
    assert says in message
    assert mends in message + mend


def test_two_files_for_one_modality_are_an_error(tmp_path):
    isbi(tmp_path / "training01", 1)
    image(tmp_path / "training01" / "preprocessed" / "training01_01_flair_pp.nii.gz")
    with pytest.raises(DataError, match="case training01_01: two files for FLAIR"):
        open_dataset(tmp_path)


def test_a_label_without_an_image_is_an_error(tmp_path):
    lesjak(tmp_path, "patient01")
    mask(tmp_path / "patient02" / "consensus_gt.nii.gz")
    with pytest.raises(DataError, match="case patient02: label without an image"):
        open_dataset(tmp_path)


def test_different_sets_are_opened_one_by_one(tmp_path):
    lesjak(tmp_path, "patient01")
    msseg(tmp_path / "Training", "Center_01", "Patient_01")
    with pytest.raises(DataError, match="holds ms_lesions and msseg2016: open their folders one by one"):
        open_dataset(tmp_path)
