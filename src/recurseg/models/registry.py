"""Every model by name: the built-in ones, those of installed packages and those of a user's own module."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from recurseg.errors import ConfigError, RecursegError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

BUILT_IN = {
    "pyramid_lstm": "recurseg.models.pyramid_lstm",
    "md_lstm": "recurseg.models.md_lstm",
    "shamann": "recurseg.models.shamann",
    "bi_mann": "recurseg.models.shamann",
    "bi_lstm": "recurseg.models.shamann",
    "no_memory": "recurseg.models.shamann",
    "cross_modality": "recurseg.models.cross_modality",
    "encoder_decoder": "recurseg.models.encoder_decoder",
    "gamma_net": "recurseg.models.gamma_net",
    "hgru_classifier": "recurseg.models.hgru_classifier",
    "feed_forward_classifier": "recurseg.models.feed_forward_classifier",
    "segnet": "recurseg.models.segnet",
    "k_unet": "recurseg.models.k_unet",
    "unet": "recurseg.models.unet",
    "light_unet": "recurseg.models.light_unet",
    "unet3d": "recurseg.models.unet3d",
    "rsanet": "recurseg.models.rsanet",
    "non_local_unet3d": "recurseg.models.non_local_unet3d",
    "drn_c_26": "recurseg.models.drn",
    "drn_c_42": "recurseg.models.drn",
    "monai_dynunet": "recurseg.models.monai_rivals",
    "monai_segresnet": "recurseg.models.monai_rivals",
}
"""Name of each built-in model → the module that registers it, imported when the model is first asked for."""

ENTRY_POINT_GROUP = "recurseg.models"

Builder = TypeVar("Builder", bound=Callable[..., Any])


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model without training it.

    Attributes:
        name: What `create_model` takes.
        task: "segmentation", "regression" or "classification".
        spatial_dims: 2 for images `(B, C, H, W)`, 3 for volumes `(B, C, D, H, W)`.
        sequence_axis: The axis the model recurs over: None, "slice", "time" or "patch".
        parameters: Number of weights at default options, one input channel and one logit.
        paper: Where the network was published.
        options: Every option with its default.
    """

    name: str
    task: str
    spatial_dims: int
    sequence_axis: str | None
    parameters: int
    paper: str
    options: dict[str, Any]


@dataclass(frozen=True)
class _Entry:
    build: Callable[..., Any]
    paper: str


_entries: dict[str, _Entry] = {}
_plugins: dict[str, list[str]] = {}


def register_model(name: str, *, paper: str = "") -> Callable[[Builder], Builder]:
    """Makes a class or factory function available to `create_model` under `name`.

    What is decorated takes `in_channels`, `num_classes` and, as further arguments with defaults, its options.
    The module it gives has the attributes `task`, `spatial_dims` and `sequence_axis`; one that copes with missing
    modalities also `accepts_missing = True`, one of volumes that can read slices slab after slab also a `streaming`
    (`recurseg.models.streaming.Streaming`).

    Args:
        name: Unique name; lower case with underscores.
        paper: Where the network was published, such as "Ronneberger et al. 2015".

    Returns:
        A decorator that returns what it decorates.

    Raises:
        ConfigError: If another model has this name already.
    """

    def decorate(build: Builder) -> Builder:
        owner = BUILT_IN.get(name, build.__module__)
        known = _entries.get(name)
        if owner != build.__module__ or (known and _origin(known.build) != _origin(build)):
            raise ConfigError(f"module {build.__module__}: a model '{name}' exists already: choose another name")
        _entries[name] = _Entry(build, paper)
        return build

    return decorate


def create_model(name: str, *, in_channels: int, num_classes: int, **options: Any) -> nn.Module:
    """Builds a model with fresh weights.

    Args:
        name: One of `list_models()`.
        in_channels: Channels of the image, at least 1.
        num_classes: Channels of the logits: 1 is a sigmoid logit, K ≥ 2 a softmax with background as class 0.
        **options: Options of this model; those left out keep their defaults, the paper's configuration.

    Returns:
        A module with `forward(image, state=None, *, present=None, return_state=False)`: image
        `(B, in_channels, *spatial)` of any spatial size to logits `(B, num_classes, *spatial)`; a classifier's are
        `(B, num_classes)`.

    Raises:
        ConfigError: If the name, an option or its value is unknown or impossible.
    """
    entry = _entry(name)
    if in_channels < 1 or num_classes < 1:
        raise ConfigError(
            f"model '{name}': in_channels {in_channels} and num_classes {num_classes} must be at least 1"
        )
    defaults = _options(entry)
    for option in options:
        if option not in defaults:
            near = did_you_mean(option, defaults) if defaults else "; it has no options"
            raise ConfigError(f"model '{name}' has no option '{option}'{near}")
    try:
        model = entry.build(in_channels=in_channels, num_classes=num_classes, **options)
    except RecursegError:
        raise
    except Exception as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items()) or "default options"
        raise ConfigError(f"model '{name}' cannot be built with {given}: {_first_line(error)}") from error
    missing = [key for key in ("task", "spatial_dims", "sequence_axis") if not hasattr(model, key)]
    if missing:
        raise ConfigError(f"model '{name}' lacks {', '.join(missing)}: add them as class attributes")
    return model


