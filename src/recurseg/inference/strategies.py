"""The ways to predict a prepared image of any size, and which of them a model takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from recurseg.data.formats.spool import scratch
from recurseg.errors import ResourceError
from recurseg.inference.cine import predict_cine
from recurseg.inference.memory import Budget, forget_peak, peak, readable_size, resident
from recurseg.inference.out_of_core import disk_needed, predict_out_of_core
from recurseg.inference.streaming import can_stream, stream
from recurseg.inference.tiling import device_of, evaluating, window_network
from recurseg.inference.windows import predict_windows, windows_over
from recurseg.models import spatial_dims_of
from recurseg.models.pyramid_lstm import PyramidLSTM
from recurseg.models.streaming import streaming_of
from recurseg.preprocess.on_disk import PreparedOnDisk

if TYPE_CHECKING:
    from recurseg.inference.predictor import Segmenter

Scores = Iterator[tuple[int, np.ndarray]]
"""In order: the first place along the first axis of the prepared image, and probabilities `(K, n, ...)`."""
MOST_SLICES = 4
"""Slices that are streamed at a time, at most."""
_SHARE_OF_SWEEPS = 0.9
"""Of the budget's rest, what out-of-core sweeps are told that they may take."""


@dataclass(frozen=True)
class Work:
    """A prediction to be done.

    Attributes:
        segmenter: Model and settings.
        prepared: What it reads.
        budget: Memory that it may take.
        folder: For what it keeps meanwhile; a run that goes on after a kill finds it there.
        about: What the prediction depends on.
        first: Places along the first axis whose result an earlier run has written.
        flips: Whether to average over mirror images.
        tell: Called before the work with the disk that it takes, where it goes through disk.
        progress: Called with the fraction done.
    """

    segmenter: Segmenter
    prepared: PreparedOnDisk
    budget: Budget
    folder: Path
    about: str
    first: int
    flips: bool
    tell: Callable[[str], None]
    progress: Callable[[float], None]


def strategy_for(
    segmenter: Segmenter, shape: tuple[int, ...], *, flips: bool, cine: bool = False
) -> Callable[[Work], Scores]:
    """Chooses how an image `(H, W)` or `(D, H, W)`, or a cine, is predicted in bounded memory.

    A PyraMiD-LSTM that sees the whole image goes through disk, a model that sees it whole and carries its state along
    the slices is streamed, and all others see windows. So do mirror images, which no state can be carried through.
    """
    if cine:
        return by_frames
    model, window = segmenter.model, segmenter.spec.window
    windows = windows_over(model, shape, window, segmenter.spec.overlap)
    whole = windows.sizes == windows.roi and len(shape) == spatial_dims_of(model)
    if whole and not flips and isinstance(model, PyramidLSTM) and segmenter.precision == "float32":
        return by_disk
    if whole and not flips and len(shape) == 3 and can_stream(model):
        return by_slices
    return by_windows


def by_frames(work: Work) -> Scores:
    """A cine frame by frame: each from the frames that it is seen with, or all with the state carried on."""
    segmenter, image = work.segmenter, work.prepared.image
    spec, reason = segmenter.spec, "a frame"
    if spec.frames == "stream":
        found = stream(
            segmenter.model,
            image,
            slab=spec.window[0],
            frames=True,
            precision=segmenter.precision,
            folder=work.folder,
            about=work.about,
            written=work.first,
            progress=work.progress,
        )
    else:
        found = _frames(work)
    for start, scores in found:
        work.budget.check(reason)
        yield start, scores


def _frames(work: Work) -> Scores:
    segmenter, image = work.segmenter, work.prepared.image
    spec = segmenter.spec
    for number in range(work.first, image.shape[1]):
        yield (
            number,
            predict_cine(
                segmenter.model,
                image,
                frames=spec.frames,
                window=spec.window,
                overlap=spec.overlap,
                flips=work.flips,
                precision=segmenter.precision,
                only=[number],
            ),
        )
        work.progress((number + 1) / image.shape[1])


def by_windows(work: Work) -> Scores:
    """Windows that are blended in a band as thick as they are."""
    spec, image, present = work.segmenter.spec, work.prepared.image, work.prepared.present
    windows = windows_over(work.segmenter.model, image.shape[1:], spec.window, spec.overlap)
    reason, at_once = f"a window of {windows.seen}", windows.at_once
    if at_once > 1:
        cost = _cost(work, windows.seen, reason)
        work.budget.require(cost, reason)
        at_once = min(at_once, work.budget.left // max(cost, 1))
    shape = (windows.depth(at_once), max(spec.num_classes, 2) + 1, *windows.sizes[1:])
    fits = math.prod(shape) * 4 <= work.budget.left // 4

    def after_group(done: float) -> None:
        work.budget.check(reason)
        work.progress(done)

    return predict_windows(
        windows,
        image,
        np.zeros(shape, np.float32) if fits else scratch(image.source, shape, np.float32),
        at_once=at_once,
        flips=work.flips,
        precision=work.segmenter.precision,
        present=present,
        first=work.first,
        after_group=after_group,
    )


def by_slices(work: Work) -> Scores:
    """Slabs of slices with the state carried from one to the next."""
    model, image = work.segmenter.model, work.prepared.image
    how = streaming_of(model)
    group = how.group if how else 1
    reason = f"a slab of {group} slices"
    cost = _cost(work, (group, *image.shape[2:]), reason)
    work.budget.require(cost, reason)
    slab = group
    while slab * 2 <= MOST_SLICES and cost * slab * 2 <= work.budget.left * group // 2:
        slab *= 2
    found = stream(
        model,
        image,
        slab=slab,
        precision=work.segmenter.precision,
        present=work.prepared.present,
        folder=work.folder,
        about=work.about,
        written=work.first,
        progress=work.progress,
    )
    for start, scores in found:
        work.budget.check(reason)
        yield start, scores


def by_disk(work: Work) -> Scores:
    """Layer by layer and plane by plane through files, exactly."""
    model, image = work.segmenter.model, work.prepared.image
    assert isinstance(model, PyramidLSTM)
    room = int(work.budget.left * _SHARE_OF_SWEEPS)
    work.tell(f"up to {readable_size(disk_needed(model, image.shape))} of disk")
    try:
        return predict_out_of_core(model, image, work.folder, max_ram=room, progress=work.progress)
    except ResourceError as error:
        raise ResourceError(f"{work.budget.what}: {error}") from None


def _cost(work: Work, seen: tuple[int, ...], reason: str) -> int:
    """Bytes by which memory rises while one piece of the image goes through the network."""
    segmenter, present = work.segmenter, work.prepared.present
    network = window_network(segmenter.model, seen, flips=work.flips, precision=segmenter.precision, present=present)
    forget_peak()
    before = resident()
    with evaluating(segmenter.model):
        network(torch.zeros(1, work.prepared.image.shape[0], *seen, device=device_of(segmenter.model)))
    work.budget.check(reason)
    return peak() - before
