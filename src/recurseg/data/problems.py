"""What can be wrong with a data set, and how to mend it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Literal

from recurseg.data.case import IGNORE, Case
from recurseg.data.check_report import CaseReport, Intensity, Problem
from recurseg.data.dataset import Dataset

MANY_CLASSES = 64
"""Labels with more classes than this are asked about."""


def classes_counted(case: Case, counts: Mapping[int, int]) -> dict[int, int]:
    """Class → voxels, ignored and unexplained values left out."""
    by_class: dict[int, int] = {}
    for value, number in counts.items():
        target = case.label_map.get(value, IGNORE)
        if target != IGNORE:
            by_class[target] = by_class.get(target, 0) + number
    return by_class


def fractions(case: Case, counts: Mapping[int, int], names: list[str]) -> dict[str, float]:
    by_class = classes_counted(case, counts)
    voxels = max(1, sum(by_class.values()))
    return {name: by_class.get(index, 0) / voxels for index, name in enumerate(names)}


def label_problems(case: Case, counts: Mapping[int, int], dataset: Dataset) -> list[Problem]:
    assert case.label is not None
    problems = []
    unknown = [value for value in counts if value not in case.label_map]
    if unknown:
        known = ", ".join(f"{value} {dataset.class_names[c]}" for value, c in case.label_map.items() if c != IGNORE)
        problems.append(
            Problem(
                severity="error",
                case=case.id,
                message=f"label {case.label.path} holds value {unknown[0]}, known are {known}",
                mend="mend the file, or name the value under classes and label_map in dataset.yaml",
            )
        )
    elif not any(classes_counted(case, counts).get(index, 0) for index in range(1, len(dataset.class_names))):
        message, mend = f"no foreground in {case.label.path}", "nothing, if the case is healthy"
        if counts.get(IGNORE):
            message += f", only {IGNORE}, which is ignored"
            mend = f"if {IGNORE} is the foreground, say so in dataset.yaml: label_map: {{0: 0, {IGNORE}: 1}}"
        problems.append(Problem(severity="warning", case=case.id, message=message, mend=mend))
    return problems


def intensity_problems(case: Case, intensity: dict[str, Intensity]) -> list[Problem]:
    problems = []
    for modality, found in intensity.items():
        path = case.images[modality].path
        if found.not_finite:
            message = f"{modality} has {found.not_finite} NaN or infinite voxels in {path}"
            mend = "replace them (a constant background value is best) or leave the case out"
            problems.append(Problem(severity="error", case=case.id, message=message, mend=mend))
        elif found.minimum == found.maximum:
            message = f"{modality} is {found.minimum:g} everywhere in {path}"
            problems.append(Problem(severity="warning", case=case.id, message=message, mend="export the image again"))
    return problems


def dataset_problems(dataset: Dataset, reports: list[CaseReport], contents: Mapping[str, list[str]]) -> list[Problem]:
    """What shows only across cases."""
    problems = []

    def say(severity: Literal["error", "warning"], message: str, mend: str, case: str = "") -> None:
        problems.append(Problem(severity=severity, case=case, message=message, mend=mend))

    for case in dataset.to_learn_from if dataset.classifies else []:
        if case.target is None:
            say("error", f"image without its class: {case.reference.path}", "add its target", case.id)
    unlabelled = [case for case in dataset.to_learn_from if case.label is None]
    if unlabelled and len(unlabelled) < len(dataset.to_learn_from):
        for case in unlabelled:
            say(
                "error",
                f"image without its label: {case.reference.path}",
                "add the label, or leave the case out",
                case.id,
            )
    labelled = [report for report in reports if report.fractions is not None]
    background = dataset.class_names[:1]
    if labelled and all(report.fractions[background[0]] == 1 for report in labelled if report.fractions):
        say("error", "no case has any foreground", "check that the label files are the right ones")
    if len(dataset.class_names) > MANY_CLASSES:
        say("warning", f"{len(dataset.class_names)} classes", "make sure that the label files are no images")
    for same in contents.values():
        if len(same) > 1:
            more = f" and {len(same) - 4} more" if len(same) > 4 else ""
            say(
                "warning",
                f"identical voxels in {', '.join(same[:4])}{more}",
                "keep one of them, or give them one patient",
            )
    for (one, first), (other, second) in itertools.combinations(dataset.manifest.splits.items(), 2):
        patients = {case.id: case.patient for case in dataset.cases}
        shared = {patients.get(i, i) for i in first} & {patients.get(i, i) for i in second}
        for patient in sorted(shared):
            say(
                "error",
                f"patient {patient} is in the splits '{one}' and '{other}'",
                "move all cases of the patient to one split",
            )
        problems += _duplicates_across(one, set(first), other, set(second), contents)
    volumes = [report for report in reports if report.format != "idx"]  # whose sections lie beside each other nowhere
    if any(not report.spacing_known for report in volumes) and any(len(report.shape) == 3 for report in volumes):
        say("warning", "files carry no voxel size: 1 mm stands in", "write the spacing into dataset.yaml")
    return problems


def _duplicates_across(
    one: str, first: set[str], other: str, second: set[str], contents: Mapping[str, list[str]]
) -> list[Problem]:
    problems = []
    for same in contents.values():
        ids = {name.rsplit(" ", 1)[0] for name in same}
        if ids & first and ids & second and ids & first != ids & second:
            left, right = sorted(ids & first)[0], sorted(ids & second)[0]
            problems.append(
                Problem(
                    severity="error",
                    case="",
                    message=f"case {left} in split '{one}' and case {right} in '{other}' are the same image",
                    mend="remove one of them",
                )
            )
    return problems


def failure(case: str, message: str) -> Problem:
    """An error message of the form `what; mend` or `what: mend` as a problem."""
    short = message.removeprefix(f"case {case}: ")
    for mark in ("; ", ": "):
        what, found, mend = short.rpartition(mark)
        if found and " " in what:
            return Problem(severity="error", case=case, message=what, mend=mend)
    return Problem(severity="error", case=case, message=short, mend="mend the file or leave the case out")
