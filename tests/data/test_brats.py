"""BraTS in the shapes of its years: one order of modalities, labels by the official codes."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from recurseg.data.dataset import open_dataset, require_trainable
from recurseg.data.labels import class_labels
from recurseg.data.splits import split_cases
from recurseg.errors import DataError

FOUR = ["background", "necrosis", "edema", "non-enhancing", "enhancing"]
THREE = ["background", "necrosis", "edema", "enhancing"]


def volume(path: Path, *values: int) -> None:
    """A 5 × 6 × 4 image with an intensity of its own, or a label that begins with these values."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((4, 6, 5), len(path.name), np.int16)  # (z, y, x) for SimpleITK
    if values:
        array[:] = 0
        array[0, 0, : len(values)] = values
    if path.name.endswith(".mha"):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    else:
        nib.save(nib.Nifti1Image(array.T, np.eye(4)), path)


def patient2015(folder: Path, number: int, *, parts=("Flair", "T1", "T1c", "T2"), label: bool = True) -> None:
    """A patient's folder as the challenge of 2015 gave it out, `number` being that of the first file."""
    for offset, part in enumerate(parts):
        name = f"VSD.Brain.XX.O.MR_{part}.{number + offset}"
        volume(folder / name / f"{name}.mha")
        (folder / name / f"{name}.txt").write_text("provenance")
    if label:
        name = f"VSD.Brain_3more.XX.O.OT.{number + 9}"
        volume(folder / name / f"{name}.mha", 0, 1, 2, 3, 4)


def patient_later(folder: Path, ends=("flair", "t1", "t1ce", "t2"), *, sep="_", values=(0, 1, 2, 4)) -> None:
    for end in ends:
        volume(folder / f"{folder.name}{sep}{end}.nii.gz")
    if values:
        volume(folder / f"{folder.name}{sep}seg.nii.gz", *values)


def first_classes(case, number: int) -> list[int]:
    return class_labels(case)[:number, 0, 0].tolist()


def test_2015_has_a_folder_a_modality_inside_patients_inside_grades(tmp_path):
    patient2015(tmp_path / "HGG" / "brats_tcia_pat101_0001", 100)
    patient2015(tmp_path / "HGG" / "brats_tcia_pat101_0095", 200)
    patient2015(tmp_path / "LGG" / "brats_tcia_pat300_0001", 300)
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.layout == "brats"
    assert dataset.modalities == ["FLAIR", "T1", "T1c", "T2"]
    assert dataset.class_names == FOUR
    assert [case.tags for case in dataset.cases] == [("HGG",), ("HGG",), ("LGG",)]
    assert [case.patient for case in dataset.cases] == ["brats_tcia_pat101"] * 2 + ["brats_tcia_pat300"]
    case = dataset.cases[0]
    assert {name: image.path.parent.name.split("_")[-1] for name, image in case.images.items()} == {
        "FLAIR": "Flair.100",
        "T1": "T1.101",
        "T1c": "T1c.102",
        "T2": "T2.103",
    }
    assert case.shape == (5, 6, 4)
    assert first_classes(case, 5) == [0, 1, 2, 3, 4]
    assert any("3 non-enhancing" in note and "4 enhancing" in note for note in dataset.notes)


def test_regions_are_those_of_the_challenge_in_either_numbering(tmp_path):
    patient2015(tmp_path / "2015" / "HGG" / "brats_2013_pat0001_1", 1)
    patient_later(tmp_path / "2021" / "BraTS2021_00000")
    assert open_dataset(tmp_path / "2015").regions == {
        "complete": [1, 2, 3, 4],
        "core": [1, 3, 4],
        "enhancing": [4],
    }
    later = open_dataset(tmp_path / "2021")
    named = {name: [later.class_names[c] for c in classes] for name, classes in later.regions.items()}
    assert named == {
        "complete": ["necrosis", "edema", "enhancing"],
        "core": ["necrosis", "enhancing"],
        "enhancing": ["enhancing"],
    }


