"""From the paths that a user names to the cases that are predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recurseg.data.case import Case
from recurseg.data.dataset import Dataset, open_dataset
from recurseg.data.files import require_writable
from recurseg.data.formats.hdf5 import split_address
from recurseg.data.layouts.files import As
from recurseg.errors import ConfigError, DataError
from recurseg.inference.predictor import match_modalities


@dataclass
class Inputs:
    """What was found under some paths.

    Attributes:
        cases: To predict, ids unique.
        failed: Name of a case or path → why it cannot be predicted.
        notes: How files were understood.
    """

    cases: list[Case] = field(default_factory=list)
    failed: dict[str, Exception] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def collect(
    paths: Sequence[Path], modalities: Sequence[str], *, missing: bool = False, as_: As | None = None
) -> Inputs:
    """Finds the cases under paths; what cannot be used is noted and does not stop the rest.

    Args:
        paths: Image files, folders of sections, folders of cases, data sets.
        modalities: What the model takes.
        missing: Whether it copes with missing ones.
        as_: How to take folders of 2-D files, as for `open_dataset`.

    Raises:
        ConfigError: Two cases have one id, or `as_` has no meaning for a path.
    """
    inputs = Inputs()
    sources: dict[str, Path] = {}
    for path in paths:
        try:
            dataset = _open(path, modalities, as_)
        except DataError as error:
            inputs.failed[str(path)] = error
            continue
        inputs.notes += [f"{path}: {note}" for note in dataset.notes]
        inputs.failed |= {failure.case or str(path): DataError(failure.message) for failure in dataset.failures}
        for case in dataset.cases:
            try:
                inputs.cases.append(match_modalities(case, modalities, missing=missing))
            except DataError as error:
                inputs.failed[case.id] = error
                continue
            source = path if split_address(path)[1] else case.reference.path
            if case.id in sources:
                both = f"{sources[case.id]} and {source}"
                raise ConfigError(f"{both} would both be written as '{case.id}': predict them into two folders")
            sources[case.id] = source
    return inputs


def check_out(out: Path, paths: Sequence[Path], cases: Sequence[Case]) -> None:
    """Makes sure, before any work, that results can be written to a folder and do not mix with the inputs.

    Raises:
        ConfigError: `out` is or lies in an input folder.
        ResourceError: It cannot be written.
    """
    place = out.resolve()
    for path in paths:
        if path.is_dir() and place.is_relative_to(path.resolve()):
            raise ConfigError(f"--out {out}: lies in the input folder {path}: choose a folder outside of it")
    for case in cases:
        for volume in case.images.values():
            folder = volume.path if volume.path.is_dir() and volume.format != "zarr" else volume.path.parent
            if place == folder.resolve():
                raise ConfigError(f"--out {out}: is the folder of the input {volume.path}: choose another")
    require_writable(out)


def _open(path: Path, modalities: Sequence[str], as_: As | None) -> Dataset:
    """The data set at a path; for the folder of one case of a data set, that case."""
    try:
        dataset = open_dataset(path, as_=as_, with_labels=False, on_error="collect")
    except DataError:
        dataset = None
    if dataset is not None and (not path.is_dir() or len(modalities) == 1 or _fits(dataset, modalities)):
        return dataset
    around = _case_within(path, modalities) if path.is_dir() and as_ is None else None
    return around or dataset or open_dataset(path, as_=as_, with_labels=False, on_error="collect")


def _case_within(folder: Path, modalities: Sequence[str]) -> Dataset | None:
    try:
        whole = open_dataset(folder.resolve().parent, with_labels=False, on_error="collect")
    except (DataError, ConfigError):
        return None
    inside = [
        case
        for case in whole.cases
        if all(v.path.resolve().is_relative_to(folder.resolve()) for v in case.images.values())
    ]
    found = Dataset(whole.root, whole.manifest, inside, whole.notes)
    return found if inside and _fits(found, modalities) else None


def _fits(dataset: Dataset, modalities: Sequence[str]) -> bool:
    return any(set(modalities) <= {*case.images, *case.modalities} for case in dataset.cases)
