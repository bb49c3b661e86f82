"""The Sunnybrook cardiac data in the shapes in which they are published: DICOM images, outlines as text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline

from recurseg.data.case import IGNORE
from recurseg.data.check import check_dataset
from recurseg.data.dataset import open_dataset
from recurseg.data.formats.contours import fill_polygon, polygon_area, read_contour
from recurseg.data.labels import class_labels
from recurseg.data.manifest import save_manifest
from recurseg.data.mend import mend_dataset
from recurseg.data.splits import split_cases
from recurseg.errors import DataError

ROWS, COLUMNS = 24, 20
SQUARE = "{0}.00 4.00\n{1}.00 4.00\n{1}.00 9.00\n{0}.00 9.00\n"
"""An outline from column {0} to column {1}, rows 4 to 9."""
EXPERT = "contours-manual/IRCCI-expert"


def image(path: Path, number: int, *, frames: int = 20, height: float = 8.0) -> Path:
    """One DICOM file of a short-axis series; its pixels tell its number, its position the slice."""
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    path.parent.mkdir(parents=True, exist_ok=True)
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = MRImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid(entropy_srcs=[str(path)])
    ds.SeriesInstanceUID = ds.StudyInstanceUID = generate_uid(entropy_srcs=[str(path.parent)])
    ds.Modality, ds.InstanceNumber = "MR", number
    ds.Rows, ds.Columns = ROWS, COLUMNS
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 16, 15, 1
    ds.PixelSpacing, ds.SliceThickness = ["1.5", "1.25"], "8"
    ds.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    ds.ImagePositionPatient = ["0", "0", f"{-height * ((number - 1) // frames):g}"]
    pixels = np.full((ROWS, COLUMNS), number, np.int16)
    pixels[4:9, 3:7] += 100
    ds.PixelData = pixels.tobytes()
    ds.save_as(path, enforce_file_format=True)
    return path


def outline(folder: Path, number: int, text: str, kind: str = "i") -> Path:
    path = folder / EXPERT / f"IM-0001-{number:04d}-{kind}contour-manual.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def outlines(folder: Path, ed: dict[int, tuple[int, int]], es: dict[int, tuple[int, int]]) -> None:
    """Inner outlines of two phases, number → first and last column; outer ones at end-diastole, as published."""
    for number, columns in {**ed, **es}.items():
        outline(folder, number, SQUARE.format(*columns))
    for number in ed:
        outline(folder, number, SQUARE.format(1, 18), "o")
        outline(folder, number, SQUARE.format(5, 6), "p1")


ED, ES = {20: (3, 12), 40: (3, 11), 60: (3, 7)}, {28: (4, 8), 48: (5, 7)}


def atlas(root: Path) -> Path:
    """The form of the Cardiac Atlas Project: the base is outlined at end-diastole alone."""
    outlines(root / "SCD_ManualContours" / "SC-HF-I-01", ED, ES)
    outlines(root / "SCD_ManualContours" / "SC-HYP-40", {19: (3, 9), 39: (3, 9)}, {7: (3, 5), 27: (3, 5)})
    for number in range(1, 61):
        image(root / "SCD_IMAGES_01" / "SCD0000101" / "CINESAX_300" / f"IM-0003-{number:04d}.dcm", number)
        image(root / "SCD_IMAGES_04" / "SCD0003601" / "CINESAX_7" / f"IM-0011-{number:04d}.dcm", number)
        image(root / "SCD_IMAGES_01" / "SCD0000101" / "CINELAX_301" / f"IM-0004-{number:04d}.dcm", number + 500)
        image(root / "SCD_IMAGES_01" / "SCD0000101" / "CINELAX_301" / f"IM-0004-{number + 60:04d}.dcm", number)
    (root / "scd_patientdata.csv").write_text(
        "PatientID,OriginalID,Gender,Age,Pathology\n"
        "SCD0000101,SC-HF-I-1,Male,53,Heart failure with infarct\n"
        "SCD0003601,SC-HYP-40,Male,68,Hypertrophy\n"
    )
    return root


def test_each_labelled_phase_is_a_stack_from_base_to_apex(tmp_path):
    dataset = open_dataset(atlas(tmp_path))
    assert dataset.manifest.layout == "sunnybrook"
    assert dataset.class_names == ["background", "left ventricle"]
    facts = {case.id: (case.patient, case.shape, dict(case.phases), case.tags) for case in dataset.cases}
    assert facts == {
        "SC-HF-I-01_ED": ("SC-HF-I-01", (COLUMNS, ROWS, 3), {"ED": 0}, ("HF-I",)),
        "SC-HF-I-01_ES": ("SC-HF-I-01", (COLUMNS, ROWS, 2), {"ES": 0}, ("HF-I",)),
        "SC-HYP-40_ED": ("SC-HYP-40", (COLUMNS, ROWS, 2), {"ED": 0}, ("HYP",)),
        "SC-HYP-40_ES": ("SC-HYP-40", (COLUMNS, ROWS, 2), {"ES": 0}, ("HYP",)),
    }
    ed, es, *_ = dataset.cases
    assert ed.spacing == (1.25, 1.5, 8.0)
    assert ed.slice_axis == 2
    assert ed.reference.array[0, 0].tolist() == [20, 40, 60]
    assert es.reference.array[0, 0].tolist() == [28, 48]


def test_inner_outlines_become_the_left_ventricle_where_the_image_shows_it(tmp_path):
    ed, es, *_ = open_dataset(atlas(tmp_path)).cases
    for case, columns in ((ed, ED), (es, ES)):
        classes = class_labels(case)
        assert classes.sum(axis=(0, 1)).tolist() == [5 * (last - first) for first, last in columns.values()]
        for index, (first, last) in enumerate(columns.values()):
            assert classes[first:last, 4:9, index].all()
    bright = ed.reference.array[..., 2] > 100
    np.testing.assert_array_equal(class_labels(ed)[..., 2], bright)


def test_label_volumes_are_read_slice_by_slice(tmp_path):
    case = open_dataset(atlas(tmp_path)).cases[0]
    label = case.label
    assert label is not None
    outline(tmp_path / "SCD_ManualContours" / "SC-HF-I-01", 20, "nonsense")
    np.testing.assert_array_equal(label.array[:, 5, 1:].sum(axis=0), [8, 4])
    with pytest.raises(DataError, match=r"IM-0001-0020-icontour-manual.txt: cannot be read as lines of x and y"):
        label.array[..., 0]


def test_check_finds_nothing_to_mend_and_patients_stay_on_one_side(tmp_path):
    report = check_dataset(atlas(tmp_path))
    assert report.problems == []
    split = split_cases(open_dataset(tmp_path), "0.5")
    sides = [{case.patient for case in side} for side in (split.train, split.validation)]
    assert sorted(map(len, sides)) == [1, 1]


def test_the_data_set_survives_as_a_manifest_and_as_mended_labels(tmp_path):
    dataset = open_dataset(atlas(tmp_path / "data"))
    save_manifest(dataset.manifest, dataset.root, tmp_path / "elsewhere" / "dataset.yaml")
    again = open_dataset(tmp_path / "elsewhere")
    mended = mend_dataset(tmp_path / "data", tmp_path / "mended")
    assert mended.left == []
    for case, *others in zip(dataset.cases, again.cases, open_dataset(tmp_path / "mended").cases, strict=True):
        for other in others:
            assert (other.id, other.patient, other.phases, other.tags) == (
                case.id, case.patient, case.phases, case.tags,
            )  # fmt: skip
            np.testing.assert_array_equal(class_labels(other), class_labels(case))


def challenge(root: Path) -> Path:
    """The form of 2009: a folder of images and one of outlines a patient, in archives of three parts."""
    part = "Sunnybrook Cardiac MR Database {}Part3/Training{}/SC-HF-I-01"
    outlines(root / part.format("Contours", "DataContours"), ED, ES)
    for number in range(1, 61):
        image(root / part.format("DICOM", "DataDICOM") / "DICOM" / f"IM-0001-{number:04d}.dcm", number)
    return root


def passed_on(root: Path) -> Path:
    """All series of a patient side by side, patients without their zeros."""
    outlines(root / "contours" / "SC-HF-I-01", ED, ES)
    for number in range(1, 61):
        image(root / "challenge_training" / "SC-HF-I-1" / f"IM-0004-{number:04d}.dcm", number)
    for number in range(1, 41):
        image(root / "challenge_training" / "SC-HF-I-1" / f"IM-0003-{number:04d}.dcm", number + 300)
    return root


@pytest.mark.parametrize("form", [challenge, passed_on])
def test_older_forms_give_the_same_cases(tmp_path, form):
    found = open_dataset(form(tmp_path / "old"))
    expected = open_dataset(atlas(tmp_path / "new"))
    assert found.manifest.layout == "sunnybrook"
    assert [case.id for case in found.cases] == ["SC-HF-I-01_ED", "SC-HF-I-01_ES"]
    for one, other in zip(found.cases, expected.cases, strict=False):
        np.testing.assert_array_equal(one.reference.array[...], other.reference.array[...])
        np.testing.assert_array_equal(class_labels(one), class_labels(other))


def test_patients_whose_images_were_not_copied_are_left_aside_and_said_so(tmp_path):
    root = challenge(tmp_path)
    outlines(root / "SC-N-02", {20: (3, 9)}, {8: (3, 5)})
    dataset = open_dataset(root)
    assert len(dataset.cases) == 2
    assert any("left aside, as their outlined images are not here: SC-N-02" in note for note in dataset.notes)


def test_outlines_without_any_image_and_atlas_folders_without_their_table_are_one_line(tmp_path):
    outlines(tmp_path / "SC-N-02", {20: (3, 9)}, {8: (3, 5)})
    with pytest.raises(DataError, match="add the short-axis series"):
        open_dataset(tmp_path)
    image(tmp_path / "SCD0003701" / "CINESAX_5" / "IM-0003-0008.dcm", 8)
    with pytest.raises(DataError, match=r"no scd_patientdata.csv says who SCD0003701 is"):
        open_dataset(tmp_path)
    (tmp_path / "scd_patientdata.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="a table of PatientID and OriginalID"):
        open_dataset(tmp_path)


def test_a_slice_between_others_without_an_outline_is_ignored(tmp_path):
    root = challenge(tmp_path)
    gone = next(root.rglob("IM-0001-0040-icontour-manual.txt"))
    gone.unlink()
    ed = open_dataset(root).cases[0]
    assert ed.reference.array[0, 0].tolist() == [20, 40, 60]
    assert (class_labels(ed)[..., 1] == IGNORE).all()
    assert class_labels(ed)[..., ::2].sum() == 45 + 20


def test_an_end_systolic_frame_that_differs_between_slices_is_one_phase(tmp_path):
    outlines(tmp_path / "SC-N-03", {20: (3, 12), 40: (3, 11)}, {8: (3, 7), 29: (3, 6)})
    for number in range(1, 41):
        image(tmp_path / "SC-N-3" / f"IM-0002-{number:04d}.dcm", number)
    assert open_dataset(tmp_path).cases[1].reference.array[0, 0].tolist() == [8, 29]


def test_a_phase_of_one_slice_is_an_image(tmp_path):
    outlines(tmp_path / "SC-N-03", {20: (3, 12), 40: (3, 11)}, {8: (3, 7)})
    for number in range(1, 41):
        image(tmp_path / "SC-N-3" / f"IM-0002-{number:04d}.dcm", number)
    es = open_dataset(tmp_path).cases[1]
    assert es.shape == (COLUMNS, ROWS)
    assert class_labels(es)[:, 6].nonzero()[0].tolist() == [3, 4, 5, 6]


# outlines


def test_a_hand_worked_outline_fills_the_pixels_whose_centres_it_encloses():
    """Centres lie at 0.5, 1.5, ...; those on the slanted side from (1, 1) to (5, 5) have the inside at smaller x."""
    filled = fill_polygon(np.array([[1, 1], [5.0, 5], [1, 5]]), (6, 6))
    expected = np.zeros((6, 6), bool)
    for x, rows in {1: [2, 3, 4], 2: [3, 4], 3: [4]}.items():
        expected[x, rows] = True
    np.testing.assert_array_equal(filled, expected)


def test_a_rectangle_on_the_grid_has_its_area_in_pixels_wherever_the_first_centre_lies():
    rectangle = np.array([[2.0, 1], [6, 1], [6, 4], [2, 4]])
    for first in (0.0, 0.5):
        filled = fill_polygon(rectangle, (9, 7), first=first)
        assert filled[2:6, 1:4].all()
        assert filled.sum() == 12 == polygon_area(rectangle)
    assert fill_polygon(rectangle + 0.5, (9, 7)).sum() == 12, "centres lie on all four sides"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), corners=st.integers(3, 9))
def test_any_outline_is_filled_as_matplotlib_finds_its_centres(seed: int, corners: int) -> None:
    points = np.random.default_rng(seed).uniform(-2, 14, (corners, 2))
    centres = np.stack(np.meshgrid(np.arange(10) + 0.5, np.arange(12) + 0.5, indexing="ij"), axis=-1)
    order = np.argsort(np.arctan2(*(points - points.mean(0)).T))  # a star: no line crosses another
    expected = Outline(points[order]).contains_points(centres.reshape(-1, 2)).reshape(10, 12)
    found = fill_polygon(points[order], (10, 12))
    assert (found != expected).sum() <= 1, "a centre within 1e-4 of a line"


def test_the_pixels_of_round_outlines_on_half_pixels_are_their_area_on_average():
    """As published: points 0.5 apart, on a grid of half pixels, so that many centres lie on the line."""
    generator = np.random.default_rng(0)
    for radius in (5, 15):
        angles = np.linspace(0, 2 * np.pi, 13 * radius, endpoint=False)
        ratios = []
        for _ in range(60):
            centre = 20 + generator.uniform(-0.5, 0.5, 2)
            points = np.round(2 * (centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1))) / 2
            ratios.append(fill_polygon(points, (40, 40)).sum() / polygon_area(points))
        assert np.mean(ratios) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("text", ["", "1 2\n3 4\n", "1 2 3\n4 5 6\n7 8 9\n", "1 2\n3 x\n5 6\n", "1 2\nnan 3\n4 5\n"])
def test_what_is_no_outline_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "IM-0001-0048-icontour-manual.txt"
    path.write_text(text)
    with pytest.raises(DataError, match="IM-0001-0048") as error:
        read_contour(path)
    assert "\n" not in str(error.value)
