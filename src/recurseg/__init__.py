"""Biomedical image segmentation with networks that carry context through recurrence or slice attention.

Names are imported when they are first used, so that `import recurseg` stays light.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recurseg.evaluation import evaluate
    from recurseg.inference import load, predict
    from recurseg.models import create_model, list_models, register_model
    from recurseg.training.plan import plan
    from recurseg.training.repeats import train_repeats
    from recurseg.training.run import train

__version__ = "0.1.0"

__all__ = [
    "create_model",
    "evaluate",
    "list_models",
    "load",
    "plan",
    "predict",
    "register_model",
    "train",
    "train_repeats",
]

_HOME = {
    "create_model": "recurseg.models",
    "list_models": "recurseg.models",
    "register_model": "recurseg.models",
    "load": "recurseg.inference",
    "predict": "recurseg.inference",
    "plan": "recurseg.training.plan",
    "train": "recurseg.training.run",
    "train_repeats": "recurseg.training.repeats",
    "evaluate": "recurseg.evaluation",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'recurseg' has no attribute '{name}'")
    from importlib import import_module

    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
