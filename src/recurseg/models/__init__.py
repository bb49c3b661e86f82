"""Networks by name; each is imported when it is first asked for."""

from recurseg.models.registry import (
    ModelInfo,
    accepts_missing,
    create_model,
    list_models,
    load_plugin,
    model_info,
    model_names,
    register_model,
    spatial_dims_of,
)

__all__ = [
    "ModelInfo",
    "accepts_missing",
    "create_model",
    "list_models",
    "load_plugin",
    "model_info",
    "model_names",
    "register_model",
    "spatial_dims_of",
]
