"""Which models can be looked into, beyond the gradient that every model has."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from recurseg.explain.pictures import Curve, Part, Table
from recurseg.explain.scene import Scene

BUILT_IN = {
    "pyramid_lstm": "recurseg.explain.pyramid_lstm",
    **dict.fromkeys(("shamann", "bi_mann", "bi_lstm", "no_memory"), "recurseg.explain.patch_reader"),
    **dict.fromkeys(("cross_modality", "encoder_decoder", "k_unet"), "recurseg.explain.slice_reader"),
    "gamma_net": "recurseg.explain.gamma_net",
    "hgru_classifier": "recurseg.explain.hgru_classifier",
    "rsanet": "recurseg.explain.rsanet",
    "non_local_unet3d": "recurseg.explain.non_local",
}
"""Name of a model → the module that registers its explainer, imported when it is first asked for."""


@dataclass(frozen=True)
class Inside:
    """What an explainer finds.

    Attributes:
        parts: Pictures, curves and tables.
        numbers: The same as plain data; its keys join those of `explain.json`.
    """

    parts: Sequence[Part | Curve | Table]
    numbers: dict[str, Any] = field(default_factory=dict)


Explainer = Callable[[Scene, Callable[[float], None]], Inside]
"""Takes the scene and what is called with the fraction done."""

_explainers: dict[str, Explainer] = {}


def register_explainer(model: str) -> Callable[[Explainer], Explainer]:
    """Makes a function the explainer of the model of this name; a later one takes the place of an earlier one."""

    def decorate(explainer: Explainer) -> Explainer:
        _explainers[model] = explainer
        return explainer

    return decorate


def explainer_of(model: str) -> Explainer | None:
    """The explainer of a model; None where there is none."""
    if model not in _explainers and model in BUILT_IN:
        importlib.import_module(BUILT_IN[model])
    return _explainers.get(model)
