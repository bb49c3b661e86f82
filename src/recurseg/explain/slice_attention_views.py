"""Slice attention as pictures, a table and plain numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from recurseg.explain.fusion import shares
from recurseg.explain.fusion_views import percent
from recurseg.explain.pictures import Part, Picture, Table
from recurseg.explain.scene import Scene
from recurseg.explain.slice_attention import Direction, Hearing
from recurseg.explain.views import DECADES, chosen_planes, picture, plane_title
from recurseg.explain.without import image_view

HEARD_DECADES = 6
"""Powers of ten that pictures of contributions tell apart: three weights of attention are multiplied in them."""
DIM = 0.4
"""Brightness of an image's black under full light, so that light is seen there too."""
NIGHT = 0.15
"""Brightness of an image's white without light, so that one sees what is not heard."""


def matrices_part(scene: Scene, found: Sequence[Hearing]) -> Part:
    """The attention of every direction, a row a block."""

    def view(one: Hearing, direction: Direction) -> Picture:
        matrix = direction.attention
        asks = np.zeros((1, *matrix.shape), bool)
        asks[0, direction.own] = True
        title = f"{one.block}, {direction.name}: α {_signed(direction.alpha)}, at most {matrix.max():.2f}"
        return Picture(title, matrix[None], top=float(matrix.max()), bound=asks)

    orders = " ".join(
        f"After {one.block} a slice is {one.step} voxel{'s' * (one.step > 1)} thick; "
        f"{', then '.join(direction.name for direction in one.directions)}."
        for one in found
    )
    return Part(
        name="attention",
        title="Which slices heed which",
        text=(
            "A row is a slice that asks, a column one that answers, from the first slice at the top and on the left "
            "to the last; a row adds up to 1. The slice of the voxel is framed. What a slice hears is weighted by α, "
            f"which is learned and begins at 0, and added to what it was. {orders}"
        ),
        rows=[[view(one, direction) for direction in one.directions] for one in found],
    )


def heard_part(scene: Scene, one: Hearing) -> Part:
    """Where a block's output at the voxel came from, over the image (figure 4 of the paper)."""
    steps = chosen_planes(scene.image.shape[2], scene.voxel[0])
    volumes = [enlarged(scene, terms, one.step) for terms in one.origins]
    top, names = max(float(volume.max()) for volume in volumes), [direction.name for direction in one.directions]

    def moving(title: str, volume: np.ndarray) -> Picture:
        return picture(
            title, volume, scene.voxel, 0, steps=steps, spacing=scene.spacing, top=top, decades=HEARD_DECADES
        )

    def still(axis: int) -> Picture:
        title = f"through all, {plane_title(scene.letters, axis)}"
        return picture(title, volumes[0], scene.voxel, axis, spacing=scene.spacing, top=top, decades=HEARD_DECADES)

    stages = [moving(f"through {_listed(names[k:])}", volume) for k, volume in reversed(list(enumerate(volumes)))]
    width = "" if one.step == 1 else f" Positions are {one.step} voxels wide."
    return Part(
        name=f"heard_{one.block}",
        title=f"Where the voxel's information came from: attention after {one.block}",
        text=(
            "With attention as it is, the block's output at the voxel is a sum over positions of its input; shown is "
            f"the length, over channels, of what each adds, over {HEARD_DECADES} powers of ten. What is less is "
            f"black, and faint over the image. The last direction, {names[-1]}, brings it from a line through the "
            f"voxel; each direction before it widens that, and through all of them it comes from everywhere.{width}"
        ),
        rows=[
            [image_view(scene), lit(scene, volumes[0])],
            stages,
            [still(axis) for axis in (1, 2)],
        ],
        steps=[scene.planes[0][step] for step in steps],
        start=steps.index(scene.voxel[0]),
        axis="Section",
    )


def through_part(scene: Scene, found: Sequence[Hearing]) -> Part:
    """The image as the logit feels it through the attention of one block at a time."""
    steps = chosen_planes(scene.image.shape[2], scene.voxel[0])

    def view(one: Hearing) -> Picture:
        top = float(one.through.max())
        title = f"|gradient| through attention after {one.block}, at most {top:.2g}"
        return picture(
            title, one.through, scene.voxel, 0, steps=steps, spacing=scene.spacing, top=top, decades=DECADES
        )

    return Part(
        name="through_attention",
        title="The image through what slices hear",
        text=(
            "How strongly each voxel of the image moves the voxel's logit through what slices hear in one block, "
            "attention being as it is; what the block hands on besides is left out. Convolutions before and after "
            f"it spread what is seen here. Over {DECADES} powers of ten."
        ),
        rows=[[image_view(scene), *map(view, found)]],
        steps=[scene.planes[0][step] for step in steps],
        start=steps.index(scene.voxel[0]),
        axis="Section",
    )


