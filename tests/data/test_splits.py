"""Splits: by patient, seeded, never empty."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recurseg.data.case import Case, Volume
from recurseg.data.dataset import Dataset
from recurseg.data.manifest import CaseEntry, DatasetManifest
from recurseg.data.splits import leaked_patients, split_cases
from recurseg.errors import ConfigError, DataError


def case(name: str, patient: str = "", shape=(4, 4), labelled=True) -> Case:
    def volume():
        stack_axis = 0 if len(shape) == 3 else None
        return Volume(np.zeros(shape), (1.0,) * len(shape), np.eye(4), Path(name), "array", stack_axis=stack_axis)

    return Case(name, {"T1": volume()}, volume() if labelled else None, patient or name)


def dataset(*cases: Case, splits: dict[str, list[str]] | None = None) -> Dataset:
    entries = [CaseEntry(id=case.id, patient=case.patient, images={"T1": case.id}) for case in cases]
    manifest = DatasetManifest(
        name="d", modalities=["T1"], classes={0: "a", 1: "b"}, cases=entries, splits=splits or {}
    )
    return Dataset(Path("d"), manifest, list(cases), [])


def ids(cases: list[Case]) -> list[str]:
    return [case.id for case in cases]


ten = [f"p{n:02d}" for n in range(10)]


def stack(sections: int = 20) -> Dataset:
    return dataset(case("stack", shape=(sections, 4, 4)))


def test_named_cases_are_held_out():
    split = split_cases(dataset(*map(case, ten)), "p03, p07")
    assert ids(split.validation) == ["p03", "p07"]
    assert ids(split.train) == [name for name in ten if name not in ("p03", "p07")]


def test_a_patients_name_holds_out_all_of_their_cases():
    split = split_cases(dataset(case("a1", "a"), case("a2", "a"), case("b1", "b")), "a")
    assert ids(split.validation) == ["a1", "a2"]


def test_an_unknown_case_names_the_nearest():
    with pytest.raises(ConfigError, match=r"'p3'.*did you mean 'p03'"):
        split_cases(dataset(*map(case, ten)), "p3")


def test_every_fourth_by_sorted_name_is_held_out():
    shuffled = [ten[n] for n in (3, 9, 0, 7, 5, 1, 8, 2, 6, 4)]
    split = split_cases(dataset(*map(case, shuffled)), "every 4th")
    assert sorted(ids(split.validation)) == ["p03", "p07"]
    assert len(split.train) == 8
    assert "2 of 10" in split.description


def test_every_third_section_of_a_stack_is_held_out():
    split = split_cases(stack(7), "every 3rd")
    assert ids(split.validation) == ["stack[2-2]", "stack[5-5]"]
    assert ids(split.train) == ["stack[0-1]", "stack[3-4]", "stack[6-6]"]


@pytest.mark.parametrize("text", ["every 1", "every 0", "every 11th"])
def test_every_so_many_leaves_cases_on_both_sides(text):
    with pytest.raises(ConfigError, match="holdout"):
        split_cases(dataset(*map(case, ten)), text)


def test_every_second_case_does_not_part_a_patient():
    with pytest.raises(ConfigError, match="patient a on both sides"):
        split_cases(dataset(case("a1", "a"), case("a2", "a"), case("b1", "b")), "every 2nd")


def test_default_is_a_fifth_of_the_patients():
    split = split_cases(dataset(*map(case, ten)))
    assert len(split.validation) == 2
    assert len(split.train) == 8


@pytest.mark.parametrize(("holdout", "number"), [("0.3", 3), ("0.01", 1), ("0.99", 9)], ids=str)
def test_fractions_leave_something_on_both_sides(holdout, number):
    split = split_cases(dataset(*map(case, ten)), holdout)
    assert len(split.validation) == number


def test_the_same_seed_gives_the_same_split_and_another_seed_another():
    data = dataset(*map(case, ten))
    splits = [tuple(ids(split_cases(data, "0.2", seed=seed).validation)) for seed in (3, 3, 4, 5, 6)]
    assert splits[0] == splits[1]
    assert len(set(splits)) > 1


def test_order_of_cases_does_not_matter():
    forward = split_cases(dataset(*map(case, ten)), "0.3")
    backward = split_cases(dataset(*map(case, reversed(ten))), "0.3")
    assert set(ids(forward.validation)) == set(ids(backward.validation))


@given(st.integers(2, 6), st.integers(0, 5), st.integers(0, 3))
def test_folds_hold_out_every_case_once(folds, extra, seed):
    cases = [case(f"{p}-{visit}", str(p)) for p in range(folds + extra) for visit in range(2)]
    held = []
    for fold in range(1, folds + 1):
        split = split_cases(dataset(*cases), f"{fold}/{folds}", seed=seed)
        assert not leaked_patients(split.train, split.validation)
        assert len(split.train) + len(split.validation) == len(cases)
        held += ids(split.validation)
    assert sorted(held) == sorted(ids(cases))


@given(st.integers(2, 9), st.floats(0.05, 0.95), st.integers(0, 9))
def test_no_patient_is_on_both_sides(patients, fraction, seed):
    cases = [case(f"{p}-{visit}", str(p)) for p in range(patients) for visit in range(3)]
    split = split_cases(dataset(*cases), str(fraction), seed=seed)
    assert split.train
    assert split.validation
    assert not leaked_patients(split.train, split.validation)


def test_holding_out_one_of_a_patients_two_cases_is_refused():
    with pytest.raises(ConfigError, match=r"patient a on both sides.*a1,a2"):
        split_cases(dataset(case("a1", "a"), case("a2", "a"), case("b", "b")), "a1")


def test_a_single_stack_gives_its_last_fifth():
    split = split_cases(stack())
    assert ids(split.validation) == ["stack[16-19]"]
    assert ids(split.train) == ["stack[0-15]"]
    assert split.validation[0].shape == (4, 4, 4)
    assert "16-19" in split.description


def test_sections_in_the_middle_leave_two_pieces_to_train_on():
    split = split_cases(stack(), "5-9")
    assert ids(split.train) == ["stack[0-4]", "stack[10-19]"]
    assert ids(split.validation) == ["stack[5-9]"]


def test_several_ranges_of_sections():
    assert ids(split_cases(stack(), "0-3,16-19").validation) == ["stack[0-3]", "stack[16-19]"]


def test_folds_of_a_stack_cover_every_section_once():
    held = [split_cases(stack(), f"{fold}/3").validation[0].id for fold in (1, 2, 3)]
    assert held == ["stack[0-5]", "stack[6-12]", "stack[13-19]"]


@pytest.mark.parametrize("holdout", ["16-20", "19-16", "0-19", "1.5", "0", "6/5", "0/5", "1/1", "nothing"])
def test_what_a_stack_cannot_hold_out_is_one_line(holdout):
    with pytest.raises(ConfigError) as error:
        split_cases(stack(), holdout)
    assert "\n" not in str(error.value)


def test_sections_of_several_cases_are_refused():
    with pytest.raises(ConfigError, match="names sections, but the data set is 10 cases"):
        split_cases(dataset(*map(case, ten)), "1-3")


def test_a_case_may_be_called_like_a_range():
    assert ids(split_cases(dataset(case("1-3"), case("4-6")), "1-3").validation) == ["1-3"]


def test_named_split_of_the_manifest():
    splits = {"train": ["p00", "p01"], "val": ["p02"], "test": ["p03"]}
    split = split_cases(dataset(*map(case, ten[:4]), splits=splits), "val")
    assert ids(split.validation) == ["p02"]
    assert ids(split.train) == ["p00", "p01"]


def test_named_split_without_a_training_one_trains_on_the_rest():
    split = split_cases(dataset(*map(case, ten[:4]), splits={"val": ["p02"]}), "val")
    assert ids(split.train) == ["p00", "p01", "p03"]


def test_an_empty_side_is_refused():
    with pytest.raises(ConfigError, match="no case for training"):
        split_cases(dataset(case("a"), case("b")), "a,b")
    with pytest.raises(ConfigError, match="no case for validation"):
        split_cases(dataset(case("a"), case("b"), splits={"val": []}), "val")
    with pytest.raises(ConfigError, match="at least 2 patients, there is 1"):
        split_cases(dataset(case("a", "p"), case("b", "p")))


def test_an_image_without_its_label_cannot_be_trained_on():
    with pytest.raises(DataError, match="case b: image without its label"):
        split_cases(dataset(case("a"), case("b", labelled=False)))
