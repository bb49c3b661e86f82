"""Prediction in bounded memory: a case is prepared on disk, read piece by piece, and its labels are written so.

Labels are those of the prediction in memory: the same windows in the same groups with the same sums. Only where the
budget is so small that fewer windows go through the network at once, or where a model that sees the whole reads it
in parts, may probabilities differ by rounding, and labels with them where two classes tie to the last digits.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recurseg.data.case import Case
from recurseg.data.formats import X_FIRST
from recurseg.data.formats.lazy import DiskArray
from recurseg.data.formats.spool import scratch
from recurseg.errors import ConfigError
from recurseg.inference.components import keep_largest_on_disk
from recurseg.inference.memory import Budget, available, forget_peak, resident
from recurseg.inference.strategies import Work, strategy_for
from recurseg.preprocess.on_disk import prepare_on_disk
from recurseg.preprocess.restore_on_disk import is_direct, restore_on_disk

if TYPE_CHECKING:
    from recurseg.inference.predictor import Segmenter

_LARGEST_SLAB, _SLABS = 2**23, 16
"""Bytes of a slab at most; and its part of what is left of the budget, as several copies of it are at work."""
_COPIES = 8
"""Copies of a section that preprocessing and restoring hold at once."""
_COPIES_OF_ITK = 2
"""Copies of a MetaImage or NRRD volume that are in memory while it is read."""
_SHARE, _ARRAYS = 0.8, 3
"""Share of free memory that is taken; arrays of each channel and class that a prediction in memory holds."""


@dataclass(frozen=True)
class Target:
    """Where a bounded prediction goes.

    Attributes:
        labels: uint8 zeros of the case's stored shape, or what an earlier run left there.
        maps: Class → float32 zeros of that shape.
        first: The number that an earlier run noted last.
        note: Called with how much is written.
        folder: Where a prediction keeps what it needs to go on after a kill; None: it does not.
        about: What the prediction depends on.
    """

    labels: DiskArray
    maps: Mapping[int, DiskArray]
    first: int = 0
    note: Callable[[int], None] = lambda done: None
    folder: Path | None = None
    about: str = ""


def predict_bounded(
    segmenter: Segmenter,
    case: Case,
    target: Target,
    *,
    max_ram: int,
    flips: bool = False,
    keep_largest: bool = False,
    tell: Callable[[str], None] = lambda text: None,
    progress: Callable[[float], None] = lambda done: None,
) -> None:
    """Predicts a case of any size with as much memory as `max_ram` says.

    Args:
        segmenter: Of a model of segmentation.
        case: Its modalities as the model names them.
        target: Gets labels and maps.
        max_ram: The most bytes that the process holds at once, interpreter and libraries included.
        flips: As for `Segmenter.predict`, like `keep_largest` and `progress`.
        tell: Called before the work with the disk that it takes, where it goes through disk.

    Raises:
        ConfigError: The model answers for whole images, or the system does not tell how much memory is held.
        DataError: As for `Segmenter.predict`.
        ResourceError: The budget cannot hold a window or a section, or the disk is full.
    """
    spec = segmenter.spec
    if spec.task != "segmentation":
        raise ConfigError(f"model {spec.model} is for {spec.task} and sees images whole: leave out --max-ram")
    forget_peak()
    budget = Budget(max_ram, f"case {case.id}")
    copies = _COPIES + 2 * max(spec.num_classes, 2)
    budget.require(_section_bytes(case) * copies, f"a section of an image of {case.shape}")
    for volume in case.images.values():
        if volume.format == "itk":
            size = math.prod(volume.shape) * np.dtype(volume.array.dtype).itemsize
            budget.require(_COPIES_OF_ITK * size, f"{volume.path.name}, read whole by ITK, unlike NIfTI and Zarr,")
    slab_bytes = min(_LARGEST_SLAB, budget.left // _SLABS)
    prepared = prepare_on_disk(
        replace(case, label=None), spec.preprocessing, modalities=spec.modalities, slab_bytes=slab_bytes
    )
    forget_peak()
    direct = is_direct(prepared.geometry)
    with _working_folder(target.folder) as folder:
        first = target.first if direct else 0
        work = Work(segmenter, prepared, budget, folder, target.about, first, flips, tell, progress)
        restore_on_disk(
            strategy_for(segmenter, prepared.image.shape[1:], flips=flips, cine=case.time_axis is not None)(work),
            prepared.geometry,
            target.labels,
            target.maps,
            note=target.note,
            slab_bytes=slab_bytes,
        )
    if keep_largest:
        keep_largest_on_disk(target.labels, slab_bytes)


def predict_arrays(
    segmenter: Segmenter, case: Case, *, probabilities: bool, **options: Any
) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels, and probabilities `(K, *stored shape)`, of `predict_bounded` as arrays mapped from temporary files.

    Args:
        segmenter: As there, like `case` and `options`.
        probabilities: Whether they are wanted.
    """
    like, classes = case.reference, max(segmenter.spec.num_classes, 2)
    order: Any = "F" if like.format in X_FIRST else "C"
    labels = replace(scratch(like.path, like.shape, np.uint8), order=order)
    whole = scratch(like.path, (classes if probabilities else 0, math.prod(like.shape)), np.float32)
    size = math.prod(like.shape) * whole.stored.itemsize
    maps = {
        number: replace(whole, shape=like.shape, offset=number * size, order=order)
        for number in range(whole.shape[0])
    }
    predict_bounded(segmenter, case, Target(labels, maps), **options)
    if not maps:
        return _mapped(labels), None
    forwards = _mapped(whole).reshape(classes, *like.shape[:: -1 if order == "F" else 1])
    return _mapped(labels), forwards if order == "C" else forwards.transpose(0, *range(len(like.shape), 0, -1))


def bounded_by_itself(segmenter: Segmenter, case: Case) -> int | None:
    """A budget for a case that would not fit into the memory that is free; None where it fits, or nobody can tell."""
    free, spec = available(), segmenter.spec
    if free is None or spec.task != "segmentation" or case.time_axis is not None:
        return None
    floats = _ARRAYS * (spec.in_channels + max(spec.num_classes, 2))
    fits = math.prod(case.shape) * floats * 4 <= _SHARE * free
    return None if fits else int(resident() + _SHARE * free)


@contextmanager
def _working_folder(folder: Path | None) -> Iterator[Path]:
    """A folder that goes when the block ends, but by a kill or Ctrl-C; a temporary one where none is given."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="recurseg-") as temporary:
            yield Path(temporary)
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _section_bytes(case: Case) -> int:
    axis = case.slice_axis
    return math.prod(case.frame(0).shape) // (1 if axis is None else case.shape[axis]) * 4


def _mapped(array: DiskArray) -> np.ndarray:
    """The array as numpy maps it; on Linux the mapping outlives its file."""
    return np.memmap(os.fspath(array.file), array.stored, "r+", shape=array.shape, order=array.order)
