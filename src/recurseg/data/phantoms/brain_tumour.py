"""Gliomas in four MR contrasts, as in the BraTS challenge: FLAIR, T1, T1 with contrast agent (T1c) and T2.

Every tumour tissue stands out from what lies around it in two or three modalities and in no modality do all: edema in
FLAIR and T2, non-enhancing tumour in FLAIR and T1, the enhancing rim in T1c and T2, necrosis in T1, T1c and T2. So
fusing modalities pays, and what one that is missing would show can be had from others. Single modalities are
misleading: fluid is as bright in T2 as necrosis, vessels as bright in T1c as the rim, and each has artefacts.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .brain_anatomy import Tissue
from .brain_glioma import grow_glioma
from .brain_mimics import contrast_agent, spots
from .brain_tissue import draw_head, magnitude
from .fields import generator, smooth_noise

DEFAULT_SIZE = (40, 120, 120)
CLASSES = ("background", "necrosis", "edema", "non-enhancing", "enhancing")
REGIONS = {"complete": [1, 2, 3, 4], "core": [1, 3, 4], "enhancing": [4]}
"""By BraTS code, as in the challenges of 2013 to 2015."""

SIGNAL = {
    #        CSF   GM    WM    necrosis edema non-enh. enhancing
    "FLAIR": (0.18, 0.66, 0.56, 0.74, 0.90, 0.65, 0.73),
    "T1": (0.30, 0.66, 0.84, 0.38, 0.75, 0.56, 0.62),
    "T1c": (0.26, 0.64, 0.80, 0.40, 0.70, 0.69, 1.10),
    "T2": (0.98, 0.55, 0.42, 0.98, 0.76, 0.77, 0.58),
}
"""Mean signal of the tissues."""
MIMICKED = {"FLAIR": 4, "T1": 3, "T1c": 6, "T2": 4}
"""Index in `SIGNAL` of the tissue that the artefacts of a modality look like."""
NOISE = 0.05
"""Standard deviation of the noise in each of the receiver's two channels."""
FINE = (2.0, 2.0, 2.0)  # millimetres (x, y, z): voxels of the grid on which healthy tissue is drawn, about


def brain_tumour(
    *, size: tuple[int, int, int] = DEFAULT_SIZE, seed: int = 0, case: int = 0
) -> tuple[dict[str, np.ndarray], np.ndarray, tuple[float, ...], tuple[str, ...]]:
    """Makes one head with a glioma.

    Args:
        size: Slices, rows, columns; the field of view stays, the voxels change.
        seed: Of the data set.
        case: Index of the head in the data set.

    Returns:
        Images by modality, int16 `(x, y, z)`, 0 outside the head; labels, uint8 `(x, y, z)`, indices into `CLASSES`;
        millimetres per voxel `(x, y, z)`; and the words that mark the case: "two_foci" or none. x runs to the right,
        y to the front, z up.
    """
    rng = generator("brain_tumour", seed, case, size)
    tissue, spacing = draw_head(rng, size, fine=FINE)
    step, head = np.array(spacing), tissue.csf + tissue.gm + tissue.wm
    depth = np.empty(head.shape)
    ndimage.distance_transform_edt(head > 0.5, sampling=spacing, distances=depth)
    glioma = grow_glioma(rng, tissue, depth, step)
    tumour = np.stack([glioma.necrosis, glioma.edema, glioma.non_enhancing, glioma.enhancing])
    label = np.argmax(np.concatenate([1 - tumour.sum(0, keepdims=True), tumour]), 0).astype(np.uint8)
    label[head <= 0.5] = 0
    images = {}
    for modality in SIGNAL:
        mimic = contrast_agent(rng, tissue, depth, step) if modality == "T1c" else spots(rng, tissue, step)
        signal = _signal(rng, modality, tissue, tumour, mimic, step)
        images[modality] = (magnitude(rng, signal, NOISE, step) * (head > 0.5)).astype(np.int16)
    return images, label, spacing, ("two_foci",) if glioma.foci > 1 else ()


def _signal(
    rng: np.random.Generator,
    modality: str,
    tissue: Tissue,
    tumour: np.ndarray,
    mimic: np.ndarray,
    spacing: np.ndarray,
) -> np.ndarray:
    """One contrast without the scanner's part: healthy tissue, what mimics tumour in it, and tumour over both."""
    csf, gm, wm, *sick = SIGNAL[modality]
    healthy = csf * tissue.csf + (gm + (wm - gm) * tissue.myelin) * tissue.gm + wm * tissue.wm
    mixed = healthy + mimic * (SIGNAL[modality][MIMICKED[modality]] - healthy)
    uneven = 1 + 0.07 * smooth_noise(rng, mimic.shape, 8 / spacing)
    tumorous = sum(rng.normal(1, 0.03) * s * share for s, share in zip(sick, tumour, strict=True))
    return mixed * (1 - tumour.sum(0)) + uneven * tumorous
