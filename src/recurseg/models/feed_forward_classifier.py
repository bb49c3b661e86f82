"""The rival of the hGRU as a classifier: a stack of convolutions in place of the recurrence."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from recurseg.errors import ConfigError
from recurseg.models.image_classifier import ImageClassifier
from recurseg.models.initial import he
from recurseg.models.registry import register_model


@register_model("feed_forward_classifier", paper="Linsley et al. 2018, its feed-forward rivals")
def feed_forward_classifier(
    *,
    in_channels: int,
    num_classes: int,
    channels: int = 25,
    kernel: int = 5,
    dilations: Sequence[int] = (1, 1, 2, 2, 4, 4, 8, 8, 16),
    input_kernel: int = 7,
    stride: int = 1,
    gain: float = 1.0,
) -> ImageClassifier:
    """`hgru_classifier` with dilated convolutions, each with batch norm and ReLU, in place of the hGRU.

    The defaults have about as many parameters as the hGRU's, 142,609 beside 143,367 at one channel and one logit, and
    see 191 pixels across. For an hGRU of a smaller `kernel` take its `channels` and one entry of `dilations` for
    every `(its kernel / 5)²`.

    Args:
        in_channels: Channels of the image.
        num_classes: Logits.
        channels: Filters, and channels of each convolution.
        kernel: Odd side of the convolutions.
        dilations: Of each convolution, first to last.
        input_kernel: Odd side of the filters.
        stride: Pixels from one position of the filters to the next; more than 1 is a departure for small budgets.
        gain: What images are multiplied with; lines that are paler than the paper's need more.

    Returns:
        A model of images `(B, C, H, W)` with logits `(B, K)`.

    Raises:
        ConfigError: If a kernel is even or the stride below 1.
    """
    if kernel % 2 == 0:
        raise ConfigError(f"model 'feed_forward_classifier': kernel {kernel} must be odd")
    layers = [
        (
            nn.Conv2d(channels, channels, kernel, padding=kernel // 2 * dilation, dilation=dilation),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        for dilation in dilations
    ]
    context = nn.Sequential(*(part for layer in layers for part in layer)).apply(he)
    return ImageClassifier(
        "feed_forward_classifier",
        context,
        in_channels=in_channels,
        num_classes=num_classes,
        channels=channels,
        input_kernel=input_kernel,
        stride=stride,
        gain=gain,
    )
