"""Which prediction belongs to which reference: by case id, else by file stem, else one to one."""

from __future__ import annotations

import re

from recurseg.data.formats import stem_of
from recurseg.errors import DataError
from recurseg.evaluation.sources import Labelled, Side

SECTIONS = re.compile(r"^(?P<id>.+)\[(?P<start>\d+)-(?P<stop>\d+)\]$")
MARKS = re.compile(
    r"[._-]+(seg|segs|segmentation|label|labels|labelmap|mask|masks|gt|truth|groundtruth|manual|pred|preds|prediction|predicted)$"
)


def pair(predictions: Side, references: Side) -> tuple[list[tuple[Labelled, Labelled]], list[str]]:
    """Matches every prediction with its reference.

    Args:
        predictions: Every one needs a reference.
        references: Each needs a prediction too, unless they are a data set, of which a part may be predicted.

    Returns:
        The pairs, and notes that name the labelled cases of a data set that no prediction is for.

    Raises:
        DataError: Names what has no partner, or what has two.
    """
    if len(predictions.items) == len(references.items) == 1:
        prediction, reference = predictions.items[0], references.items[0]
        same = plain_name(prediction.id) in (plain_name(reference.id), plain_name(stem_of(reference.volume.path)))
        notes = [] if same else [f"prediction '{prediction.id}' is taken for '{reference.id}', the only reference"]
        return [(prediction, reference)], notes
    exact = {r.id: r for r in references.items}
    loose: dict[str, list[Labelled]] = {}
    for reference in references.items:
        for name in {plain_name(reference.id), plain_name(stem_of(reference.volume.path))}:
            loose.setdefault(name, []).append(reference)
    pairs, orphans, taken = [], [], {}
    for prediction in predictions.items:
        candidates = [exact[prediction.id]] if prediction.id in exact else loose.get(plain_name(prediction.id), [])
        if not candidates:
            orphans.append(prediction.id)
            continue
        if len(candidates) > 1:
            raise DataError(
                f"prediction '{prediction.id}' fits the references {_names([c.id for c in candidates])}: rename it"
            )
        reference = candidates[0]
        if reference.id in taken:
            raise DataError(
                f"predictions '{taken[reference.id]}' and '{prediction.id}' both fit reference '{reference.id}': "
                "keep one of them"
            )
        taken[reference.id] = prediction.id
        pairs.append((prediction, reference))
    if orphans:
        raise DataError(f"no reference for prediction {_names(orphans)}; references are {_names(list(exact))}")
    missing = [id for id in exact if id not in taken]
    if missing and references.whole:
        raise DataError(f"no prediction for reference {_names(missing)}: predict it or take its label away")
    notes = [f"{len(missing)} labelled cases have no prediction: {', '.join(missing)}"] if missing else []
    return pairs, notes


def plain_name(name: str) -> str:
    """A case id or stem without case of letters, section range and words such as `_seg`, `_label`, `_pred`."""
    whole = SECTIONS.match(name)
    name = (whole["id"] if whole else name).lower()
    while (shorter := MARKS.sub("", name)) != name:
        name = shorter
    return name


def sections_of(id: str) -> str | None:
    """The section range that a case id carries: "16-19" for `stack[16-19]`."""
    found = SECTIONS.match(id)
    return f"{found['start']}-{found['stop']}" if found else None


def _names(ids: list[str]) -> str:
    shown = ", ".join(f"'{id}'" for id in ids[:5])
    return shown if len(ids) <= 5 else f"{shown} and {len(ids) - 5} more"
