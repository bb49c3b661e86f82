"""Held-out cases are measured as `recurseg evaluate` measures them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from recurseg.data.case import Case, Volume
from recurseg.preprocess import Preprocessing, prepare
from recurseg.training import validation
from recurseg.training.recipe import ModelConfig, PredictionConfig, Recipe, Stage, ValidationConfig


def held(id: str, label: np.ndarray, **options):
    """A case whose image is its label, prepared as it is."""

    def volume(array: np.ndarray) -> Volume:
        return Volume(array, (1.0, 1.0, 1.0), None, Path(id), "array", stack_axis=0)

    case = Case(id, {"T1": volume(label.astype(np.float32))}, volume(label), **options)
    return case, prepare(case, Preprocessing(normalise="none"))


def recipe(metric: str) -> Recipe:
    return Recipe(
        model=ModelConfig(name="unet"),
        stages=[Stage(steps=1, window=(1, 6, 6))],
        prediction=PredictionConfig(window=(1, 6, 6)),
        validation=ValidationConfig(metric=metric),
    )


def called(monkeypatch, answer):
    """Lets the network call each voxel `answer(label)`."""

    def scores(model, prepared, **_):
        return np.stack([answer(prepared.image[0]) == k for k in (0, 1, 2)])

    monkeypatch.setattr(validation, "predict_prepared", scores)


def test_a_class_that_is_not_evaluated_does_not_count_in_validation(monkeypatch):
    label = np.zeros((4, 6, 6), np.uint8)
    label[1:3, 1:3], label[1:3, 4:] = 1, 2
    called(monkeypatch, lambda image: np.where(image == 2, 1, image))  # where the stem is, the network sees GM
    case = held("a", label, not_evaluated=(2,))
    measure = validation.Validator([case], recipe("dice"), ["background", "GM", "stem"])
    assert measure(torch.nn.Identity()) == {"dice": 1.0}


def test_pooled_metrics_add_the_voxels_of_all_cases_and_others_average_cases(monkeypatch):
    first, second = np.zeros((1, 2, 6), np.uint8), np.zeros((1, 2, 6), np.uint8)
    first[0, 0], second[0, 0, :2] = 1, 2
    called(monkeypatch, lambda image: np.where(image == 2, 0, image))  # class 2 is never seen
    cases = [held("a", first), held("b", second)]
    names = ["background", "one", "two"]
    # over both cases: class 0 has 16 of 18 voxels, class 1 all of its six, class 2 none of its two
    (pooled,) = validation.Validator(cases, recipe("mean_iou:pooled"), names)(torch.nn.Identity()).values()
    assert pooled == pytest.approx((16 / 18 + 1 + 0) / 3)
    (mean,) = validation.Validator(cases, recipe("iou"), names)(torch.nn.Identity()).values()
    assert mean == pytest.approx((1 + 0) / 2), "a class that neither side has is left out of a case"
