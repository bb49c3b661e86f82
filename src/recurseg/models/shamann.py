"""SHAMANN and its relatives: actors read an image as a sequence of patches, with or without an external memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log2, prod
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recurseg.errors import ConfigError, did_you_mean
from recurseg.layers.actors import FeedForwardActors, LSTMActors, MemoryActors
from recurseg.models.patch_codec import PatchDecoder, PatchEncoder, Skips
from recurseg.models.patches import ORDERS, Chunk, PatchGrid, scan_order, split_clocks
from recurseg.models.registry import register_model
from recurseg.ops.actors import Reading
from recurseg.ops.memory import Access, Addressing

PATCHES_AT_ONCE = 169
"""Longer sequences are predicted in chunks that hold at most so many patches: the 13 × 13 of the paper's images."""

Size = int | Sequence[int]
Task = Literal["segmentation", "regression"]


class PatchReader(nn.Module):
    """Encoder, actors, fusion of their outputs patch by patch, decoder, fusion of the patches (SHAMANN, figure 1).

    The means over overlapping patches are taken of logits, before any non-linearity.

    Args:
        name: Name of the model, for messages.
        actors: `(number of actors, cell)` → what reads: `(inputs (A, B, T, d), state)` → outputs and state.
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        patch: Size of a patch, one for all axes or one each.
        stride: From one patch to the next.
        widths: Channels of the encoder's levels, finest first; empty: 8, 16, 32, ..., with as many poolings as bring
            the patch to about 5 voxels a side.
        shortcuts: Whether the decoder sees the encoder's maps of the same patch.
        cell: d, numbers of the features and of an actor's cell.
        orders: In which order each actor reads, of `ORDERS`; one actor a name.
        chunk: Clocks after which a training cuts the gradient. Empty: at the end of the sequence.
        spatial_dims: 2 for images, 3 for volumes.
        task: "segmentation": logits; "regression": the values of an image in the range from 0 to 1, by a sigmoid.
    """

    sequence_axis = "patch"

    def __init__(
        self,
        name: str,
        actors: Callable[[int, int], nn.Module],
        *,
        in_channels: int,
        num_classes: int,
        patch: Size,
        stride: Size,
        widths: Sequence[int],
        shortcuts: bool,
        cell: int,
        orders: Sequence[str],
        chunk: int | None,
        spatial_dims: int,
        task: Task,
    ) -> None:
        super().__init__()
        if spatial_dims not in (2, 3):
            raise ConfigError(f"{name}: spatial_dims {spatial_dims} is not 2 or 3")
        if task not in ("segmentation", "regression"):
            raise ConfigError(f"{name}: task '{task}' is not 'segmentation' or 'regression'")
        for order in orders:
            if order not in ORDERS:
                raise ConfigError(f"{name}: unknown order '{order}'{did_you_mean(order, ORDERS)}")
        if not orders or (chunk is not None and chunk < 1):
            raise ConfigError(
                f"{name}: {len(orders)} orders and chunk {chunk}: give at least one order and one clock"
            )
        self.name, self.task, self.spatial_dims = name, task, spatial_dims
        self.in_channels, self.num_classes = in_channels, num_classes
        self.patch, self.stride = (_sides(name, sides, spatial_dims) for sides in (patch, stride))
        if any(step > side for step, side in zip(self.stride, self.patch, strict=True)):
            raise ConfigError(f"{name}: stride {self.stride} is longer than the patch {self.patch}: it leaves gaps")
        widths = tuple(widths) or default_widths(self.patch)
        if any(side % 2 ** (len(widths) - 1) for side in self.patch):
            raise ConfigError(
                f"{name}: patch {self.patch} cannot be halved {len(widths) - 1} times for {len(widths)} widths: "
                f"take sides that {2 ** (len(widths) - 1)} divides"
            )
        self.orders, self.chunk = tuple(orders), chunk
        self.encoder = PatchEncoder(in_channels, cell, widths=widths, patch=self.patch)
        self.actors = actors(len(orders), cell)
        self.fusion = nn.Linear(len(orders) * cell, cell)
        self.decoder = PatchDecoder(num_classes, cell, widths=widths, patch=self.patch, shortcuts=shortcuts)

    def forward(
        self,
        image: Float[Tensor, "b c *spatial"],
        state: Any = None,
        *,
        present: Bool[Tensor, "b c"] | None = None,
        return_state: bool = False,
    ) -> Float[Tensor, "b k *spatial"] | tuple[Float[Tensor, "b k *spatial"], Any]:
        """Computes the logits of an image of any size.

        Args:
            image: `(B, C, H, W)` or `(B, C, D, H, W)`, as `spatial_dims` says.
            state: Memories and actors to start from, as a previous call returned them.
            present: Refused: a missing modality cannot be left out.
            return_state: Whether to return memories and actors too.

        Returns:
            Logits `(B, K, *spatial)`, or those and the state; the values of an image where the task is regression.

        Raises:
            ConfigError: If `present` is given, a state without a memory to put it in, or other axes or channels.
        """
        if present is not None:
            raise ConfigError(f"{self.name} needs every modality: call it without 'present'")
        if state is not None and isinstance(self.actors, FeedForwardActors):
            raise ConfigError(f"{self.name} keeps no state: call it without 'state'")
        if image.ndim != self.spatial_dims + 2 or image.shape[1] != self.in_channels:
            axes = ", ".join("DHW"[-self.spatial_dims :])
            raise ConfigError(f"{self.name} takes (B, {self.in_channels}, {axes}), not {tuple(image.shape)}")
        grid = PatchGrid(tuple(image.shape[2:]), self.patch, self.stride)
        orders = [scan_order(name, grid.counts) for name in self.orders]
        padded = grid.pad(image)
        canvas = image.new_zeros(len(image), self.num_classes, prod(grid.padded), dtype=torch.float64)
        outputs: list[dict[int, Tensor]] = [{} for _ in orders]
        for number, chunk in enumerate(split_clocks(orders, self._clocks(grid.length))):
            if number and self.training and state is not None:
                state = state.detach()
            features, skips = self.encode(grid.cut(padded, chunk.patches), keep=_places(chunk.ready, chunk.patches))
            read, state = self.actors(_in_order(features, chunk), state)
            for own, order, found in zip(outputs, chunk.read, read, strict=True):
                own.update(zip(order, found.unbind(1), strict=True))
            if chunk.ready:
                decoded = self.decode([[own[patch] for patch in chunk.ready] for own in outputs], skips)
                canvas = grid.paste(canvas, decoded, chunk.ready)
        fused = grid.mean(canvas).float()
        if self.task == "regression":
            fused = fused.sigmoid()
        return (fused, state) if return_state else fused

    def encode(
        self, patches: Float[Tensor, "b n c *patch"], keep: Sequence[int]
    ) -> tuple[Float[Tensor, "b n d"], Skips]:
        """Features of patches, and the encoder's maps `(B * len(keep), ...)` of some of them."""
        batch, count = patches.shape[:2]
        features, maps = self.encoder(patches.flatten(0, 1))
        if len(keep) < count:
            kept = torch.tensor(keep, dtype=torch.long, device=patches.device)
            maps = [found.unflatten(0, (batch, count)).index_select(1, kept).flatten(0, 1) for found in maps]
        return features.unflatten(0, (batch, count)), maps

    def decode(self, outputs: Sequence[Sequence[Tensor]], skips: Skips) -> Float[Tensor, "b n k *patch"]:
        """Patches from what each actor says of them: `outputs[actor][patch]` is `(B, d)`."""
        together = torch.cat([torch.stack(list(own), dim=1) for own in outputs], dim=2)
        fused = self.fusion(together)
        return self.decoder(fused.flatten(0, 1), skips).unflatten(0, fused.shape[:2])

    def _clocks(self, length: int) -> int:
        """Clocks of a chunk."""
        if self.training:
            return self.chunk or length
        return length if length <= PATCHES_AT_ONCE else max(1, PATCHES_AT_ONCE // len(self.orders))


def default_widths(patch: Sequence[int]) -> tuple[int, ...]:
    """8, 16, 32, ...: as many levels as bring the smallest side of a patch to about 5 by halving."""
    halvings = max(0, round(log2(min(patch) / 5)))
    return tuple(8 * 2**level for level in range(halvings + 1))


def _sides(name: str, sides: Size, dims: int) -> tuple[int, ...]:
    given = (sides,) * dims if isinstance(sides, int) else tuple(sides)
    if len(given) != dims or any(side < 1 for side in given):
        raise ConfigError(f"{name}: {sides} is not one size of at least 1, or {dims} of them")
    return given


def _places(some: Sequence[int], all_of_them: Sequence[int]) -> list[int]:
    place = {patch: index for index, patch in enumerate(all_of_them)}
    return [place[patch] for patch in some]


def _in_order(features: Float[Tensor, "b n d"], chunk: Chunk) -> Float[Tensor, "actors b clocks d"]:
    """Each actor's inputs in the order in which it reads them."""
    places = [torch.tensor(_places(own, chunk.patches), device=features.device) for own in chunk.read]
    return torch.stack([features.index_select(1, own) for own in places])


def _with_memory(name: str, shared: bool, slots: int, word: int | None, heads: int, read_merge: str,
                 strength: bool, addressing: Addressing, feed_hidden: bool, cell: int):  # fmt: skip
    if read_merge not in ("linear", "concat", "mean"):
        raise ConfigError(f"{name}: read_merge '{read_merge}' is not 'linear', 'concat' or 'mean'")
    if addressing not in ("least_used", "dnc"):
        raise ConfigError(f"{name}: addressing '{addressing}' is not 'least_used' or 'dnc'")
    access = Access(word=word or cell, heads=heads, strength=strength, addressing=addressing)
    reading = Reading(access, read_merge, feed_hidden)
    return lambda actors, size: MemoryActors(actors, size, slots=slots, reading=reading, shared=shared)


@register_model("shamann", paper="Bercea et al. 2019")
def shamann(
    *,
    in_channels: int,
    num_classes: int,
    patch: Size = 160,
    stride: Size = 80,
    widths: Sequence[int] = (),
    shortcuts: bool = True,
    cell: int = 128,
    slots: int = 400,
    word: int | None = None,
    heads: int = 32,
    read_merge: str = "linear",
    strength: bool = True,
    addressing: Addressing = "least_used",
    feed_hidden: bool = False,
    orders: Sequence[str] = ("forward", "backward"),
    chunk: int | None = None,
    spatial_dims: int = 2,
    task: Task = "segmentation",
) -> PatchReader:
    """Actors that share one external memory read an image as a sequence of patches.

    The paper prints 6.2 million parameters and leaves open how the heads are merged. With one channel and one logit:
    6,290,539 with `read_merge="linear", strength=False`; each key strength adds 129, 8,514 in all; 10,320,747 with
    "concat" and 5,241,707 with "mean", both without strengths.

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        patch: Size of a patch.
        stride: From one patch to the next.
        widths: Channels of the encoder's levels, finest first; empty: 8, 16, 32, ... down to about 5 voxels a side.
        shortcuts: Whether the decoder sees the encoder's maps of the same patch.
        cell: d, numbers of the features and of an actor's cell.
        slots: N, rows of the memory.
        word: Q, numbers in a row; None: as many as in a cell.
        heads: R, rows read at once.
        read_merge: What an actor sees of its heads: "linear" a learned map of all, "concat" all, "mean" their mean.
        strength: Whether keys have strengths; without, reads are nearly means of the whole memory.
        addressing: "least_used", or "dnc" with allocation, free gates and temporal links.
        feed_hidden: Whether the LSTM's last output is h instead of the mapped output g.
        orders: In which order each actor reads, one actor a name.
        chunk: Clocks after which a training cuts the gradient; None: never.
        spatial_dims: 2 for images, 3 for volumes.
        task: "segmentation", or "regression" for the values of an image from 0 to 1. That they are a sigmoid's is our
            choice; the paper does not print it.

    Returns:
        A model of images `(B, C, H, W)` or volumes `(B, C, D, H, W)`.
    """
    return PatchReader(
        "shamann",
        _with_memory("shamann", True, slots, word, heads, read_merge, strength, addressing, feed_hidden, cell),
        in_channels=in_channels, num_classes=num_classes, patch=patch, stride=stride, widths=widths,
        shortcuts=shortcuts, cell=cell, orders=orders, chunk=chunk, spatial_dims=spatial_dims, task=task,
    )  # fmt: skip


@register_model("bi_mann", paper="Bercea et al. 2019")
def bi_mann(
    *,
    in_channels: int,
    num_classes: int,
    patch: Size = 160,
    stride: Size = 80,
    widths: Sequence[int] = (),
    shortcuts: bool = True,
    cell: int = 128,
    slots: int = 400,
    word: int | None = None,
    heads: int = 32,
    read_merge: str = "linear",
    strength: bool = True,
    addressing: Addressing = "least_used",
    feed_hidden: bool = False,
    orders: Sequence[str] = ("forward", "backward"),
    chunk: int | None = None,
    spatial_dims: int = 2,
    task: Task = "segmentation",
) -> PatchReader:
    """`shamann` whose actors have an external memory each: the same options and parameters."""
    return PatchReader(
        "bi_mann",
        _with_memory("bi_mann", False, slots, word, heads, read_merge, strength, addressing, feed_hidden, cell),
        in_channels=in_channels, num_classes=num_classes, patch=patch, stride=stride, widths=widths,
        shortcuts=shortcuts, cell=cell, orders=orders, chunk=chunk, spatial_dims=spatial_dims, task=task,
    )  # fmt: skip


@register_model("bi_lstm", paper="Bercea et al. 2019")
def bi_lstm(
    *,
    in_channels: int,
    num_classes: int,
    patch: Size = 160,
    stride: Size = 80,
    widths: Sequence[int] = (),
    shortcuts: bool = True,
    cell: int = 128,
    orders: Sequence[str] = ("forward", "backward"),
    chunk: int | None = None,
    spatial_dims: int = 2,
    task: Task = "segmentation",
) -> PatchReader:
    """`shamann` whose actors are LSTMs without external memory; its options but for those of the memory."""
    return PatchReader(
        "bi_lstm",
        LSTMActors,
        in_channels=in_channels, num_classes=num_classes, patch=patch, stride=stride, widths=widths,
        shortcuts=shortcuts, cell=cell, orders=orders, chunk=chunk, spatial_dims=spatial_dims, task=task,
    )  # fmt: skip


@register_model("no_memory", paper="Bercea et al. 2019")
def no_memory(
    *,
    in_channels: int,
    num_classes: int,
    patch: Size = 160,
    stride: Size = 80,
    widths: Sequence[int] = (),
    shortcuts: bool = True,
    cell: int = 128,
    orders: Sequence[str] = ("forward", "backward"),
    spatial_dims: int = 2,
    task: Task = "segmentation",
) -> PatchReader:
    """`shamann` whose actors remember nothing: each maps the features of a patch by one layer, on its own."""
    return PatchReader(
        "no_memory",
        FeedForwardActors,
        in_channels=in_channels, num_classes=num_classes, patch=patch, stride=stride, widths=widths,
        shortcuts=shortcuts, cell=cell, orders=orders, chunk=None, spatial_dims=spatial_dims, task=task,
    )  # fmt: skip
