"""Run folders made by hand: tiny data sets, a written log, and predictions that are wrong in known places."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from recurseg.data.case import Case
from recurseg.data.dataset import open_dataset
from recurseg.data.formats import write_like
from recurseg.data.splits import split_cases
from recurseg.evaluation import evaluate


def write_stack(root: Path, sections: int = 6, size: int = 40) -> Path:
    """A stack of PNG sections with a bright disc, labels {0, 255}."""
    from PIL import Image

    rng = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    for z in range(sections):
        disc = (y - size / 2) ** 2 + (x - size / 2 - z) ** 2 < (size / 4) ** 2
        image = 60 + 100 * disc + rng.normal(0, 10, disc.shape)
        for folder, array in (("image", image), ("label", 255 * disc)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.clip(0, 255).astype(np.uint8)).save(root / folder / f"{z:02d}.png")
    return root


def write_images(root: Path, names: list[str], size: int = 32) -> Path:
    """Separate images with labels, two folders with matching stems."""
    from PIL import Image

    rng = np.random.default_rng(1)
    y, x = np.mgrid[:size, : size + 8]
    for number, name in enumerate(names):
        square = (abs(y - 16) < 6 + number % 3) & (abs(x - 18) < 8)
        for folder, array in (("images", 50 + 120 * square + rng.normal(0, 8, y.shape)), ("masks", 255 * square)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.clip(0, 255).astype(np.uint8)).save(root / folder / f"{name}.png")
    return root


def write_volumes(root: Path, cases: int = 3) -> Path:
    """Folders of NIfTI cases with two modalities, two classes and thick sections along z."""
    import nibabel as nib

    rng = np.random.default_rng(2)
    x, y, z = np.mgrid[:24, :30, :8]
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    for number in range(cases):
        outer = (x - 12) ** 2 + (y - 15) ** 2 < 80 - 4 * (z - 4) ** 2
        inner = (x - 12) ** 2 + (y - 15) ** 2 < 25 - 2 * (z - 4) ** 2
        label = outer.astype(np.uint8) + inner.astype(np.uint8)
        folder = root / f"subject_{number}"
        folder.mkdir(parents=True)
        for name, array in (
            ("t1", 100.0 * label + rng.normal(0, 5, label.shape)),
            ("flair", 300 - 100.0 * label + rng.normal(0, 5, label.shape)),
        ):
            nib.save(nib.Nifti1Image(array.astype(np.float32), affine), folder / f"{name}.nii.gz")
        nib.save(nib.Nifti1Image(label, affine), folder / "label.nii.gz")
    return root


def spoiled(case: Case, amount: int) -> np.ndarray:
    """The case's label in its file's values, shifted by `amount` voxels along the last axis but one."""
    assert case.label is not None
    return np.roll(case.label.array[...], amount, axis=-2)


def make_run(
    run: Path, data: Path, *, holdout: str | None = None, metric: str = "dice", model: str = "pyramid_lstm", **recipe
) -> Path:
    """A finished run folder whose predictions are labels shifted by 1, 2, 3, ... voxels."""
    dataset = open_dataset(data)
    split = split_cases(dataset, holdout, seed=0)
    run.mkdir(parents=True)
    document = {
        "schema_version": 1,
        "name": "default",
        "why": ["widths fit the minutes"],
        "model": {"name": model, "options": {}},
        "stages": [{"steps": 30, "window": [1, 8, 8]}, {"steps": 30, "window": [1, 16, 16]}],
        "validation": {"metric": metric, "times": 3},
    }
    (run / "recipe.yaml").write_text(yaml.safe_dump(document | recipe, sort_keys=False))
    manifest = {
        "schema_version": 1,
        "holdout": holdout,
        "as": None,
        "minutes": None,
        "data": str(data.resolve()),
        "dataset": dataset.manifest.name,
        "modalities": dataset.modalities,
        "class_names": dataset.class_names,
        "split": {
            "description": split.description,
            "train": [case.id for case in split.train],
            "validation": [case.id for case in split.validation],
        },
        "hashes": {case.id: dict.fromkeys([*case.images, "label"], "0f" * 32) for case in dataset.cases},
        "recipe_hash": "ab" * 32,
        "seed": 0,
        "parameters": 10_751_547,
        "versions": {"python": "3.12.1", "recurseg": "0.1.0", "torch": "2.13.0"},
        "machine": {"processor": "A processor", "cores": 2, "threads": 2, "memory_gib": 8.0, "gpu": None},
        "started": "2024-05-01T10:00:00+00:00",
        "finished": "2024-05-01T10:15:00+00:00",
        "seconds": 900.0,
        "steps": 60,
        "best_step": 40,
    }
    (run / "manifest.json").write_text(json.dumps(manifest))
    events = []
    for step in range(1, 61):
        loss = float("nan") if step == 7 else math.exp(-step / 20)
        events.append({"event": "step", "step": step, "loss": loss, "lr": 1e-3, "grad_norm": 1.0, "seconds": 2.0})
        if step % 20 == 0:
            value = {20: 0.5, 40: 0.8, 60: 0.7}[step]
            events.append({"event": "validation", "step": step, "values": {metric: value}, "seconds": 60.0})
    (run / "log.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    write_predictions(run / "validation", dataset, split.validation)
    return run


def write_predictions(out: Path, dataset, cases: list[Case]) -> None:
    """Label files, their index, and metrics."""
    from dataclasses import replace

    out.mkdir(parents=True)
    entries = {}
    for number, case in enumerate(cases, start=1):
        path = write_like(out / case.id, spoiled(case, number), case.reference)
        entries[case.id] = {"label": path.name, "probabilities": None, "source": str(case.reference.path)}
    label_map = cases[0].label_map or dict(enumerate(range(len(dataset.class_names))))
    index = {
        "schema_version": 1,
        "class_names": dataset.class_names,
        "label_map": {str(value): index for value, index in label_map.items()},
        "model": "pyramid_lstm",
        "package": "00",
        "cases": entries,
    }
    (out / "predictions.json").write_text(json.dumps(index))
    evaluate(out, replace(dataset, cases=cases)).to_json(out / "metrics.json")


@pytest.fixture
def make() -> SimpleNamespace:
    """What makes data sets and runs: `make.stack`, `make.images`, `make.volumes`, `make.run`."""
    return SimpleNamespace(stack=write_stack, images=write_images, volumes=write_volumes, run=make_run)


@pytest.fixture
def stack_run(tmp_path: Path) -> Path:
    """One stack, its last two sections held out: a single case."""
    return make_run(tmp_path / "run", write_stack(tmp_path / "stack"), holdout="4-5")


@pytest.fixture
def image_run(tmp_path: Path) -> Path:
    """Nine images, seven of them held out: enough for intervals."""
    names = [f"p{number}" for number in range(9)]
    data = write_images(tmp_path / "radiographs", names)
    return make_run(tmp_path / "run", data, holdout=",".join(names[2:]))


@pytest.fixture
def volume_run(tmp_path: Path) -> Path:
    """Three volumes with two modalities and two classes, two of them held out."""
    return make_run(tmp_path / "run", write_volumes(tmp_path / "volumes"), holdout="subject_1,subject_2")
