"""Finds the data that a table is run on: the user's folder, or a phantom."""

from __future__ import annotations

from pathlib import Path

from recurseg.data.layouts import recognise
from recurseg.data.layouts.files import As
from recurseg.data.manifest import MANIFEST_NAME, DatasetManifest, read_manifest, relocate, write_manifest
from recurseg.data.phantoms import write_phantom
from recurseg.data.phantoms.cardiac_files import CINE_MANIFEST
from recurseg.errors import ConfigError, RecursegError, ResourceError
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
    sources = [table.smoke] if scale == "smoke" else [s for s in table.sources if s.scale in (None, scale)]
    for source in sources:
        if folder := _at_hand(source, data, scale, work):
            return source, folder
    wanted = ", ".join(source.layout or "" for source in sources)
    raise ConfigError(f"{table.id} needs data of layout {wanted}: name them with --data")


def find_elsewhere(source: Source, scale: Scale, data: Path | None, work: Path) -> Path | None:
    """Where a source's data of another origin are; None where there are none or they are not at hand."""
    return source.elsewhere and _at_hand(source.elsewhere, data, scale, work)


def _at_hand(place: Place, data: Path | None, scale: Scale, work: Path) -> Path | None:
    """The folder of a data set, or a manifest of the films in it; None where it is not there."""
    if place.phantom is not None:
        folder = _phantom(place.phantom, place, scale, work)
        return folder / CINE_MANIFEST if place.cines else folder
    found = None if data is None else _of_layout(data, place)
    if found is None or not place.cines:
        return found and found[0]
    folder, manifest = found
    file = work / "data" / f"{place.name}-cines.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_manifest(relocate(manifest, folder, file.parent), file)
    return file


def _of_layout(data: Path, place: Place) -> tuple[Path, DatasetManifest] | None:
    """The first data set of a layout: `data` itself or one of its folders."""
    for folder in (data, *sorted(path for path in data.iterdir() if path.is_dir())):
        written = folder / MANIFEST_NAME
        try:
            manifest = read_manifest(written) if written.exists() else recognise(folder, _AS[place.cines])
        except RecursegError:
            continue
        if manifest.layout == place.layout:
            return folder, manifest
    return None


_AS: dict[bool, As | None] = {False: None, True: "sequence"}


def _phantom(name: str, source: Place, scale: Scale, work: Path) -> Path:
    one_scale = scale == "smoke" or (isinstance(source, Source) and source.scale is not None)
    folder = work / "data" / (f"{name}-{scale}" if one_scale else name)
    if folder.exists():
        return folder
    try:
        if name == "digits":
            write_digits(folder)
        else:
            write_phantom(name, folder, cases=source.cases, size=source.size)
    except ResourceError:
        if not folder.exists():  # else another process, which runs another row, was quicker
            raise
    return folder
