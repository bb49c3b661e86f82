"""The promises on real images: 'pytest -m slow' with RECURSEG_DATA set, on two quiet cores."""

import os
from pathlib import Path

import pytest

from recurseg.evaluation import evaluate
from recurseg.inference.predict_paths import predict
from recurseg.training.run import train

pytestmark = pytest.mark.slow


def real(name):
    folder = Path(os.environ.get("RECURSEG_DATA", "")) / name
    if not os.environ.get("RECURSEG_DATA") or not folder.is_dir():
        pytest.skip(f"RECURSEG_DATA names no folder with {name}")
    return folder


def test_membranes_in_fifteen_minutes(tmp_path):
    data = real("isbi2012_em")
    run = train(data, model="pyramid_lstm", minutes=15, holdout="16-19", out=tmp_path / "run")
    assert run.evaluation.value("pixel_error:fraction@0.5") <= 0.11
    predict(run.folder, data / "image", out=tmp_path / "predictions")
    again = evaluate(tmp_path / "predictions", data / "label", sections="16-19")
    assert again.cases


def test_brain_tissue_in_twenty_minutes(tmp_path):
    data = real("ibsr18")
    run = train(data, model="pyramid_lstm", minutes=20, holdout="IBSR_16,IBSR_18", out=tmp_path / "run")
    assert run.evaluation.value("dice") >= 0.80
    predict(run.folder, data / "IBSR_16" / "IBSR_16.nii.gz", out=tmp_path / "predictions")
    assert evaluate(tmp_path / "predictions", data / "IBSR_16" / "IBSR_16_seg.nii.gz").value("dice") >= 0.7
