"""MNIST as it is published: handwritten digits of 28 x 28 pixels in IDX files, with the digits' names beside them."""

from __future__ import annotations

from pathlib import Path

from recurseg.data.formats import open_volume
from recurseg.data.formats.idx import SUFFIXES
from recurseg.data.layouts.files import As, refuse_as
from recurseg.data.manifest import CaseEntry, DatasetManifest

HELD_OUT = 12
"""One training digit in so many validates: the last 5,000 of 60,000."""


def recognise(root: Path, as_: As | None) -> DatasetManifest | None:
    """Recognises `train-images-idx3-ubyte` and `t10k-images-idx3-ubyte`, also compressed.

    The digits of a file are the sections of a stack. 55,000 train, 5,000 validate and 10,000 are for the test, as in
    the paper on SHAMANN. There is nothing to segment in them.
    """
    train, test = (_images(root, part) for part in ("train", "t10k"))
    if train is None or test is None:
        return None
    refuse_as(as_, root)
    digits = open_volume(train).shape[0]
    border = digits - digits // HELD_OUT
    ranges = {"train": (0, border - 1), "validation": (border, digits - 1)}
    cases = [CaseEntry(id=name, images={"digit": train.name}, sections=part) for name, part in ranges.items()]
    cases.append(CaseEntry(id="test", images={"digit": test.name}, for_prediction=True))
    return DatasetManifest(
        name=root.name,
        layout="mnist",
        modalities=["digit"],
        splits={"train": ["train"], "validation": ["validation"], "test": ["test"]},
        notes=[
            f"each section is a digit; the last {digits - border:,} of {digits:,} training digits validate",
            "no segmentation labels: for image completion only",
        ],
        cases=cases,
    )


def labels_of(images: Path) -> Path | None:
    """The file with the names of the digits that a file of images shows; None where there is none."""
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    plain = name.removesuffix(".gz")
    return next((path for n in (name, plain, f"{plain}.gz") if (path := images.with_name(n)).is_file()), None)


def _images(root: Path, part: str) -> Path | None:
    names = (f"{part}-images{suffix}" for suffix in SUFFIXES)
    return next((path for name in names if (path := root / name).is_file()), None)
