"""From a folder with a trained model and some paths to a folder of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recurseg.data.layouts.files import As
from recurseg.errors import ConfigError
from recurseg.inference.files import FilesResult, predict_files
from recurseg.inference.predictor import load
from recurseg.inference.subsets import given_only, predict_subsets
from recurseg.inference.tiling import Precision


def predict(
    run: Path | str,
    inputs: Path | str | Sequence[Path | str],
    *,
    out: Path | str,
    probabilities: bool = False,
    flips: bool = False,
    keep_largest: bool = False,
    overwrite: bool = False,
    modalities: Sequence[str] | None = None,
    subsets: bool = False,
    as_: As | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    window: Sequence[int] | None = None,
    plugin: str | None = None,
    quiet: bool = False,
) -> FilesResult:
    """Loads a trained model and predicts files: the command `recurseg predict`.

    Args:
        run: Run folder or package.
        inputs: One path or several: image files, folders of sections, folders of cases, data sets.
        out: Folder for the results, outside of the inputs.
        probabilities: As for `predict_files`, like `flips`, `keep_largest`, `overwrite`, `as_` and `quiet`.
        modalities: Which of its modalities the model looks at, if it copes with missing ones; None: all there are.
        subsets: Whether to predict from every subset of the modalities, into a folder of `out` each.
        device: As for `load`, like `precision`, `window` and `plugin`.

    Returns:
        What was written and skipped.

    Raises:
        ConfigError, DataError, ResourceError: As `load`, `predict_files` and `given_only` do; or modalities and
            subsets are both given.
    """
    segmenter = load(run, device=device, precision=precision, window=window, plugin=plugin)
    if subsets and modalities is not None:
        raise ConfigError("--modalities and --subsets exclude each other: give one")
    if modalities is not None:
        segmenter = given_only(segmenter, modalities)
    return (predict_subsets if subsets else predict_files)(
        segmenter,
        [inputs] if isinstance(inputs, str | Path) else inputs,
        Path(out),
        probabilities=probabilities,
        flips=flips,
        keep_largest=keep_largest,
        overwrite=overwrite,
        as_=as_,
        quiet=quiet,
    )
