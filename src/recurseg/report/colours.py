"""Numbers as colours: grey images, heat maps on linear or logarithmic scales, and several sources in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from recurseg.explain.pictures import Picture

SOURCES = ((214, 39, 140), (148, 103, 255), (255, 150, 20), (240, 228, 66), (60, 160, 255), (0, 190, 120))
"""Colours of up to six sources; two of a pair lie near each other, pairs far apart."""
LINE, LINE_ON_GREY = (140, 160, 175), (240, 164, 0)
"""Colours of the line around what is framed, on heat and on a grey image."""
SHARPNESS = 6
"""How much more the stronger of two sources counts for the mixed colour."""
GLOW = 0.7
"""Exponent of its brightness: below 1, weak sources are seen too."""


def colour(picture: Picture) -> np.ndarray:
    """A picture's frames as uint8 `(T, H, W, 3)`."""
    if picture.colours == "grey":
        return _grey(picture.values)
    height = _height(picture)
    if picture.colours == "mixed":
        return _mixed(height)
    return heat_colours()[(height * 255).round().astype(np.uint8)]


@cache
def heat_colours() -> np.ndarray:
    """The 256 colours of heat, black to pale yellow, uint8 `(256, 3)`."""
    import matplotlib

    return (np.asarray(matplotlib.colormaps["inferno"](np.arange(256)))[:, :3] * 255).round().astype(np.uint8)


def hexadecimal(rgb: Sequence[int]) -> str:
    """Red, green and blue as "#rrggbb"."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)


def _grey(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, [0.5, 99.5])
    shade = np.clip((values - low) / ((high - low) or 1.0), 0, 1) * 255
    return np.repeat(shade.round().astype(np.uint8)[..., None], 3, axis=-1)


def _height(picture: Picture) -> np.ndarray:
    """Values on the picture's scale, 0 to 1."""
    if not picture.top > 0:
        return np.zeros_like(picture.values)
    share = np.clip(picture.values / picture.top, 0, 1)
    if not picture.decades:
        return share
    smallest = 10.0**-picture.decades
    return np.clip(1 + np.log10(np.maximum(share, smallest)) / picture.decades, 0, 1)


def _mixed(height: np.ndarray) -> np.ndarray:
    """`(T, H, W, N)` → colours: hue of the stronger sources, brightness of the strongest."""
    weight = height**SHARPNESS
    hue = weight @ np.asarray(SOURCES[: height.shape[-1]], np.float32)
    hue /= np.maximum(weight.sum(axis=-1, keepdims=True), 1e-12)
    return (hue * height.max(axis=-1, keepdims=True) ** GLOW).round().astype(np.uint8)
