"""An image larger than memory through PyraMiD-LSTM, exactly: layer by layer and slab by slab through files.

Windows see only as far as their border; here every sweep crosses the whole volume. A sweep needs the plane before
and the plane at hand, so that is what memory holds, with the slab of the file in which they lie: it grows with the
largest plane, not with the volume. The hidden states of a layer's directions are summed in a file, from which the
next layer reads them through the pixel-wise map between the two.

A step takes one slab forward and one backward along an axis. The sums after it and the planes that the sweeps carry
on are written to a journal first, then to the file of the sums. A killed prediction writes again what its journal
holds and goes on behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from recurseg.data.case import LazyArray
from recurseg.data.formats.writing import writing
from recurseg.errors import ConfigError
from recurseg.inference.bricks import Bricks
from recurseg.inference.out_of_core_journal import Entry, fingerprint_of, forget, read_entry, write_entry
from recurseg.inference.out_of_core_needs import (
    Layout,
    channels_of,
    choose_layout,
    disk_needed,
    positions_of,
    require_disk,
    sweeps_of,
)
from recurseg.inference.tiling import require_finite, to_probabilities
from recurseg.models.blocks import fold, unfold
from recurseg.models.padding import crop_to
from recurseg.models.pyramid_lstm import PyramidLSTM
from recurseg.ops.parallel import run_parallel
from recurseg.ops.sweep import State, pyramid_sweep

__all__ = ["MAX_RAM", "disk_needed", "predict_out_of_core"]

MAX_RAM = 2**30


@torch.no_grad()
def predict_out_of_core(
    model: nn.Module,
    image: LazyArray,
    folder: Path,
    *,
    axis: int = 0,
    max_ram: int = MAX_RAM,
    resume: bool = True,
    progress: Callable[[float], None] | None = None,
) -> Iterator[tuple[int, Float[np.ndarray, "k ..."]]]:
    """Predicts the class probabilities of an image as `model(image)` gives them, to rounding, in bounded memory.

    The sweeps are done when this returns; what they found is read from disk as it is iterated.

    Args:
        model: A `PyramidLSTM` on its device. Computes in float32, without dropout.
        image: `(C, *spatial)`, normalised; read slab by slab along `axis`, twice.
        folder: For scratch files, made where it is missing, on a disk with `disk_needed` bytes; of one
            prediction at a time. What is written there is removed when all slabs were taken.
        axis: Spatial axis along which the image is read and slabs are given; best the slowest of its file.
        max_ram: Bytes to take beyond what the process holds already; more are faster.
        resume: Whether to go on from what a killed prediction of the same image left in `folder`.
        progress: Called with the fraction of the sweeps done, in (0, 1].

    Returns:
        In order: where a slab begins along `axis`, and its probabilities, float32 `(K, *slab)`, K ≥ 2.

    Raises:
        ConfigError: The model is no PyraMiD-LSTM, the image has other axes or channels, or the network gives NaN.
        ResourceError: Not enough memory for one plane, or not enough disk.
    """
    if not isinstance(model, PyramidLSTM):
        raise ConfigError("only pyramid_lstm predicts out of core: predict in windows")
    shape = tuple(image.shape)
    if len(shape) != model.spatial_dims + 1 or shape[0] != model.in_channels:
        axes = ", ".join("DHW"[-model.spatial_dims :])
        raise ConfigError(f"{model.name} takes ({model.in_channels}, {axes}), not {shape}")
    layout = choose_layout(model, shape[1:], max_ram)
    planes = (np.moveaxis(slab, 1 + axis, 0) for slab in _slabs(image, axis, layout.longest * model.block[axis]))
    fingerprint = fingerprint_of(model, (model.block, shape, axis), planes)
    last = read_entry(folder, fingerprint, next(model.parameters()).device) if resume else None
    if last is not None:
        layout = choose_layout(model, shape[1:], max_ram, first=last.longest)
    sweeps = _Sweeps(model, shape[1:], folder, layout)
    if last is None or not sweeps.restore(last):
        last = None
        sweeps.begin(image, axis)
    for entry, fraction in sweeps.steps(last):
        write_entry(folder, fingerprint, entry)
        sweeps.commit(entry)
        if progress:
            progress(fraction)
    return sweeps.probabilities(axis)


@dataclass(frozen=True)
class _Sweeps:
    """A prediction: network, size of the image, folder of the files and how they are cut."""

    model: PyramidLSTM
    spatial: tuple[int, ...]
    folder: Path
    layout: Layout

    @cached_property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @cached_property
    def volumes(self) -> list[Bricks]:
        """What lies on disk: the image in blocks, then the sums of each layer."""
        positions = positions_of(self.model, self.spatial)
        return [
            Bricks(self.folder / f"volume_{number}.bricks", channels, positions, self.layout.longest)
            for number, channels in enumerate(channels_of(self.model))
        ]

    @cached_property
    def plan(self) -> list[tuple[int, int, int]]:
        """Every step: layer, axis, and the number of the slab along it that is taken forward."""
        layers, axes = range(len(self.model.sweeps)), list(enumerate(self.volumes[0].grid))
        return [(layer, axis, number) for layer in layers for axis, slabs in axes for number in range(slabs)]

    def begin(self, image: LazyArray, axis: int) -> None:
        """Puts the image into its file."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.remove()
        require_disk(self.model, image.shape, self.folder)
        stored, block = self.volumes[0], self.model.block
        stored.create()
        for index, slab in enumerate(_slabs(image, axis, stored.sides[axis] * block[axis])):
            stored.write(axis, index, fold(torch.from_numpy(slab)[None], block)[0].numpy())

    def restore(self, last: Entry) -> bool:
        """Does again what a journal says was to be written; False where the files do not belong to it."""
        layer = self.plan[last.done - 1][0]
        following = self.plan[last.done][0] if last.done < len(self.plan) else layer + 1
        if last.longest != self.layout.longest or not all(self.volumes[n].complete for n in (layer + 1, following)):
            return False
        self.commit(last)
        return True

    def commit(self, entry: Entry) -> None:
        """Writes the sums of a step to their file."""
        layer, axis, _ = self.plan[entry.done - 1]
        for index, slab in entry.slabs.items():
            self.volumes[layer + 1].write(axis, index, slab)

    def steps(self, last: Entry | None) -> Iterator[tuple[Entry, float]]:
        """Computes the steps that are left, each from what was committed before, with the fraction done."""
        fractions = list(accumulate(self._weight(layer, axis) for layer, axis, _ in self.plan))
        states: Sequence[State | None] = last.states if last else []
        for done in range(last.done if last else 0, len(self.plan)):
            layer, axis, number = self.plan[done]
            if axis == number == 0:
                self._next_layer(layer)
            slabs, states = self._step(layer, axis, number, states if number else (None, None))
            yield Entry(done + 1, self.layout.longest, slabs, states), fractions[done] / fractions[-1]

    @torch.no_grad()
    def probabilities(self, axis: int) -> Iterator[tuple[int, Float[np.ndarray, "k ..."]]]:
        """Maps the last layer's sums, a few planes at a time, and removes all files behind the last."""
        sums, block = self.volumes[-1], self.model.block
        for index in range(sums.grid[axis]):
            start = sums.planes(axis, index).start * block[axis]
            slab = torch.from_numpy(sums.read(axis, index))[None]
            for planes in slab.split(self.layout.planes, dim=2 + axis):
                voxels = unfold(self.model.pixelwise[-1](planes.to(self.device)), block)
                sizes = [*self.spatial]
                sizes[axis] = min(voxels.shape[2 + axis], sizes[axis] - start)
                found = to_probabilities(crop_to(voxels, sizes))
                yield start, require_finite(found, "float32")[0].cpu().numpy()
                start += sizes[axis]
        self.remove()

    def remove(self) -> None:
        """Removes all files, the journal first."""
        forget(self.folder)
        for volume in self.volumes:
            volume.path.unlink(missing_ok=True)

    def _next_layer(self, layer: int) -> None:
        for read in self.volumes[:layer]:
            read.path.unlink(missing_ok=True)
        self.volumes[layer + 1].create()

    def _weight(self, layer: int, axis: int) -> float:
        """Work of a step: multiply-adds of a sweep, all axes the same, over the steps along this one."""
        sweep = sweeps_of(self.model)[layer]
        return (sweep.weight_x[0].numel() + sweep.weight_h[0].numel()) / self.volumes[0].grid[axis]

    def _step(
        self, layer: int, axis: int, number: int, states: Sequence[State | None]
    ) -> tuple[dict[int, np.ndarray], list[State]]:
        """Takes one slab forward and one backward: the sums with them, by slab, and what both sweeps carry on."""
        sums = self.volumes[layer + 1]
        indices = number, sums.grid[axis] - 1 - number

        def scan(direction: int) -> tuple[np.ndarray, State]:
            return self._scan(layer, axis, indices[direction], states[direction], backward=direction == 1)

        both = run_parallel(scan, (0, 1), device=self.device) if self.layout.parallel else [scan(0), scan(1)]
        slabs: dict[int, np.ndarray] = {}
        for index, (hidden, _) in zip(indices, both, strict=True):
            before = slabs[index] if index in slabs else sums.read(axis, index)
            slabs[index] = np.add(hidden, before, out=hidden)
        return slabs, [state for _, state in both]

    def _scan(
        self, layer: int, axis: int, index: int, state: State | None, *, backward: bool
    ) -> tuple[np.ndarray, State]:
        """Sweeps one slab of a layer's input in one direction: its hidden states and what the sweep carries on."""
        sweep, only = sweeps_of(self.model)[layer], slice(2 * axis + backward, 2 * axis + backward + 1)
        of_x, of_h = sweep.weight_x[only].detach(), sweep.weight_h[only].detach()
        bias_x, bias_h = (None if bias is None else bias[only].detach() for bias in (sweep.bias_x, sweep.bias_h))
        stored = self.volumes[layer].read(axis, index)
        hidden = np.empty((sweep.weight_h.shape[2], *stored.shape[1:]), np.float32)
        given, found = (torch.from_numpy(slab).movedim(1 + axis, 1) for slab in (stored, hidden))
        order = torch.arange(given.shape[1])
        for planes in (order.flip(0) if backward else order).split(self.layout.planes):
            x = given[None, :, planes].to(self.device)
            if layer:
                x = self.model.pixelwise[layer - 1](x).tanh()
            swept, (state,) = pyramid_sweep(x, of_x, of_h, bias_x, bias_h, None if state is None else [state])
            found[:, planes] = swept[0].cpu()
        assert state is not None
        return hidden, state


def _slabs(image: LazyArray, axis: int, thickness: int) -> Iterator[Float[np.ndarray, "c ..."]]:
    """Reads an image along one spatial axis."""
    for start in range(0, image.shape[1 + axis], thickness):
        index = (slice(None),) * (1 + axis) + (slice(start, start + thickness),)
        yield np.array(image[index], dtype=np.float32)
