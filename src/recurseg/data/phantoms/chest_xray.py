"""Chest radiographs: a made-up adult or child between tube and detector, and the picture as a radiologist sees it.

Rays are absorbed on their way through soft tissue, aerated lung, bone and metal (Beer and Lambert); scatter, noise
and blur are added to what arrives, its logarithm is the picture: air dark, bone bright. The label is the lungs as the
annotators of the Montgomery set draw them: without heart and mediastinum, above the diaphragm, and with an inferred
border where disease hides the lung, so that fluid and opacities belong to it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

from .chest_anatomy import Chest, abdomen, airways, back, body, cavity, diaphragm, draw_chest, mediastinum, stomach
from .chest_findings import FINDINGS, devices, effusion, lesion, marker
from .chest_projection import Field, View
from .chest_skeleton import skeleton
from .chest_vessels import vessels
from .fields import generator, smooth_noise

DEFAULT_SIZE = (1, 256, 256)
LUNG = 255

SOFT, BONE, METAL = 0.19, 0.46, 3.0
"""Absorbed per cm of soft tissue; more per cm of bone and of metal."""
AIR = 0.74
"""Share of an inflated lung that is air."""


def chest_xray(
    *, size: tuple[int, int, int] = DEFAULT_SIZE, seed: int = 0, case: int = 0
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Makes one radiograph.

    Every third case is a child; of seven cases one has an effusion, one a device, one a lesion; about one in eight is
    rotated, one in eight underexposed.

    Args:
        size: 1, rows, columns.
        seed: Of the data set.
        case: Index of the radiograph in the data set.

    Returns:
        Image, uint8 `(rows, columns)`; label, uint8 `(rows, columns)`: 0 background, 255 lung; and the words that
        mark the case, of "child", "effusion", "device", "lesion", "rotated", "underexposed".
    """
    rng = generator("chest_xray", seed, case, size)
    tags = tuple(
        tag
        for tag, given in {
            "child": case % 3 == 2,
            FINDINGS[case % len(FINDINGS)]: FINDINGS[case % len(FINDINGS)],
            "rotated": rng.uniform() < 0.12,
            "underexposed": rng.uniform() < 0.12,
        }.items()
        if given
    )
    chest = draw_chest(rng, "child" in tags)
    view = _position(rng, chest, size[1:], "rotated" in tags)
    u, v = (x + 0.012 * chest.width * smooth_noise(rng, view.shape, np.divide(view.shape, 6)) for x in view.grid())

    pleura = cavity(chest, u, v)
    heart = mediastinum(chest, u, v, view)
    label = (pleura > 0) & (heart == 0) & (v < diaphragm(chest, u))
    lung = np.clip(pleura - heart - back(chest, u, v, view) - abdomen(chest, u, v), 0, None)
    for tag, disease in (("effusion", effusion), ("lesion", lesion)):
        if tag in tags:
            lung *= 1 - disease(rng, chest, u, v)

    step = 0.65 * view.pixel
    blood = view.project(vessels(rng, chest, step)) * np.clip(lung / chest.depth, 0, 1)
    lobules = 1 + 0.02 * smooth_noise(rng, view.shape, np.divide(view.shape, 120))
    uneven = 1 + 0.02 * smooth_noise(rng, view.shape, np.divide(view.shape, 8))
    soft = uneven * body(chest, u, v, view) - AIR * (lung * lobules - blood)
    soft -= 0.8 * airways(chest, u, v, view) + stomach(rng, chest, u, v)
    absorbed = SOFT * np.clip(soft, 0, None) + BONE * view.project(skeleton(rng, chest, step))
    if "device" in tags:
        absorbed += METAL * view.project(devices(rng, chest, step))
    absorbed += METAL * marker(rng, view)
    picture = _expose(rng, absorbed, view.pixel, faint="underexposed" in tags)
    shown = _display(rng, picture, label, (pleura > 0) & ~label, view.pixel, faint="underexposed" in tags)
    return shown, np.where(_two_largest(label), LUNG, 0).astype(np.uint8), tags


