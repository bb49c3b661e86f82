"""A modality that a case lacks is said, and is an error only where a model needs it."""

import nibabel as nib
import numpy as np
import pytest
import yaml

from recurseg.data.check import check_dataset
from recurseg.data.dataset import open_dataset, require_complete
from recurseg.data.mend import mend_dataset
from recurseg.errors import DataError

RNG = np.random.default_rng(0)


def dataset_of(folder, cases: dict[str, list[str]], *, modalities=("T1", "T2", "FLAIR")):
    """A manifest whose cases have these modalities and a label each."""
    entries = []
    for case, own in cases.items():
        label = np.zeros((5, 6, 4), np.uint8)
        label[2, 2, 2] = 1
        arrays = {modality: RNG.normal(size=(5, 6, 4)).astype(np.float32) for modality in own}
        for name, array in {**arrays, "seg": label}.items():
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / f"{case}_{name}.nii.gz")
        images = {modality: f"{case}_{modality}.nii.gz" for modality in own}
        entries.append({"id": case, "images": images, "label": f"{case}_seg.nii.gz"})
    path = folder / "dataset.yaml"
    path.write_text(yaml.safe_dump({"name": "d", "modalities": list(modalities), "cases": entries}))
    return path


@pytest.fixture
def partial(tmp_path):
    return dataset_of(tmp_path, {"a": ["T1", "T2", "FLAIR"], "b": ["FLAIR", "T2"], "c": ["T1", "T2"]})


def test_a_case_has_the_images_that_are_there_in_the_order_of_the_channels(partial):
    a, b, c = open_dataset(partial).cases
    assert [list(case.images) for case in (a, b, c)] == [["T1", "T2", "FLAIR"], ["T2", "FLAIR"], ["T1", "T2"]]
    assert {case.modalities for case in (a, b, c)} == {("T1", "T2", "FLAIR")}
    assert [case.missing for case in (a, b, c)] == [(), ("T1",), ("FLAIR",)]
    assert b.reference is b.images["T2"]


def test_sections_of_a_case_lack_what_it_lacks(partial):
    part = open_dataset(partial).cases[1].sections(1, 3)
    assert (part.missing, part.shape) == (("T1",), (5, 6, 2))


def test_the_data_set_and_check_say_in_a_line_what_is_missing(partial):
    for notes in (open_dataset(partial).notes, check_dataset(partial).notes):
        assert "T1 is missing in 1 of 3 cases (b)" in notes
        assert "FLAIR is missing in 1 of 3 cases (c)" in notes
        assert not any(note.startswith("T2") for note in notes)
    report = check_dataset(partial)
    assert report.usable
    assert list(report.cases[1].intensity) == ["T2", "FLAIR"]


def test_a_model_that_needs_every_modality_refuses_the_first_case_without(partial, tmp_path):
    with pytest.raises(DataError) as error:
        require_complete(open_dataset(partial), "model unet3d")
    message = str(error.value)
    assert message.startswith("case b: no file for modality T1: model unet3d needs every modality: add the file")
    assert "\n" not in message
    (tmp_path / "whole").mkdir()
    require_complete(open_dataset(dataset_of(tmp_path / "whole", {"a": ["T1", "T2", "FLAIR"]})))


def test_cases_for_prediction_may_be_incomplete(partial):
    document = yaml.safe_load(partial.read_text())
    for entry in document["cases"][1:]:
        entry["label"], entry["for_prediction"] = None, True
    partial.write_text(yaml.safe_dump(document))
    require_complete(open_dataset(partial))


def test_a_modality_that_the_manifest_does_not_name_is_an_error(tmp_path):
    path = dataset_of(tmp_path, {"a": ["T1", "T2w"]}, modalities=("T1", "T2"))
    with pytest.raises(DataError, match="case a: modality T2w is not one of the data set's; did you mean 'T2'"):
        open_dataset(path)


def test_the_images_that_are_there_must_lie_on_one_grid(partial, tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((5, 6, 5), np.float32), np.eye(4)), tmp_path / "b_FLAIR.nii.gz")
    with pytest.raises(DataError, match=r"case b: FLAIR grid \(5, 6, 5\).*differs from T2 grid"):
        open_dataset(partial)


def test_a_mended_data_set_lacks_what_it_lacked(partial, tmp_path):
    mended = mend_dataset(partial, tmp_path / "mended")
    assert [case.missing for case in open_dataset(mended.manifest).cases] == [(), ("T1",), ("FLAIR",)]
