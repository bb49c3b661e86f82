"""What each actor says as pictures, a table and plain numbers (SHAMANN, figure 5c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurseg.explain.answers import LEAST_CHANGE, dice
from recurseg.explain.exchange import Said
from recurseg.explain.patch_views import still
from recurseg.explain.pictures import Part, Picture, Table
from recurseg.explain.scene import Scene


def answers_part(scene: Scene, said: Sequence[Said]) -> Part:
    """Everyone's answer, with and without the exchange where there is one, and what it changes."""
    colours, what = "heat", f"The probability of {scene.class_names[scene.target]}" if scene.class_names else ""
    if scene.completes:
        colours, what = "grey", "The completed image"
    changes = [one.change for one in said if one.change is not None]
    spread = float(np.ptp(said[0].answer)) if scene.completes else 1.0
    top = max([LEAST_CHANGE * spread, *(float(change.max()) for change in changes)])

    def pictures(one: Said) -> list[Picture]:
        found = [still(scene, one.who, one.answer, colours=colours)]
        if one.change is not None and one.without is not None:
            found.append(still(scene, f"{one.who}, exchange cut", one.without, colours=colours))
            found.append(still(scene, f"changed, at most by {one.change.max():.2g}", one.change, top=top))
        return found

    rows = [pictures(one) for one in said]
    text = (
        f"{what}, as all actors give it together and as each gives it alone: the outputs of the others are replaced "
        "by their means over all patches, which say nothing of any patch."
    )
    if changes:
        text += (
            " With the exchange cut each actor has a memory of its own, with the weights that it was trained with. "
            f"What changes is drawn on a scale that ends at {top:.2g}."
        )
    else:
        image = still(scene, scene.modalities[0], scene.channels[0], colours="grey")
        rows = [[image, *(picture for row in rows for picture in row)]]
    return Part("actors", "What each actor says", text, rows)


def answers_numbers(said: Sequence[Said]) -> list[dict[str, Any]]:
    """How each answer differs from all actors' together, and what the exchange changes in it."""
    whole, found = said[0], []
    for one in said:
        row: dict[str, Any] = {
            "who": one.who,
            "difference_to_all": float(np.abs(one.answer - whole.answer).mean()),
            "dice_to_all": dice(one.masks[0], whole.masks[0]) if one.masks else None,
        }
        if one.change is not None:
            row["exchange_changes"] = float(one.change.mean())
            row["exchange_changes_at_most"] = float(one.change.max())
            row["dice_with_to_without"] = dice(*one.masks) if one.masks else None
        found.append(row)
    return found


def answers_table(numbers: Sequence[dict[str, Any]]) -> Table:
    """The same as a table."""
    columns = {"who": "heard", "difference_to_all": "difference to all", "dice_to_all": "Dice to all"}
    text = "Differences are means of absolute differences over the window; Dice is of the explained class."
    if "exchange_changes" in numbers[0]:
        columns |= {
            "exchange_changes": "exchange changes",
            "exchange_changes_at_most": "at most",
            "dice_with_to_without": "Dice with to without",
        }
        text += " The last three compare the answer with the exchange to the one without."
    rows = [[_text(key, one[key]) for key in columns] for one in numbers]
    return Table("What each actor says, in numbers", text, list(columns.values()), rows)


def _text(key: str, value: str | float | None) -> str:
    if value is None or isinstance(value, str):
        return value or "–"
    return f"{value:.3f}" if key.startswith("dice") else f"{value:.2g}"
