"""From label maps to clinical numbers: which class is which structure, which frame is ED or ES, and of whom."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from recurseg.errors import ConfigError, DataError
from recurseg.evaluation.agreement import Pair
from recurseg.evaluation.cardiac import QUANTITIES, Cardiac, HeartQuantity
from recurseg.evaluation.sources import Labelled

ROLES = {
    "LV": ("left ventricle", "left ventricular cavity", "left ventricle cavity", "lv", "lv cavity"),
    "RV": ("right ventricle", "right ventricular cavity", "right ventricle cavity", "rv", "rv cavity"),
    "myocardium": ("myocardium", "left ventricular myocardium", "left ventricle myocardium", "lv myocardium", "myo"),
}
"""Structure → names that a class of it has, whatever the case of letters, "_" and "-" as spaces."""
PHASES = ("ED", "ES")
"""Names of end-diastole and end-systole."""


class Frame(NamedTuple):
    """A labelled frame of a patient; `sizes` are voxels by role: (predicted, labelled).

    `phases` are its names in the data set ("ED", "ES"); `voxel_ml` is None where the file carries no spacing.
    """

    patient: str
    name: str
    phases: frozenset[str]
    voxel_ml: float | None
    sizes: dict[str, Pair]

    def size(self, role: str, side: int) -> float:
        """Predicted (side 0) or labelled (1) size in ml, without a spacing in voxels."""
        return self.sizes[role][side] * (1.0 if self.voxel_ml is None else self.voxel_ml)


def roles_of(class_names: Sequence[str]) -> dict[str, int]:
    """Finds the heart's structures among classes by their names.

    Args:
        class_names: Index = class.

    Returns:
        Role ("LV", "RV", "myocardium") → class, those that are there.

    Raises:
        ConfigError: Two classes are one structure.
    """
    plain = [" ".join(name.lower().replace("_", " ").replace("-", " ").split()) for name in class_names]
    roles = {}
    for role, names in ROLES.items():
        own = [c for c, name in enumerate(plain) if name in names]
        if len(own) > 1:
            told = " and ".join(f"'{class_names[c]}'" for c in own)
            raise ConfigError(f"classes {told} are both the {names[0]}: rename one of them")
        roles |= {role: own[0]} if own else {}
    return roles


def measurable(
    class_names: Sequence[str], unmeasured: Collection[int], references: Sequence[Labelled], sections: str | None
) -> dict[str, int]:
    """Returns role → class of what clinical numbers can be taken of.

    Args:
        class_names: Index = class.
        unmeasured: Classes that are not evaluated.
        references: What predictions are compared with.
        sections: The part of a stack that is compared; None for all of it.

    Raises:
        ConfigError: No class is a part of the heart, or only some sections are compared.
        DataError: Nobody says which patient a label is of, or a label is one section.
    """
    roles = {role: c for role, c in roles_of(class_names).items() if c not in unmeasured}
    if not roles:
        known = ", ".join(name for name in class_names[1:])
        raise ConfigError(
            f"clinical numbers need a class called left ventricle, right ventricle or myocardium, not {known}: "
            "pass --classes"
        )
    if sections is not None:
        raise ConfigError(f"clinical numbers are of whole hearts, not of sections {sections}: leave --sections out")
    for reference in references:
        if reference.case is None:
            raise DataError(
                f"{reference.volume.path}: nothing says whose label it is: for clinical numbers pass the data set "
                "(a folder with images, or dataset.yaml) instead of plain label files"
            )
        if reference.volume.slice_axis is None:
            raise DataError(f"case {reference.id}: one section has no volume: stack a heart's sections to one case")
    return roles


def count_frame(
    reference: Labelled, number: int, found: np.ndarray, expected: np.ndarray, roles: Mapping[str, int]
) -> Frame:
    """Counts the voxels of a labelled frame.

    Args:
        reference: Its volume is the frame, its case the whole cine, or the phase that a 3-D case is.
        number: Of the frame in its case, from 0.
        found: Predicted classes, voxels that are not counted 255.
        expected: Classes of the label, likewise.
        roles: Role → class.
    """
    case, volume = reference.case, reference.volume
    assert case is not None
    return Frame(
        patient=case.patient or case.id,
        name=case.id if case.time_axis is None else f"frame {number} of {case.id}",
        phases=frozenset(phase for phase, own in case.phases.items() if own == number),
        voxel_ml=math.prod(volume.spacing) / 1000 if volume.spacing_known else None,
        sizes={role: (int((found == c).sum()), int((expected == c).sum())) for role, c in roles.items()},
    )


def measure_hearts(frames: Sequence[Frame], *, required: bool = False) -> tuple[Cardiac | None, list[str]]:
    """Measures patients at end-diastole and end-systole.

    Where no frame of a patient has a name, ED is the labelled frame with the largest left ventricle (right one where
    the left is no class) and ES that with the smallest, by the label. Prediction and label are measured at the same
    frames.

    Args:
        frames: Of all patients.
        required: Raise where something is missing, instead of leaving it out.

    Returns:
        The numbers (None where no patient has any), and notes of what was decided or is missing.

    Raises:
        DataError: A patient has two frames of one phase. If `required`: a file carries no spacing, or no patient has
            a frame of a phase.
    """
    bare = [frame.name for frame in frames if frame.voxel_ml is None]
    if required and bare:
        raise DataError(
            f"volumes in ml and mass in g need a spacing, and {bare[0]} carries none: write `spacing:` in "
            "dataset.yaml, or pass --spacing"
        )
    if bare:
        frames = [frame._replace(voxel_ml=None) for frame in frames]
    roles = frames[0].sizes if frames else {}
    quantities = [q for q in QUANTITIES.values() if q.role in roles and (q.unit == "%" or not bare)]
    by_patient: dict[str, list[Frame]] = {}
    for frame in frames:
        by_patient.setdefault(frame.patient, []).append(frame)
    phases = {patient: _phases(patient, own) for patient, own in by_patient.items()}
    numbers = {
        patient: {q.id: _measured(q, *(found.get(phase) for phase in PHASES)) for q in quantities}
        for patient, found in phases.items()
    }
    if not quantities or not any(phases.values()):
        if required:
            raise DataError("no patient has a labelled frame of ED or ES: name them under `phases` in dataset.yaml")
        return None, []
    return Cardiac(numbers), _notes(by_patient, phases, in_ml=not bare)


def _phases(patient: str, frames: Sequence[Frame]) -> dict[str, Frame]:
    """ED and ES of a patient, as far as they are there."""
    found: dict[str, Frame] = {}
    for frame in frames:
        for phase in frame.phases.intersection(PHASES):
            if phase in found:
                raise DataError(
                    f"patient {patient} has two frames of {phase}, {found[phase].name} and {frame.name}: "
                    "correct `patient` or `phases` in dataset.yaml"
                )
            found[phase] = frame
    cavity = next((role for role in ("LV", "RV") if role in frames[0].sizes), None)
    if found or cavity is None or len(frames) < 2:
        return found
    ordered = sorted(frames, key=lambda frame: frame.size(cavity, 1))
    return {"ED": ordered[-1], "ES": ordered[0]}


def _measured(quantity: HeartQuantity, ed: Frame | None, es: Frame | None) -> Pair:
    """Prediction and label; a ventricle that is missed at ED has an ejection fraction of 0 %, not none."""

    def value(side: int) -> float:
        return quantity.measure(*(frame.size(quantity.role, side) if frame else float("nan") for frame in (ed, es)))

    found, expected = value(0), value(1)
    return (0.0 if math.isnan(found) and not math.isnan(expected) else found), expected


def _notes(
    frames: Mapping[str, Sequence[Frame]], phases: Mapping[str, Mapping[str, Frame]], *, in_ml: bool
) -> list[str]:
    notes = []
    if not in_ml:
        notes.append(
            "volumes and mass left out: not all files carry a spacing (write `spacing:` in dataset.yaml, or pass "
            "--spacing); ejection fractions are of voxel counts, slices of one thickness assumed"
        )
    unnamed = [p for p, own in frames.items() if phases[p] and not any(f.phases.intersection(PHASES) for f in own)]
    if unnamed:
        notes.append(
            f"phases of {_listed(unnamed)} have no name: ED and ES are the labelled frames with the largest and the "
            "smallest ventricle"
        )
    for phase in PHASES:
        if missing := [patient for patient, found in phases.items() if phase not in found]:
            notes.append(f"no labelled frame of {phase}: {_listed(missing)}")
    for role in ("LV", "RV"):
        missed = [p for p, found in phases.items() if "ED" in found and _is_missed(found["ED"].sizes.get(role))]
        if missed:
            notes.append(f"no {role} predicted at ED of {_listed(missed)}: the ejection fraction counts as 0 %")
    return notes


def _is_missed(sizes: Pair | None) -> bool:
    return sizes is not None and not sizes[0] and bool(sizes[1])


def _listed(patients: Sequence[str]) -> str:
    more = f" and {len(patients) - 5} more" if len(patients) > 5 else ""
    return f"{'patient' if len(patients) == 1 else 'patients'} {', '.join(patients[:5])}{more}"
