"""Finds the data that a table is run on: the user's folder, or a phantom."""

from __future__ import annotations

from pathlib import Path

from recurseg.data.layouts import recognise
from recurseg.data.manifest import MANIFEST_NAME, read_manifest
from recurseg.data.phantoms import write_phantom
from recurseg.errors import ConfigError, RecursegError
from recurseg.experiments.digits import write_digits
from recurseg.experiments.table import Scale, Source, Table


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
        if source.layout in layouts:
            return source, layouts[source.layout]
        if source.phantom is not None:
            return source, _phantom(source.phantom, source, scale, work)
    wanted = ", ".join(source.layout or "" for source in sources)
    raise ConfigError(f"{table.id} needs data of layout {wanted}: name them with --data")


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


def _phantom(name: str, source: Source, scale: Scale, work: Path) -> Path:
    folder = work / "data" / (f"{name}-smoke" if scale == "smoke" else name)
    if not folder.exists() and name == "digits":
        write_digits(folder)
    elif not folder.exists():
        write_phantom(name, folder, cases=source.cases, size=source.size)
    return folder
