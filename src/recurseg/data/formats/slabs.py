"""Label and map files that come slab by slab and never lie in memory; a killed run can go on where it stopped."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recurseg.data.case import Deferred, LazyArray, Volume
from recurseg.data.files import write_json
from recurseg.data.formats import X_FIRST, suffix_like, write_like, written_path
from recurseg.data.formats.header import readable_bytes
from recurseg.data.formats.lazy import DiskArray
from recurseg.data.formats.writing import CannotWriteError, writing


@dataclass(frozen=True)
class SlabWriter:
    """A label or map file on its way.

    Attributes:
        path: The final name, which appears when the block of `slab_writer` ends well.
        axis: Axis of the source's array along which slabs are cheapest, the slowest in the file.
        array: What is written so far, `(*source)` or `(channels, *source)`, to read and to change in place.
        resumed: The number that an earlier, killed run noted last; 0 in a new file.
        mark: What the file depends on.
    """

    path: Path
    axis: int
    array: DiskArray
    resumed: int
    mark: str
    dims: int

    def write(self, start: int, slab: np.ndarray, *, axis: int | None = None) -> None:
        """Writes a slab, in any order; what is never written stays 0.

        Args:
            start: Its first section along `axis`.
            slab: In the source's axes, with a leading class axis where the file has channels.
            axis: Of the source; another than `self.axis` costs more.
        """
        last = (self.axis if axis is None else axis) - self.dims
        place: list[Any] = [slice(None)] * len(self.array.shape)
        place[last] = slice(start, start + slab.shape[last])
        self.array[tuple(place)] = slab

    def note(self, done: int) -> None:
        """Notes on disk how much is written, in a number of the caller's own, for a run that goes on after a kill."""
        write_json(_state(self.array.source), {"mark": self.mark, "done": done})


@contextmanager
def slab_writer(
    stem: Path,
    like: Volume,
    dtype: np.dtype | type,
    channels: int | None = None,
    *,
    mark: str = "",
    values: np.ndarray | None = None,
) -> Iterator[SlabWriter]:
    """Writes labels or maps on the grid of a volume slab by slab: the same file as `write_like` of the whole array.

    The voxels collect in a hidden file of the same folder, `.<name>.part`, as large as the array; at the end of the
    block the final file is made of them a few sections at a time.

    Args:
        stem: Final path less its suffix; missing folders are made.
        like: The source volume.
        dtype: uint8 or uint16 of labels, float32 of maps.
        channels: Number of classes, where maps of several go into one file.
        mark: What the result depends on, such as a hash of input and settings. A hidden file with the same mark is
            continued, and one is left behind by a kill or Ctrl-C. "" begins anew and leaves nothing.
        values: Of labels, the file value of each class; by default the class itself.

    Yields:
        The writer.

    Raises:
        ConfigError: The result would replace its own source.
        ResourceError: No permission, or a full disk.
    """
    dtype = np.dtype(dtype)
    suffix = suffix_like(like, maps=dtype.kind == "f")
    path = written_path(stem, suffix, like)
    part = path.with_name(f".{path.name}.part")
    x_first = like.format in X_FIRST
    shape = like.shape if channels is None else (channels, *like.shape)
    resumed = _begun(part, mark, math.prod(shape) * dtype.itemsize)
    array = DiskArray(part, part, shape, dtype, order="F" if x_first else "C")
    keep = False
    try:
        yield SlabWriter(path, len(like.shape) - 1 if x_first else 0, array, resumed, mark, len(like.shape))
        write_like(stem, array if values is None else _looked_up(array, values), like, suffix)
    except (KeyboardInterrupt, SystemExit):
        keep = bool(mark)
        raise
    finally:
        if not keep:
            part.unlink(missing_ok=True)
            _state(part).unlink(missing_ok=True)


def _begun(part: Path, mark: str, size: int) -> int:
    """Makes the file of `size` bytes, or finds the one that an earlier run left; returns what that run noted."""
    try:
        state = json.loads(_state(part).read_text(encoding="utf-8"))
        if mark and state["mark"] == mark and part.stat().st_size == size:
            return int(state["done"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with writing(part):
        part.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(part.parent).free
        if free < size:
            raise CannotWriteError(
                f"{part.parent}: needs {readable_bytes(size)} for a file that is being written, "
                f"{readable_bytes(free)} are free; free disk space or choose another output folder"
            )
        with part.open("wb") as file:
            file.truncate(size)
    return 0


def _state(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _looked_up(array: DiskArray, values: np.ndarray) -> LazyArray:
    return Deferred(array.shape, values.dtype, lambda index: values[array[index]])
