"""Brain tissue in three MR contrasts: T1, inversion recovery (IR) and FLAIR of a made-up, skull-stripped head.

Tissue shares are drawn on a grid finer than the voxels and averaged into them, so that partial volume is real; the
label is the tissue with the largest share.
"""

from __future__ import annotations

import numpy as np

from .brain_anatomy import TILT, Tissue, grow_brain
from .fields import block_mean, generator, smooth_noise

DEFAULT_SIZE = (32, 96, 96)
FIELD_OF_VIEW = (144.0, 230.4, 230.4)
"""Millimetres (slices, rows, columns): 3 x 0.96 x 0.96 mm at 48 x 240 x 240."""
CLASSES = ("background", "CSF", "GM", "WM")

SIGNAL = {"T1": (0.27, 0.62, 0.92), "IR": (0.95, 0.68, 0.36), "FLAIR": (0.16, 0.78, 0.58)}
"""Mean signal of CSF, GM and WM."""
NOISE = {"T1": 0.06, "IR": 0.055, "FLAIR": 0.06}
"""Standard deviation of the noise in each of the receiver's two channels."""
FINE = (1.5, 1.5, 2.5)  # millimetres (x, y, z): voxels of the grid on which tissue is drawn, about
HEAD = (172, 204, 144)  # millimetres (x, y, z): nothing of a head lies outside


def brain_tissue(
    *, size: tuple[int, int, int] = DEFAULT_SIZE, seed: int = 0, case: int = 0
) -> tuple[dict[str, np.ndarray], np.ndarray, tuple[float, ...]]:
    """Makes one head.

    Args:
        size: Slices, rows, columns; the field of view stays, the voxels change.
        seed: Of the data set.
        case: Index of the head in the data set.

    Returns:
        Images by modality, int16 `(x, y, z)`; labels, uint8 `(x, y, z)`: 0 background, 1 CSF, 2 GM, 3 WM; and
        millimetres per voxel `(x, y, z)`. x runs to the right, y to the front, z up.
    """
    rng = generator("brain_tissue", seed, case, size)
    tissue, spacing = draw_head(rng, size)
    head = tissue.csf + tissue.gm + tissue.wm
    label = np.argmax(np.stack([1 - head, tissue.csf, tissue.gm, tissue.wm]), 0).astype(np.uint8)
    images = {name: _scan(rng, name, tissue, np.array(spacing)) * (head > 0.5) for name in SIGNAL}
    return {name: image.astype(np.int16) for name, image in images.items()}, label, spacing


def draw_head(
    rng: np.random.Generator,
    size: tuple[int, int, int],
    *,
    fine: tuple[float, ...] = FINE,
    field_of_view: tuple[float, float, float] = FIELD_OF_VIEW,
    tilt: float = TILT,
) -> tuple[Tissue, tuple[float, ...]]:
    """Draws one person's tissue on a grid of about `fine` millimetres and averages it into the voxels.

    Args:
        rng: Source of randomness.
        size: Slices, rows, columns.
        fine: Millimetres (x, y, z).
        field_of_view: Millimetres (slices, rows, columns); of less than `HEAD`, heads may be cut.
        tilt: Radians, standard deviation, by which heads are turned around each axis.

    Returns:
        Shares of the tissues `(x, y, z)` and millimetres per voxel `(x, y, z)`.
    """
    shape, extent = size[::-1], field_of_view[::-1]
    spacing = tuple(mm / n for mm, n in zip(extent, shape, strict=True))
    margin = [max(0, int(n * (1 - mm / full) / 2)) for n, mm, full in zip(shape, HEAD, extent, strict=True)]
    finer = [min(3, int(np.ceil(s / mm - 0.15))) for s, mm in zip(spacing, fine, strict=True)]
    fine_shape = tuple((n - 2 * m) * f for n, m, f in zip(shape, margin, finer, strict=True))
    drawn = grow_brain(rng, fine_shape, np.array(spacing) / finer, tilt=tilt)
    shares = (drawn.csf, drawn.gm, drawn.wm, drawn.myelin, drawn.ventricle, *drawn.place)
    csf, gm, wm, myelin, ventricle, *place = (
        np.pad(block_mean(share, finer), [(m, m) for m in margin]) for share in shares
    )
    return Tissue(csf, gm, wm, myelin, ventricle, np.stack(place)), spacing


def _scan(rng: np.random.Generator, modality: str, tissue: Tissue, spacing: np.ndarray) -> np.ndarray:
    """One contrast of healthy tissue."""
    csf, gm, wm = SIGNAL[modality]
    grey = gm + (wm - gm) * tissue.myelin
    white = wm * (1 + 0.03 * smooth_noise(rng, tissue.wm.shape, 18 / spacing))
    return magnitude(rng, csf * tissue.csf + grey * tissue.gm + white * tissue.wm, NOISE[modality], spacing)


def magnitude(rng: np.random.Generator, signal: np.ndarray, noise: float, spacing: np.ndarray) -> np.ndarray:
    """What the scanner shows of a signal: uneven sensitivity, Rician noise, a gain; 1000 is about a full signal."""
    signal = signal * np.exp(0.16 * smooth_noise(rng, signal.shape, 75 / spacing))
    noisy = noise * rng.standard_normal((2, *signal.shape), dtype=np.float32)
    return np.rint(1000 * rng.uniform(0.8, 1.25) * np.hypot(signal + noisy[0], noisy[1]))
