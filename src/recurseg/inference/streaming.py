"""Volumes slab after slab, cines frame after frame, what the model remembers carried on: the same as the whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from recurseg.data.case import LazyArray
from recurseg.data.files import write_text
from recurseg.errors import ConfigError, ResourceError
from recurseg.inference.state_file import load_state, save_state
from recurseg.inference.tiling import AUTOCAST, Precision, require_finite, to_probabilities
from recurseg.models import spatial_dims_of
from recurseg.models.streaming import Streaming, streaming_of

STATE, BEHIND, ABOUT = "state.safetensors", "behind_{}.safetensors", "about.txt"


def can_stream(model: nn.Module, *, frames: bool = False) -> bool:
    """Whether `stream` gives what the model gives a whole volume.

    It does for models of images, to which each slice is one of its own; for `cross_modality` and `encoder_decoder`
    with every sequence model; for `k_unet`; and for the frames of a cine with a model of time, `gamma_net`.

    Args:
        model: Any.
        frames: Whether it is to read the frames of a cine instead of slices.
    """
    return streaming_of(model, frames=frames) is not None


def stream(
    model: nn.Module,
    image: LazyArray,
    *,
    slab: int = 4,
    frames: bool = False,
    precision: Precision = "float32",
    present: np.ndarray | None = None,
    folder: Path | None = None,
    about: str = "",
    written: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[tuple[int, np.ndarray]]:
    """Predicts the class probabilities of a prepared volume or cine of any length, a few slices or frames at a time.

    Slices are not tiled. In memory are one slab, its maps and the state, however long the image. Where a slice
    depends on those behind it, the volume is read twice: from behind, keeping at each border of slabs on disk what
    the slices in front need of it, and then from the front.

    A prediction that is killed goes on where it stopped, given the same `folder` and `about`: a slab counts as done
    when the next one is asked for. Slabs may be of another length then, but where they are read both ways.

    Args:
        model: On its device, one that `can_stream`. Is in evaluation mode until the last slab is taken.
        image: float32 `(C, D, H, W)`, anything with `shape` and `[...]`; with `frames` `(C, T, *spatial)`.
        slab: Slices or frames at a time; rounded up to whole groups where the model reads groups. On a CPU few are
            fast: the maps of 8 sections of 256² × 16 channels take fresh pages from the system every time.
        frames: Whether these are the frames of a cine, and the model one of time.
        precision: Of the network; probabilities are float32 always.
        present: bool `(C,)`, which channels are there, for models that cope with less; None: all.
        folder: Where the state is kept; delete it when the result is safe. None: nothing to go on from, and what is
            needed meanwhile lies in the system's folder of temporary files.
        about: Says which image, model and settings; what a folder holds of another is thrown away.
        written: Up to which slice results of an earlier run are there; it begins anew where they are fewer than the
            stored state is after. None: as many as that.
        progress: Called with the fraction done, in (0, 1].

    Yields:
        Number of the first slice or frame and float32 `(K, n, H, W)`, K ≥ 2, of frames `(K, n, *spatial)`; in order.
        Of a model of regression `(C, ...)`, what it gives.

    Raises:
        ConfigError: The model must see the whole, or gives NaN or infinite values.
        DataError: A stored state is damaged.
        ResourceError: The disk is full.
    """
    how = streaming_of(model, frames=frames)
    if how is None:
        raise ConfigError(
            f"a model of the kind {type(model).__name__} sees {'cines' if frames else 'volumes'} whole and cannot "
            "stream: predict in windows"
        )
    step, length = -(-max(slab, 1) // how.group) * how.group, image.shape[1]
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    reader = _Reader(model, image, how, frames, precision, present, step, device)
    about = f"{about} {tuple(image.shape)} {frames} {precision} {present} {step if how.both_ways else ''}"
    return _stream(reader, folder, about, length if written is None else written, progress or (lambda done: None))


@dataclass(frozen=True)
class _Reader:
    """A model that reads an image slab after slab."""

    model: nn.Module
    image: LazyArray
    how: Streaming
    frames: bool
    precision: Precision
    present: np.ndarray | None
    step: int
    device: torch.device

    @property
    def length(self) -> int:
        return self.image.shape[1]

    def starts(self, begin: int = 0) -> range:
        """First slices of the slabs from `begin` on."""
        return range(begin, self.length, self.step)

    def probabilities(self, start: int, state: Any) -> tuple[np.ndarray, Any]:
        """Of the slab that begins at `start`, and the state after it."""
        first = max(0, min(start, self.length - self.how.group))
        part = self._read(first, start + self.step)
        with self._running():
            if self.frames or spatial_dims_of(self.model) == 3:
                logits, state = self.model(_as_batch(part), state, return_state=True, **self._given())
                logits = logits[0] if part.ndim == 4 else logits.movedim(0, 2)  # (K, n, *spatial)
            else:
                logits = self.model(part.movedim(1, 0), **self._given(part.shape[1])).movedim(0, 1)
            scores = logits.float()
            if self.model.task == "segmentation":
                scores = to_probabilities(scores[None])[0]
        return require_finite(scores[:, start - first :].cpu(), self.precision).numpy(), state

    def behind(self, start: int, state: Any) -> Any:
        """What the slabs in front of the one at `start` need of it and those behind it."""
        behind: Any = self.model.behind
        with self._running():
            return behind(_as_batch(self._read(start, start + self.step)), state, **self._given())

    def _read(self, start: int, stop: int) -> Tensor:
        part = np.ascontiguousarray(self.image[:, start : min(stop, self.length)], dtype=np.float32)
        return torch.from_numpy(part).to(self.device)

    def _given(self, batch: int = 1) -> dict[str, Tensor]:
        if self.present is None:
            return {}
        return {"present": torch.from_numpy(self.present).to(self.device).expand(batch, -1)}

    @contextmanager
    def _running(self) -> Iterator[None]:
        low = AUTOCAST.get(self.precision)
        with torch.inference_mode(), torch.autocast(self.device.type, low) if low else nullcontext():
            yield


def _stream(
    reader: _Reader, folder: Path | None, about: str, written: int, progress: Callable[[float], None]
) -> Iterator[tuple[int, np.ndarray]]:
    both_ways, was_training = reader.how.both_ways, reader.model.training
    passes = 2 if both_ways else 1
    with ExitStack() as stack:
        stack.callback(reader.model.train, was_training)
        reader.model.eval()
        keep = folder is not None
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory())) if both_ways else Path()
        begin, state = _stored(folder, about, written, reader.device) if keep else (0, None)
        if both_ways:
            _read_from_behind(reader, folder, lambda done: progress(done / passes))
        for start in reader.starts(begin):
            stop = min(start + reader.step, reader.length)
            if both_ways:
                border = folder / BEHIND.format(stop)
                behind = load_state(border, reader.device)[0] if stop < reader.length else None
                state = (None if state is None else state[0], behind)
            found, state = reader.probabilities(start, state)
            progress((passes - 1 + stop / reader.length) / passes)
            yield start, found
            if keep:
                save_state(folder / STATE, state, stop=stop)


def _stored(folder: Path, about: str, written: int, device: torch.device) -> tuple[int, Any]:
    """Where to begin and the state there; empties a folder that is about something else."""
    note = folder / ABOUT
    if not note.is_file() or note.read_text() != about:
        for path in (folder / STATE, *folder.glob(BEHIND.format("*"))):
            path.unlink(missing_ok=True)
        write_text(note, about)
    if not (folder / STATE).is_file():
        return 0, None
    state, notes = load_state(folder / STATE, device)
    return (notes["stop"], state) if notes["stop"] <= written else (0, None)


def _read_from_behind(reader: _Reader, folder: Path, progress: Callable[[float], None]) -> None:
    """Reads slabs last to first and writes what those in front need; goes on from what is there."""
    state = None
    for start in reversed(reader.starts()[1:]):
        path = folder / BEHIND.format(start)
        if (folder / BEHIND.format(start - reader.step)).is_file():
            continue
        if path.is_file():
            state = load_state(path, reader.device)[0]
        else:
            state = reader.behind(start, state)
            save_state(path, state)
            _require_space(folder, path.stat().st_size * (start // reader.step - 1))
        progress((reader.length - start) / reader.length)


def _require_space(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if size > free:
        raise ResourceError(
            f"{folder}: {size / 1e9:.1f} GB are to follow for what lies behind each slab, {free / 1e9:.1f} GB are "
            "free: choose another folder or thicker slabs"
        )


def _as_batch(part: Tensor) -> Tensor:
    """`(C, n, H, W)` as a volume or cine, `(C, T, D, H, W)` as a cine a slice: `(B, C, n, H, W)`."""
    return part[None] if part.ndim == 4 else part.movedim(2, 0)
