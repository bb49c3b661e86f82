"""Attention blocks after chosen blocks of a U-Net."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxtyping import Bool, Float
from torch import Tensor, nn

from recurseg.errors import ConfigError, did_you_mean

Placement = str | Sequence[str]
"""`"010"`: the bottom; `"101"`: encoder and decoder of the level above it; `"111"`: all three; or names of blocks."""


class Attention(nn.ModuleDict):
    """Attention blocks by the name of the network's block that each follows.

    Blocks are numbered as data meets them, the coarsest in the middle: encoder0, encoder1, bottom, decoder1, decoder0
    in a network of three levels. A skip sees what the attention after its encoder block has made of it.

    Args:
        model: Name of the model, for messages.
        placement: Where they stand; empty: nowhere.
        widths: Channels of each level of the network, finest first.
        block: Builds an attention block for a number of channels; it takes maps and the mask of what is no padding.

    Raises:
        ConfigError: If the network has no such block.
    """

    def __init__(
        self, model: str, placement: Placement, widths: Sequence[int], block: Callable[[int], nn.Module]
    ) -> None:
        coarsest = len(widths) - 1
        above = [str(level) for level in range(coarsest)]
        names = [*("encoder" + level for level in above), "bottom", *("decoder" + level for level in reversed(above))]
        chosen = _chosen(model, placement, names)
        levels = {name: coarsest - abs(coarsest - number) for number, name in enumerate(names)}
        super().__init__({name: block(widths[levels[name]]) for name in chosen})
        self.levels = levels

    def forward(
        self, x: Float[Tensor, "b c *spatial"], number: int, real: Bool[Tensor, "1 1 *finest"] | None
    ) -> Float[Tensor, "b c *spatial"]:
        """Returns the maps of the network's block `number` after the attention there, where there is one.

        Args:
            x: The maps.
            number: Of the block, as data meets them.
            real: At the size of the image, False at padding.
        """
        name, level = list(self.levels.items())[number]
        if name not in self:
            return x
        if real is not None:  # a coarse position is real where its first voxel is
            real = real[(..., *[slice(None, None, 2**level)] * (x.ndim - 2))]
        return self[name](x, real)


def _chosen(model: str, placement: Placement, names: list[str]) -> list[str]:
    middle = names.index("bottom")
    if isinstance(placement, int | float):  # 101 in YAML
        placement = f"{int(placement):03}"
    if isinstance(placement, str):
        triple = names[max(0, middle - 1) : middle + 2]
        if len(placement) != 3 or set(placement) - set("01") or len(triple) < 3:
            raise ConfigError(
                f"model '{model}': unknown placement '{placement}': give '010', '101', '111' or a list of {names}"
            )
        return [name for name, stands in zip(triple, placement, strict=True) if stands == "1"]
    for name in placement:
        if name not in names:
            raise ConfigError(
                f"model '{model}': no block '{name}' to place attention after{did_you_mean(name, names)}"
            )
    return [name for name in names if name in placement]
