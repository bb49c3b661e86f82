"""The encoder-decoder that cross-modality convolution was judged against: modalities stacked as channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from recurseg.models.cross_modality import CrossModality, Sequencing
from recurseg.models.registry import register_model
from recurseg.models.slice_codec import MultiResolution


@register_model("encoder_decoder", paper="Tseng et al. 2017, the baseline of its tables 2 and 3")
def encoder_decoder(
    *,
    in_channels: int,
    num_classes: int,
    preset: Literal["paper", "ref"] = "paper",
    widths: Sequence[int] | None = None,
    mrf: MultiResolution = "off",
    sequence: Sequencing = "off",
    length: int = 3,
) -> CrossModality:
    """`cross_modality` with one encoder for all channels, and neither multi-resolution fusion nor sequence model.

    Table 2 of the paper adds `sequence="convlstm"`, `mrf="multiply"` or both.

    Args:
        in_channels: Channels of the image: stacked modalities, or colours.
        num_classes: Channels of the logits.
        preset: "paper" or "ref", the layout of encoder and decoder.
        widths: Channels of each encoder level, finest first; None: the preset's.
        mrf: "multiply", "concat" or "off".
        sequence: "convlstm", "seq2seq", "bidirectional" or "off".
        length: Slices of a group of "seq2seq".

    Returns:
        A model of volumes `(B, C, D, H, W)`; to it absent modalities are zeros.

    Raises:
        ConfigError: If an option is unknown.
    """
    return CrossModality(
        "encoder_decoder",
        in_channels=in_channels,
        num_classes=num_classes,
        preset=preset,
        widths=widths,
        cmc="dense",
        share_resolutions=False,
        mrf=mrf,
        sequence=sequence,
        stacked=True,
        length=length,
    )
