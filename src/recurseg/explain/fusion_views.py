"""Fusion as pictures of every resolution, a table and plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recurseg.explain.fusion import Level, shares
from recurseg.explain.pictures import Part, Picture, Table
from recurseg.explain.scene import Scene
from recurseg.explain.views import chosen_planes, picture

MOST_COLOURS = 6
"""Modalities that one picture tells apart by colour."""


def fusion_part(scene: Scene, levels: Sequence[Level]) -> Part:
    """What each modality adds at each resolution, slice by slice, and which adds most."""
    steps = chosen_planes(scene.image.shape[2], scene.voxel[0])

    def view(level: Level, title: str, volume: np.ndarray, **options: Any) -> Picture:
        at = (scene.voxel[0], *(index // level.step for index in scene.voxel[1:]))
        spacing = (scene.spacing[0], *(mm * level.step for mm in scene.spacing[1:]))
        top = float(level.terms.max())
        return picture(title, volume, at, 0, steps=steps, spacing=spacing, top=top, **options)

    def alone(level: Level) -> list[Picture]:
        parts = shares(level.brought)
        titles = [
            f"{name} at {level.name}: {percent(share) if m in scene.there else 'absent'}"
            for m, (name, share) in enumerate(zip(scene.modalities, parts, strict=True))
        ]
        return [view(level, title, terms) for title, terms in zip(titles, level.terms, strict=True)]

    images = [
        picture(title, channel, scene.voxel, 0, steps=steps, spacing=scene.spacing, colours="grey")
        for title, channel in zip(scene.titles, scene.channels, strict=True)
    ]
    rows = [images, *map(alone, levels)]
    coloured = ""
    if len(scene.there) <= MOST_COLOURS:
        names = tuple(scene.modalities[m] for m in scene.there)
        mixed = [np.moveaxis(level.terms[scene.there], 0, -1) for level in levels]
        rows.insert(
            1,
            [
                view(level, f"who adds most at {level.name}", terms, colours="mixed", sources=names)
                for level, terms in zip(levels, mixed, strict=True)
            ],
        )
        coloured = " The second row has all in one: the colour is that of the modality that adds most."
    absent = [name for m, name in enumerate(scene.modalities) if m not in scene.there]
    missing = (
        f" {', '.join(absent)}: absent, adds nothing; what the others add is scaled up for it." if absent else ""
    )
    return Part(
        name="fusion",
        title="What each modality adds",
        text=(
            "The fused map is a sum over modalities. Shown is the length, over channels, of what each adds at each "
            f"position, on one scale a resolution, and its share of the whole window.{coloured}{missing}"
        ),
        rows=rows,
        steps=[scene.planes[0][step] for step in steps],
        start=steps.index(scene.voxel[0]),
        axis="Section",
    )


def fusion_numbers(scene: Scene, levels: Sequence[Level]) -> list[dict[str, Any]]:
    """Shares of each modality at each resolution: of the weights, of what is added in the window and at the voxel."""

    def named(parts: np.ndarray, there: Sequence[int]) -> dict[str, float | None]:
        found = shares(parts)
        return {name: float(found[m]) if m in there else None for m, name in enumerate(scene.modalities)}

    numbers = []
    for level in levels:
        row, column = (index // level.step for index in scene.voxel[1:])
        numbers.append(
            {
                "resolution": level.step,
                "weights": named(level.weights, range(len(level.weights))),
                "added": named(level.brought, scene.there),
                "added_at_voxel": named(level.terms[:, scene.voxel[0], row, column], scene.there),
            }
        )
    return numbers


def fusion_table(scene: Scene, levels: Sequence[Level], numbers: Sequence[dict[str, Any]]) -> Table:
    """The same as a table: a row a modality and kind of share, a column a resolution."""
    kinds = {"weights": "weights", "added": "added", "added_at_voxel": "added at the voxel"}
    return Table(
        title="Fusion in numbers",
        text=(
            "Shares of each modality by resolution: of the length of the kernel's weights, of what is added over the "
            "window, and at the voxel. Weights say little by themselves, as the maps that they meet differ in size."
        ),
        columns=["modality", "share of", *(level.name for level in levels)],
        rows=[
            [name, shown, *("absent" if one[kind][name] is None else percent(one[kind][name]) for one in numbers)]
            for name in scene.modalities
            for kind, shown in kinds.items()
        ],
    )


def percent(share: float) -> str:
    """A share as text, without decimals and without a line's end in it."""
    return f"{100 * share:.0f}\u00a0%"
