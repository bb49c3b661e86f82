"""Label files, or completed images, for many inputs: on each input's own grid, in its format, resumable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import Case, Volume
from recurseg.data.formats import write_like
from recurseg.data.formats.writing import CannotWriteError
from recurseg.data.layouts.files import As
from recurseg.errors import ConfigError, DataError, RecursegError, ResourceError
from recurseg.inference.bar import CasesBar
from recurseg.inference.bounded import bounded_by_itself
from recurseg.inference.bounded_files import MAPS_FOLDER, write_bounded
from recurseg.inference.classify import answer
from recurseg.inference.index import Index, fingerprint
from recurseg.inference.inputs import Inputs, check_out, collect
from recurseg.inference.memory import parse_bytes, readable_size
from recurseg.inference.package import package_hash
from recurseg.inference.predictor import Prediction, Segmenter
from recurseg.models import accepts_missing

_NAMED_FAILURES = 8


@dataclass(frozen=True)
class FilesResult:
    """What a prediction of files did.

    Attributes:
        out: The folder.
        written: Case id → label file, of the cases predicted now.
        skipped: Case id → label file, of those that were there already and still hold.
        notes: How the inputs were understood.
    """

    out: Path
    written: dict[str, Path] = field(default_factory=dict)
    skipped: dict[str, Path] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def predict_files(
    segmenter: Segmenter,
    inputs: Sequence[Path | str],
    out: Path | str,
    *,
    probabilities: bool = False,
    flips: bool = False,
    keep_largest: bool = False,
    max_ram: int | str | None = None,
    overwrite: bool = False,
    as_: As | None = None,
    quiet: bool = False,
) -> FilesResult:
    """Predicts files, folders and data sets into a folder of label files with an index, `predictions.json`.

    A model of regression writes completed images instead, in the intensities of the input: whole numbers from 0 on,
    as in PNG, in the input's own type, all others as float32. A model of classification writes no files beside the
    index, which holds each image's class, its name and the probabilities of all classes.

    Labels carry the values of the data set that the model was trained on and lie on the input's own grid. A run that
    was killed goes on where it stopped: cases whose files are there and whose input, model and settings are the
    same are skipped; with `max_ram` a case that was begun goes on at the sections that were not written.

    Args:
        segmenter: From `recurseg.load`.
        inputs: Image files, folders of sections, folders of cases, data sets.
        out: Folder for the results, outside of the inputs.
        probabilities: Whether to write a float32 map of each foreground class to `probabilities/` too.
        flips: As for `Segmenter.predict`.
        keep_largest: As for `Segmenter.predict`, like `max_ram`.
        overwrite: Whether to predict everything anew, replacing files that are there.
        as_: How to take folders of 2-D files: "stack", "images" or "sequence".
        quiet: Whether to show no progress bar.

    Returns:
        What was written and skipped, where nothing failed.

    Raises:
        ConfigError: Two inputs would be written to one file, or `out` holds other things; before any work.
        ResourceError: `out` cannot be written, before any work; or the disk is full, or an input does not fit into
            memory.
        DataError: Some inputs could not be predicted; it names them, and the others are done.
    """
    paths, out = [Path(path) for path in inputs], Path(out)
    found = collect(paths, segmenter.spec.modalities, missing=accepts_missing(segmenter.model), as_=as_)
    if not found.cases:
        raise failures(found.failed, len(found.failed), out)
    check_out(out, paths, found.cases)
    return predict_cases(
        segmenter,
        found,
        out,
        probabilities=probabilities,
        flips=flips,
        keep_largest=keep_largest,
        max_ram=max_ram,
        overwrite=overwrite,
        quiet=quiet,
    )


def predict_cases(
    segmenter: Segmenter,
    found: Inputs,
    out: Path,
    *,
    probabilities: bool = False,
    flips: bool = False,
    keep_largest: bool = False,
    max_ram: int | str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> FilesResult:
    """Predicts cases that are open already; otherwise as `predict_files`."""
    if segmenter.package is None:
        raise ConfigError("files are predicted by a stored model: save_package it, then load it")
    limit = None if max_ram is None else parse_bytes(max_ram)
    total = len(found.cases) + len(found.failed)
    package = package_hash(segmenter.package)
    index = Index(out, segmenter.spec, package, overwrite=overwrite)
    index.refuse_strangers([case.id for case in found.cases])
    index.plan([case.id for case in found.cases])

    result = FilesResult(out, notes=found.notes)
    settings = settings_of(segmenter, flips=flips, keep_largest=keep_largest)
    with CasesBar([math.prod(case.shape) for case in found.cases], quiet=quiet) as bar, index.kept():
        for case in found.cases:
            bar.start(case.id)
            try:
                mark = fingerprint(case, package, settings)
                if not overwrite and index.is_done(case, mark, maps=probabilities):
                    result.skipped[case.id] = index.file_of(case.id)
                    index.keep(case.id)
                    bar.skip()
                    continue
                entry = predict_case(
                    segmenter,
                    case,
                    out,
                    mark=mark,
                    notes=result.notes,
                    max_ram=limit,
                    probabilities=probabilities,
                    flips=flips,
                    keep_largest=keep_largest,
                    tell=bar.add,
                    progress=bar.within,
                )
            except CannotWriteError:
                raise
            except RecursegError as error:
                found.failed[case.id] = error
                index.cases.pop(case.id, None)
                bar.skip()
                continue
            index.add(case.id, entry | {"fingerprint": mark})
            result.written[case.id] = index.file_of(case.id)
            bar.finish()
    index.close(found.failed)
    if found.failed:
        raise failures(found.failed, total, out)
    return result


def predict_case(
    segmenter: Segmenter,
    case: Case,
    out: Path,
    *,
    mark: str,
    max_ram: int | None = None,
    notes: list[str] | None = None,
    tell: Callable[[str], None] = lambda text: None,
    **options: Any,
) -> dict[str, Any]:
    """Predicts a case and writes its files; returns its entry in the index, less its fingerprint.

    Args:
        segmenter: Of a stored model.
        case: Its modalities as the model names them.
        out: Folder of the results.
        mark: The case's fingerprint.
        max_ram: Bytes, as for `Segmenter.predict`.
        notes: Gets a line where the case is larger than the free memory.
        tell: Called before the work with the disk that it takes, where it goes through disk.
        options: `probabilities`, `flips`, `keep_largest` and `progress` of `Segmenter.predict`.

    Raises:
        CannotWriteError: The folder cannot be written, or the disk is full.
        ConfigError, DataError, ResourceError: As `Segmenter.predict` does.
    """
    limit = bounded_by_itself(segmenter, case) if max_ram is None else max_ram
    if limit is None:
        return write_prediction(segmenter.predict(case, **options), out, segmenter)
    if max_ram is None and notes is not None:
        size = readable_size(limit)
        notes.append(f"case {case.id}: larger than the free memory, predicted as with --max-ram {size}")
    return write_bounded(segmenter, case, out, mark=mark, max_ram=limit, tell=tell, **options)


def settings_of(segmenter: Segmenter, **options: bool) -> dict[str, Any]:
    """What decides a prediction beside the package and the case, as plain values."""
    spec = segmenter.spec
    settings = {"window": spec.window, "overlap": spec.overlap, "precision": segmenter.precision, **options}
    return settings if segmenter.given is None else settings | {"given": segmenter.given}


def write_prediction(prediction: Prediction, out: Path, segmenter: Segmenter) -> dict[str, Any]:
    """Writes a prediction's files; returns its entry in the index."""
    case, names = prediction.case, segmenter.spec.class_names
    if segmenter.spec.task == "regression":
        image = write_like(out / case.id, as_stored(prediction.values, case.reference), case.reference)
        return {"image": image.relative_to(out).as_posix(), "maps": {}, "source": str(case.reference.path)}
    if segmenter.spec.task == "classification":
        assert prediction.probabilities is not None
        return answer(segmenter.spec, prediction.probabilities) | {"source": str(case.reference.path)}
    values = np.asarray(segmenter.spec.file_values)
    values = values.astype(np.uint8 if values.max() < 256 else np.uint16)
    maps: dict[str, str] = {}
    if prediction.probabilities is not None:
        for number, channel in enumerate(prediction.probabilities[1:], start=1):
            path = write_like(out / MAPS_FOLDER / f"{case.id}_class{number}", channel, case.reference)
            maps[names[number]] = path.relative_to(out).as_posix()
    label = write_like(out / case.id, values[prediction.labels], case.reference)
    return {
        "label": label.relative_to(out).as_posix(),
        "probabilities": next(iter(maps.values()), None),
        "maps": maps,
        "source": str(case.reference.path),
    }


def as_stored(image: np.ndarray, like: Volume) -> np.ndarray:
    """An image in the type in which it is written: uint8 and uint16 as the source, rounded; others as float32."""
    kind = np.dtype(like.array.dtype)
    if kind not in (np.uint8, np.uint16):
        return image
    return np.clip(np.rint(image), 0, np.iinfo(kind).max).astype(kind)


def failures(failed: dict[str, Exception], total: int, out: Path) -> RecursegError:
    """One error for all inputs that failed, of the kind that decides the exit code."""
    messages = [" ".join(str(error).split()) for error in failed.values()]
    more = len(messages) - _NAMED_FAILURES
    listed = "; ".join(messages[:_NAMED_FAILURES]) + (f"; and {more} more, see predictions.json" if more > 0 else "")
    if len(failed) == total == 1:
        text = listed
    elif len(failed) == total:
        text = f"none of {total} inputs could be predicted: {listed}"
    else:
        text = f"{len(failed)} of {total} inputs could not be predicted, the others are in {out}: {listed}"
    kinds = {type(error) for error in failed.values()}
    for kind in (ResourceError, DataError, ConfigError):
        if kind in kinds:
            return kind(text)
    return DataError(text)