def test_patients_with_one_name_in_both_grades_are_two(tmp_path):
    patient2015(tmp_path / "HGG" / "brats_2013_pat0001_1", 1)
    patient2015(tmp_path / "LGG" / "brats_2013_pat0001_1", 20)
    dataset = open_dataset(tmp_path)
    assert [case.id for case in dataset.cases] == ["HGG_brats_2013_pat0001_1", "LGG_brats_2013_pat0001_1"]
    assert [case.patient for case in dataset.cases] == ["HGG_brats_2013_pat0001", "LGG_brats_2013_pat0001"]


def test_visits_of_a_patient_never_stand_on_both_sides(tmp_path):
    for visit in ("0001", "0002", "0003"):
        patient2015(tmp_path / "HGG" / f"brats_tcia_pat101_{visit}", 1)
    patient2015(tmp_path / "HGG" / "brats_tcia_pat102_0001", 1)
    split = split_cases(open_dataset(tmp_path), "0.5")
    sides = [{case.patient for case in side} for side in (split.train, split.validation)]
    assert {len(split.train), len(split.validation)} == {1, 3}
    assert not sides[0] & sides[1]


def test_what_is_given_out_for_the_test_is_for_prediction(tmp_path):
    patient2015(tmp_path / "BRATS2015_Training" / "HGG" / "brats_2013_pat0001_1", 1)
    patient2015(tmp_path / "BRATS2015_Testing" / "HGG_LGG" / "brats_2013_pat0103_1", 20, label=False)
    dataset = open_dataset(tmp_path)
    assert [case.id for case in dataset.to_learn_from] == ["brats_2013_pat0001_1"]
    assert [case.label is None for case in dataset.cases] == [True, False]
    assert dataset.cases[0].tags == ()
    require_trainable(dataset)


@pytest.mark.parametrize("grades", [("HGG", "LGG"), ("", "")], ids=["2018", "2020"])
def test_later_years_have_files_by_name_and_no_label_3(tmp_path, grades):
    for grade, name in zip(grades, ("Brats18_TCIA01_131_1", "Brats18_2013_9_1"), strict=True):
        patient_later(tmp_path / grade / name)
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.layout == "brats"
    assert dataset.modalities == ["FLAIR", "T1", "T1c", "T2"]
    assert dataset.class_names == THREE
    by_id = {case.id: case for case in dataset.cases}
    case = by_id["Brats18_TCIA01_131_1"]
    assert (case.patient, case.tags) == ("Brats18_TCIA01_131", (grades[0],) if grades[0] else ())
    assert case.images["T1c"].path.name == "Brats18_TCIA01_131_1_t1ce.nii.gz"
    assert first_classes(case, 4) == [0, 1, 2, 3]
    assert any("4 enhancing core (class 3)" in note for note in dataset.notes)


def test_label_3_in_a_year_that_has_none_is_refused(tmp_path):
    patient_later(tmp_path / "BraTS20_Training_001", values=(0, 3))
    with pytest.raises(DataError, match=r"BraTS20_Training_001_seg.nii.gz holds value 3, known are 0, 1, 2, 4"):
        require_trainable(open_dataset(tmp_path))


def test_numbers_of_patients_are_no_visits(tmp_path):
    for name in ("BraTS20_Training_001", "BraTS20_Training_002"):
        patient_later(tmp_path / name)
    assert [case.patient for case in open_dataset(tmp_path).cases] == ["BraTS20_Training_001", "BraTS20_Training_002"]


def test_the_label_of_2020_that_bears_another_name_is_found(tmp_path):
    folder = tmp_path / "BraTS20_Training_355"
    patient_later(folder, values=())
    volume(folder / "W39_1998.09.19_Segm.nii", 0, 4)
    (case,) = open_dataset(tmp_path).cases
    assert first_classes(case, 2) == [0, 3]


