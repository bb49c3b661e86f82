"""How hard are the phantoms? The best threshold, chosen on the test images themselves, against a light 2-D U-Net.

    python examples/phantom_difficulty.py docs/results/phantoms.json

Minutes on one thread. Both see the same held-out images: the last four sections of a stack, the last brain of four,
the last two tumours of eight, the last four heads with lesions of twelve, the last three hearts of twelve, the last
eight of 24 radiographs.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

from recurseg.data.phantoms.brain_tissue import CLASSES, brain_tissue
from recurseg.data.phantoms.brain_tissue import DEFAULT_SIZE as BRAIN_SIZE
from recurseg.data.phantoms.brain_tumour import DEFAULT_SIZE as TUMOUR_SIZE
from recurseg.data.phantoms.brain_tumour import brain_tumour
from recurseg.data.phantoms.cardiac_cine import CLASSES as HEART_CLASSES
from recurseg.data.phantoms.cardiac_cine import DEFAULT_SIZE as HEART_SIZE
from recurseg.data.phantoms.cardiac_cine import FRAMES, cardiac_cine
from recurseg.data.phantoms.chest_xray import chest_xray
from recurseg.data.phantoms.em_membranes import DEFAULT_SIZE as EM_SIZE
from recurseg.data.phantoms.em_membranes import MEMBRANE, em_membranes
from recurseg.data.phantoms.ms_lesions import DEFAULT_SIZE as LESION_SIZE
from recurseg.data.phantoms.ms_lesions import ms_lesions
from recurseg.models import create_model

SEED, STEPS, BATCH, WINDOW = 0, 300, 8, 96
LESION_WEIGHT = 20.0  # lesions are one voxel in 2,000: with equal weights the network finds none in so few steps
CHEST_SIZE = (1, 128, 128)  # half the default, so that a window holds most of a chest


def z_score(volume: np.ndarray) -> np.ndarray:
    return ((volume - volume.mean()) / volume.std()).astype(np.float32)


def em_slices() -> tuple[np.ndarray, np.ndarray]:
    """Sections `(N, 1, H, W)` and classes `(N, H, W)`, 1 is membrane."""
    image, label = em_membranes(size=EM_SIZE, seed=SEED)
    return z_score(image)[:, None], (label == MEMBRANE).astype(np.int64)


def brain_slices(modalities: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Axial slices of four brains `(N, C, H, W)` and tissues `(N, H, W)`."""
    images, labels = [], []
    for case in range(4):
        scans, label, _ = brain_tissue(size=BRAIN_SIZE, seed=SEED, case=case)
        images.append(np.stack([z_score(scans[m]) for m in modalities]).transpose(3, 0, 2, 1))
        labels.append(label.transpose(2, 1, 0).astype(np.int64))
    return np.concatenate(images), np.concatenate(labels)


def tumour_slices() -> tuple[np.ndarray, np.ndarray]:
    """Axial slices of eight heads `(N, 4, H, W)`, FLAIR first, and classes `(N, H, W)`, 1 is tumour of any tissue."""
    heads = [brain_tumour(size=TUMOUR_SIZE, seed=SEED, case=case)[:2] for case in range(8)]
    images = [np.stack([z_score(image) for image in scans.values()]).transpose(3, 0, 2, 1) for scans, _ in heads]
    labels = [(label > 0).transpose(2, 1, 0).astype(np.int64) for _, label in heads]
    return np.concatenate(images), np.concatenate(labels)


def lesion_slices() -> tuple[np.ndarray, np.ndarray]:
    """Axial slices of twelve heads `(N, 3, H, W)`, FLAIR first, and classes `(N, H, W)`, 1 is lesion."""
    heads = [ms_lesions(size=LESION_SIZE, seed=SEED, case=case)[:2] for case in range(12)]
    images = [np.stack([z_score(image) for image in scans.values()]).transpose(3, 0, 2, 1) for scans, _ in heads]
    return np.concatenate(images), np.concatenate([label.transpose(2, 1, 0).astype(np.int64) for _, label in heads])