def lit(scene: Scene, light: np.ndarray) -> Picture:
    """The first modality, section by section, in the light `(*window)` of what is heard."""
    image = image_view(scene)
    steps = chosen_planes(scene.image.shape[2], scene.voxel[0])
    low, high = np.percentile(image.values, [0.5, 99.5])
    shade = np.clip((image.values - low) / ((high - low) or 1.0), 0, 1)
    bright = 1 + np.log10(np.maximum(light[steps] / (light.max() or 1.0), 10.0**-HEARD_DECADES)) / HEARD_DECADES
    bright = NIGHT + (1 - NIGHT) * bright
    values = (bright * (DIM + (1 - DIM) * shade))[..., None].astype(np.float32)
    title = f"{scene.modalities[scene.there[0]]} in the light of what is heard"
    return replace(image, title=title, values=values, colours="mixed", sources=("what is heard",))


def enlarged(scene: Scene, values: np.ndarray, step: int) -> np.ndarray:
    """Values of positions as values of the window's voxels."""
    for axis, size in enumerate(scene.image.shape[2:]):
        values = np.repeat(values, step, axis=axis)[(slice(None),) * axis + (slice(size),)]
    return values


def heard_numbers(scene: Scene, one: Hearing, logit: float, without: Sequence[float]) -> dict[str, Any]:
    """What the table and `explain.json` say of one block.

    Args:
        scene: Of the voxel.
        one: The block.
        logit: The voxel's.
        without: What it becomes without each of its directions, and without the block.
    """
    terms = one.origins[0]
    offsets = np.indices(terms.shape) != np.reshape([v // one.step for v in scene.voxel], (-1, *[1] * terms.ndim))
    apart = np.bincount(offsets.sum(axis=0).ravel(), weights=terms.ravel(), minlength=terms.ndim + 1)
    return {
        "block": one.block,
        "step": one.step,
        "directions": [
            {
                "direction": direction.name,
                "axis": scene.letters[direction.axis],
                "slices": len(direction.attention),
                "alpha": direction.alpha,
                "adds": direction.added,
                "voxel_slice": direction.own,
                "heard": direction.attention[direction.own].tolist(),
                "most_heard": slice_name(scene, direction, one.step),
                "logit_without": less,
                "logit_change": less - logit,
            }
            for direction, less in zip(one.directions, without[:-1], strict=True)
        ],
        "logit_without": without[-1],
        "logit_change": without[-1] - logit,
        "share_by_axes_apart": shares(apart).tolist(),
    }


def heard_table(numbers: Sequence[dict[str, Any]]) -> Table:
    """The same as a table."""
    rows = []
    for one in numbers:
        for direction in one["directions"]:
            heard = np.asarray(direction["heard"])
            rows.append(
                [
                    one["block"],
                    direction["direction"],
                    _signed(direction["alpha"]),
                    f"{_evenly(heard):.1f} of {len(heard)}",
                    f"{direction['most_heard']}: {percent(float(heard.max()))}".replace(" ", "\u00a0"),
                    percent(float(heard[direction["voxel_slice"]])),
                    _percent(direction["adds"]),
                    _signed(direction["logit_change"]),
                ]
            )
        rows.append([one["block"], "all", *["–"] * 5, _signed(one["logit_change"])])
    apart = " ".join(
        f"After {one['block']} {_listed([_percent(share) for share in one['share_by_axes_apart']])} of it."
        for one in numbers
    )
    return Table(
        title="Every direction in numbers",
        text=(
            "Heard by the voxel's slice: how many slices, counted as evenly heard ones (the exponential of the "
            "entropy); which most; and how much of it is its own. Adds: length of what the direction adds to the "
            "whole map, relative to that of the map. Change: of the voxel's logit when α is 0. Of "
            "the lengths of contributions, those of positions that differ from the voxel's along no, one, two, three "
            f"axes have these shares. {apart}"
        ),
        columns=["after", "direction", "α", "slices heard", "most", "itself", "adds", "change"],
        rows=rows,
    )


def slice_name(scene: Scene, direction: Direction, step: int) -> str:
    """The slice that the voxel's slice heeds most, by the planes that it holds: "column 40 to 47"."""
    first = int(direction.attention[direction.own].argmax()) * step
    planes = scene.planes[direction.axis][first : first + step]
    return planes[0] if len(planes) == 1 else f"{planes[0]} to {planes[-1].split()[-1]}"


def _evenly(weights: np.ndarray) -> float:
    """How many evenly heard slices have the entropy of these weights."""
    heard = weights[weights > 0]
    return float(np.exp(-(heard * np.log(heard)).sum()))


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _signed(value: float) -> str:
    return f"{value:.2g}".replace("-", "−")


def _percent(share: float) -> str:
    return "<\u00a00.001\u00a0%" if 0 < share < 1e-5 else f"{100 * share:.3g}\u00a0%"
