"""PyraMiD-LSTM explained: the pyramids of every layer, what each sweep brings, and its hidden planes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from recurseg.explain.gradient import reach_of
from recurseg.explain.pictures import Part, Picture, Table
from recurseg.explain.registry import Inside, register_explainer
from recurseg.explain.scene import AXES, Scene
from recurseg.explain.sweeps import SweepContext, direction_name, network_of, pyramid_bound, sweep_contexts
from recurseg.explain.views import DECADES, chosen_planes, cuts, picture, plane_title, worth_showing
from recurseg.layers.sweep import PyramidSweep

PYRAMID_DECADES = 6
"""Powers of ten that the pyramids of a layer show."""


@register_explainer("pyramid_lstm")
def explain_pyramid_lstm(scene: Scene, progress: Callable[[float], None]) -> Inside:
    """Pictures and numbers of every sweep of every layer; see `recurseg.explain.sweeps`."""
    contexts = sweep_contexts(scene, progress)
    layers = [contexts[first : first + 2 * scene.dims] for first in range(0, len(contexts), 2 * scene.dims)]
    parts: list[Part | Table] = [_pyramids(scene, layer) for layer in reversed(layers)]
    parts.append(_through(scene, layers))
    numbers = [_numbers(scene, context, layer) for layer in layers for context in layer]
    parts.append(_table(numbers))
    if scene.dims == 2:
        parts.append(_hidden_images(scene, layers))
    else:
        parts += [_hidden_planes(scene, layers, axis) for axis in range(3) if scene.image.shape[2 + axis] > 1]
    return Inside(parts, {"sweeps": numbers})


def _pyramids(scene: Scene, layer: Sequence[SweepContext]) -> Part:
    """The context that one layer gathers by itself, each direction in its own picture and all in one."""
    dims, number = scene.dims, layer[0].layer
    block = _block(scene)
    voxel, spacing = _position(scene), _position_size(scene)
    volumes = [context.direct for context in layer]
    top, box = max(float(volume.max()) for volume in volumes), worth_showing(volumes, voxel, PYRAMID_DECADES)
    names = tuple(direction_name(context.direction, dims) for context in layer)
    steps = None if dims == 2 else chosen_planes(volumes[0].shape[0], voxel[0])
    sweep = network_of(scene).sweeps[number - 1]
    assert isinstance(sweep, PyramidSweep)
    kernel = sweep.weight_h.shape[-1]

    def mixed(axis: int | None) -> Picture:
        return picture(
            f"all, {plane_title(scene.letters, axis)}",
            np.stack(volumes, axis=-1),
            voxel,
            axis,
            steps=steps if axis == 0 else None,
            spacing=spacing,
            box=box,
            colours="mixed",
            top=top,
            decades=PYRAMID_DECADES,
            sources=names,
        )

    def alone(context: SweepContext, axis: int | None, *, moves: bool) -> Picture:
        bound = pyramid_bound(volumes[0].shape, voxel, axis=context.axis, backward=context.backward, kernel=kernel)
        name = names[context.direction]
        return picture(
            name if dims == 2 or axis == 0 else f"{name}, {plane_title(scene.letters, axis)}",
            context.direct,
            voxel,
            axis,
            steps=steps if moves else None,
            spacing=spacing,
            box=box,
            bound=bound,
            top=top,
            decades=PYRAMID_DECADES,
        )

    image = picture(
        scene.modalities[0],
        scene.channels[0],
        scene.voxel,
        cuts(dims)[0],
        steps=None if steps is None else [_plane_of(scene, 0, step) for step in steps],
        spacing=scene.spacing,
        box=[slice(side.start * size, side.stop * size) for side, size in zip(box, block, strict=True)],
        colours="grey",
    )
    if dims == 2:
        rows = [[image, mixed(None)], [alone(context, None, moves=False) for context in layer]]
    else:
        within, across = layer[2:], layer[:2]
        rows = [
            [image, *(mixed(axis) for axis in cuts(dims))],
            [alone(context, 0, moves=True) for context in within],
            [alone(context, axis, moves=axis == 0) for axis in (1, 0) for context in across],
        ]
    positions = "" if set(block) == {1} else f" A pixel is a position of {' × '.join(map(str, block))} voxels."
    return Part(
        name=f"pyramids_layer{number}",
        title=f"The pyramids of layer {number}",
        text=(
            "What the layer itself gathers: which positions of its input move its output at the voxel, through each "
            f"sweep; absolute gradients over {PYRAMID_DECADES} powers of ten. Every sweep brings a pyramid with its "
            f"tip at the voxel; the thin line is as wide as a kernel of {kernel} lets it grow.{positions}"
        ),
        rows=rows,
        steps=("",) if steps is None else [_plane_name(scene, 0, step) for step in steps],
        start=0 if steps is None else steps.index(voxel[0]),
        axis="Section",
    )


def _through(scene: Scene, layers: Sequence[Sequence[SweepContext]]) -> Part:
    """The image as the logit feels it through one direction of one layer; the slider moves over the layers."""
    dims = scene.dims
    axis = cuts(dims)[0]
    top = max(float(context.through.max()) for layer in layers for context in layer)

    def view(direction: int) -> Picture:
        stack = np.stack([layer[direction].through for layer in layers])
        plane = stack if axis is None else stack[:, scene.voxel[0]]
        return Picture(
            title=direction_name(direction, dims),
            values=plane.astype(np.float32),
            top=top,
            decades=DECADES,
            mark=(scene.voxel[-2], scene.voxel[-1]),
            pixel=(scene.spacing[-2], scene.spacing[-1]),
        )

    views = [view(direction) for direction in range(2 * dims)]
    half = len(views) // 2
    return Part(
        name="through_one_sweep",
        title="The image through one sweep",
        text=(
            "How strongly each voxel of the image moves the logit when the signal may pass only one direction of one "
            "layer, the other layers being open. In the last layer a pyramid, blurred by what the layers below "
            "gather; in earlier ones it may leave the pyramid by the layers above."
        ),
        rows=[views[:half], views[half:]] if dims == 3 else [views],
        steps=[f"layer {layer[0].layer}" for layer in layers],
        start=len(layers) - 1,
        axis="Layer",
    )


def _hidden_planes(scene: Scene, layers: Sequence[Sequence[SweepContext]], axis: int) -> Part:
    """The hidden planes of both sweeps along one axis of a volume; the slider walks along it."""
    name = AXES[axis]
    voxel, spacing = _position(scene), _position_size(scene)
    planes = chosen_planes(layers[0][0].hidden.shape[axis], voxel[axis])
    slices = [_plane_of(scene, axis, plane) for plane in planes]
    images = [
        picture(modality, channel, scene.voxel, axis, steps=slices, spacing=scene.spacing, colours="grey")
        for modality, channel in zip(scene.modalities, scene.channels, strict=True)
    ]
    bright = [_bright(layer[2 * axis : 2 * axis + 2]) for layer in layers]

    def view(layer: Sequence[SweepContext], backward: int) -> Picture:
        context = layer[2 * axis + backward]
        title, top = f"layer {context.layer}, {direction_name(context.direction, 3)}", bright[context.layer - 1]
        return picture(title, context.hidden, voxel, axis, steps=planes, spacing=spacing, top=top)

    first, second = (direction_name(2 * axis + backward, 3) for backward in (0, 1))
    return Part(
        name=f"hidden_{name}s",
        title=f"Hidden planes, {name} by {name}",
        text=(
            f"What the sweeps {first} and {second} hold at each {name}: the root mean square of the hidden channels, "
            "every layer on a scale of its own. A sweep brings only what it has passed already."
        ),
        rows=[images, *([view(layer, backward) for layer in layers] for backward in (0, 1))],
        steps=[scene.planes[axis][index] for index in slices],
        start=planes.index(voxel[axis]),
        axis=name.capitalize(),
    )


def _hidden_images(scene: Scene, layers: Sequence[Sequence[SweepContext]]) -> Part:
    """The hidden states of all sweeps of an image, whose planes are lines; the slider walks over the layers."""
    spacing, position = _position_size(scene), _position(scene)
    views = [
        Picture(
            title=direction_name(direction, 2),
            values=np.stack([layer[direction].hidden / (_bright(layer) or 1.0) for layer in layers]).astype(
                np.float32
            ),
            mark=(position[0], position[1]),
            pixel=(spacing[0], spacing[1]),
        )
        for direction in range(4)
    ]
    return Part(
        name="hidden",
        title="Hidden states",
        text="What each sweep holds at each position: the root mean square of its hidden channels, scaled by layer.",
        rows=[views],
        steps=[f"layer {layer[0].layer}" for layer in layers],
        start=len(layers) - 1,
        axis="Layer",
    )


def _plane_of(scene: Scene, axis: int, position: int) -> int:
    """The plane of the window that stands for a position: the voxel's own, else the middle of the block."""
    size, own = _block(scene)[axis], scene.voxel[axis]
    return own if own // size == position else min(position * size + size // 2, scene.image.shape[2 + axis] - 1)


