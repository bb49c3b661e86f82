"""Which phantoms there are, and writing one as files that any reader of the format understands."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recurseg.data.phantoms.writing import (
    Size,
    shown,
    write_brain,
    write_cardiac,
    write_chest,
    write_em,
    write_lesions,
    write_pathfinder,
    write_tumour,
)
from recurseg.errors import ConfigError, ResourceError, did_you_mean

if TYPE_CHECKING:
    from recurseg.data.manifest import DatasetManifest


@dataclass(frozen=True)
class Phantom:
    """One kind of made-up data set.

    Attributes:
        name: What `recurseg phantom` calls it.
        summary: One line on what it shows and how it is written.
        cases: Cases where the user does not say.
        size: Slices, rows, columns where the user does not say; with 1 slice it makes pictures, never more slices.
        smallest: Least slices, rows, columns.
        write: `(folder, cases, size, seed)` → the manifest of the files that it wrote into the folder.
    """

    name: str
    summary: str
    cases: int
    size: Size
    smallest: Size
    write: Callable[[Path, int, Size, int], DatasetManifest]


def write_phantom(name: str, out: Path, *, cases: int | None = None, size: Size | None = None, seed: int = 0) -> Path:
    """Writes a procedural data set in a real format, with a `dataset.yaml` beside the files.

    The images are a pure function of (name, seed, case index, size). The folder appears when it is complete.

    Args:
        name: A name in `PHANTOMS`.
        out: Folder to make; it must not exist or be empty.
        cases: Number of cases; None is the phantom's own.
        size: Slices, rows, columns; None is the phantom's own.
        seed: Not negative.

    Returns:
        The folder.

    Raises:
        ConfigError: An unknown name; cases, size or seed that make no sense; a folder with files in it.
        ResourceError: The folder cannot be written or the disk is full.
    """
    from recurseg.data.manifest import MANIFEST_NAME, write_manifest

    if name not in PHANTOMS:
        raise ConfigError(f"unknown phantom '{name}'{did_you_mean(name, PHANTOMS)}")
    phantom = PHANTOMS[name]
    cases, size = phantom.cases if cases is None else cases, phantom.size if size is None else size
    if cases < 1:
        raise ConfigError(f"phantom {name}: {cases} cases asked for, at least 1 is needed")
    if len(size) != 3 or any(n < least for n, least in zip(size, phantom.smallest, strict=True)):
        raise ConfigError(f"phantom {name}: size {shown(size)} is below the least, {shown(phantom.smallest)}")
    if phantom.size[0] == 1 and size[0] > 1:
        raise ConfigError(f"phantom {name}: makes pictures of 1 slice, not {size[0]}; ask for more cases instead")
    if seed < 0:
        raise ConfigError(f"phantom {name}: seed {seed} is negative")
    out = Path(out)
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise ConfigError(f"{out}: not an empty folder; name a new one for phantom {name}")
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.absolute().parent))
        try:
            write_manifest(phantom.write(unfinished, cases, size, seed), unfinished / MANIFEST_NAME)
            unfinished.chmod(0o755)
            if out.exists():
                out.rmdir()
            os.replace(unfinished, out)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    except OSError as error:
        raise ResourceError(f"{out}: cannot be written: {error.strerror}: choose another folder") from None
    return out


PHANTOMS: dict[str, Phantom] = {
    phantom.name: phantom
    for phantom in (
        Phantom(
            "em_membranes",
            "serial-section electron microscopy of nerve tissue, 4 x 4 x 50 nm: cell membranes (TIFF)",
            cases=1,
            size=(20, 256, 256),
            smallest=(1, 32, 32),
            write=write_em,
        ),
        Phantom(
            "brain_tissue",
            "brain MR in T1, IR and FLAIR, 144 x 230 x 230 mm: CSF, grey and white matter (NIfTI)",
            cases=4,
            size=(32, 96, 96),
            smallest=(8, 32, 32),
            write=write_brain,
        ),
        Phantom(
            "brain_tumour",
            "brain MR in FLAIR, T1, T1c and T2, 144 x 230 x 230 mm: tissues of a glioma, as in BraTS (NIfTI)",
            cases=8,
            size=(40, 120, 120),
            smallest=(8, 32, 32),
            write=write_tumour,
        ),
        Phantom(
            "ms_lesions",
            "brain MR in FLAIR, T1 and T2, 144 x 224 x 168 mm: multiple-sclerosis lesions among their likes (NIfTI)",
            cases=8,
            size=(24, 128, 96),
            smallest=(12, 48, 36),
            write=write_lesions,
        ),
        Phantom(
            "chest_xray",
            "chest radiographs of adults and children, a third with effusion, lesion or device: lungs (PNG)",
            cases=24,
            size=(1, 256, 256),
            smallest=(1, 64, 64),
            write=write_chest,
        ),
        *(
            Phantom(
                name,
                f"cine MR of the beating heart, {taken_by}: both ventricles and myocardium, as in ACDC (4-D NIfTI)",
                cases=20,
                size=(9, 128, 128),
                smallest=(4, 48, 48),
                write=partial(write_cardiac, scanner=scanner),
            )
            for name, scanner, taken_by in (
                ("cardiac_cine", None, "patients of two scanners"),
                ("cardiac_cine_a", "scanner_a", "the first scanner alone"),
                ("cardiac_cine_b", "scanner_b", "the second scanner alone"),
            )
        ),
        *(
            Phantom(
                name,
                f"dashed contours of {length} paddles among 15 short ones: do they join two discs? (PNG)",
                cases=200,
                size=(1, 300, 300),
                smallest=(1, 64, 64),
                write=partial(write_pathfinder, length=length),
            )
            for name, length in {"pathfinder": 6, "pathfinder_9": 9, "pathfinder_14": 14}.items()
        ),
    )
}
"""Name → phantom."""
