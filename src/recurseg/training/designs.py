"""What each family of networks wants: options, windows and learning rate that fit the data and the minutes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from recurseg.training.facts import Facts

MOST_AT_ONCE = 2**28
"""Numbers in the finest map of a volume that is predicted whole; on a CPU that takes between 5 and 6 GB."""


@dataclass(frozen=True)
class Design:
    """The part of a recipe that is the network's.

    Attributes:
        options: Of the model.
        window: Of training (D, H, W).
        batch: Windows an update.
        tile: Window of prediction (D, H, W).
        lr: First learning rate.
        why: The reasons.
        sampling: Settings of the sampling that are this network's own.
    """

    options: dict[str, Any]
    window: tuple[int, int, int]
    batch: int
    tile: tuple[int, int, int]
    lr: float
    why: list[str]
    sampling: dict[str, Any] = field(default_factory=dict)


def design(model: str, facts: Facts, *, classifies: bool = False) -> Design:
    """Designs a model for data.

    Args:
        model: A name from `list_models()`.
        facts: Of the data and the machine.
        classifies: Whether whole images have classes.
    """
    return (_classifier if classifies else _FAMILIES.get(model, _convolutional))(model, facts)


def _recurrent(model: str, facts: Facts) -> Design:
    """Widths that see enough windows in the time; blocks of 2×2 pixels, so that sweeps reach twice as far."""
    tiers = [(6, (8, 12, 12)), (40, (16, 16, 16)), (240, (16, 24, 32)), (float("inf"), (16, 32, 64))]
    minutes = facts.minutes or 15
    widths = next(widths for most, widths in tiers if minutes * (20 if facts.gpu else 1) <= most)
    options: dict[str, Any] = {
        "widths": list(widths),
        "pixelwise": [max(width, 16) for width in widths[1:]],
        "block": [2, 2],
        "init": "orthogonal",
    }
    if model == "pyramid_lstm":
        lr = 5e-3
        options |= {"kernel": 5, "forget_bias": 1.0}
        cells = "kernels of 5 instead of 7, forget bias 1"
    else:
        lr = 1.25e-2  # the best of 2e-3, 5e-3 and 1.25e-2 on the EM stack
        axes = 2 if facts.flat else 3
        options["forget_bias"] = round(-math.log(axes - 1), 2)
        cells = f"forget bias {options['forget_bias']:g}: {axes} gates a cell that open wider together let it grow"
    if facts.flat:
        options["spatial_dims"] = 2
        window, tile, batch = (1, 192, 192), (1, 512, 512), 4
    elif facts.anisotropy >= 3:
        window, tile, batch = (4, 128, 128), (8, 256, 256), 1
    else:
        window, tile, batch = (16, 80, 80), (32, 160, 160), 1
    why = [
        f"widths {widths} fit {minutes:g} minutes; the paper's (16, 32, 64) cost about 25 s a step on two cores",
        f"blocks of 2×2 pixels instead of single pixels: a quarter of the cost a window, twice the reach; {cells}",
        "orthogonal recurrent weights, AdamW on the log-likelihood: the recipe of the paper "
        "(U(-0.1, 0.1), RMSprop, squared error) needs thousands of updates to get under way",
    ]
    return Design(options, _within(window, facts), batch, _within(tile, facts), lr, why)


def _patch_reader(model: str, facts: Facts) -> Design:
    """A whole image, or a large part of a volume, as about 13 × 13 or 6 × 6 × 6 patches."""
    volumes = not facts.flat and facts.anisotropy < 3
    if volumes:
        window, tile, batch, across = (64, 96, 96), (128, 192, 192), 1, 6
    else:
        (_, height, width), batch, across = facts.shape, 4, 13
        window, tile = (1, height, width), (1, 4 * height, 4 * width)
    window = _within(window, facts)
    patch = _patch_side(2 * max(window) / across)
    options: dict[str, Any] = {"patch": patch, "stride": patch // 2}
    if volumes:
        options["spatial_dims"] = 3
    clocks = math.prod(math.ceil(side / (patch // 2)) for side in window[0 if volumes else 1 :])
    why = [
        f"patches of {patch} at stride {patch // 2} cover a window in {clocks} clocks: the paper has 13 × 13",
    ]
    if model in ("shamann", "bi_mann"):
        options |= {"heads": 8, "slots": max(400, math.ceil(2 * clocks / 100) * 100)}
        why.append(f"8 heads instead of 32: a third of a step's cost; {options['slots']} slots hold every write")
    return Design(options, window, batch, _within(tile, facts) if volumes else tile, 2e-3, why)


def _patch_side(least: float) -> int:
    """The smallest side of at least so many voxels that halves down to 5 to 8."""
    return min(side * 2**halvings for side in (5, 6, 7, 8) for halvings in range(2, 9) if side * 2**halvings >= least)


def _slice_reader(model: str, facts: Facts) -> Design:
    """Sequences of three sections in training, as published; longer ones in prediction, as the network remembers."""
    window, tile = (3, 192, 192), (24, 256, 256)
    why = ["sequences of 3 sections, as published; predicted 24 at a time"]
    sampling: dict[str, Any] = {}
    if model == "cross_modality" and facts.modalities > 1:
        sampling["modality_dropout"] = 0.2
        why.append("each modality is left out of a fifth of the windows, so that it may be missing later")
    return Design({}, _within(window, facts), 3, _within(tile, facts), 1e-3, why, sampling)


def _frame_reader(model: str, facts: Facts) -> Design:
    """Still images as they are; of a cine, series of four frames that end at the one that is segmented."""
    still = _convolutional(model, facts)
    if facts.frames == 1:
        return still
    _, height, width = still.window
    series = min(4, facts.frames)
    why = [f"series of {series} frames of a slice that end at the labelled one: with 4 the thesis came best"]
    return Design({}, (series, height, width), 2, (series, *still.tile[1:]), still.lr, why, {"frames": "series"})


def _classifier(model: str, facts: Facts) -> Design:
    window = (1, *facts.shape[1:])
    return Design({}, window, 32, window, 1e-3, ["whole images, as what decides may lie anywhere in them"])


def _volume_reader(model: str, facts: Facts) -> Design:
    """Windows of about one length in all directions, however far sections lie apart; widths fit the time.

    The finest level never has fewer than 16 channels: kernels of a CPU work on 16 at a time, and 8 take as long.
    """
    tiers = [(20, 16, 2**17), (120, 16, 2**18), (600, 32, 2**19), (float("inf"), 32, 2**20)]
    minutes = facts.minutes or 15
    finest, voxels = next(own for most, *own in tiers if minutes * (20 if facts.gpu else 1) <= most)
    widths = [finest * 2**level for level in range(5)]
    window, tile = _even_sided(voxels, facts), _even_sided(4 * voxels, facts)
    reach = " × ".join(f"{side * mm:.0f}" for side, mm in zip(window, facts.spacing, strict=True))
    why = [
        f"windows of {reach} mm, alike in all directions, their sides multiples of 16 for four halvings",
        f"widths {widths} fit {minutes:g} minutes" + ("" if finest == 32 else "; the paper's are 32 to 512"),
    ]
    tile = _within(tile, facts)
    if model != "unet3d":
        depth, height, width = (16 * (math.ceil(side / 16) + 1) for side in facts.shape)
        if finest * depth * height * width <= MOST_AT_ONCE:
            tile = depth, height, width
            why.append(f"volumes up to {depth} × {height} × {width} are predicted whole: attention sees all of them")
    return Design({"widths": widths}, _within(window, facts), 2, tile, 1e-3, why)


def _even_sided(voxels: int, facts: Facts, unit: int = 16) -> tuple[int, int, int]:
    """A window of about so many voxels with sides of like length in mm, multiples of `unit` or the whole extent."""

    def side(mm: float, axis: int) -> int:
        return min(max(1, round(mm / facts.spacing[axis] / unit)) * unit, facts.shape[axis])

    depth = side(math.cbrt(voxels * math.prod(facts.spacing)), 0)
    across = math.sqrt(voxels / max(depth, unit) * math.prod(facts.spacing[1:]))
    return depth, side(across, 1), side(across, 2)


def _convolutional(model: str, facts: Facts) -> Design:
    from recurseg.models import model_info

    info = model_info(model)
    options: dict[str, Any] = {}
    choice = "spatial_dims" in info.options
    two = facts.flat or facts.anisotropy >= 3 if choice else info.spatial_dims == 2
    if choice:
        options["spatial_dims"] = 2 if two else 3
    if model == "monai_dynunet":
        options["spacing"] = [1.0, 1.0] if two else list(facts.spacing)
    if two:
        window, tile, batch = (1, 256, 256), (1, 512, 512), 4
        why = ["sections one by one: they lie far apart" if choice and not facts.flat else "the model takes images"]
    else:
        window, tile, batch = (32, 80, 80), (64, 160, 160), 1
        why = []
    return Design(options, _within(window, facts), batch, _within(tile, facts), 2e-3, why)


_FAMILIES: dict[str, Callable[[str, Facts], Design]] = {
    **dict.fromkeys(("pyramid_lstm", "md_lstm"), _recurrent),
    **dict.fromkeys(("shamann", "bi_mann", "bi_lstm", "no_memory"), _patch_reader),
    **dict.fromkeys(("cross_modality", "encoder_decoder", "k_unet"), _slice_reader),
    **dict.fromkeys(("unet3d", "rsanet", "non_local_unet3d"), _volume_reader),
    "gamma_net": _frame_reader,
}


def _within(window: tuple[int, int, int], facts: Facts) -> tuple[int, int, int]:
    """A window that reaches beyond the images in no axis; a square one where it will be turned."""
    depth, height, width = (min(size, extent) for size, extent in zip(window, facts.shape, strict=True))
    side = min(height, width)
    return (depth, height, width) if facts.anatomy or facts.flat else (depth, side, side)
