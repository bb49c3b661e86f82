"""ConvLSTMs over the slices of a volume: one way, both ways, and as a sequence read and then written."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recurseg.ops.sweep import Memory, State, pyramid_sweep


class ConvLSTM(nn.Module):
    """A convolutional LSTM along the slices of a volume, first to last.

    A sweep of PyraMiD-LSTM in one direction: no peepholes, gates from one convolution of the slice and one of the
    hidden map before it, hidden and cell state zero at the start. Gates and cells stay in float32 under autocast.
    Weights are orthogonal a gate, biases 0 and that of the forget gate 1.

    Args:
        in_channels: Channels C of the input.
        width: Channels O of the hidden and cell state.
        kernel: Odd side of the convolutions within a slice.
        memory: "full", or "low" for training in less memory with a third more arithmetic: gates are computed again
            for the backward pass.

    Source: Tseng et al. 2017, section 3.4, after Shi et al. 2015.
    """

    def __init__(self, in_channels: int, width: int, *, kernel: int = 3, memory: Memory = "full") -> None:
        super().__init__()
        self.width = width
        self.memory: Memory = memory
        self.weight_x = nn.Parameter(torch.empty(4 * width, in_channels, kernel, kernel))
        self.weight_h = nn.Parameter(torch.empty(4 * width, width, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(4 * width))
        with torch.no_grad():
            for gate in (*self.weight_x.split(width), *self.weight_h.split(width)):
                nn.init.orthogonal_(gate)
            self.bias[width : 2 * width] = 1

    def forward(
        self, x: Float[Tensor, "b c d h w"], state: State | None = None
    ) -> tuple[Float[Tensor, "b o d h w"], State]:
        """Computes the hidden maps of all slices.

        Args:
            x: Maps of the slices.
            state: Hidden and cell map `(B, O, H, W)` to start from, as a previous call returned them.

        Returns:
            Hidden maps, and the state after the last slice in float32.
        """
        start = None if state is None else [state]
        weights = self.weight_x[None], self.weight_h[None], self.bias[None]
        hidden, (final,) = pyramid_sweep(x, *weights, state=start, memory=self.memory)
        return hidden, final


class BothWays(NamedTuple):
    """What two ConvLSTMs that read some slices both ways know of the others.

    Attributes:
        before: Hidden and cell map of the one that reads forth, after the slice before the first; None: zero.
        behind: Those of the one that reads back, after the slice behind the last; None: zero.
    """

    before: State | None
    behind: State | None


class BidirectionalConvLSTM(nn.Module):
    """Two ConvLSTMs, first to last and last to first; a slice's hidden maps of both stand side by side.

    Args:
        in_channels: Channels C of the input.
        width: Channels O of each direction; the output has 2·O.
        kernel: Odd side of the convolutions within a slice.

    Source: Chen et al. 2016.
    """

    def __init__(self, in_channels: int, width: int, *, kernel: int = 3) -> None:
        super().__init__()
        self.forth = ConvLSTM(in_channels, width, kernel=kernel)
        self.back = ConvLSTM(in_channels, width, kernel=kernel)

    def forward(
        self, x: Float[Tensor, "b c d h w"], state: BothWays | None = None
    ) -> tuple[Float[Tensor, "b two_o d h w"], BothWays]:
        """Computes the hidden maps of all slices.

        Args:
            x: Maps of the slices.
            state: What is known of the slices before and behind these.

        Returns:
            Hidden maps, and what is known so far of those around the slices that come next: nothing of what is
            behind them, which `behind` reads.
        """
        before, behind = (None, None) if state is None else state
        forth, final = self.forth(x, before)
        back, _ = self.back(x.flip(2), behind)
        return torch.cat([forth, back.flip(2)], dim=1), BothWays(final, None)

    def behind(self, x: Float[Tensor, "b c d h w"], state: State | None = None) -> State:
        """What the slices in front of these need of them: the state of the ConvLSTM that reads back.

        Args:
            x: Maps of the slices.
            state: The same of the slices behind these; None: there are none.
        """
        return self.back(x.flip(2), state)[1]


class SequenceToSequence(nn.Module):
    """Reads a group of slices with one ConvLSTM and writes as many maps with another.

    The writer starts from the reader's state. Its first input is the reader's last hidden map, each further one its
    own last output. A volume is cut into groups from the front; where its length is no multiple the last group
    reaches back over slices that were written before, and of it only the rest is taken.

    Args:
        in_channels: Channels C of the input.
        width: Channels O of both ConvLSTMs.
        length: Slices of a group; 155 are 51 groups of 3 and one that gives two slices.
        kernel: Odd side of the convolutions within a slice.

    Source: the authors' code of Tseng et al. 2017; the paper describes one ConvLSTM.
    """

    def __init__(self, in_channels: int, width: int, *, length: int = 3, kernel: int = 3) -> None:
        super().__init__()
        self.length = length
        self.reader = ConvLSTM(in_channels, width, kernel=kernel)
        self.writer = ConvLSTM(width, width, kernel=kernel)

    def forward(self, x: Float[Tensor, "b c d h w"]) -> Float[Tensor, "b o d h w"]:
        """Returns the written maps, one a slice."""
        batch, slices = len(x), x.shape[2]
        length = min(self.length, slices)
        starts = [min(start, slices - length) for start in range(0, slices, length)]
        groups = torch.cat([x.narrow(2, start, length) for start in starts])  # (G·B, C, length, H, W)
        hidden, state = self.reader(groups)
        step, written = hidden[:, :, -1:], []
        for _ in range(length):
            step, state = self.writer(step, state)
            written.append(step)
        maps = list(torch.cat(written, dim=2).split(batch))
        maps[-1] = maps[-1][:, :, length * len(starts) - slices :]
        return torch.cat(maps, dim=2)