def heart_slices(neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    """Short-axis slices of twelve hearts at end-diastole and end-systole `(N, C, H, W)` and classes `(N, H, W)`.

    The channels are the frame itself and `neighbours` frames on either side of it.
    """
    images, labels = [], []
    for case in range(12):
        cine = cardiac_cine(size=HEART_SIZE, seed=SEED, case=case)
        film = z_score(cine.image).transpose(2, 3, 1, 0)
        for t in (0, cine.end_systole):
            around = [t, *(t + sign * n for n in range(1, neighbours + 1) for sign in (-1, 1))]
            images.append(film[:, np.mod(around, FRAMES)])
            labels.append(cine.label[..., t].transpose(2, 1, 0).astype(np.int64))
    return np.concatenate(images), np.concatenate(labels)


def radiographs() -> tuple[np.ndarray, np.ndarray]:
    """24 radiographs `(N, 1, H, W)` and classes `(N, H, W)`, 1 is lung."""
    cases = [chest_xray(size=CHEST_SIZE, seed=SEED, case=case) for case in range(24)]
    return np.stack([z_score(case[0])[None] for case in cases]), np.stack([case[1] > 0 for case in cases]).astype(int)


def best_band(image: np.ndarray, truth: np.ndarray) -> dict:
    """The intensity band whose Dice with `truth` is largest: `low <= image < high`."""
    edges = np.append(np.unique(np.quantile(image, np.linspace(0, 1, 301))), image.max() + 1)
    hits = np.append(0, np.histogram(image[truth], edges)[0].cumsum())
    taken = np.append(0, np.histogram(image, edges)[0].cumsum())
    low, high = np.triu_indices(len(edges), 1)
    dice = 2 * (hits[high] - hits[low]) / (taken[high] - taken[low] + truth.sum())
    best = int(dice.argmax())
    bounds = {"low": round(float(edges[low[best]]), 3), "high": round(float(edges[high[best]]), 3)}
    return {"dice": round(float(dice[best]), 4), **bounds}


def train_unet(images: np.ndarray, labels: np.ndarray, classes: int, weight: float) -> torch.nn.Module:
    """Cross-entropy on random windows, flipped and turned; Adam with a cosine schedule. Background has weight 1."""
    torch.manual_seed(SEED)
    rng = np.random.default_rng(SEED)
    model = create_model("light_unet", in_channels=images.shape[1], num_classes=classes)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    weights = torch.tensor([1.0, *[weight] * (classes - 1)])
    for _ in range(STEPS):
        windows = []
        for n in rng.integers(0, len(images), BATCH):
            y, x = (rng.integers(0, size - WINDOW + 1) for size in labels.shape[1:])
            window = np.concatenate([images[n], labels[n][None]])[:, y : y + WINDOW, x : x + WINDOW]
            window = np.rot90(window, int(rng.integers(4)), (1, 2))
            windows.append(window[..., ::-1] if rng.uniform() < 0.5 else window)
        batch = torch.from_numpy(np.stack(windows).astype(np.float32))
        loss = torch.nn.functional.cross_entropy(model(batch[:, :-1]), batch[:, -1].long(), weights)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def compare(
    images: np.ndarray, labels: np.ndarray, held_out: int, names: tuple[str, ...], *, weight: float = 1.0
) -> dict:
    """Dice of every class but 0 on the last `held_out` slices: best band of channel 0, and U-Net on all channels."""
    start = time.process_time()
    model = train_unet(images[:-held_out], labels[:-held_out], len(names), weight)
    seconds = time.process_time() - start
    with torch.no_grad():
        predicted = np.concatenate([model(torch.from_numpy(x[None])).argmax(1).numpy() for x in images[-held_out:]])
    truth, unet = labels[-held_out:], {}
    for k, name in list(enumerate(names))[1:]:
        both = np.sum((predicted == k) & (truth == k))
        unet[name] = round(float(2 * both / (np.sum(predicted == k) + np.sum(truth == k))), 4)
    bands = {name: best_band(images[-held_out:, 0], truth == k) for k, name in list(enumerate(names))[1:]}
    shares = {name: round(float(np.mean(truth == k)), 4) for k, name in enumerate(names)}
    return {
        "threshold": bands,
        "light_unet_dice": unet,
        "training_cpu_seconds": round(seconds),
        "class_shares": shares,
    }


def main(out: Path) -> None:
    torch.set_num_threads(1)
    common = {"seed": SEED, "steps": STEPS, "batch": BATCH, "window": WINDOW, "threads": 1}
    brain = {**common, "size": BRAIN_SIZE, "cases": 4, "train": "cases 1-3", "test": "case 4"}
    heart = {**common, "size": HEART_SIZE, "cases": 12, "train": "cases 1-9", "test": "cases 10-12"}
    results = {
        "machine": platform.machine(),
        "torch": torch.__version__,
        "em_membranes": {
            **common,
            "size": EM_SIZE,
            "cases": 1,
            "train": "sections 0-15",
            "test": "sections 16-19",
            **compare(*em_slices(), 4, ("cell", "membrane")),
        },
        "brain_tissue T1": {**brain, **compare(*brain_slices(["T1"]), BRAIN_SIZE[0], CLASSES)},
        "brain_tissue T1, IR, FLAIR": {
            **brain,
            **compare(*brain_slices(["T1", "IR", "FLAIR"]), BRAIN_SIZE[0], CLASSES),
        },
        "brain_tumour": {
            **common,
            "size": TUMOUR_SIZE,
            "cases": 8,
            "train": "cases 1-6",
            "test": "cases 7-8",
            **compare(*tumour_slices(), 2 * TUMOUR_SIZE[0], ("background", "complete tumour")),
        },
        "ms_lesions": {
            **common,
            "size": LESION_SIZE,
            "cases": 12,
            "train": "cases 1-8",
            "test": "cases 9-12",
            "weight": LESION_WEIGHT,
            **compare(*lesion_slices(), 4 * LESION_SIZE[0], ("background", "lesion"), weight=LESION_WEIGHT),
        },
        "cardiac_cine": {**heart, **compare(*heart_slices(0), 6 * HEART_SIZE[0], HEART_CLASSES)},
        "cardiac_cine, five frames": {**heart, **compare(*heart_slices(2), 6 * HEART_SIZE[0], HEART_CLASSES)},
        "chest_xray": {
            **common,
            "size": CHEST_SIZE,
            "cases": 24,
            "train": "cases 1-16",
            "test": "cases 17-24",
            **compare(*radiographs(), 8, ("background", "lung")),
        },
    }
    text = json.dumps(results, indent=2)
    out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
