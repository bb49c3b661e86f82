"""A U-Net for each slice and a bidirectional ConvLSTM along the slices (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn

from recurseg.errors import ConfigError
from recurseg.layers.conv_lstm import BidirectionalConvLSTM, BothWays
from recurseg.models.initial import Init
from recurseg.models.registry import register_model
from recurseg.models.slice_codec import to_logits, to_slices, to_volumes
from recurseg.models.streaming import Streaming
from recurseg.models.unet import WIDTHS, Norm, classic
from recurseg.ops.sweep import State


@register_model("k_unet", paper="Chen et al. 2016")
class KUNet(nn.Module):
    """Segments volumes of thick slices: a U-Net finds what a slice shows, ConvLSTMs what its neighbours add.

    The U-Net's finest maps, those before its logits, are the input of a ConvLSTM from the first slice to the last and
    of one from the last to the first; a 1×1 convolution of both makes the logits. The paper cascades k U-Nets on
    coarser and coarser copies of the slice and stacks bidirectional layers; this is one of each.

    Args:
        in_channels: Channels of the volume.
        num_classes: Channels of the logits.
        widths: Channels of each level of the U-Net, finest first.
        hidden: Channels of each ConvLSTM; they run at full resolution. None: the finest level's.
        norm: Normalisation in the U-Net: "none", "batch", "instance" or "group".
        dropout: Probability in [0, 1), after the two coarsest encoder blocks.
        init: Weights of the convolutions: "he" or "orthogonal".
    """

    task = "segmentation"
    spatial_dims = 3
    sequence_axis = "slice"
    streaming = Streaming(both_ways=True)

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        widths: Sequence[int] = WIDTHS,
        hidden: int | None = None,
        norm: Norm = "batch",
        dropout: float = 0.5,
        init: Init = "he",
    ) -> None:
        super().__init__()
        hidden = widths[0] if hidden is None else hidden
        self.in_channels, self.multiple = in_channels, 2 ** (len(widths) - 1)
        self.unet = classic("k_unet", in_channels, num_classes, widths, norm=norm, dropout=dropout, init=init)
        self.unet.head = nn.Identity()
        self.sequence = BidirectionalConvLSTM(widths[0], hidden)
        self.head = nn.Conv2d(2 * hidden, num_classes, 1)

    def forward(
        self,
        image: Float[Tensor, "b c d h w"],
        state: BothWays | None = None,
        *,
        present: Bool[Tensor, "b c"] | None = None,
        return_state: bool = False,
    ) -> Float[Tensor, "b k d h w"] | tuple[Float[Tensor, "b k d h w"], BothWays]:
        """Computes the logits of all slices.

        Args:
            image: A volume, any size ≥ 1.
            state: What the ConvLSTMs know of the slices before these, as a previous call returned it, and of those
                behind them, as `behind` says it: slices given in chunks give what they give whole.
            present: Refused: a missing modality cannot be left out.
            return_state: Whether to return what is known of the slices before the next ones too.

        Returns:
            Logits `(B, K, D, H, W)`, or those and the state.

        Raises:
            ConfigError: If `present` is given, or the image has other axes or channels.
        """
        x, after = self.sequence(self._look(image, present), state)  # (B, 2·hidden, D, h, w)
        logits = to_logits(self.head(x.transpose(1, 2).flatten(0, 1)), image)
        return (logits, after) if return_state else logits

    def behind(
        self,
        image: Float[Tensor, "b c d h w"],
        state: State | None = None,
        *,
        present: Bool[Tensor, "b c"] | None = None,
    ) -> State:
        """What the model must know of these slices to read those in front of them.

        Args:
            image: As for `forward`.
            state: The same of the slices behind these; None: there are none.
            present: Refused, as there.
        """
        return self.sequence.behind(self._look(image, present), state)

    def _look(self, image: Tensor, present: Tensor | None) -> Tensor:
        """The U-Net's finest maps of all slices, `(B, C, D, h, w)`."""
        if present is not None:
            raise ConfigError("model 'k_unet' needs every modality: call it without 'present'")
        slices = to_slices(image, name="k_unet", in_channels=self.in_channels, multiple=self.multiple)
        return to_volumes(self.unet(slices), len(image))