def list_models() -> list[ModelInfo]:
    """Describes every model there is, built-in, installed or loaded by `load_plugin`, sorted by name."""
    return [model_info(name) for name in model_names()]


def model_info(name: str) -> ModelInfo:
    """Describes one model. Raises ConfigError if there is none of this name."""
    entry = _entry(name)
    model = _weightless(name)
    return ModelInfo(
        name=name,
        task=model.task,
        spatial_dims=model.spatial_dims,
        sequence_axis=model.sequence_axis,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        paper=entry.paper,
        options=_options(entry),
    )


def spatial_dims_of(model: nn.Module) -> int:
    """Axes of the images that a model takes, 2 or 3."""
    dims = model.spatial_dims
    assert isinstance(dims, int)
    return dims


def accepts_missing(model: nn.Module) -> bool:
    """Whether a model copes with modalities that are missing: whether it takes `present`."""
    return bool(getattr(model, "accepts_missing", False))


def model_names() -> list[str]:
    """Names of all models, sorted, without importing any."""
    return sorted({*_modules(), *_entries})


def load_plugin(module: str) -> list[str]:
    """Imports a user's module that registers models with `@register_model`.

    Args:
        module: Dotted module name, found in the current folder or on the Python path.

    Returns:
        Names of the models it registers.

    Raises:
        ConfigError: If the module is not found, fails to import or registers no model.
    """
    if module in _plugins:
        return _plugins[module]
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    before = set(_entries)
    _import(module, f"plug-in '{module}'")
    names = sorted(name for name, entry in _entries.items() if name not in before or _within(entry, module))
    if not names:
        raise ConfigError(f"plug-in '{module}' registers no model: decorate one with @register_model")
    _plugins[module] = names
    return names


def _weightless(name: str) -> Any:
    import torch

    try:
        with torch.device("meta"):
            return create_model(name, in_channels=1, num_classes=1)
    except ConfigError:  # a constructor that reads values of a tensor cannot run without memory for it
        return create_model(name, in_channels=1, num_classes=1)


def _entry(name: str) -> _Entry:
    if name not in _entries:
        modules = _modules()
        if name not in modules:
            raise ConfigError(f"unknown model '{name}'{did_you_mean(name, model_names())}")
        _import(modules[name], f"model '{name}'")
        if name not in _entries:
            raise ConfigError(
                f"module {modules[name]} registers no model '{name}': name its entry point as its model"
            )
    return _entries[name]


def _modules() -> dict[str, str]:
    from importlib.metadata import entry_points

    installed = {point.name: point.module for point in entry_points(group=ENTRY_POINT_GROUP)}
    return installed | BUILT_IN


def _import(module: str, what: str) -> None:
    try:
        importlib.import_module(module)
    except RecursegError:
        raise
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            place = f"in {os.getcwd()} or on the Python path"
            raise ConfigError(f"{what}: no module '{module}' {place}: give its name without .py") from error
        raise ConfigError(f"{what} needs the module '{error.name}': install it") from error
    except Exception as error:
        raise ConfigError(f"{what} fails to import: {type(error).__name__}: {_first_line(error)}") from error


def _options(entry: _Entry) -> dict[str, Any]:
    parameters = inspect.signature(entry.build).parameters
    return {
        key: parameter.default
        for key, parameter in parameters.items()
        if key not in ("in_channels", "num_classes") and parameter.kind is not parameter.VAR_KEYWORD
    }


def _within(entry: _Entry, module: str) -> bool:
    return f"{entry.build.__module__}.".startswith(f"{module}.")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _origin(build: Callable[..., Any]) -> tuple[str, str]:
    return build.__module__, build.__qualname__