def _position(rng: np.random.Generator, chest: Chest, shape: tuple[int, ...], rotated: bool) -> View:
    """The patient before the detector, a little askew, or much."""
    pixel = 2 * chest.width / shape[1] / np.clip(rng.normal(0.745, 0.075), 0.58, 0.86)
    pixel = max(pixel, chest.height / (0.9 * shape[0]))
    tall = chest.height / pixel / shape[0]
    top = rng.uniform(0.04, max(0.05, min(0.19, 0.95 - tall)))
    askew = 4 if rotated else 1
    turn = rng.choice([-1, 1]) * rng.uniform(0.14, 0.28) if rotated else rng.normal(0, 0.035)
    origin = (top * shape[0], (0.5 + rng.normal(0, 0.02)) * shape[1])
    return View((shape[0], shape[1]), pixel, origin, rng.normal(0, 0.018 * askew), turn)


def _two_largest(mask: np.ndarray) -> np.ndarray:
    """The two lungs without slivers beside them."""
    parts = np.empty(mask.shape, np.int32)
    ndimage.label(mask, output=parts)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.isin(parts, np.argsort(sizes)[-2:]) & mask


def _expose(rng: np.random.Generator, absorbed: Field, pixel: float, *, faint: bool) -> Field:
    """Logarithm of what the detector sees: primary rays, scatter, focal spot, quantum noise."""
    primary = np.exp(-absorbed)
    scatter = ndimage.gaussian_filter(primary * absorbed, 3.5 / pixel, mode="nearest")
    arrived = ndimage.gaussian_filter(primary + rng.uniform(0.05, 0.2) * scatter, 0.5)
    quanta = 10 ** (rng.uniform(3.3, 3.8) if faint else rng.uniform(4.6, 5.4))
    arrived += np.sqrt(arrived / quanta) * rng.standard_normal(arrived.shape, dtype=np.float32)
    return -np.log(np.clip(arrived, 1e-4, None))


def _display(
    rng: np.random.Generator, picture: Field, lung: np.ndarray, dense: np.ndarray, pixel: float, *, faint: bool
) -> np.ndarray:
    """Grey values: processed as by a digital system or plain as a digitised film, within a shutter."""
    digital = rng.uniform() < 0.65
    evened = rng.uniform(0.3, 0.5) if digital else rng.uniform(0, 0.15)
    picture = picture - evened * ndimage.gaussian_filter(picture, 3 / pixel, mode="nearest")
    if digital:  # edges enhanced
        picture += rng.uniform(0.4, 1) * (picture - ndimage.gaussian_filter(picture, 1.2))
    low = float(np.percentile(picture[lung], 40))
    high = max(float(np.percentile(picture[dense], 65)), low + 0.2)
    air, top = min(float(picture.min()), 1.6 * low - 0.6 * high), 2 * high - low
    grey = rng.uniform(102, 150) if digital else rng.uniform(48, 90)
    bright = rng.uniform(212, 234)
    if faint:
        grey, bright = grey + 0.45 * (bright - grey), bright - 10
    curve = PchipInterpolator([air, low - 0.45 * (high - low), low, high, top], [4, 0.6 * grey, grey, bright, 246])
    shown = curve(np.clip(picture, air, top))
    shown[_shuttered(rng, lung)] = rng.uniform(0, 8)
    return np.clip(np.rint(shown), 0, 255).astype(np.uint8)


def _shuttered(rng: np.random.Generator, lung: np.ndarray) -> np.ndarray:
    """Pixels that the collimator keeps dark: the border outside a rectangle around the lungs, slightly turned."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in lung.shape), indexing="ij")
    angle = rng.normal(0, 0.012)
    x, y = x + angle * y, y - angle * x
    top, left, right = 1 - rng.choice([-0.05, 0.03, 0.1], 3, p=[0.7, 0.2, 0.1]) * rng.uniform(0.5, 1, 3)
    bottom = max(rng.choice([1.05, 0.95, 0.5], p=[0.6, 0.25, 0.15]), float(y[lung].max()) + 0.08)
    return (y < -top) | (y > bottom) | (x < -left) | (x > right)
