"""Held-out cases are measured as `recurseg evaluate` measures them."""

from pathlib import Path

import numpy as np
import torch

from recurseg.data.case import Case, Volume
from recurseg.preprocess import Preprocessing, prepare
from recurseg.training import validation
from recurseg.training.recipe import ModelConfig, PredictionConfig, Recipe, Stage


def test_a_class_that_is_not_evaluated_does_not_count_in_validation(monkeypatch):
    label = np.zeros((4, 6, 6), np.uint8)
    label[1:3, 1:3], label[1:3, 4:] = 1, 2

    def volume(array: np.ndarray) -> Volume:
        return Volume(array, (1.0, 1.0, 1.0), None, Path("a"), "array", stack_axis=0)

    case = Case("a", {"T1": volume(label.astype(np.float32))}, volume(label), not_evaluated=(2,))
    prepared = prepare(case, Preprocessing())
    assert prepared.label is not None
    called_gm = np.where(prepared.label == 2, 1, prepared.label)  # where the stem is, the network sees GM
    monkeypatch.setattr(
        validation, "predict_probabilities", lambda *_, **__: np.stack([called_gm == k for k in (0, 1, 2)])
    )
    recipe = Recipe(
        model=ModelConfig(name="unet"),
        stages=[Stage(steps=1, window=(1, 6, 6))],
        prediction=PredictionConfig(window=(1, 6, 6)),
    )
    measure = validation.Validator([(case, prepared)], recipe, ["background", "GM", "stem"])
    assert measure(torch.nn.Identity()) == {"dice": 1.0}
