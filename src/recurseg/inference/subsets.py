"""Predictions from some of the modalities only, or from every subset of them in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from recurseg.errors import ConfigError, did_you_mean
from recurseg.inference.files import FilesResult, predict_files
from recurseg.inference.predictor import Segmenter
from recurseg.models import accepts_missing


def given_only(segmenter: Segmenter, modalities: Sequence[str]) -> Segmenter:
    """The same model looking at some of its modalities only, as if the others were missing.

    Args:
        segmenter: Of a model that copes with missing modalities.
        modalities: At least one; their order has no meaning.

    Raises:
        ConfigError: The model needs every modality, or does not know one of these.
    """
    known = segmenter.spec.modalities
    if not accepts_missing(segmenter.model):
        raise ConfigError(f"model {segmenter.spec.model} needs every modality: {', '.join(known)}")
    for name in modalities:
        if name not in known:
            raise ConfigError(f"the model has no modality '{name}'{did_you_mean(name, known)}")
    if not modalities:
        raise ConfigError(f"name at least one modality of {', '.join(known)}")
    return replace(segmenter, given=tuple(name for name in known if name in modalities))


def subsets_of(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """Every non-empty subset, larger ones first."""
    return [chosen for size in range(len(modalities), 0, -1) for chosen in combinations(modalities, size)]


def predict_subsets(segmenter: Segmenter, inputs: Sequence[Path | str], out: Path, **options: Any) -> FilesResult:
    """Predicts the same inputs from every subset of their modalities.

    Args:
        segmenter: Of a model that copes with missing modalities.
        inputs: As for `predict_files`.
        out: Gets a folder of predictions a subset, named by its modalities: `FLAIR+T1`.
        **options: As for `predict_files`.

    Returns:
        What was written and skipped, under names such as `FLAIR+T1/case`.

    Raises:
        ConfigError, DataError, ResourceError: As `given_only` and `predict_files` do.
    """
    together = FilesResult(out)
    for chosen in subsets_of(segmenter.spec.modalities):
        name = "+".join(chosen)
        found = predict_files(given_only(segmenter, chosen), inputs, out / name, **options)
        together.written.update({f"{name}/{case}": path for case, path in found.written.items()})
        together.skipped.update({f"{name}/{case}": path for case, path in found.skipped.items()})
        together.notes[:] = found.notes
    return together
