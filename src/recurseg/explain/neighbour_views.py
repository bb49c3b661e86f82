"""What a slice takes from its neighbours as pictures, a table and plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recurseg.explain.fusion import shares
from recurseg.explain.fusion_views import percent
from recurseg.explain.neighbours import Neighbours
from recurseg.explain.pictures import Part, Picture, Table
from recurseg.explain.scene import Scene
from recurseg.explain.views import DECADES, picture

TALL, WIDE = 60, 1.6
"""Height of a picture of bars in pixels, and its width by height."""
TITLE = "What the slice takes from its neighbours"


def neighbours_part(scene: Scene, found: Neighbours, numbers: Sequence[dict[str, Any]]) -> Part:
    """A slider over the slices around the voxel's: what each shows and what it changes in the voxel's."""
    own, first = found.slices.index(scene.voxel[0]), scene.there[0]
    at, spacing = (own, *scene.voxel[1:]), scene.spacing
    every, voxel = range(len(found.slices)), (own, *(index // found.step for index in scene.voxel[1:]))

    def around(title: str, volume: np.ndarray, **options: Any) -> Picture:
        return picture(title, volume, at, 0, steps=every, spacing=spacing, **options)

    name, channel = scene.modalities[first], scene.channels[first][found.slices]
    image = around(f"{name} of the slice", channel, colours="grey")
    gradient = picture(
        "|gradient| of the logit"
        if found.step == 1
        else f"|gradient| of the logit, {found.step} × {found.step} voxels",
        found.gradient,
        voxel,
        0,
        steps=every,
        spacing=(spacing[0], *(mm * found.step for mm in spacing[1:])),
        top=float(found.gradient.max()),
        decades=DECADES,
    )
    changes = around("|change| of the voxel's slice", found.changes, top=float(found.changes.max()), decades=DECADES)
    most = max(one["logit_changes"] for one in numbers if one["offset"])
    bars = bars_of(
        f"mean |change|, at most {most:.2g} by a neighbour", [one["logit_changes"] for one in numbers], own
    )
    return Part(
        name="neighbours",
        title=TITLE,
        text=(
            "The slice of the slider hands the sequence model a map that is the same everywhere, the mean of all: "
            f"by how much that changes the logits of {scene.planes[0][scene.voxel[0]]}, up or down. Bars are the "
            "mean of that, a slice each; the pale one of the voxel's own slice may be cut off. The gradient is that "
            f"of the voxel's logit with respect to the slice's map. Maps are over {DECADES} powers of ten. What a "
            "slice gives its decoder past the sequence model stays as it is."
        ),
        rows=[[image, gradient, replace(changes, mark_step=None), bars]],
        steps=[f"{one['slice']}, offset {signed(one['offset'])}" for one in numbers],
        start=own,
        axis="Slice",
    )


def bars_of(title: str, values: Sequence[float], own: int) -> Picture:
    """Values as bars side by side, the slider's framed; a third of a bar's place is a gap.

    Args:
        title: Of the picture.
        values: Not negative.
        own: Which one is pale and may be cut off: the scale ends at the largest other, but not below a tenth of it.
    """
    others = [value for index, value in enumerate(values) if index != own]
    heights = np.asarray(values) / (max(*others, values[own] / 10) or 1)
    columns = np.where(np.linspace(1, 0, TALL, endpoint=False)[:, None] <= heights, 0.75, 0)  # (TALL, N)
    columns[:, own] /= 0.75
    columns = np.repeat(columns, 3, axis=1)
    columns[:, 2::3] = 0
    now = np.repeat(np.eye(len(values), dtype=bool), 3, axis=1)
    return Picture(
        title,
        columns[None].astype(np.float32),
        bound=np.repeat(now[:, None], TALL, axis=1),
        pixel=(columns.shape[1] / TALL, WIDE),
    )


def neighbours_numbers(scene: Scene, found: Neighbours) -> list[dict[str, Any]]:
    """What each slice brings: changes of logits without it, and its share of the gradient."""
    sensitive = shares(found.gradient.sum(axis=(1, 2), dtype=np.float64))
    row, column = scene.voxel[1:]
    return [
        {
            "slice": scene.planes[0][index],
            "offset": index - scene.voxel[0],
            "logit_changes": float(change.mean()),
            "logit_changes_at_most": float(change.max()),
            "logit_changes_at_voxel": float(change[row, column]),
            "share_of_gradient": float(share),
        }
        for index, change, share in zip(found.slices, found.changes, sensitive, strict=True)
    ]


def neighbours_table(numbers: Sequence[dict[str, Any]]) -> Table:
    """The same as a table."""
    keys = ("logit_changes", "logit_changes_at_most", "logit_changes_at_voxel")
    return Table(
        title=f"{TITLE}, in numbers",
        text=(
            "By how much logits change when a slice hands the sequence model the mean map: on average over the slice "
            "of the voxel, at most, and at the voxel. Then the slice's share of the gradient of the voxel's logit."
        ),
        columns=["slice", "offset", "mean change", "at most", "at the voxel", "share of gradient"],
        rows=[
            [
                one["slice"].replace(" ", "\u00a0"),
                signed(one["offset"]),
                *(f"{one[key]:.2g}" for key in keys),
                percent(one["share_of_gradient"]),
            ]
            for one in numbers
        ],
    )


def nothing_taken(why: str) -> Table:
    """Says that a slice takes nothing from its neighbours."""
    return Table(
        TITLE, f"{why}: slices know nothing of one another.", ["slices", "taken"], [["all others", "nothing"]]
    )


def signed(offset: int) -> str:
    """An offset between slices as text, "−2" or "+2"."""
    return f"{offset:+d}".replace("-", "−") if offset else "0"
