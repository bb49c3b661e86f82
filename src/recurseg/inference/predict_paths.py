"""From a folder with a trained model and some paths to a folder of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
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
    max_ram: int | str | None = None,
    overwrite: bool = False,
    modalities: Sequence[str] | None = None,
    subsets: bool = False,
    as_: As | None = None,
    device: str = "auto",
    precision: Precision = "float32",
    window: Sequence[int] | None = None,
    plugin: str | None = None,
    ray: str | None = None,
    cores: int | None = None,
    quiet: bool = False,
) -> FilesResult:
    """Loads a trained model and predicts files: the command `recurseg predict`.

    Args:
        run: Run folder or package.
        inputs: One path or several: image files, folders of sections, folders of cases, data sets.
        out: Folder for the results, outside of the inputs.
        probabilities: As for `predict_files`, like `flips`, `keep_largest`, `max_ram`, `overwrite`, `as_` and
            `quiet`.
        modalities: Which of its modalities the model looks at, if it copes with missing ones; None: all there are.
        subsets: Whether to predict from every subset of the modalities, into a folder of `out` each.
        device: As for `load`, like `precision`, `window` and `plugin`.
        ray: Address of a Ray cluster that predicts, as for `predict_on_cluster`; None: this machine.
        cores: Of a node of that cluster, for each case; 1 by default.

    Returns:
        What was written and skipped.

    Raises:
        ConfigError, DataError, ResourceError: As `load`, `predict_files`, `predict_on_cluster` and `given_only` do;
            or modalities and subsets, or subsets and ray, are both given, or cores without ray.
    """
    if ray is None and cores is not None:
        raise ConfigError("--cores is for the nodes of a cluster: give --ray ADDRESS too, or leave it out")
    if ray is not None and subsets:
        raise ConfigError("--ray and --subsets exclude each other: predict one subset after the other, --modalities")
    segmenter = load(run, device=device if ray is None else "cpu", precision=precision, window=window, plugin=plugin)
    if subsets and modalities is not None:
        raise ConfigError("--modalities and --subsets exclude each other: give one")
    if modalities is not None:
        segmenter = given_only(segmenter, modalities)
    predict_all = predict_subsets if subsets else predict_files
    if ray is not None:
        from recurseg.inference.cluster import predict_on_cluster

        predict_all = partial(predict_on_cluster, address=ray, device=device, cores=cores or 1)
    return predict_all(
        segmenter,
        [inputs] if isinstance(inputs, str | Path) else inputs,
        Path(out),
        probabilities=probabilities,
        flips=flips,
        keep_largest=keep_largest,
        max_ram=max_ram,
        overwrite=overwrite,
        as_=as_,
        quiet=quiet,
    )
