"""Gamma-Net: a U-Net that is one recurrent cell, with horizontal and top-down pathways and attention."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from recurseg.errors import ConfigError, did_you_mean
from recurseg.layers.fgru import FGRU, HIDDEN_INITS, NORMS, HiddenInit, Norm
from recurseg.layers.gala import VARIANTS, Variant
from recurseg.layers.top_down import TopDown
from recurseg.models.initial import he
from recurseg.models.padding import crop_to, pad_to_multiple
from recurseg.models.registry import register_model
from recurseg.ops.fgru import EPSILON

Roles = Literal["thesis", "original"]


class GammaState(NamedTuple):
    """What gamma-Net carries from frame to frame.

    Attributes:
        hidden: The state of each level, finest first, `(B, F, h, w)` of the padded frame, float32.
        step: How many steps there were.
    """

    hidden: tuple[Tensor, ...]
    step: int


@dataclass(frozen=True)
class Preset:
    """A published network: its cell is the preset of the same name; with `elu` a stem and ELU before each norm."""

    time_steps: int
    td_roles: Roles
    elu: bool


PRESETS = {
    "fixed": Preset(2, "thesis", elu=False),
    "thesis": Preset(2, "thesis", elu=False),
    "original": Preset(8, "original", elu=True),
}


@register_model("gamma_net", paper="Linsley et al. 2020 and the gamma-Net thesis on cardiac MR")
class GammaNet(nn.Module):
    """Segments images by seeing them several times, and cines frame by frame with a memory of the frames before.

    Each level of a U-Net has a hidden state. On the way down an fGRU (`FGRU`) updates it from what the level's
    convolutions see and adds it to that; on the way up a second one updates the same state from the level's skip and
    from all coarser states, the top-down pathway. A step is one way down and up; the finest state is read out. An
    image is seen at each of `time_steps` steps, a cine a frame a step.

    With one channel and one logit it has 507,234 parameters, 294,528 of them in the horizontal kernels; preset
    "thesis" 504,900, without attention 495,801, with the notebooks' filters (24, 28, 32, 48, 64) 480,792, with 2 or 3
    convolutions a level 631,380 or 757,860.

    Discrepancies: the thesis's table A.3 prints 3 convolutions a level, its code has 1. Its text has a single
    convolution for readout, its code ReLU, batch norm and a convolution. In its code the skip is the level's output
    with the state added in place, in its figure 2.8 without. On the way up all but the coarsest level see the state
    next to them twice (`dedupe_topdown`).

    Args:
        in_channels: Channels of the image.
        num_classes: Channels of the logits.
        preset: "fixed", the thesis's network with the slips of its cell mended; "thesis", its code as it ran;
            "original", with the cell of Linsley et al., 8 steps, their roles on the way up, a stem of two
            convolutions and ELU before each norm. Options that are None are the preset's.
        filters: Channels of each level, finest first.
        kernels: Odd sides of the horizontal kernels on the way down, finest first; None: (…, 5, 3, 1).
        up_kernels: On the way up, one fewer; None: 1 each.
        time_steps: How often an image is seen.
        convs: Convolutions of each level and way.
        dropout: Probability in [0, 1), after the convolutions of a level but the first and the last.
        td_roles: On the way up, which drives the cell and which is its state: "thesis" drives with skip and
            top-down maps the level's state; "original" drives with the level's state, takes the top-down maps
            for state, adds the level's state to the outcome and has no skips.
        attention: "thesis", "serre_lab", "tf" or "iclr2019" (`GALA`), or "off".
        attention_layers: 1 or 2.
        norm: Of the cells: "none", "instance", "affine" or "per_step".
        hidden_init: State before the first step: "zeros", "identity" or "random", the thesis's.
        symmetric: Whether horizontal kernels connect channel i to j as j to i.
        dedupe_topdown: Whether the way up leaves out what it has twice; 3,408 parameters fewer.
    """

    task = "segmentation"
    spatial_dims = 2
    sequence_axis = "time"

    def __init__(
        self,
        *,
        in_channels: int,
        num_classes: int,
        preset: Literal["fixed", "thesis", "original"] = "fixed",
        filters: Sequence[int] = (24, 28, 36, 48, 64),
        kernels: Sequence[int] | None = None,
        up_kernels: Sequence[int] | None = None,
        time_steps: int | None = None,
        convs: int = 1,
        dropout: float = 0.2,
        td_roles: Roles | None = None,
        attention: Variant | Literal["off"] | None = None,
        attention_layers: int = 1,
        norm: Norm | None = None,
        hidden_init: HiddenInit | None = None,
        symmetric: bool = False,
        dedupe_topdown: bool = False,
    ) -> None:
        super().__init__()
        _known("preset", preset, PRESETS)
        _known("td_roles", td_roles, ("thesis", "original"))
        _known("attention", attention, (*VARIANTS, "off"))
        _known("norm", norm, NORMS)
        _known("hidden_init", hidden_init, HIDDEN_INITS)
        chosen, levels = PRESETS[preset], len(filters)
        kernels = range(2 * levels - 1, 0, -2) if kernels is None else kernels
        up_kernels = [1] * (levels - 1) if up_kernels is None else up_kernels
        self.time_steps = chosen.time_steps if time_steps is None else time_steps
        if [len(kernels), len(up_kernels)] != [levels, levels - 1] or any(
            k % 2 == 0 for k in (*kernels, *up_kernels)
        ):
            raise ConfigError(
                f"model 'gamma_net': kernels {tuple(kernels)} and up_kernels {tuple(up_kernels)} must be odd, "
                f"one for each of {levels} filters and one fewer"
            )
        if self.time_steps < 1 or convs < 1 or attention_layers not in (1, 2):
            raise ConfigError(
                f"model 'gamma_net': time_steps {self.time_steps} and convs {convs} must be at least 1, "
                f"attention_layers {attention_layers} 1 or 2"
            )
        self.in_channels, self.dedupe_topdown = in_channels, dedupe_topdown
        self.td_roles = chosen.td_roles if td_roles is None else td_roles
        cell = partial(
            FGRU,
            preset=preset,
            steps=self.time_steps,
            attention=attention,
            attention_layers=attention_layers,
            norm=norm,
            hidden_init=hidden_init,
            symmetric=symmetric,
        )
        block = partial(_block, convs=convs, dropout=dropout, elu=chosen.elu)
        self.stem = _stem(in_channels, filters[0]) if chosen.elu else nn.Identity()
        inputs = [filters[0] if chosen.elu else in_channels, *filters]
        self.down = nn.ModuleList(block(fine, width) for fine, width in pairwise(inputs))
        self.down_cells = nn.ModuleList(cell(width, kernel=k) for width, k in zip(filters, kernels, strict=True))
        self.top_down = nn.ModuleList(
            TopDown([(1 if self._alone(level) else 2) * filters[level + 1], *filters[level + 2 :]], filters[level])
            for level in range(levels - 1)
        )
        skips = 2 if self.td_roles == "thesis" else 1
        self.up = nn.ModuleList(block(skips * width, width) for width in filters[:-1])
        self.up_cells = nn.ModuleList(
            cell(width, kernel=k) for width, k in zip(filters[:-1], up_kernels, strict=True)
        )
        self.readout = nn.Sequential(
            nn.ReLU(), nn.BatchNorm2d(filters[0], eps=EPSILON), nn.Conv2d(filters[0], num_classes, 5, padding=2)
        )
        for part in (self.stem, self.down, self.top_down, self.up, self.readout):
            part.apply(he)

    def forward(
        self,
        image: Float[Tensor, "b c *t h w"],
        state: GammaState | None = None,
        *,
        present: Bool[Tensor, "b c"] | None = None,
        return_state: bool = False,
    ) -> Float[Tensor, "b k *t h w"] | tuple[Float[Tensor, "b k *t h w"], GammaState | None]:
        """Computes the logits of an image, or of every frame of a cine.

        Args:
            image: An image `(B, C, H, W)` or the frames of a cine `(B, C, T, H, W)`, any size ≥ 1. Sizes that the
                coarsest level does not divide are padded with the last pixels, which norms and attention see too.
            state: What a previous call returned for an image of the same size. The frames of a cine given in
                chunks give what they give whole; an image goes on for another `time_steps` steps.
            present: Refused: a missing modality cannot be left out.
            return_state: Whether to return the state after the last step too.

        Returns:
            Logits `(B, K, H, W)` after the last step, or `(B, K, T, H, W)` after each frame; or those and the state.

        Raises:
            ConfigError: If `present` is given, the image has other axes or channels, or the state is of another size.
        """
        if present is not None:
            raise ConfigError("model 'gamma_net' needs every modality: call it without 'present'")
        if image.ndim not in (4, 5) or image.shape[1] != self.in_channels:
            wanted = f"(B, {self.in_channels}, H, W) or (B, {self.in_channels}, T, H, W)"
            raise ConfigError(f"model 'gamma_net' takes {wanted}, not {tuple(image.shape)}")
        still = image.ndim == 4
        frames = [image] if still else image.unbind(2)
        padded = [pad_to_multiple(frame, [2 ** (len(self.down) - 1)] * 2, positions=2) for frame in frames]
        state = None if state is None else GammaState(*state)  # one that was stored is a plain tuple
        if state is not None and state.hidden[0][:, 0].shape != padded[0][:, 0].shape:
            raise ConfigError(
                f"model 'gamma_net': the state is of maps {tuple(state.hidden[0].shape)}, not of an image "
                f"{tuple(image.shape)}: start without 'state'"
            )
        seen = [self._look(padded[0])] * self.time_steps if still else (self._look(frame) for frame in padded)
        finest = []
        for x in seen:
            state = self._step(x, state)
            finest.append(state.hidden[0])
        logits = crop_to(self.readout(torch.cat(finest[-1:] if still else finest)), image.shape[-2:])
        logits = logits if still else logits.unflatten(0, (len(finest), len(image))).movedim(0, 2)
        return (logits, state) if return_state else logits

    def steps(self, image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k t h w"]:
        """Computes the logits that an image has after each step; the last are those of `forward`."""
        return self(image.unsqueeze(2).expand(-1, -1, self.time_steps, -1, -1))

    def _look(self, frame: Tensor) -> Tensor:
        """What the convolutions of the finest level make of a frame: all of it that no state takes part in."""
        return self.down[0](self.stem(frame))

    def _step(self, x: Tensor, state: GammaState | None) -> GammaState:
        """The state after one way down and up."""
        before, step = ([None] * len(self.down), 0) if state is None else state
        hidden, skips = [], []
        for level, (block, cell) in enumerate(zip(self.down, self.down_cells, strict=True)):
            x = block(F.max_pool2d(x, 2)) if level else x
            hidden.append(cell(x, before[level], step=step))
            x = x + hidden[level]
            skips.append(x)
        for level in reversed(range(len(self.up))):
            nearest = [x] if self._alone(level) else [x, hidden[level + 1]]
            maps = [torch.cat(nearest, dim=1), *hidden[level + 2 :]]
            x = self.top_down[level](maps, skips[level].shape[2:])
            if self.td_roles == "thesis":
                x = self.up[level](torch.cat([x, skips[level]], dim=1))
                x = self.up_cells[level](x, hidden[level], step=step)
            else:
                x = (
                    self.up_cells[level](hidden[level], self.up[level](x).to(hidden[level].dtype), step=step)
                    + hidden[level]
                )
            hidden[level] = x
        return GammaState(tuple(hidden), step + 1)

    def _alone(self, level: int) -> bool:
        """Whether the way up brings the state below this level once: it is what comes up, but from the bottom."""
        return self.dedupe_topdown and level < len(self.down) - 2


def _block(fine: int, width: int, *, convs: int, dropout: float, elu: bool) -> nn.Sequential:
    """Convolutions of a level, each with norm and ReLU, or ELU and norm."""
    parts: list[nn.Module] = []
    for number in range(convs):
        norm = nn.InstanceNorm2d(width, eps=EPSILON)
        parts += [nn.Conv2d(width if number else fine, width, 3, padding=1)]
        parts += [nn.ELU(), norm] if elu else [norm, nn.ReLU()]
        if 0 < number < convs - 1:
            parts.append(nn.Dropout(dropout))
    return nn.Sequential(*parts)


def _stem(in_channels: int, width: int) -> nn.Sequential:
    convolutions = [nn.Conv2d(channels, width, 3, padding=1) for channels in (in_channels, width)]
    return nn.Sequential(convolutions[0], nn.ELU(), convolutions[1], nn.ELU(), nn.InstanceNorm2d(width, eps=EPSILON))


def _known(option: str, value: str | None, known: Collection[str]) -> None:
    if value is not None and value not in known:
        raise ConfigError(f"model 'gamma_net': unknown {option} '{value}'{did_you_mean(value, known)}")
