"""Voxel size in TIFF files: OME attributes, ImageJ's description, resolution tags."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from recurseg.errors import DataError

_MILLIMETRES = {
    "m": 1e3,
    "meter": 1e3,
    "cm": 10.0,
    "mm": 1.0,
    "millimeter": 1.0,
    "um": 1e-3,
    "µm": 1e-3,
    "micron": 1e-3,
    "micrometer": 1e-3,
    "nm": 1e-6,
    "nanometer": 1e-6,
    "pm": 1e-9,
    "å": 1e-7,
    "angstrom": 1e-7,
    "in": 25.4,
    "inch": 25.4,
}
_RESOLUTION_UNIT = {2: "inch", 3: "cm"}
_UNSET = (1, 72, 96)
"""Dots per inch that programs write where they know no resolution."""


def stored_spacing(file: Any, path: Path, *, ndim: int) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    """Reads the voxel size of an open `tifffile.TiffFile`.

    Args:
        file: The open file.
        path: Its path, for messages.
        ndim: 2 for `(y, x)`, 3 for `(z, y, x)`.

    Returns:
        Spacing in mm, one number an axis, or None where the file does not say; and notes on why not.
    """
    if file.is_ome:
        return _ome(file, path, ndim)
    if file.is_imagej:
        return _imagej(file, path, ndim)
    return _plain(file, ndim)


def resolution_tags(file: Any) -> tuple[str, dict[str, Any]]:
    """What a file of the same resolution is written with.

    Returns:
        "ome", "imagej" or "plain"; and the arguments of `tifffile.imwrite` that carry the resolution, among them
        the "metadata" of ImageJ.
    """
    tags = file.pages[0].tags
    options: dict[str, Any] = {}
    if _plane(file):
        options["resolution"] = (tags["XResolution"].value, tags["YResolution"].value)
        options["resolutionunit"] = _resolution_unit(file)
    if file.is_ome:
        return "ome", options
    if file.is_imagej:
        stored = file.imagej_metadata or {}
        options["metadata"] = {key: stored[key] for key in ("spacing", "unit") if key in stored}
        if unit := options["metadata"].get("unit"):
            options["metadata"]["unit"] = "".join(c if c.isascii() else f"\\u{ord(c):04X}" for c in str(unit))
        return "imagej", options
    return "plain", options


def _ome(file: Any, path: Path, ndim: int) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    import tifffile

    image = tifffile.xml2dict(file.ome_metadata)["OME"]["Image"]
    pixels = (image[0] if isinstance(image, list) else image)["Pixels"]
    names = "ZYX"[-ndim:]
    missing = [name for name in names if f"PhysicalSize{name}" not in pixels]
    if missing:
        return None, (f"no physical size along {', '.join(missing)} is stored",) if len(missing) < ndim else ()
    units = [pixels.get(f"PhysicalSize{name}Unit", "µm") for name in names]
    factors = [millimetres_in(unit) for unit in units]
    if None in factors:
        return None, (f"unit '{units[factors.index(None)]}' of the voxel size is no length",)
    sizes = [_number(path, pixels[f"PhysicalSize{name}"]) for name in names]
    return tuple(size * factor for size, factor in zip(sizes, factors, strict=True) if factor), ()


def _imagej(file: Any, path: Path, ndim: int) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    stored = file.imagej_metadata or {}
    unit = str(stored.get("unit", ""))
    factor = millimetres_in(unit)
    plane = _plane(file)
    if factor is None or plane is None:
        return None, ((f"unit '{unit}' of the voxel size is no length",) if unit and factor is None else ())
    depth, notes = stored.get("spacing"), ()
    if depth is None:
        depth, notes = 1.0, (f"no distance between sections is stored, which ImageJ means as 1 {unit}",)
    spacing = (_number(path, depth), *plane)[-ndim:]
    return tuple(size * factor for size in spacing), notes if ndim == 3 else ()


def _plain(file: Any, ndim: int) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    unit, plane = _resolution_unit(file), _plane(file)
    if plane is None or unit not in _RESOLUTION_UNIT:
        return None, ()
    if unit == 2 and any(abs(plane[0] * dpi - 1) < 1e-6 for dpi in _UNSET):
        return None, ()
    if ndim == 3:
        return None, ("the file tells the pixel size but no distance between sections",)
    factor = _MILLIMETRES[_RESOLUTION_UNIT[unit]]
    return (plane[0] * factor, plane[1] * factor), ()


def _resolution_unit(file: Any) -> int:
    """1 none, 2 inch, 3 centimetre; inch where the tag is missing, as the TIFF specification says."""
    tags = file.pages[0].tags
    unit = int(tags["ResolutionUnit"].value) if "ResolutionUnit" in tags else 2
    return unit if unit in _RESOLUTION_UNIT else 1


def _plane(file: Any) -> tuple[float, float] | None:
    """Pixel size (y, x) in the file's unit, from the resolution tags; None where they say nothing."""
    tags = file.pages[0].tags
    if "XResolution" not in tags or "YResolution" not in tags:
        return None
    sizes = []
    for name in ("YResolution", "XResolution"):
        pixels, units = tags[name].value
        if not pixels or not units:
            return None
        sizes.append(float(Fraction(units, pixels)))
    return sizes[0], sizes[1]


def millimetres_in(unit: str) -> float | None:
    """Millimetres in a unit of length as people write it: µm, "micrometers", \\u00B5m; None where it is none."""
    written_out = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda code: chr(int(code[1], 16)), unit)
    name = written_out.strip().replace("μ", "µ").lower()
    return _MILLIMETRES.get(name, _MILLIMETRES.get(name.removesuffix("s")))


def _number(path: Path, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"{path}: voxel size '{value}' is no number; correct it and save the file again") from None
