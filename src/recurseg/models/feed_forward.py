"""The model contract around a network that maps an image to logits and remembers nothing."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recurseg.errors import ConfigError
from recurseg.models.padding import crop_to, pad_to_multiple


class FeedForward(nn.Module):
    """A plain network as a recurseg model: any image size, no state, every modality needed.

    Args:
        name: Name of the model, for messages.
        network: Maps `(B, in_channels, *spatial)` to `(B, K, *spatial)` where `multiple` divides spatial.
        in_channels: Channels that the network reads.
        multiple: The size of one position at the network's coarsest level, for each spatial axis.
        masked: Whether the network also takes what of the padded image is no padding: bool `(1, 1, *spatial)`, None
            where nothing was padded.
    """

    task = "segmentation"
    sequence_axis = None

    def __init__(
        self, name: str, network: nn.Module, *, in_channels: int, multiple: Sequence[int], masked: bool = False
    ) -> None:
        super().__init__()
        self.name = name
        self.network = network
        self.in_channels = in_channels
        self.multiple = tuple(multiple)
        self.spatial_dims = len(self.multiple)
        self.masked = masked

    def forward(
        self,
        image: Float[Tensor, "b c *spatial"],
        state: None = None,
        *,
        present: Bool[Tensor, "b c"] | None = None,
        return_state: bool = False,
    ) -> Float[Tensor, "b k *spatial"] | tuple[Float[Tensor, "b k *spatial"], None]:
        """Computes the logits of an image.

        Args:
            image: `(B, C, H, W)` or `(B, C, D, H, W)`, as `spatial_dims` says; any size ≥ 1.
            state: Refused: there is nothing to carry on from.
            present: Refused: a missing modality cannot be left out.
            return_state: Whether to return `(logits, None)`, the form of the recurrent models.

        Returns:
            Logits `(B, K, *spatial)`.

        Raises:
            ConfigError: If `state` or `present` is given, or the image has other axes or channels.
        """
        if state is not None:
            raise ConfigError(f"model '{self.name}' keeps no state: call it without 'state'")
        if present is not None:
            raise ConfigError(f"model '{self.name}' needs every modality: call it without 'present'")
        if image.ndim != self.spatial_dims + 2 or image.shape[1] != self.in_channels:
            axes = ", ".join("DHW"[-self.spatial_dims :])
            wanted = f"(B, {self.in_channels}, {axes})"
            raise ConfigError(f"model '{self.name}' takes {wanted}, not {tuple(image.shape)}")
        padded = pad_to_multiple(image, self.multiple, positions=2)
        extra = [self._real(image, padded)] if self.masked else []
        logits = crop_to(self.network(padded, *extra), image.shape[2:])
        return (logits, None) if return_state else logits

    def _real(self, image: Tensor, padded: Tensor) -> Tensor | None:
        if padded is image:
            return None
        whole = image.new_ones((1, 1, *image.shape[2:]), dtype=torch.bool)
        return pad_to_multiple(whole, self.multiple, positions=2, mode="zero")
