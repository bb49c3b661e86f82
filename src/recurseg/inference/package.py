"""The package: what prediction needs on another machine, `model.json` and `weights.safetensors`; data, no code."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recurseg import __version__
from recurseg.data.case import IGNORE
from recurseg.errors import ConfigError, DataError, ResourceError, first_problem
from recurseg.preprocess import Preprocessing

if TYPE_CHECKING:
    from torch import nn

SCHEMA_VERSION = 1
SPEC_NAME = "model.json"
WEIGHTS_NAME = "weights.safetensors"


class PackageSpec(BaseModel):
    """A trained model without its weights: how to build it, what to feed it, what its classes mean."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, protected_namespaces=())

    schema_version: int = SCHEMA_VERSION
    """Version of this form."""
    recurseg: str = __version__
    """Version of recurseg that wrote it."""
    task: Literal["segmentation", "regression", "classification"] = "segmentation"
    """What it does: classes for every voxel, a completed image, or a class for the whole image."""
    model: str
    """Name of the model, one of `recurseg models` or of the plug-in."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Its options."""
    plugin: str | None = None
    """Module that registers the model, where it is not built in; only imported when the user names it too."""
    in_channels: int = Field(ge=1)
    """Channels of the image: one a modality, and those that preprocessing adds."""
    num_classes: int = Field(ge=1, le=IGNORE)
    """Channels of the logits; 1 is a sigmoid logit of class 1. Of a regression, channels of the image it gives."""
    modalities: list[str] = Field(min_length=1)
    """Modalities in their order."""
    class_names: list[str] = Field(default_factory=list)
    """Names, index = class; empty for a regression."""
    label_map: dict[int, int] = Field(default_factory=dict)
    """File value → class in the data set it was trained on; predictions carry the first value of a class. Empty:
    values are classes."""
    preprocessing: Preprocessing
    """What happens to a case before the network."""
    window: tuple[int, ...] = Field(min_length=2, max_length=3)
    """Size of the windows that tile an image, (H, W) or (D, H, W); one that is no larger is seen whole."""
    overlap: float = Field(default=0.25, ge=0, lt=1)
    """How far neighbouring windows overlap, as a fraction of the window."""
    frames: Literal["each", "series", "stream"] = "each"
    """How a cine is seen: every frame by itself, the series of `window[0]` frames that ends at it, or all frames one
    after the other with the state carried on."""
    trained: dict[str, Any] = Field(default_factory=dict)
    """Plain facts about the training: steps, data set, metric."""

    @model_validator(mode="after")
    def _consistent(self) -> PackageSpec:
        channels = len(self.preprocessing.channels(self.modalities))
        if channels != self.in_channels:
            raise ValueError(
                f"modalities {', '.join(self.modalities)} make {channels} channels, not {self.in_channels}"
            )
        classes = 0 if self.task == "regression" else max(self.num_classes, 2)
        if len(self.class_names) != classes:
            raise ValueError(f"class_names has {len(self.class_names)} names for {classes} classes")
        if any(side < 1 for side in self.window):
            raise ValueError(f"window {self.window} has a side below 1")
        nameless = sorted(set(range(classes)) - set(self.label_map.values())) if self.label_map else []
        if nameless:
            raise ValueError(f"label_map has no file value for class {nameless[0]} ({self.class_names[nameless[0]]})")
        return self

    @property
    def file_values(self) -> list[int]:
        """The value that each class has in a prediction's file: the first that maps to it."""
        first = {target: value for value, target in reversed(self.label_map.items())}
        return [first.get(index, index) for index in range(len(self.class_names))]


def save_package(folder: Path, model: nn.Module, spec: PackageSpec) -> Path:
    """Writes a package; a killed process leaves either the old one or the new one.

    Args:
        folder: Becomes the package; one that is there already is replaced.
        model: Its weights are stored as they are.
        spec: What `model` is.

    Returns:
        `folder`.

    Raises:
        ResourceError: The folder cannot be written or the disk is full.
        ConfigError: `folder` exists and is something else than a package.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_model

    folder = Path(folder)
    if folder.exists() and not _is_package(folder) and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: exists and is no package: choose another folder")
    part = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    old = part.with_suffix(".old")
    try:
        part.mkdir(parents=True)
        save_model(model, str(part / WEIGHTS_NAME))
        (part / SPEC_NAME).write_text(spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
        if folder.exists():
            os.replace(folder, old)
        os.replace(part, folder)
    except (OSError, SafetensorError) as error:
        if old.exists() and not folder.exists():
            os.replace(old, folder)
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ResourceError(f"{folder}: the package cannot be written ({reason}): choose another folder") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    return folder


def load_package(folder: Path, *, plugin: str | None = None) -> tuple[PackageSpec, nn.Module]:
    """Reads a package and builds its model on the CPU, in evaluation mode.

    No code of the package runs: it has none. A model that is not part of recurseg needs its module named here, by
    the user who trusts it.

    Args:
        folder: Written by `save_package`.
        plugin: The module that registers the model; must be the one that the package names.

    Returns:
        The spec and the model with its weights.

    Raises:
        ConfigError: The form is unknown or has a wrong value, or the plug-in is not the package's.
        DataError: A file is missing or damaged, or the weights do not belong to the model.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_model

    from recurseg.models import create_model, load_plugin

    folder = Path(folder)
    spec = read_spec(folder)
    if plugin != spec.plugin:
        wanted = f"comes from plug-in '{spec.plugin}': name it with plugin (--plugin) if you trust it"
        raise ConfigError(
            f"{folder}: model '{spec.model}' {wanted if spec.plugin else f'needs no plug-in, not {plugin!r}'}"
        )
    if plugin is not None:
        load_plugin(plugin)
    model = create_model(spec.model, in_channels=spec.in_channels, num_classes=spec.num_classes, **spec.options)
    if model.task != spec.task:
        raise ConfigError(f"{folder}: model '{spec.model}' with these options is for {model.task}, not {spec.task}")
    weights = folder / WEIGHTS_NAME
    try:
        load_model(model, str(weights), strict=True)
    except FileNotFoundError:
        raise DataError(f"{weights}: is missing: copy the package again, both files") from None
    except (OSError, SafetensorError) as error:
        raise DataError(f"{weights}: is damaged ({' '.join(str(error).split())}): copy the package again") from None
    except RuntimeError as error:
        reason = str(error).split("\n\t")[-1].strip().rstrip(".")
        raise DataError(f"{weights}: does not fit model '{spec.model}' of {SPEC_NAME} ({reason[:200]})") from None
    return spec, model.eval()


def read_spec(folder: Path) -> PackageSpec:
    """Reads `model.json` alone. Raises as `load_package` does."""
    path = Path(folder) / SPEC_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: is missing: {folder} is no package of recurseg") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}): copy the package again") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise ConfigError(f"{path}: schema_version {version} is not {SCHEMA_VERSION}, which this recurseg reads")
    try:
        return PackageSpec.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{path}: {first_problem(error, PackageSpec)}") from None


def package_hash(folder: Path) -> str:
    """SHA-256 of a package's two files, as hexadecimal digits."""
    digest = hashlib.sha256()
    for name in (SPEC_NAME, WEIGHTS_NAME):
        try:
            with open(Path(folder) / name, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise DataError(f"{Path(folder) / name}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def _is_package(folder: Path) -> bool:
    return (folder / SPEC_NAME).is_file()
