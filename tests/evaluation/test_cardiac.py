"""Clinical numbers: hand-worked volumes, phases, units, what is missing, and cines measured frame by frame."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from recurseg.cli.evaluate import evaluate as command
from recurseg.data.case import Case, Volume
from recurseg.errors import ConfigError, DataError
from recurseg.evaluation import QUANTITIES, evaluate, read_evaluation
from recurseg.evaluation.agreement import agreement
from recurseg.evaluation.cardiac import Cardiac, ejection_fraction
from recurseg.evaluation.hearts import Frame, count_frame, measure_hearts, roles_of
from recurseg.evaluation.result import together
from recurseg.evaluation.sources import Labelled

nib = pytest.importorskip("nibabel")

NAMES = ["background", "right ventricle", "myocardium", "left ventricle"]
SHAPE = (10, 10, 20)


def heart(lv: int, rv: int = 0, myo: int = 0) -> np.ndarray:
    """A label map with this many voxels of each structure."""
    flat = np.zeros(math.prod(SHAPE), np.uint8)
    flat[:lv], flat[lv : lv + rv], flat[lv + rv : lv + rv + myo] = 3, 1, 2
    return flat.reshape(SHAPE)


def frame(patient, phase, lv, *, name="", voxel_ml: float | None = 0.001, **others):
    sizes = {"LV": lv} | others
    return Frame(patient, name or f"{patient}_{phase}", frozenset({phase} if phase else ()), voxel_ml, sizes)


def labelled(classes, *, case_id="a", phases=None, patient="p", spacing=(1.0, 1.0, 1.0), known=True):
    volume = Volume(classes, spacing, None, Path(case_id), "array", spacing_known=known)
    return Labelled(case_id, volume, case=Case(case_id, {"MR": volume}, volume, patient, phases=phases or {"ED": 0}))


# Values


def test_a_thousand_voxels_of_a_cubic_millimetre_are_one_millilitre():
    ed = labelled(heart(1000, 500, 400))
    found = count_frame(ed, 0, heart(900, 500, 400), heart(1000, 500, 400), roles_of(NAMES))
    cardiac, _ = measure_hearts([found])
    assert cardiac is not None
    numbers = cardiac.patients["p"]
    assert numbers["lv_edv_ml"] == pytest.approx((0.9, 1.0))
    assert numbers["rv_edv_ml"] == pytest.approx((0.5, 0.5))
    assert numbers["myo_ed_ml"] == pytest.approx((0.4, 0.4))
    assert numbers["myo_mass_g"] == pytest.approx((0.42, 0.42)), "1.05 g/ml"


def test_a_voxel_counts_with_its_spacing():
    thick = labelled(heart(1000), spacing=(1.5, 1.5, 8.0))
    found = count_frame(thick, 0, heart(1000), heart(1000), {"LV": 3})
    cardiac, _ = measure_hearts([found])
    assert cardiac is not None
    assert cardiac.patients["p"]["lv_edv_ml"][1] == pytest.approx(18.0)


def test_volumes_mass_and_ejection_fraction_by_hand():
    ed = frame("p", "ED", (150_000, 120_000), RV=(140_000, 160_000), myocardium=(90_000, 100_000))
    es = frame("p", "ES", (60_000, 48_000), RV=(70_000, 80_000), myocardium=(95_000, 105_000))
    cardiac, notes = measure_hearts([ed, es])
    assert cardiac is not None
    assert notes == []
    assert cardiac.patients["p"] == {
        "lv_edv_ml": pytest.approx((150, 120)), "lv_esv_ml": pytest.approx((60, 48)),
        "lv_sv_ml": pytest.approx((90, 72)), "lv_ef_percent": pytest.approx((60, 60)),
        "rv_edv_ml": pytest.approx((140, 160)), "rv_esv_ml": pytest.approx((70, 80)),
        "rv_sv_ml": pytest.approx((70, 80)), "rv_ef_percent": pytest.approx((50, 50)),
        "myo_ed_ml": pytest.approx((90, 100)), "myo_es_ml": pytest.approx((95, 105)),
        "myo_mass_g": pytest.approx((94.5, 105)),
    }  # fmt: skip
    assert list(cardiac.patients["p"]) == list(QUANTITIES)


def test_the_ejection_fraction_is_the_share_that_is_pumped_out():
    assert ejection_fraction(120, 48) == 60
    assert ejection_fraction(100, 100) == 0
    assert ejection_fraction(50, 60) == -20
    assert math.isnan(ejection_fraction(0, 0))


def test_a_model_with_the_left_cavity_alone_gives_its_numbers_alone():
    cardiac, _ = measure_hearts([frame("p", "ED", (100, 100)), frame("p", "ES", (50, 40))])
    assert cardiac is not None
    assert [q.id for q in cardiac.quantities] == ["lv_edv_ml", "lv_esv_ml", "lv_sv_ml", "lv_ef_percent"]


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (NAMES, {"RV": 1, "myocardium": 2, "LV": 3}),
        (["bg", "LV_cavity", "Myo", "RV-cavity"], {"LV": 1, "myocardium": 2, "RV": 3}),
        (["background", "Left Ventricle"], {"LV": 1}),
        (["background", "ventricles", "cerebellum"], {}),
    ],
)
def test_structures_are_found_by_the_names_of_classes(names, roles):
    assert roles_of(names) == roles


def test_two_classes_of_one_structure_are_refused():
    with pytest.raises(ConfigError, match="'LV' and 'left ventricle' are both"):
        roles_of(["background", "LV", "left ventricle"])


# Phases


def test_without_names_ed_and_es_are_the_largest_and_the_smallest_labelled_frame():
    sizes = [(70, 80), (95, 100), (10, 60), (30, 40)]
    frames = [frame("p", "", size, name=f"frame {n} of p") for n, size in enumerate(sizes)]
    cardiac, notes = measure_hearts(frames)
    assert cardiac is not None
    assert cardiac.patients["p"]["lv_ef_percent"] == pytest.approx((100 * 65 / 95, 60)), "by the label, on both sides"
    assert any("phases of patient p have no name" in note for note in notes)


def test_a_missing_phase_leaves_its_numbers_undefined_and_is_named():
    cardiac, notes = measure_hearts(
        [frame("p", "ED", (90, 100)), frame("q", "ED", (90, 100)), frame("q", "ES", (50, 50))]
    )
    assert cardiac is not None
    assert cardiac.patients["p"]["lv_edv_ml"] == pytest.approx((0.09, 0.1))
    assert all(math.isnan(v) for v in cardiac.patients["p"]["lv_ef_percent"])
    assert cardiac.agreement["lv_ef_percent"].undefined == ["p"]
    assert "no labelled frame of ES: patient p" in notes


def test_one_frame_without_a_name_is_neither_phase():
    assert measure_hearts([frame("p", "", (90, 100))]) == (None, [])
    with pytest.raises(DataError, match=r"`phases` in dataset\.yaml"):
        measure_hearts([frame("p", "", (90, 100))], required=True)


def test_a_phase_given_twice_is_refused():
    with pytest.raises(DataError, match="patient p has two frames of ED, a and b"):
        measure_hearts([frame("p", "ED", (1, 1), name="a"), frame("p", "ED", (1, 1), name="b")])


# Units and missed structures


def test_without_a_spacing_there_is_the_ejection_fraction_alone():
    frames = [frame("p", "ED", (150, 100), voxel_ml=None), frame("p", "ES", (60, 50), voxel_ml=None)]
    cardiac, notes = measure_hearts(frames)
    assert cardiac is not None
    assert cardiac.patients == {"p": {"lv_ef_percent": pytest.approx((60, 50))}}
    assert "`spacing:` in dataset.yaml" in notes[0]
    assert "one thickness assumed" in notes[0]
    with pytest.raises(DataError, match=r"p_ED carries none: write `spacing:` in dataset\.yaml"):
        measure_hearts(frames, required=True)


def test_a_ventricle_that_is_missed_counts_as_one_that_does_not_pump():
    cardiac, notes = measure_hearts([frame("p", "ED", (0, 100)), frame("p", "ES", (0, 40))])
    assert cardiac is not None
    assert cardiac.patients["p"]["lv_ef_percent"] == pytest.approx((0, 60))
    assert any("no LV predicted at ED of patient p" in note for note in notes)


def test_an_empty_label_has_no_ejection_fraction():
    cardiac, _ = measure_hearts([frame("p", "ED", (100, 0)), frame("p", "ES", (40, 0))])
    assert cardiac is not None
    assert cardiac.agreement["lv_ef_percent"].n == 0


# Agreement


def test_bias_and_limits_of_agreement_by_hand():
    found = agreement({"a": (11.0, 10.0), "b": (23.0, 20.0), "c": (28.0, 30.0), "d": (float("nan"), 1.0)})
    assert (found.n, found.prediction, found.label) == (3, pytest.approx(62 / 3), 20)
    assert found.bias == pytest.approx(2 / 3)  # of 1, 3 and −2
    assert found.sd == pytest.approx(math.sqrt(19 / 3))  # (1/3)² + (7/3)² + (8/3)² = 38/3, over 2
    assert found.limits == pytest.approx((2 / 3 - 1.96 * math.sqrt(19 / 3), 2 / 3 + 1.96 * math.sqrt(19 / 3)))
    assert found.mean_absolute_error == 2
    assert found.correlation == pytest.approx(170 / math.sqrt(200 * 458 / 3))
    assert found.values == {"a": 1, "b": 3, "c": -2}
    assert found.undefined == ["d"]
    assert found.interval is None


def test_from_six_patients_up_there_are_intervals():
    from scipy.stats import bootstrap

    differences = np.array([1.0, 3, -2, 0, 4, 2, -1])
    found = agreement({str(n): (50 + n + d, 50.0 + n) for n, d in enumerate(differences)})
    other = bootstrap((differences,), np.mean, rng=np.random.default_rng(1)).confidence_interval
    assert found.interval == pytest.approx((other.low, other.high), abs=0.15)
    assert found.values == {}


def test_one_patient_has_a_bias_and_no_limits():
    found = agreement({"a": (11.0, 10.0)})
    assert (found.bias, found.limits) == (1, None)
    assert math.isnan(found.correlation)


# Through `evaluate`


def nifti(path, array, spacing=(1.0, 1.0, 2.0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, np.diag([*spacing, 1.0]))
    nib.save(image, path)
    return path


def dataset(root, cases, classes=NAMES, **more):
    """A data set of cases: id → (fields of its entry, label array or None)."""
    import yaml

    entries = []
    for id, (fields, label) in cases.items():
        nifti(root / "images" / f"{id}.nii.gz", label.astype(np.float32))
        nifti(root / "labels" / f"{id}.nii.gz", label)
        files = {"images": {"MR": f"images/{id}.nii.gz"}, "label": f"labels/{id}.nii.gz"}
        entries.append({"id": id} | files | fields)
    document = {"name": "hearts", "modalities": ["MR"], "classes": dict(enumerate(classes)), "cases": entries}
    (root / "dataset.yaml").write_text(yaml.safe_dump({"schema_version": 1} | document | more))
    return root


@pytest.fixture
def two_phases(tmp_path):
    """Two patients, a 3-D case a phase: ejection fractions of 60 and 50 %, predicted 50 and 50 %."""
    labels = {"p": (1000, 400), "q": (800, 400)}
    predicted = {"p": (1000, 500), "q": (800, 400)}
    cases = {}
    for patient in labels:
        for phase, lv, found in zip(("ED", "ES"), labels[patient], predicted[patient], strict=True):
            fields = {"patient": patient, "phases": {phase: 0}}
            cases[f"{patient}_{phase}"] = (fields, heart(lv, 300, 500))
            nifti(tmp_path / "out" / f"{patient}_{phase}.nii.gz", heart(found, 300, 500))
    return tmp_path / "out", dataset(tmp_path / "set", cases)


def test_two_cases_of_a_patient_give_its_numbers(two_phases):
    found = evaluate(*two_phases, metrics=["dice"])
    assert found.cardiac is not None
    assert found.cardiac.patients["p"]["lv_edv_ml"] == pytest.approx((2, 2)), "voxels of 2 mm³"
    assert found.cardiac.patients["p"]["lv_ef_percent"] == pytest.approx((50, 60))
    assert found.cardiac.agreement["lv_ef_percent"].mean_absolute_error == pytest.approx(5)
    assert found.cardiac.agreement["rv_ef_percent"].bias == 0


def test_numbers_come_back_from_json_and_join(two_phases, tmp_path):
    found = evaluate(*two_phases, metrics=["dice"])
    assert found.cardiac is not None
    document = json.loads(found.to_json(tmp_path / "e.json").read_text())
    assert document["cardiac"]["agreement"]["lv_ef_percent"]["bias"] == pytest.approx(-5)
    back = read_evaluation(tmp_path / "e.json")
    assert back.cardiac == found.cardiac
    other = Cardiac({"r": found.cardiac.patients["p"]})
    found_other = evaluate(*two_phases, metrics=["dice"], clinical=False)
    found_other.cardiac = other
    joined = together([found, found_other]).cardiac
    assert joined is not None
    assert list(joined.patients) == ["p", "q", "r"]


def test_plain_folders_have_no_patients(two_phases):
    predictions, root = two_phases
    assert evaluate(predictions, root / "labels", class_names=NAMES).cardiac is None
    with pytest.raises(DataError, match=r"dataset\.yaml"):
        evaluate(predictions, root / "labels", class_names=NAMES, clinical=True)


def test_what_is_no_heart_is_left_alone_unless_asked_for(two_phases):
    names = ["background", "grey", "white", "fluid"]
    assert evaluate(*two_phases, class_names=names, metrics=["dice"]).cardiac is None
    with pytest.raises(ConfigError, match="left ventricle"):
        evaluate(*two_phases, class_names=names, metrics=["dice"], clinical=True)
    assert evaluate(*two_phases, metrics=["dice"], clinical=False).cardiac is None
    with pytest.raises(ConfigError, match="sections"):
        evaluate(*two_phases, metrics=["dice"], sections="1-3", clinical=True)
    assert evaluate(*two_phases, metrics=["dice"], sections="1-3").cardiac is None


def test_the_wrong_patient_is_a_note_or_where_asked_for_an_error(tmp_path):
    cases = {name: ({"patient": "p", "phases": {"ED": 0}}, heart(100)) for name in "ab"}
    for name in "ab":
        nifti(tmp_path / "out" / f"{name}.nii.gz", heart(100))
    data = dataset(tmp_path / "set", cases)
    found = evaluate(tmp_path / "out", data, metrics=["dice"])
    assert found.cardiac is None
    assert any("no clinical numbers: patient p has two frames of ED" in note for note in found.notes)
    with pytest.raises(DataError, match="two frames of ED"):
        evaluate(tmp_path / "out", data, metrics=["dice"], clinical=True)


def cine(*frames):
    return np.stack(frames, axis=-1)


@pytest.fixture
def one_cine(tmp_path):
    """A patient of five frames, 1 and 3 labelled: an ejection fraction of 60 %, predicted 50 %."""
    nothing = np.full(SHAPE, 255, np.uint8)
    label = cine(nothing, heart(1000), nothing, heart(400), nothing)
    found = cine(heart(7), heart(1000), heart(7), heart(500), heart(7))
    nifti(tmp_path / "out" / "p.nii.gz", found)
    data = dataset(tmp_path / "set", {"p": ({"phases": {"ED": 1, "ES": 3}}, label)})
    return tmp_path / "out", data


def test_a_cine_with_phases_gives_its_numbers(one_cine):
    found = evaluate(*one_cine, metrics=["dice"])
    assert found.cardiac is not None
    assert found.cardiac.patients["p"]["lv_ef_percent"] == pytest.approx((50, 60))
    assert found.cardiac.patients["p"]["lv_edv_ml"] == pytest.approx((2, 2))


def test_a_cine_is_measured_frame_by_frame_over_its_labelled_frames(one_cine):
    found = evaluate(*one_cine, metrics=["dice", "hd95_mm"])
    options = {"metrics": ["dice", "hd95_mm"], "spacing": (1, 1, 2), "class_names": NAMES}
    alone = [evaluate({"f": heart(a)}, {"f": heart(b)}, **options) for a, b in ((1000, 1000), (500, 400))]
    for metric in ("dice", "hd95_mm"):
        each = [one.value(metric, class_name="left ventricle") for one in alone]
        assert found.value(metric, class_name="left ventricle") == pytest.approx(np.mean(each))
    assert found.value("dice", class_name="left ventricle") == pytest.approx((1 + 800 / 900) / 2)
    assert any("mean over its labelled frames" in note for note in found.notes)


def test_pooled_measures_of_a_cine_count_all_labelled_frames(one_cine):
    found = evaluate(*one_cine, metrics=["recall:pooled"])
    assert found.value("recall:pooled", class_name="background") == pytest.approx((1000 + 1500) / (1000 + 1600))


@pytest.mark.parametrize("axis", [0, 3])
def test_arrays_of_frames_are_measured_frame_by_frame(axis):
    label = np.stack([heart(1000), np.full(SHAPE, 255, np.uint8), heart(400)], axis)
    found = np.stack([heart(1000), heart(3), heart(500)], axis)
    value = evaluate(
        {"p": found}, {"p": label}, metrics=["dice", "hd95_mm"], spacing=(1, 1, 2), class_names=NAMES, time_axis=axis
    )
    assert value.value("dice", class_name="left ventricle") == pytest.approx((1 + 800 / 900) / 2)


# The command


def run(*arguments):
    app = typer.Typer()
    app.command()(command)
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_command_prints_and_writes_clinical_numbers(two_phases, tmp_path):
    result = run(*two_phases, "--metrics", "dice", "--out", tmp_path / "result")
    assert "hearts of 2 patients" in result.output
    assert "LV EF" in result.output
    assert {p.name for p in (tmp_path / "result").iterdir()} == {
        "evaluation.csv", "evaluation.json", "cardiac.csv", "bland_altman.svg",
    }  # fmt: skip
    lines = (tmp_path / "result" / "cardiac.csv").read_text().splitlines()
    assert lines[0] == "patient,quantity,prediction,label,difference,unit"
    assert len(lines) == 1 + 2 * len(QUANTITIES)


def test_the_command_gives_one_json_document_with_them(two_phases):
    document = json.loads(run(*two_phases, "--metrics", "dice", "--json").stdout)
    assert document["cardiac"]["patients"]["p"]["lv_ef_percent"] == {
        "prediction": pytest.approx(50), "label": pytest.approx(60),
    }  # fmt: skip
    without = json.loads(run(*two_phases, "--metrics", "dice", "--json", "--no-clinical").stdout)
    assert without["cardiac"] is None
