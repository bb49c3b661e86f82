"""Cross-modality convolution with a sequence model: an encoder a modality, fused, and a ConvLSTM along slices."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor, nn

from recurseg.errors import ConfigError, did_you_mean
from recurseg.layers.conv_lstm import BidirectionalConvLSTM, BothWays, ConvLSTM, SequenceToSequence
from recurseg.layers.cross_modality import FUSIONS, CrossModalityConvolution, Fusion
from recurseg.models.initial import he
from recurseg.models.registry import register_model
from recurseg.models.slice_codec import (
    MULTI_RESOLUTIONS,
    Layout,
    MultiResolution,
    SliceDecoder,
    SliceEncoder,
    to_logits,
    to_slices,
    to_volumes,
)
from recurseg.models.streaming import Streaming
from recurseg.ops.sweep import State

Sequencing = Literal["convlstm", "seq2seq", "bidirectional", "off"]
SEQUENCES = {
    "convlstm": "",
    "seq2seq": "it writes groups of slices, each from zero",
    "bidirectional": "",
    "off": "slices know nothing of one another",
}
"""Sequence model → why it carries no state, empty where it does."""


@dataclass(frozen=True)
class Preset:
    """The options that a preset stands for."""

    layout: Layout
    widths: tuple[int, ...]
    share_resolutions: bool
    sequence: Sequencing


PRESETS = {
    "paper": Preset(
        Layout(convolutions=(1, 1, 1), pooled_maps=True, bias=True, decoder_relu=False, dropout=0.0),
        widths=(64, 64, 64, 64),
        share_resolutions=False,
        sequence="convlstm",
    ),
    "ref": Preset(
        Layout(convolutions=(2, 3, 2), pooled_maps=False, bias=False, decoder_relu=True, dropout=0.2),
        widths=(40, 40, 40, 40, 40),
        share_resolutions=True,
        sequence="seq2seq",
    ),
}


class CrossModality(nn.Module):
    """Encoders shared over slices, fusion at every resolution, a sequence model at the coarsest, a decoder.

    Args:
        name: Name of the model, for messages.
        in_channels: Modalities M, one channel each.
        num_classes: Channels of the logits.
        preset: Name in `PRESETS`.
        widths: Channels of each level, finest first; None: the preset's.
        cmc: Kind of the cross-modality convolution.
        share_resolutions: Whether all resolutions have one; None: the preset's.
        mrf: What the decoder does with the fused maps.
        sequence: The sequence model; None: the preset's.
        stacked: One encoder for all modalities as its channels, and no fusion.
        length: Slices of a group of "seq2seq".
    """

    task = "segmentation"
    spatial_dims = 3
    sequence_axis = "slice"
    accepts_missing = True

    def __init__(
        self,
        name: str,
        *,
        in_channels: int,
        num_classes: int,
        preset: str,
        widths: Sequence[int] | None,
        cmc: Fusion,
        share_resolutions: bool | None,
        mrf: MultiResolution,
        sequence: Sequencing | None,
        stacked: bool,
        length: int,
    ) -> None:
        super().__init__()
        _check(name, "preset", preset, PRESETS)
        _check(name, "cmc", cmc, FUSIONS)
        _check(name, "mrf", mrf, MULTI_RESOLUTIONS)
        chosen = PRESETS[preset]
        layout, widths = chosen.layout, tuple(chosen.widths if widths is None else widths)
        share = chosen.share_resolutions if share_resolutions is None else share_resolutions
        sequence = chosen.sequence if sequence is None else sequence
        _check(name, "sequence", sequence, SEQUENCES)
        if not widths or length < 1:
            raise ConfigError(
                f"model '{name}': widths {widths} and length {length}: give at least one width and slice"
            )
        if share and not stacked and len(set(widths)) > 1:
            raise ConfigError(f"model '{name}': share_resolutions needs equal widths, not {widths}")
        self.name, self.in_channels, self.sequencing, self.mrf = name, in_channels, sequence, mrf
        self.multiple = 2 ** (len(widths) - (not layout.pooled_maps))
        self.encoders = nn.ModuleList(
            SliceEncoder(in_channels if stacked else 1, widths, layout) for _ in range(1 if stacked else in_channels)
        )
        fused = () if stacked else widths[-1:] if share or mrf == "off" else widths
        self.fusions = nn.ModuleList(
            CrossModalityConvolution(in_channels, width, kind=cmc, bias=layout.bias) for width in fused
        )
        bottom = widths[-1]
        self.sequence = _sequence(sequence, bottom, length)
        self.streaming = Streaming(
            group=length if sequence == "seq2seq" else 1, both_ways=sequence == "bidirectional"
        )
        coarsest = 2 * bottom if sequence == "bidirectional" else bottom
        self.decoder = SliceDecoder(coarsest, widths, num_classes, layout, resolutions=mrf)
        self.encoders.apply(he)
        self.decoder.apply(he)

    def forward(
        self,
        image: Float[Tensor, "b m d h w"],
        state: State | BothWays | None = None,
        *,
        present: Bool[Tensor, "b m"] | None = None,
        return_state: bool = False,
    ) -> Float[Tensor, "b k d h w"] | tuple[Float[Tensor, "b k d h w"], State | BothWays | None]:
        """Computes the logits of all slices.

        Args:
            image: Modalities of a volume, any size ≥ 1.
            state: Hidden and cell map of the ConvLSTM after the slice before the first, as a previous call returned
                them: slices given in chunks give what they give whole. For "bidirectional" with what `behind` says of
                the slices behind; other sequence models take none.
            present: Which modalities are there, at least one a volume; all where None. What the image holds of
                an absent one has no influence: its encoder does not see it, so batch norm counts the volumes that
                have the modality, and the fusion is renormalised. With stacked modalities absent ones are zeros.
            return_state: Whether to return the state after the last slice too; None where none is carried.

        Returns:
            Logits `(B, K, D, H, W)`, or those and the state.

        Raises:
            ConfigError: If a state is given that the sequence model cannot use, a volume has no modality, or the
                image has other axes or channels.
        """
        if state is not None and (reason := SEQUENCES[self.sequencing]):
            raise ConfigError(
                f"model '{self.name}' with sequence '{self.sequencing}' takes no state, as {reason}: "
                "call it without 'state', on whole volumes"
            )
        *maps, x = self._look(image, present)
        x = to_volumes(x, len(image))  # (B, C, D, h, w)
        if isinstance(self.sequence, ConvLSTM | BidirectionalConvLSTM):
            x, state = self.sequence(x, state)
        else:
            x = self.sequence(x)
        logits = to_logits(self.decoder(x.transpose(1, 2).flatten(0, 1), maps), image)
        return (logits, state) if return_state else logits

    def behind(
        self,
        image: Float[Tensor, "b m d h w"],
        state: State | None = None,
        *,
        present: Bool[Tensor, "b m"] | None = None,
    ) -> State:
        """What a bidirectional model must know of these slices to read those in front of them.

        Args:
            image: As for `forward`.
            state: The same of the slices behind these; None: there are none.
            present: As for `forward`.
        """
        assert isinstance(self.sequence, BidirectionalConvLSTM)
        return self.sequence.behind(to_volumes(self._look(image, present)[-1], len(image)), state)

    def maps(
        self, slices: Float[Tensor, "n m h w"], present: Bool[Tensor, "n m"] | None = None
    ) -> list[Float[Tensor, "n c h_level w_level"]]:
        """Fused maps of slices, finest first: of every level that the decoder takes, and the coarsest."""
        if not self.fusions:
            return self.encoders[0](slices if present is None else slices.where(present[..., None, None], 0))
        taken = slice(None) if self.mrf != "off" else slice(-1, None)
        each = [self._encode(m, slices, present)[taken] for m in range(self.in_channels)]
        levels = list(zip(*each, strict=True))
        fusions = list(self.fusions) * (len(levels) // len(self.fusions))
        return [fuse(features, present) for fuse, features in zip(fusions, levels, strict=True)]

    def _look(self, image: Tensor, present: Tensor | None) -> list[Tensor]:
        """Fused maps of all slices of volumes."""
        slices = to_slices(image, name=self.name, in_channels=self.in_channels, multiple=self.multiple)
        if present is not None:
            self._check_present(present, batch=len(image))
            present = present.repeat_interleave(image.shape[2], dim=0)  # (B·D, M)
        return self.maps(slices, present)

    def _encode(self, modality: int, slices: Tensor, present: Tensor | None) -> list[Tensor]:
        """Maps of one modality, zero for the slices that lack it; the encoder sees the others alone."""
        one = slices[:, modality : modality + 1]
        if present is None or present[:, modality].all():
            return self.encoders[modality](one)
        there = present[:, modality].nonzero()[:, 0]
        found = self.encoders[modality](one[there])
        return [x.new_zeros(len(one), *x.shape[1:]).index_copy(0, there, x) for x in found]

    def _check_present(self, present: Tensor, *, batch: int) -> None:
        if present.shape != (batch, self.in_channels):
            raise ConfigError(
                f"model '{self.name}': present takes ({batch}, {self.in_channels}), not {tuple(present.shape)}"
            )
        if not present.any(dim=1).all():
            raise ConfigError(f"model '{self.name}': a case has no modality present: it needs at least one")


@register_model("cross_modality", paper="Tseng et al. 2017")
def cross_modality(
    *,
    in_channels: int,
    num_classes: int,
    preset: Literal["paper", "ref"] = "paper",
    widths: Sequence[int] | None = None,
    cmc: Fusion = "dense",
    share_resolutions: bool | None = None,
    mrf: MultiResolution = "multiply",
    sequence: Sequencing | None = None,
    stacked: bool = False,
    length: int = 3,
) -> CrossModality:
    """Segments volumes of several modalities, slice by slice with a memory of the slices before.

    Each modality has an encoder of its own, shared over slices. Cross-modality convolution fuses their maps at every
    resolution; a ConvLSTM along the slices reads the coarsest. The decoder doubles the resolution stage by stage
    and multiplies its map with the fused one of the same resolution before it convolves.

    The paper gives no widths and no kernel of the ConvLSTM; we read 64 at every level and 3 × 3. With 4 modalities
    and 5 classes it has 1,023,045 parameters. Preset "ref" is the authors' published code: 40 channels, two or three
    convolutions a level without biases, fused maps taken before each pooling so that the finest resolution takes
    part too, one cross-modality kernel for all resolutions, ReLU and dropout in the decoder, and two ConvLSTMs, of
    which one reads three slices and the other writes them; 1,073,165 parameters, 957,805 with one ConvLSTM.
    Departures from it: convolutions begin with He's variance instead of 0.01, ConvLSTMs with gain 1 instead of 1.1.

    Args:
        in_channels: Modalities, one channel each.
        num_classes: Channels of the logits.
        preset: "paper" or "ref"; the options below that are given come in place of its values.
        widths: Channels of each encoder level, finest first.
        cmc: Cross-modality convolution with a matrix a modality ("dense"), a weight a modality and channel
            ("depthwise") or a weight a modality ("scalar").
        share_resolutions: Whether one cross-modality kernel serves all resolutions; needs equal widths.
        mrf: Multi-resolution fusion: the decoder's maps times the fused ones ("multiply"), beside them ("concat"),
            or without them ("off").
        sequence: "convlstm" first slice to last, carrying its state; "seq2seq" reads and writes groups of `length`
            slices; "bidirectional" both ways; "off" leaves slices alone.
        stacked: One encoder that has the modalities as its channels, without cross-modality convolution. Absent
            modalities are zeros to it.
        length: Slices of a group of "seq2seq"; the last group overlaps the one before it.

    Returns:
        A model of volumes `(B, M, D, H, W)` that accepts missing modalities.

    Raises:
        ConfigError: If an option is unknown or does not fit another.
    """
    return CrossModality(
        "cross_modality",
        in_channels=in_channels,
        num_classes=num_classes,
        preset=preset,
        widths=widths,
        cmc=cmc,
        share_resolutions=share_resolutions,
        mrf=mrf,
        sequence=sequence,
        stacked=stacked,
        length=length,
    )


def _sequence(kind: Sequencing, width: int, length: int) -> nn.Module:
    if kind == "seq2seq":
        return SequenceToSequence(width, width, length=length)
    layers = {"convlstm": ConvLSTM, "bidirectional": BidirectionalConvLSTM, "off": nn.Identity}
    return layers[kind](width, width)


def _check(name: str, option: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise ConfigError(f"model '{name}': unknown {option} '{value}'{did_you_mean(value, known)}")
