"""A trained model with what stands before and after it: from a case to labels or an image on its own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from recurseg.data.case import Case, Volume
from recurseg.errors import ConfigError, DataError, ResourceError
from recurseg.inference.bounded import bounded_by_itself, predict_arrays
from recurseg.inference.cine import predict_prepared
from recurseg.inference.classify import classify, whole_image
from recurseg.inference.components import keep_largest_component
from recurseg.inference.memory import parse_bytes
from recurseg.inference.package import SPEC_NAME, PackageSpec, load_package
from recurseg.inference.tiling import Precision
from recurseg.models import accepts_missing
from recurseg.preprocess import prepare, restore, restore_image, restore_scores


@dataclass(frozen=True)
class Prediction:
    """What a model says about a case.

    Attributes:
        values: uint8 class indices, or the float32 image of a model of regression in the intensities of the case; in
            the case's stored shape and axis order. Of a model of classification the class of the image, a uint8 `()`.
        probabilities: float32 `(K, *stored shape)`, where they were asked for; of a model of classification `(K,)`.
        case: What was predicted.
    """

    values: np.ndarray
    probabilities: np.ndarray | None
    case: Case

    @property
    def labels(self) -> np.ndarray:
        """The class indices. Raises ConfigError where a model of regression gave an image."""
        if self.values.dtype != np.uint8:
            raise ConfigError("the model completes images: take the prediction's values, it has no labels")
        return self.values


@dataclass(frozen=True)
class Segmenter:
    """A model ready to predict.

    Attributes:
        spec: What the model takes and gives.
        model: On `device`.
        device: Where the network runs.
        precision: "float32", "bf16" or "fp16", of the network's convolutions.
        package: The folder it was loaded from; None for a model that was never stored.
        given: The only modalities that it looks at, where its model copes with missing ones; None: all there are.
    """

    spec: PackageSpec
    model: nn.Module
    device: torch.device
    precision: Precision = "float32"
    package: Path | None = None
    given: tuple[str, ...] | None = None

    def predict(
        self,
        case: Case | Path | str | np.ndarray,
        *,
        spacing: Sequence[float] | None = None,
        probabilities: bool = False,
        flips: bool = False,
        keep_largest: bool = False,
        max_ram: int | str | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> Prediction:
        """Predicts one case.

        Args:
            case: A case; a path that `recurseg.data.dataset.open_dataset` reads as one case; or an array
                `(H, W)` or `(D, H, W)` of a single modality, or `(C, *spatial)` of several.
            spacing: Millimetres per voxel of an array, in the order of its spatial axes; for models that resample.
            probabilities: Whether to return class probabilities too.
            flips: Whether to average over mirror images: 2^axes times the work, often a little better.
            keep_largest: Whether to keep only the largest connected piece of each foreground class.
            max_ram: The most memory that the program may hold meanwhile, interpreter and libraries included: bytes,
                or a size such as "2GB". The image is then read piece by piece, and labels and probabilities lie on
                disk (`numpy.memmap`). None: as much as it takes, or what is free where that is not enough.
            progress: Called with the fraction done, in (0, 1].

        Returns:
            Labels on the case's own grid; of a model of regression, the completed image.

        Raises:
            DataError: A modality is missing, voxels are NaN, or the path cannot be read as an image.
            ConfigError: The path holds several cases, or something of classes was asked of a model of regression; or
                `max_ram` is no size, or cannot be kept by this model.
            ResourceError: Not enough memory.
        """
        if self.spec.task == "classification" and keep_largest:
            raise ConfigError(f"model {self.spec.model} classifies images: it has no pieces")
        if self.spec.task == "regression" and (probabilities or keep_largest):
            raise ConfigError(f"model {self.spec.model} completes images: it has neither probabilities nor pieces")
        if isinstance(case, np.ndarray):
            case = _case_of_array(case, self.spec.modalities, spacing)
        elif not isinstance(case, Case):
            case = _case_at(Path(case))
        case = match_modalities(case, self.spec.modalities, missing=accepts_missing(self.model))
        case = without(case, self.given)
        limit = bounded_by_itself(self, case) if max_ram is None else parse_bytes(max_ram)
        if limit is not None:
            options: dict[str, Any] = {"flips": flips, "keep_largest": keep_largest, "max_ram": limit}
            if progress:
                options["progress"] = progress
            with out_of_memory(case, self.spec):
                return Prediction(*predict_arrays(self, case, probabilities=probabilities, **options), case)
        with out_of_memory(case, self.spec):
            prepared = prepare(replace(case, label=None), self.spec.preprocessing, modalities=self.spec.modalities)
            if self.spec.task == "classification":
                image = whole_image(prepared.image, case.id)
                (of_classes,) = classify(self.model, [image], precision=self.precision)
                return Prediction(np.asarray(of_classes.argmax(), np.uint8), of_classes, case)
            scores = predict_prepared(
                self.model,
                prepared,
                frames=self.spec.frames,
                window=self.spec.window,
                overlap=self.spec.overlap,
                flips=flips,
                precision=self.precision,
                progress=progress,
            )
            if self.spec.task == "regression":
                return Prediction(restore_image(scores, prepared)[0], None, case)
            labels = restore(scores, prepared.geometry)
            maps = restore_scores(scores, prepared.geometry) if probabilities else None
        return Prediction(keep_largest_component(labels) if keep_largest else labels, maps, case)


def load(
    run_or_package: Path | str,
    *,
    device: str = "auto",
    precision: Precision = "float32",
    window: Sequence[int] | None = None,
    plugin: str | None = None,
) -> Segmenter:
    """Loads a trained model for prediction; no code of the folder runs.

    Args:
        run_or_package: A run folder, whose best model is in its `package/`, or a package folder.
        device: "auto" (the GPU where there is one), "cpu", "cuda", "cuda:1", "mps".
        precision: "float32", "bf16" or "fp16".
        window: Size of the windows that tile an image, instead of the package's; an image that is no larger is seen
            whole, smaller windows need less memory.
        plugin: The module that registers the model, where the package names one.

    Returns:
        A segmenter.

    Raises:
        ConfigError: No such device, a wrong window or plug-in, or a package of an unknown form.
        DataError: The folder is no run or package, or a file of it is damaged.
    """
    folder = package_folder(Path(run_or_package))
    target = choose_device(device)
    if precision not in ("float32", "bf16", "fp16"):
        raise ConfigError(f"precision '{precision}' is not float32, bf16 or fp16")
    spec, model = load_package(folder, plugin=plugin)
    if window is not None:
        if len(window) not in (2, 3) or any(side < 1 for side in window):
            raise ConfigError(f"window {tuple(window)}: give 2 or 3 sides of at least 1 voxel")
        spec = spec.model_copy(update={"window": tuple(window)})
    try:
        model = model.to(target)
    except (RuntimeError, AssertionError) as error:
        raise ResourceError(f"device '{device}' cannot hold the model: {str(error).splitlines()[0]}") from None
    return Segmenter(spec, model, target, precision, folder)


def package_folder(run_or_package: Path) -> Path:
    """The package of a run folder, or the folder itself where it is a package."""
    for folder in (run_or_package, run_or_package / "package"):
        if (folder / SPEC_NAME).is_file():
            return folder
    if not run_or_package.exists():
        raise DataError(f"{run_or_package}: does not exist: name a run folder or a package")
    raise DataError(f"{run_or_package}: holds no package/{SPEC_NAME}: name a run whose training got to a validation")


def choose_device(device: str) -> torch.device:
    """Turns "auto" and device names into a device that is there. Raises ConfigError where it is not."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"device '{device}' is unknown: use auto, cpu, cuda, cuda:1 or mps") from None
    there = {
        "cpu": True,
        "cuda": (chosen.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(chosen.type, False):
        raise ConfigError(f"device '{device}' is not available on this machine: use auto or cpu")
    return chosen


def match_modalities(case: Case, modalities: Sequence[str], *, missing: bool = False) -> Case:
    """The case with its images named as the model names them: a single one fits a model of one modality.

    Args:
        case: As it was opened.
        modalities: What the model takes.
        missing: Whether the model copes with missing modalities. It would take an image under a strange name for a
            missing one, so such names are an error.

    Raises:
        DataError: A modality is missing that the model needs, or one is there that it has never seen.
    """
    if len(case.images) == len(modalities) == 1:
        return replace(case, images={modalities[0]: case.reference}, modalities=())
    absent = [name for name in modalities if name not in case.images]
    if absent and (not missing or len(absent) == len(modalities)):
        raise DataError(
            f"case {case.id}: no image of modality {', '.join(absent)}; it has {', '.join(case.images)}, "
            f"the model takes {', '.join(modalities)}: name the files of each modality in a dataset.yaml"
        )
    strange = [name for name in case.images if name not in modalities]
    if missing and strange:
        raise DataError(
            f"case {case.id}: the model was trained on {', '.join(modalities)} and has never seen "
            f"{', '.join(strange)}: rename or leave it out in a dataset.yaml"
        )
    return replace(case, modalities=tuple(modalities))


def without(case: Case, given: Sequence[str] | None) -> Case:
    """The case with some of its modalities; None: with all."""
    if given is None:
        return case
    images = {name: volume for name, volume in case.images.items() if name in given}
    if not images:
        raise DataError(f"case {case.id}: has none of {', '.join(given)}, only {', '.join(case.images)}")
    return replace(case, images=images)


def _case_at(path: Path) -> Case:
    from recurseg.data.dataset import open_dataset

    cases = open_dataset(path, with_labels=False).cases
    if len(cases) != 1:
        raise ConfigError(f"{path}: holds {len(cases)} cases: predict one, or all with 'recurseg predict'")
    return cases[0]


def _case_of_array(array: np.ndarray, modalities: Sequence[str], spacing: Sequence[float] | None) -> Case:
    channels = array[None] if len(modalities) == 1 and array.ndim in (2, 3) else array
    if channels.ndim not in (3, 4) or len(channels) != len(modalities):
        raise DataError(
            f"array of shape {array.shape}: the model takes ({len(modalities)}, H, W) or ({len(modalities)}, D, H, W)"
        )
    dims = channels.ndim - 1
    if spacing is not None and len(spacing) != dims:
        raise DataError(f"spacing {tuple(spacing)} has not one number for each of {dims} axes")
    images: Mapping[str, Volume] = {
        name: Volume(
            array=channel,
            spacing=tuple(spacing) if spacing else (1.0,) * dims,
            affine=None,
            path=Path("array"),
            format="array",
            stack_axis=0 if dims == 3 else None,
            spacing_known=spacing is not None,
        )
        for name, channel in zip(modalities, channels, strict=True)
    }
    return Case("array", images)


@contextmanager
def out_of_memory(case: Case, spec: PackageSpec) -> Iterator[None]:
    """Turns a lack of memory inside the block into a ResourceError that says what to do."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "allocate" not in text:
            raise
        raise ResourceError(
            f"case {case.id}: not enough memory for windows of {spec.window} in an image of {case.shape}: "
            "predict with smaller windows (--window) or on another device (--device cpu)"
        ) from None
