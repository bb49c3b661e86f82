"""Finds the data that a table is run on: the user's folder, or a phantom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from recurseg.data.dataset import find_manifest
from recurseg.data.layouts import recognise
from recurseg.data.manifest import MANIFEST_NAME, read_manifest, relocate, write_manifest
from recurseg.data.phantoms import write_phantom
from recurseg.errors import ConfigError, RecursegError, did_you_mean
from recurseg.experiments.digits import write_digits
from recurseg.experiments.table import Place, Scale, Source, Table


def find_data(table: Table, scale: Scale, data: Path | None, work: Path) -> tuple[Source, Path]:
    """Chooses the first source of a table that is at hand.

    Args:
        table: The table.
        scale: "smoke" takes a tiny phantom whatever is at hand.
        data: A data set, or a folder of data sets; None where the user has none.
        work: Where phantoms are written.

    Returns:
        The source and its folder.

    Raises:
        ConfigError: `data` does not exist.
    """
    if data is not None and not data.is_dir():
        raise ConfigError(f"--data {data}: no such folder")
    sources = [table.smoke] if scale == "smoke" else table.sources
    layouts = _layouts(data) if data is not None and any(source.layout for source in sources) else {}
    for source in sources:
        if folder := _at_hand(source, layouts, scale, work):
            return source, folder
    wanted = ", ".join(source.layout or "" for source in sources)
    raise ConfigError(f"{table.id} needs data of layout {wanted}: name them with --data")


def find_elsewhere(source: Source, scale: Scale, data: Path | None, work: Path) -> Path | None:
    """Where a source's data of another origin are; None where there are none or they are not at hand."""
    place = source.elsewhere
    return place and _at_hand(place, _layouts(data) if data is not None and place.layout else {}, scale, work)


def _at_hand(place: Place, layouts: Mapping[str | None, Path], scale: Scale, work: Path) -> Path | None:
    folder = layouts.get(place.layout)
    if folder is None and place.phantom is not None:
        folder = _phantom(place.phantom, place, scale, work)
    return folder if folder is None or place.part is None else _part(folder, place.part, work)


def _part(folder: Path, part: str, work: Path) -> Path:
    """A manifest of the cases of one split of a data set."""
    root, manifest = find_manifest(folder)
    if part not in manifest.splits:
        raise ConfigError(f"{folder}: has no split '{part}'{did_you_mean(part, manifest.splits)}")
    kept = manifest.splits[part]
    cases = [case for case in manifest.cases if case.id in kept]
    file = work / "data" / f"{folder.name}-{part}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(relocate(manifest.model_copy(update={"cases": cases, "splits": {}}), root, file.parent), file)
    return file


def _layouts(data: Path) -> dict[str | None, Path]:
    """Layout → folder, of a data set or of the data sets in a folder."""
    found: dict[str | None, Path] = {}
    for folder in (data, *sorted(path for path in data.iterdir() if path.is_dir())):
        written = folder / MANIFEST_NAME
        try:
            manifest = read_manifest(written) if written.exists() else recognise(folder)
            found.setdefault(manifest.layout, folder)
        except RecursegError:
            continue
    return found


def _phantom(name: str, source: Place, scale: Scale, work: Path) -> Path:
    folder = work / "data" / (f"{name}-smoke" if scale == "smoke" else name)
    if not folder.exists() and name == "digits":
        write_digits(folder)
    elif not folder.exists():
        write_phantom(name, folder, cases=source.cases, size=source.size)
    return folder
