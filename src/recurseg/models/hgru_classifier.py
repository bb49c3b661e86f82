"""The hGRU as a classifier of images: one recurrent layer whose horizontal kernels follow a contour."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from recurseg.errors import ConfigError
from recurseg.layers.fgru import FGRU
from recurseg.models.image_classifier import ImageClassifier
from recurseg.models.registry import register_model


class Settling(nn.Module):
    """An fGRU that is driven by the same maps for a number of steps; gives its last state."""

    def __init__(self, cell: FGRU, *, steps: int) -> None:
        super().__init__()
        self.cell, self.steps = cell, steps

    def forward(self, drive: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        state = None
        for step in range(self.steps):
            state = self.cell(drive, state, step=step)
        return state  # pyright: ignore[reportReturnType]


@register_model("hgru_classifier", paper="Linsley et al. 2018")
def hgru_classifier(
    *,
    in_channels: int,
    num_classes: int,
    channels: int = 25,
    kernel: int = 15,
    time_steps: int = 8,
    input_kernel: int = 7,
    stride: int = 1,
    gain: float = 1.0,
) -> ImageClassifier:
    """Says what an image is, such as whether two markers lie on one path, after steps of horizontal exchange.

    Squared 7×7 filters drive one hGRU with a single 15×15 kernel for 8 steps; its last state is read out. With one
    channel and one logit it has 143,367 parameters.

    Args:
        in_channels: Channels of the image.
        num_classes: Logits.
        channels: Filters, and channels of the hGRU.
        kernel: Odd side of the horizontal kernel. A step reaches as far as it twice.
        time_steps: Steps.
        input_kernel: Odd side of the filters.
        stride: Pixels from one position of the filters to the next; more than 1 is a departure for small budgets.
        gain: What images are multiplied with; lines that are paler than the paper's need more.

    Returns:
        A model of images `(B, C, H, W)` with logits `(B, K)`.

    Raises:
        ConfigError: If a kernel is even, there is no step or the stride is below 1.
    """
    if kernel % 2 == 0 or time_steps < 1:
        raise ConfigError(
            f"model 'hgru_classifier': kernel {kernel} must be odd and time_steps {time_steps} at least 1"
        )
    cell = FGRU(channels, kernel=kernel, preset="hgru", steps=time_steps)
    return ImageClassifier(
        "hgru_classifier",
        Settling(cell, steps=time_steps),
        in_channels=in_channels,
        num_classes=num_classes,
        channels=channels,
        input_kernel=input_kernel,
        stride=stride,
        gain=gain,
    )
