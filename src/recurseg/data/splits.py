"""Which cases train and which validate: by patient, seeded, always the same for the same data set and words."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from recurseg.data.case import Case
from recurseg.data.dataset import Dataset, require_labels
from recurseg.errors import ConfigError, did_you_mean

DEFAULT_FRACTION = 0.2
OWN_SPLITS = ("validation", "val")
"""Names of the split that a data set means for validation."""


@dataclass(frozen=True)
class Split:
    """Two sides that share no patient.

    Attributes:
        train: Cases to learn from.
        validation: Cases to measure on.
        description: What was decided, in words.
        random: Whether another seed is another split.
    """

    train: list[Case]
    validation: list[Case]
    description: str
    random: bool = False


def split_cases(dataset: Dataset, holdout: str | None = None, *, seed: int = 0, labelled: bool = True) -> Split:
    """Splits a data set into training and validation cases.

    Args:
        dataset: Its cases that are there for prediction are left aside.
        holdout: What validates. "A,B": cases or patients; "0.2": a fraction of the patients; "2/5": fold 2 of 5;
            "16-19" or "0-3,16-19": sections of a single stack, both ends included; the name of a split in the
            manifest. Fractions and folds leave a split "test" of the manifest aside. None: the manifest's split
            "validation" or "val" where it has one, else a fifth of the patients,
            or the last fifth of a single stack's sections.
        seed: Decides the order of patients for fractions and folds.
        labelled: Whether the cases must have labels; image completion needs none.

    Returns:
        Both sides, neither of them empty.

    Raises:
        DataError: An image without its label.
        ConfigError: An unknown id (the nearest is named), one patient on both sides, an empty side.
    """
    cases = dataset.to_learn_from
    if labelled:
        require_labels(dataset)
    default = next((own for own in OWN_SPLITS if own in dataset.manifest.splits), str(DEFAULT_FRACTION))
    text = (holdout or default).strip()
    parts = [part.strip() for part in text.split(",") if part.strip()]
    known = {case.id for case in cases} | {case.patient for case in cases}
    if parts and all(part in known for part in parts):
        return _by_id(cases, parts)
    if text in dataset.manifest.splits:
        return _named(dataset, text)
    if re.fullmatch(r"\d+\s*-\s*\d+(\s*,\s*\d+\s*-\s*\d+)*", text):
        return _by_sections(cases, parts)
    tested = set(dataset.manifest.splits.get("test", []))
    cases = [case for case in cases if case.id not in tested] or cases
    if match := re.fullmatch(r"(\d+)\s*/\s*(\d+)", text):
        return _fold(cases, int(match[1]), int(match[2]), seed)
    if match := re.fullmatch(r"every\s+(\d+)(?:nd|rd|th)?", text):
        return _every(cases, int(match[1]))
    if (fraction := _number(text)) is not None:
        return _fraction(cases, fraction, seed)
    unknown = next((part for part in parts if part not in known), text)
    choices = known | set(dataset.manifest.splits)
    raise ConfigError(f"holdout '{unknown}': no such case, patient or split{did_you_mean(unknown, choices)}")


def leaked_patients(one: Iterable[Case], other: Iterable[Case]) -> list[str]:
    """Patients that have cases on both sides."""
    return sorted({case.patient for case in one} & {case.patient for case in other})


def _by_id(cases: list[Case], names: list[str]) -> Split:
    validation = [case for case in cases if case.id in names or case.patient in names]
    held = {case.id for case in validation}
    train = [case for case in cases if case.id not in held]
    return _sides(train, validation, f"held out by name: {', '.join(case.id for case in validation)}")


def _named(dataset: Dataset, name: str) -> Split:
    splits = dataset.manifest.splits
    validation = [case for case in dataset.to_learn_from if case.id in splits[name]]
    own = next((other for other in splits if other != name and re.match(r"train", other, re.IGNORECASE)), None)
    train = [
        case for case in dataset.to_learn_from if (case.id in splits[own] if own else case.id not in splits[name])
    ]
    rest = f"'{own}' trains" if own else "the rest trains"
    return _sides(train, validation, f"split '{name}' of the manifest validates, {rest}")


def _by_sections(cases: list[Case], ranges: list[str]) -> Split:
    stack = _single_stack(cases, f"holdout '{','.join(ranges)}' names sections")
    number = _sections_of(stack)
    held = np.zeros(number, dtype=bool)
    for text in ranges:
        start, last = (int(end) for end in text.split("-"))
        if not start <= last < number:
            raise ConfigError(f"holdout '{text}': case {stack.id} has sections 0-{number - 1}")
        held[start : last + 1] = True
    return _sections(stack, held)


def _fold(cases: list[Case], fold: int, folds: int, seed: int) -> Split:
    if folds < 2 or not 1 <= fold <= folds:
        raise ConfigError(f"holdout '{fold}/{folds}': no such fold; the folds of 5 are 1/5, 2/5, ... 5/5")
    if _is_single_stack(cases):
        number = _sections_of(cases[0])
        _enough(number, folds, f"sections in case {cases[0].id}")
        held = np.zeros(number, dtype=bool)
        held[number * (fold - 1) // folds : number * fold // folds] = True
        return _sections(cases[0], held)
    patients = _shuffled_patients(cases, seed)
    _enough(len(patients), folds, "patients")
    return _by_patient(cases, set(patients[fold - 1 :: folds]), f"fold {fold} of {folds}, seed {seed}")


def _every(cases: list[Case], step: int) -> Split:
    if step < 2:
        raise ConfigError(f"holdout 'every {step}' leaves nothing to train on: hold out every 2nd or fewer")
    if _is_single_stack(cases):
        number = _sections_of(cases[0])
        _enough(number, step, f"sections in case {cases[0].id}")
        return _sections(cases[0], np.arange(1, number + 1) % step == 0)
    _enough(len(cases), step, "cases")
    held = {id for place, id in enumerate(sorted(case.id for case in cases), start=1) if place % step == 0}
    validation, train = ([case for case in cases if (case.id in held) == side] for side in (True, False))
    return _sides(train, validation, f"held out: the last of every {step} cases by name, {len(held)} of {len(cases)}")


def _fraction(cases: list[Case], fraction: float, seed: int) -> Split:
    if not 0 < fraction < 1:
        raise ConfigError(f"holdout '{fraction:g}': a fraction lies between 0 and 1")
    if _is_single_stack(cases):
        number = _sections_of(cases[0])
        _enough(number, 2, f"sections in case {cases[0].id}")
        held = np.zeros(number, dtype=bool)
        held[-_share(fraction, number) :] = True
        return _sections(cases[0], held)
    patients = _shuffled_patients(cases, seed)
    _enough(len(patients), 2, "patients")
    chosen = set(patients[: _share(fraction, len(patients))])
    return _by_patient(cases, chosen, f"{fraction:g} of the patients, seed {seed}")


def _share(fraction: float, number: int) -> int:
    return min(max(1, round(fraction * number)), number - 1)


def _by_patient(cases: list[Case], patients: set[str], how: str) -> Split:
    validation = [case for case in cases if case.patient in patients]
    train = [case for case in cases if case.patient not in patients]
    shown = ", ".join(case.id for case in validation[:8]) + (", ..." if len(validation) > 8 else "")
    return replace(_sides(train, validation, f"held out by patient ({how}): {shown}"), random=True)


def _sections(stack: Case, held: np.ndarray) -> Split:
    """Cuts a stack into runs of held-out and other sections."""
    edges = [0, *(np.flatnonzero(np.diff(held.astype(int))) + 1).tolist(), len(held)]
    runs = list(itertools.pairwise(edges))
    train = [stack.sections(start, stop) for start, stop in runs if not held[start]]
    validation = [stack.sections(start, stop) for start, stop in runs if held[start]]
    if not train or not validation:
        raise ConfigError(
            f"holdout leaves no section of case {stack.id} for {'training' if not train else 'validation'}"
        )
    named = ", ".join(f"{start}-{stop - 1}" for start, stop in runs if held[start])
    return Split(train, validation, f"held out: sections {named} of {len(held)} of case {stack.id}")


def _sides(train: list[Case], validation: list[Case], description: str) -> Split:
    if not train or not validation:
        side = "training" if not train else "validation"
        raise ConfigError(f"holdout leaves no case for {side}: hold out {'fewer' if not train else 'other'} cases")
    for patient in leaked_patients(train, validation):
        names = ",".join(case.id for case in [*validation, *train] if case.patient == patient)
        raise ConfigError(f"holdout puts patient {patient} on both sides: hold out all of them: {names}")
    return Split(train, validation, description)


def _shuffled_patients(cases: list[Case], seed: int) -> list[str]:
    patients = sorted({case.patient for case in cases})
    return [patients[index] for index in np.random.default_rng(seed).permutation(len(patients))]


def _enough(number: int, needed: int, what: str) -> None:
    if number < needed:
        raise ConfigError(f"holdout needs at least {needed} {what}, there {'is' if number == 1 else 'are'} {number}")


def _is_single_stack(cases: list[Case]) -> bool:
    return len(cases) == 1 and cases[0].slice_axis is not None


def _single_stack(cases: list[Case], why: str) -> Case:
    if not _is_single_stack(cases):
        kind = f"{len(cases)} cases" if len(cases) > 1 else "a single 2-D image"
        raise ConfigError(f"{why}, but the data set is {kind}: name cases or give a fraction")
    return cases[0]


def _sections_of(stack: Case) -> int:
    assert stack.slice_axis is not None
    return stack.shape[stack.slice_axis]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
