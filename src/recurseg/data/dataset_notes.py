"""What the cases of a data set have to say, in one line each."""

from __future__ import annotations

from recurseg.data.case import Case


def missing_modalities(cases: list[Case]) -> list[str]:
    """One line for every modality that some case has no image of."""
    without: dict[str, list[str]] = {}
    for case in cases:
        for modality in case.missing:
            without.setdefault(modality, []).append(case.id)
    return [
        f"{modality} is missing in {len(ids)} of {len(cases)} cases ({', '.join(ids[:3])}{', ...' * (len(ids) > 3)})"
        for modality, ids in without.items()
    ]


def notes_of_readers(cases: list[Case]) -> list[str]:
    """What readers decided, each thing once with the number of cases."""
    by_note: dict[str, list[str]] = {}
    for case in cases:
        for note in case.notes:
            by_note.setdefault(note, []).append(case.id)
    return [f"{note} ({ids[0]})" if len(ids) == 1 else f"{note} ({len(ids)} cases)" for note, ids in by_note.items()]
