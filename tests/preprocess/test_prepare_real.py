"""Real scans on the way in and back, where `RECURSEG_DATA` names the folder of public data sets."""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from recurseg.data.dataset import open_dataset
from recurseg.data.labels import class_labels
from recurseg.preprocess import Preprocessing, prepare, restore

ROOT = Path(os.environ.get("RECURSEG_DATA", "absent")) / "ibsr18"
pytestmark = pytest.mark.skipif(not ROOT.is_dir(), reason="RECURSEG_DATA does not name a folder with ibsr18")


def test_a_brain_scan_lies_as_nibabel_turns_it_and_its_label_comes_back_voxel_by_voxel() -> None:
    dataset = open_dataset(ROOT)
    case = dataset.cases[0]
    prepared = prepare(case, Preprocessing(normalise="none"))
    scan = nib.funcs.squeeze_image(nib.load(case.reference.path))
    upright = nib.as_closest_canonical(scan).get_fdata(dtype=np.float32)  # pyright: ignore
    front = upright.shape.index(128)  # 1.5 mm sections, 0.94 mm in plane
    np.testing.assert_array_equal(prepared.image[0], np.moveaxis(upright, front, 0))

    assert prepared.label is not None
    cropped = prepare(case, Preprocessing(crop_foreground=True, normalise="foreground"))
    assert cropped.label is not None
    scores = np.moveaxis(np.eye(len(dataset.class_names), dtype=np.float32)[cropped.label], -1, 0)
    np.testing.assert_array_equal(restore(scores, cropped.geometry), class_labels(case))
