"""Fewer training patients: whole ones, nested, and the same for the same seed."""

import numpy as np
import pytest

from recurseg.data.case import Case, Volume
from recurseg.data.fewer import fewer
from recurseg.data.splits import Split
from recurseg.errors import ConfigError


def cases(patients):
    volume = Volume(np.zeros((2, 2)), (1.0, 1.0), None, "x", "array")  # pyright: ignore[reportArgumentType]
    return [Case(f"p{n:02}_{phase}", {"MR": volume}, patient=f"p{n:02}") for n in patients for phase in ("ED", "ES")]


SPLIT = Split(cases(range(20)), cases(range(20, 25)), "5 patients held out")


def patients(split):
    return {case.patient for case in split.train}


@pytest.mark.parametrize(("fraction", "count"), [(0.1, 2), (0.4, 8), (0.8, 16), (1, 20), (0.001, 1)])
def test_a_fraction_of_the_patients_trains_with_all_their_cases(fraction, count):
    some = fewer(SPLIT, fraction, seed=0)
    assert len(patients(some)) == count
    assert len(some.train) == 2 * count
    assert some.validation == SPLIT.validation


def test_a_smaller_fraction_is_part_of_a_larger_one():
    kept = [patients(fewer(SPLIT, fraction, seed=3)) for fraction in (0.1, 0.4, 0.8)]
    assert kept[0] < kept[1] < kept[2]


def test_seeds_choose_other_patients():
    assert patients(fewer(SPLIT, 0.4, seed=0)) == patients(fewer(SPLIT, 0.4, seed=0))
    assert len({frozenset(patients(fewer(SPLIT, 0.4, seed=seed))) for seed in range(5)}) > 1


def test_the_description_names_who_trains():
    said = fewer(SPLIT, 0.05, seed=0).description
    assert said.startswith("5 patients held out; 1 of 20 training patients are used: p")


@pytest.mark.parametrize("fraction", [0, -1, 1.1])
def test_a_wrong_fraction_is_one_clear_line(fraction):
    with pytest.raises(ConfigError, match="above 0 and at most 1"):
        fewer(SPLIT, fraction, seed=0)