def test_from_2023_on_enhancing_is_3(tmp_path):
    for visit in ("000", "001"):
        folder = tmp_path / f"BraTS-GLI-00005-{visit}"
        patient_later(folder, ("t2f", "t1n", "t1c", "t2w"), sep="-", values=(0, 1, 2, 3))
    dataset = open_dataset(tmp_path)
    assert (dataset.manifest.layout, dataset.class_names) == ("brats", THREE)
    assert [image.path.name[-10:-7] for image in dataset.cases[0].images.values()] == ["t2f", "t1n", "t1c", "t2w"]
    assert {case.patient for case in dataset.cases} == {"BraTS-GLI-00005"}
    assert first_classes(dataset.cases[0], 4) == [0, 1, 2, 3]


def test_tumours_of_children_have_other_labels_and_are_read_as_any_case_folder(tmp_path):
    for number in (1, 2):
        patient_later(tmp_path / f"BraTS-PED-0000{number}-000", ("t2f", "t1n"), sep="-", values=(0, 1, 2, 3, 4))
    assert open_dataset(tmp_path).manifest.layout == "case_folders"


def test_two_releases_in_one_folder_are_refused(tmp_path):
    patient2015(tmp_path / "HGG" / "brats_2013_pat0001_1", 1)
    patient_later(tmp_path / "HGG" / "Brats18_2013_9_1")
    with pytest.raises(DataError, match="labels mean different things"):
        open_dataset(tmp_path)


def test_a_modality_that_is_missing_is_left_out_of_the_case(tmp_path):
    patient2015(tmp_path / "HGG" / "brats_2013_pat0001_1", 1)
    patient2015(tmp_path / "HGG" / "brats_2013_pat0002_1", 20, parts=("Flair", "T2"))
    dataset = open_dataset(tmp_path)
    assert dataset.modalities == ["FLAIR", "T1", "T1c", "T2"]
    assert list(dataset.cases[1].images) == ["FLAIR", "T2"]
    assert dataset.cases[1].missing == ("T1", "T1c")


def test_the_folder_of_one_patient_is_a_data_set_of_one(tmp_path):
    patient2015(tmp_path / "brats_2013_pat0001_1", 1, parts=("Flair",), label=False)
    dataset = open_dataset(tmp_path / "brats_2013_pat0001_1")
    assert [case.id for case in dataset.cases] == ["brats_2013_pat0001_1"]
    assert dataset.modalities == ["FLAIR"]
    assert "no case has T1, T1c, T2" in dataset.notes


def test_two_files_for_a_modality_and_a_label_alone_are_named(tmp_path):
    folder = tmp_path / "HGG" / "brats_2013_pat0001_1"
    patient2015(folder, 1)
    volume(folder / "VSD.Brain.XX.O.MR_T2.77" / "VSD.Brain.XX.O.MR_T2.77.mha")
    with pytest.raises(DataError, match=r"brats_2013_pat0001_1: two files for T2: .*T2\.4\.mha and .*T2\.77\.mha"):
        open_dataset(tmp_path)
    patient2015(tmp_path / "other" / "HGG" / "brats_2013_pat0002_1", 1, parts=())
    with pytest.raises(DataError, match="case brats_2013_pat0002_1: label without an image"):
        open_dataset(tmp_path / "other")


def test_other_data_with_such_file_names_is_not_taken_for_brats(tmp_path):
    for name in ("case1", "case2"):
        patient_later(tmp_path / name)
    assert open_dataset(tmp_path).manifest.layout == "case_folders"


def test_brats_2015_as_deepmedic_takes_it_is_read_as_it_lies():
    root = Path(os.environ.get("RECURSEG_DATA", "")) / "brats2015"
    if not os.environ.get("RECURSEG_DATA") or not root.is_dir():
        pytest.skip("RECURSEG_DATA names no folder with brats2015")
    dataset = open_dataset(root)
    assert (dataset.manifest.layout, dataset.modalities) == ("brats", ["FLAIR", "T1c"])
    assert (len(dataset.cases), dataset.class_names) == (4, FOUR)
    case = next(case for case in dataset.cases if case.id == "brats_2013_pat0004_1")
    stored = np.asanyarray(nib.Nifti1Image.from_filename(root / case.id / "OTMultiClass.nii.gz").dataobj)
    assert (class_labels(case) == stored).all()
    require_trainable(dataset)
