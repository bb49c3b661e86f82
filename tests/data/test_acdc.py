"""ACDC as it is given out, as films, and as HDF5 files."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest

from recurseg.data.check import check_dataset
from recurseg.data.dataset import open_dataset, require_trainable
from recurseg.data.labels import class_labels
from recurseg.data.splits import split_cases
from recurseg.errors import ConfigError, DataError

NAMES = ["background", "right ventricle", "myocardium", "left ventricle"]
AFFINE = np.diag([1.5, 1.5, 10.0, 1.0])


def contours(cavity: int) -> np.ndarray:
    """Labels (8, 7, 3) with the four values, `cavity` voxels of them in the left ventricle."""
    label = np.zeros((8, 7, 3), np.uint8)
    label[0, 0], label[1, 0] = 1, 2
    label.reshape(-1)[-cavity:] = 3
    return label


def patient(folder: Path, *, ed: int = 1, es: int = 3, frames: int = 5, group: str | None = "DCM", gt: bool = True):
    folder.mkdir(parents=True)
    lines = [f"ED: {ed}", f"ES: {es}", *([f"Group: {group}"] if group else []), "Height: 184.0", f"NbFrame: {frames}"]
    (folder / "Info.cfg").write_text("\n".join(lines) + "\n")
    film = np.random.default_rng(len(folder.name)).integers(0, 200, (8, 7, 3, frames)).astype(np.int16)
    image = nib.Nifti1Image(film, AFFINE)
    image.header.set_zooms((1.5, 1.5, 10.0, 0.04))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, folder / f"{folder.name}_4d.nii.gz")
    for frame, cavity in ((ed, 20), (es, 8)):
        name = f"{folder.name}_frame{frame:02d}"
        nib.save(nib.Nifti1Image(film[..., frame - 1], AFFINE), folder / f"{name}.nii.gz")
        if gt:
            label = nib.Nifti1Image(contours(cavity), AFFINE)
            label.header["pixdim"][4:] = 0  # as given out: nothing about time
            nib.save(label, folder / f"{name}_gt.nii.gz")


def hdf5(folder: Path, name: str, cavity: int, *, label: bool = True) -> None:
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / f"{name}.h5", "w") as file:
        file["image"] = np.random.default_rng(cavity).random((3, 7, 8)).astype(np.float32)
        file["scribble"] = np.zeros((3, 7, 8), np.uint16)
        if label:
            file["label"] = contours(cavity).T


def test_a_case_is_a_contoured_frame(tmp_path):
    patient(tmp_path / "training" / "patient001", ed=1, es=3)
    patient(tmp_path / "training" / "patient061", ed=2, es=5, group="NOR")
    dataset = open_dataset(tmp_path / "training")
    assert (dataset.manifest.layout, dataset.class_names) == ("acdc", NAMES)
    assert [case.id for case in dataset.cases] == [
        "patient001_frame01",
        "patient001_frame03",
        "patient061_frame02",
        "patient061_frame05",
    ]
    assert [case.patient for case in dataset.cases] == ["patient001"] * 2 + ["patient061"] * 2
    assert [case.phases for case in dataset.cases] == [{"ED": 0}, {"ES": 0}] * 2
    assert [case.tags for case in dataset.cases] == [("DCM",)] * 2 + [("NOR",)] * 2
    assert all(case.time_axis is None for case in dataset.cases)
    np.testing.assert_array_equal(class_labels(dataset.cases[1]), contours(8))
    require_trainable(dataset)


def test_as_sequence_a_case_is_the_film_of_a_patient(tmp_path):
    patient(tmp_path / "patient001", ed=1, es=3)
    (case,) = open_dataset(tmp_path, as_="sequence").cases
    assert (case.id, case.shape, case.time_axis, case.frames) == ("patient001", (8, 7, 3, 5), 3, 5)
    assert (case.phases, case.tags, case.labelled_frames) == ({"ED": 0, "ES": 2}, ("DCM",), (0, 2))
    assert case.spacing == pytest.approx((1.5, 1.5, 10.0, 0.04))
    label = class_labels(case)
    np.testing.assert_array_equal(label[..., 0], contours(20))
    np.testing.assert_array_equal(label[..., 2], contours(8))
    assert set(np.unique(label[..., [1, 3, 4]])) == {255}
    frame = case.frame(case.phases["ES"])
    np.testing.assert_array_equal(
        frame.reference.array[...],
        np.asarray(nib.load(tmp_path / "patient001" / "patient001_frame03.nii.gz").dataobj),
    )


@pytest.mark.parametrize("gt", [True, False])
@pytest.mark.parametrize("as_", [None, "sequence"])
def test_training_and_testing_are_splits(tmp_path, gt, as_):
    for number in (1, 21, 41):
        patient(tmp_path / "training" / f"patient{number:03d}")
    patient(tmp_path / "testing" / "patient101", group=None, gt=gt)
    dataset = open_dataset(tmp_path, as_=as_)
    tested = [case for case in dataset.cases if case.patient == "patient101"]
    assert sorted(dataset.manifest.splits["test"]) == [case.id for case in tested]
    learned = {case.id for case in dataset.to_learn_from}
    assert all((case.id in learned) == gt for case in tested)
    assert all(case.tags == () for case in tested)
    require_trainable(dataset)
    if gt:
        named = split_cases(dataset, "test")
        assert {case.patient for case in named.validation} == {"patient101"}
        assert len({case.patient for case in named.train}) == 3
    for holdout in (None, "0.4", "1/3"):
        split = split_cases(dataset, holdout)
        assert "patient101" not in {case.patient for case in split.train + split.validation}


def test_frames_of_a_patient_never_stand_on_both_sides(tmp_path):
    for number in range(1, 7):
        for frame, cavity in ((1, 20), (9, 8)):
            hdf5(tmp_path, f"patient{number:03d}_frame{frame:02d}", cavity)
    dataset = open_dataset(tmp_path)
    for holdout in (None, "0.5", "2/3", "patient002,patient005"):
        split = split_cases(dataset, holdout)
        train, validation = ({case.patient for case in side} for side in (split.train, split.validation))
        assert len(train) + len(validation) == 6
        assert not train & validation
    assert validation == {"patient002", "patient005"}
    with pytest.raises(ConfigError, match="patient002 on both sides"):
        split_cases(dataset, "patient002_frame01")


def test_hdf5_files_are_frames_of_which_the_first_is_end_diastole(tmp_path):
    hdf5(tmp_path, "patient001_frame01", 20)
    hdf5(tmp_path, "patient001_frame12", 8)
    hdf5(tmp_path, "patient090_frame04", 8)
    hdf5(tmp_path, "patient090_frame11", 20)
    dataset = open_dataset(tmp_path)
    assert dataset.manifest.layout == "acdc"
    found = {case.id: (case.patient, case.phases, case.tags) for case in dataset.cases}
    assert found == {
        "patient001_frame01": ("patient001", {"ED": 0}, ("DCM",)),
        "patient001_frame12": ("patient001", {"ES": 0}, ("DCM",)),
        "patient090_frame04": ("patient090", {"ES": 0}, ("RV",)),  # the smaller cavity, though it comes first
        "patient090_frame11": ("patient090", {"ED": 0}, ("RV",)),
    }
    case = dataset.cases[1]
    assert (case.slice_axis, case.reference.spacing_known) == (0, False)
    np.testing.assert_array_equal(class_labels(case), contours(8).T)
    assert check_dataset(tmp_path).usable


def test_one_patient_s_folder_is_a_data_set(tmp_path):
    patient(tmp_path / "patient001")
    assert [case.id for case in open_dataset(tmp_path / "patient001").cases] == [
        "patient001_frame01",
        "patient001_frame03",
    ]


def test_without_info_the_first_frame_is_end_diastole(tmp_path):
    patient(tmp_path / "patient001", ed=1, es=3)
    (tmp_path / "patient001" / "Info.cfg").unlink()
    (case,) = open_dataset(tmp_path, as_="sequence").cases
    assert case.phases == {"ED": 0, "ES": 2}


def test_what_cannot_be_is_said(tmp_path):
    hdf5(tmp_path / "h5", "patient001_frame01", 20)
    with pytest.raises(ConfigError, match="ACDC without films"):
        open_dataset(tmp_path / "h5", as_="sequence")
    with pytest.raises(ConfigError, match="--as stack"):
        open_dataset(tmp_path / "h5", as_="stack")
    patient(tmp_path / "patient001")
    (tmp_path / "patient001" / "Info.cfg").write_text("ED: one\n")
    with pytest.raises(DataError, match="patient001"):
        open_dataset(tmp_path)


def test_predicted_labels_are_not_taken_for_the_data_set(tmp_path):
    with h5py.File(tmp_path / "patient001_frame01.h5", "w") as file:
        file["label"] = contours(20)
    assert open_dataset(tmp_path).manifest.layout == "plain_folder"


@pytest.mark.skipif(
    not Path(os.environ.get("RECURSEG_DATA", "?"), "acdc").is_dir(), reason="RECURSEG_DATA names no folder with acdc"
)
def test_the_real_files_are_thirty_patients_in_two_phases():
    dataset = open_dataset(Path(os.environ["RECURSEG_DATA"], "acdc"))
    assert (len(dataset.cases), len({case.patient for case in dataset.cases})) == (60, 30)
    assert dataset.class_names == NAMES
    by_group = {tag: sum(tag in case.tags for case in dataset.cases) for tag in ("DCM", "HCM", "MINF", "NOR", "RV")}
    assert set(by_group.values()) == {12}
    volumes: dict[str, dict[str, int]] = {}
    for case in dataset.cases:
        (phase,) = case.phases
        volumes.setdefault(case.patient, {})[phase] = int((class_labels(case) == 3).sum())
    assert all(own["ED"] > own["ES"] for own in volumes.values())  # a heart empties itself until end-systole
