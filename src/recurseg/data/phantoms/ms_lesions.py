"""Multiple-sclerosis lesions in three MR contrasts, FLAIR, T1 and T2, among spots that look the same.

Half of the bright spots next to ventricles and cortex are no lesions but twins: changes that both hemispheres share.
Lesion and twin have the same size, shape, contrast, texture and surroundings; what tells them apart is whether there
is a spot in the other hemisphere, opposite to within 15 mm (hemispheres are never quite mirror images), some 28 to
110 mm away: 40 voxels of 0.7 mm or more, and more than 10 at 64 columns, so that no window of 21 voxels around a spot
shows it. Strays, in deep nuclei, brain stem and the middle of the white matter, are told by where in the brain they
lie; bright flow in FLAIR, by the other modalities. On held-out heads a reader who outlines all spots and tells none
apart has a Dice of about 0.52, one who tells strays alone 0.64; the best threshold, chosen with the truth, 0.26.

As in Zhang et al. 2019 (RSANet) voxels are 0.7 x 0.7 x 3 mm at full size and lesions fill 5.15e-4 of the volume on
average. Their images are private, on grids of 44 x 320 x 230 to 60 x 320 x 260; here it is one of 48 x 320 x 240.
"""

from __future__ import annotations

import zlib
from statistics import NormalDist

import numpy as np
from scipy import ndimage

from .brain_anatomy import Tissue
from .brain_tissue import draw_head, magnitude
from .fields import generator, ramp, smooth_noise
from .ms_spots import Spot, grow_spots

DEFAULT_SIZE = (24, 128, 96)
FIELD_OF_VIEW = (144.0, 224.0, 168.0)
"""Millimetres (slices, rows, columns): 3 x 0.7 x 0.7 mm at 48 x 320 x 240."""
CLASSES = ("background", "lesion")
FRACTION = 5.15e-4
"""Share of the voxels that are lesion, mean over cases."""
LOAD_SPREAD = 0.75
"""Standard deviation of the logarithm of a patient's lesion load."""

SIGNAL = {
    #        CSF   GM    WM    faint bright spot
    "FLAIR": (0.16, 0.65, 0.55, 0.86, 1.12),
    "T1": (0.28, 0.62, 0.86, 0.70, 0.38),
    "T2": (0.98, 0.56, 0.42, 0.68, 0.92),
}
"""Mean signal of the tissues and of spots; faint and bright in T1 are grey and a black hole."""
NOISE = 0.03
"""Standard deviation of the noise in each of the receiver's two channels."""
TILT = 0.015  # radians: scans are planned along the middle plane
FINE = (2.0, 2.0, 2.0)  # millimetres (x, y, z): voxels of the grid on which healthy tissue is drawn, about


def ms_lesions(
    *, size: tuple[int, int, int] = DEFAULT_SIZE, seed: int = 0, case: int = 0
) -> tuple[dict[str, np.ndarray], np.ndarray, tuple[float, ...], list[Spot]]:
    """Makes one head with lesions; none is healthy.

    Args:
        size: Slices, rows, columns; the field of view stays, the voxels change.
        seed: Of the data set.
        case: Index of the head in the data set.

    Returns:
        Images by modality, int16 `(x, y, z)`, 0 outside the head; labels, uint8 `(x, y, z)`: 0 background, 1 lesion;
        millimetres per voxel `(x, y, z)`; and all spots, lesions, twins and strays. x runs to the right, y to the
        front, z up.
    """
    rng = generator("ms_lesions", seed, case, size)
    tissue, spacing = draw_head(rng, size, fine=FINE, field_of_view=FIELD_OF_VIEW, tilt=TILT)
    step, head = np.array(spacing), tissue.csf + tissue.gm + tissue.wm > 0.5
    spots = grow_spots(rng, tissue, lesion_load(seed, case), step)
    label = np.zeros(head.shape, np.uint8)
    share, brightness, darkness = (np.zeros(head.shape, np.float32) for _ in range(3))
    for spot in spots:
        label[spot.box] |= spot.filled & (spot.kind == "lesion")
        more = spot.share > share[spot.box]
        for field, value in ((share, spot.share), (brightness, spot.look.brightness), (darkness, spot.look.darkness)):
            field[spot.box] = np.where(more, value, field[spot.box])
    label *= head
    images = {}
    for modality, (*_, faint, bright) in SIGNAL.items():
        grade = darkness if modality == "T1" else brightness
        texture = 1 + 0.04 * smooth_noise(rng, head.shape, 4 / step)
        spotted = (faint + (bright - faint) * grade) * texture
        healthy = _healthy(rng, modality, tissue, step)
        images[modality] = magnitude(rng, healthy + share * (spotted - healthy), NOISE, step) * head
    return {name: image.astype(np.int16) for name, image in images.items()}, label, spacing, spots


def lesion_load(seed: int, case: int) -> float:
    """Millilitres of lesion: log-normal over patients, spread evenly over any run of cases."""
    golden = (5**0.5 - 1) / 2
    start = zlib.crc32(f"ms_lesions {seed}".encode()) / 2**32
    quantile = np.clip((start + case * golden) % 1, 0.01, 0.99)
    mean = FRACTION * np.prod(FIELD_OF_VIEW) / 1000
    return float(mean * np.exp(LOAD_SPREAD * NormalDist().inv_cdf(quantile) - LOAD_SPREAD**2 / 2))


def _healthy(rng: np.random.Generator, modality: str, tissue: Tissue, spacing: np.ndarray) -> np.ndarray:
    """One contrast without spots; in FLAIR ventricles have a bright lining, and flow is bright."""
    csf, gm, wm, faint, bright = SIGNAL[modality]
    grey = gm + (wm - gm) * tissue.myelin
    white = wm * (1 + 0.04 * smooth_noise(rng, tissue.wm.shape, 18 / spacing))
    healthy = csf * tissue.csf + grey * tissue.gm + white * tissue.wm
    if modality == "FLAIR":
        lining = ndimage.gaussian_filter(tissue.ventricle, 1.6 / spacing) * (1 - tissue.ventricle)
        healthy += 0.5 * lining * tissue.wm + 0.05 * tissue.gm * smooth_noise(rng, healthy.shape, 15 / spacing)
        healthy += _flow(rng, tissue, spacing) * ((faint + bright) / 2 - healthy)
    return healthy


def _flow(rng: np.random.Generator, tissue: Tissue, spacing: np.ndarray) -> np.ndarray:
    """Share of each voxel, 0..1, where FLAIR is bright though nothing is ill: vessels, fluid under the brain."""
    vessels = ramp(smooth_noise(rng, tissue.csf.shape, 4 / spacing) - 2.3, 0.6) * (tissue.csf + tissue.gm)
    below = ramp(-tissue.place[2] - 8, 20) * tissue.csf
    return np.maximum(vessels, below * ramp(smooth_noise(rng, tissue.csf.shape, 12 / spacing) - 0.8, 0.8))
