"""Every recurrence and attention as a layer, small and at a paper's size."""

from __future__ import annotations

from recurseg.bench.attention import lively
from recurseg.bench.compare import Case, register
from recurseg.bench.growths import Reader
from recurseg.bench.memory import Steps
from recurseg.bench.rivals import convolutions, perceptron
from recurseg.layers.conv_lstm import ConvLSTM
from recurseg.layers.fgru import FGRU
from recurseg.layers.md_lstm import MDLSTM
from recurseg.layers.slice_attention import RSABlock
from recurseg.layers.sweep import PyramidSweep
from recurseg.models.hgru_classifier import Settling
from recurseg.ops.memory import Access


def sweep(channels: int, width: int, kernel: int, spatial: tuple[int, int, int]) -> Case:
    return Case(
        lambda: PyramidSweep(channels, width, kernel=kernel),
        (1, channels, *spatial),
        convolutions(channels, width),
        in_textbooks=True,
    )


def conv_lstm(width: int, batch: int, spatial: tuple[int, int, int]) -> Case:
    return Case(
        lambda: ConvLSTM(width, width), (batch, width, *spatial), convolutions(width, width), in_textbooks=True
    )


def md_lstm(channels: int, width: int, spatial: tuple[int, int, int]) -> Case:
    return Case(lambda: MDLSTM(channels, width), (1, channels, *spatial), convolutions(channels, width))


def memory(access: Access, slots: int) -> Case:
    return Case(lambda: Steps(access, slots), (8, 4, access.size))


def actors(size: int, access: Access, slots: int, patches: int) -> Case:
    return Case(
        lambda: Reader(2, size, slots=slots, access=access),
        (2, 1, patches, size),
        perceptron(size),
        in_textbooks=True,
        needs="dnc",
    )


def fgru(channels: int, kernel: int, batch: int, side: int) -> Case:
    return Case(
        lambda: Settling(FGRU(channels, kernel=kernel), steps=2),
        (batch, channels, side, side),
        convolutions(channels, channels, dims=2),
    )


def slice_attention(channels: int, spatial: tuple[int, int, int]) -> Case:
    return Case(
        lambda: lively(RSABlock(channels)),
        (1, channels, *spatial),
        convolutions(channels, channels),
        in_textbooks=True,
    )


SMALL = {
    "sweep": sweep(1, 16, 5, (6, 64, 64)),
    "conv_lstm": conv_lstm(16, 1, (8, 32, 32)),
    "md_lstm": md_lstm(1, 8, (4, 16, 16)),
    "memory": memory(Access(16, 4), 64),
    "actors": actors(32, Access(32, 4), 64, 16),
    "fgru": fgru(8, 5, 2, 32),
    "slice_attention": slice_attention(16, (8, 16, 16)),
}
PAPER = {
    "sweep": sweep(25, 32, 7, (8, 64, 64)),
    "conv_lstm": conv_lstm(64, 3, (3, 15, 15)),
    "md_lstm": md_lstm(25, 32, (8, 64, 64)),
    "memory": memory(Access(128, 32), 400),
    "actors": actors(128, Access(128, 32), 400, 169),
    "fgru": fgru(24, 9, 2, 176),
    "slice_attention": slice_attention(256, (8, 40, 33)),
}
"""PyraMiD-LSTM's second layer on its first training window, and an MD-LSTM there; the coarsest maps of cross-modality
convolution; SHAMANN's memory, and its actors on a chest X-ray; gamma-Net's finest level; RSANet's second coarsest."""

for _name in SMALL:
    register("ops:small", _name, SMALL[_name])
    register("ops:paper", _name, PAPER[_name], long=True)