def _plane_name(scene: Scene, axis: int, position: int) -> str:
    return scene.planes[axis][_plane_of(scene, axis, position)]


def _bright(contexts: Sequence[SweepContext]) -> float:
    """The hidden value that is drawn brightest: all but the highest thousandth."""
    return max(float(np.quantile(context.hidden, 0.999)) for context in contexts)


def _position(scene: Scene) -> tuple[int, ...]:
    """The position of the sweeps that holds the voxel."""
    return tuple(index // size for index, size in zip(scene.voxel, _block(scene), strict=True))


def _position_size(scene: Scene) -> tuple[float, ...]:
    return tuple(mm * size for mm, size in zip(scene.spacing, _block(scene), strict=True))


def _numbers(scene: Scene, context: SweepContext, layer: Sequence[SweepContext]) -> dict[str, Any]:
    """What the table and `explain.json` say of one sweep."""
    step = _block(scene)[context.axis]
    tip = scene.voxel[context.axis] // step
    others = tuple(other for other in range(scene.dims) if other != context.axis)
    reach = reach_of(context.direct.sum(axis=others, dtype=np.float64), tip)
    return {
        "layer": context.layer,
        "direction": direction_name(context.direction, scene.dims),
        "axis": "DHW"[-scene.dims :][context.axis],
        "backward": context.backward,
        "share_direct": _share(context.direct, [other.direct for other in layer]),
        "share_image": _share(context.through, [other.through for other in layer]),
        "reach_voxels": {key: None if value is None else value * step for key, value in reach.items()},
        "logit_without": context.cut_logit,
    }


def _table(numbers: Sequence[dict[str, Any]]) -> Table:
    def percent(value: float | None) -> str:
        return "–" if value is None else f"{100 * value:.0f} %"

    def voxels(value: int | None) -> str:
        return "–" if value is None else str(value)

    return Table(
        title="Every sweep in numbers",
        text=(
            "Share: of the layer's absolute gradient with respect to the image, by direction. Reach: distance along "
            "the sweep, in voxels, that holds half and 90 % of the layer's own pyramid. Logit without: what the "
            "voxel's logit becomes when this sweep is cut."
        ),
        columns=["layer", "sweep", "share", "reach 50 %", "reach 90 %", "logit without"],
        rows=[
            [
                str(row["layer"]),
                row["direction"],
                percent(row["share_image"]),
                *(voxels(row["reach_voxels"][key]) for key in ("50%", "90%")),
                f"{round(row['logit_without'], 2) + 0.0:.2f}",
            ]
            for row in numbers
        ],
    )


def _share(part: np.ndarray, parts: Sequence[np.ndarray]) -> float | None:
    total = sum(float(other.sum(dtype=np.float64)) for other in parts)
    return float(part.sum(dtype=np.float64)) / total if total > 0 else None


def _block(scene: Scene) -> tuple[int, ...]:
    return network_of(scene).block
