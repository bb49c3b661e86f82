"""What slice attention brings to one voxel: which slices heed which, and where its information came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recurseg.explain.hooks import hooked
from recurseg.explain.scene import AXES, Scene
from recurseg.layers.slice_attention import RSABlock
from recurseg.models.feed_forward import FeedForward
from recurseg.models.unet3d import UNet3d


@dataclass(frozen=True)
class Direction:
    """The attention of a block along one axis.

    Attributes:
        name: What its slices are called: "sagittal", "coronal" or "axial" where the file says how the patient lies,
            else "section", "row" or "column".
        axis: Of the window.
        own: The slice that holds the voxel.
        alpha: How much of what it hears a slice takes up.
        attention: float32 `(S, S)`: rows are the slices that ask, and sum to 1.
        added: Length of what the direction adds to its map, relative to that of the map.
    """

    name: str
    axis: int
    own: int
    alpha: float
    attention: np.ndarray
    added: float


@dataclass(frozen=True)
class Hearing:
    """An RSA block at work; a position of its maps is `step` voxels wide along each axis.

    Attributes:
        block: The block of the network that it follows.
        step: Voxels.
        directions: In the order of attention.
        origins: For each direction, float32 `(*positions)`: of the map that it is given, what each position
            contributes to the block's output where the voxel lies, length over channels. Contributions themselves
            add up to that output: those of the last direction lie on a line, those of the first are everywhere.
        through: float32 `(*window)`: how the voxel's logit depends on the image through what slices of this block
            hear, absolute gradient summed over modalities; what is handed on without attention is left out.
    """

    block: str
    step: int
    directions: list[Direction]
    origins: list[np.ndarray]
    through: np.ndarray


@dataclass(frozen=True)
class Heard:
    """What an RSA block did.

    Attributes:
        block: Itself.
        maps: What it was given, `(C, *positions)`, without padding.
        attentions: `(S, S)` of each direction, without padding.
        said: What it gave, `(1, C, *padded)`.
    """

    block: RSABlock
    maps: Tensor
    attentions: list[Tensor]
    said: Tensor


def network_of(scene: Scene) -> UNet3d:
    """The network of a scene that is a 3-D U-Net's, with or without attention."""
    assert isinstance(scene.model, FeedForward)
    assert isinstance(scene.model.network, UNet3d)
    return scene.model.network


def blocks_of(scene: Scene) -> dict[str, RSABlock]:
    """The RSA blocks of a scene's network by the name of the block that each follows, as data meets them."""
    blocks = {name: block for name, block in network_of(scene).attention.items() if isinstance(block, RSABlock)}
    return {name: blocks[name] for name in network_of(scene).attention.levels if name in blocks}


def direction_names(scene: Scene, order: Sequence[int]) -> list[str]:
    """What the slices of each axis of `order` are called; an axis that comes again is numbered."""
    names = [(scene.anatomy or AXES)[axis] for axis in order]
    return [
        f"{name} {names[: place + 1].count(name)}" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def positions_of(scene: Scene, step: int) -> tuple[int, ...]:
    """Positions of a coarse map that lie in the window, an axis each."""
    return tuple(-(-size // step) for size in scene.image.shape[2:])


def listen(scene: Scene, progress: Callable[[float], None] = lambda fraction: None) -> list[Hearing]:
    """Looks on at every RSA block while the network answers.

    Args:
        scene: Of an `rsanet`.
        progress: Called with the fraction done.
    """
    image, found = scene.image.clone().requires_grad_(), []
    logit, heard = hear_all(scene, image)
    for name, one in heard.items():
        step = 2 ** network_of(scene).attention.levels[name]
        position = tuple(index // step for index in scene.voxel)
        with torch.no_grad():
            taken, origins, maps = [], [], one.maps
            for k in range(len(one.attentions)):
                origins.append(_array(contributions(one, maps, position, first=k).norm(dim=0)))
                added = taken_up(one, k, maps)
                taken.append((added.norm() / maps.norm().clamp(min=1e-30)).item())
                maps = maps + added
        names, alpha = direction_names(scene, one.block.order), one.block.alpha.tolist()
        found.append(
            Hearing(
                block=name,
                step=step,
                directions=[
                    Direction(names[k], axis, position[axis], alpha[k], _array(one.attentions[k]), taken[k])
                    for k, axis in enumerate(one.block.order)
                ],
                origins=origins,
                through=_array(gradient_through(logit, image, one)),
            )
        )
        progress(len(found) / len(heard))
    return found


def hear_all(scene: Scene, image: Tensor) -> tuple[Tensor, dict[str, Heard]]:
    """The voxel's logit, and what each RSA block did on the way, by the block that it follows.

    Args:
        scene: Of an `rsanet`.
        image: Like the scene's; gradients with respect to it may be asked for.
    """
    found: dict[str, Heard] = {}

    def recorder(name: str) -> Callable[..., None]:
        real = positions_of(scene, 2 ** network_of(scene).attention.levels[name])

        def record(block: nn.Module, given: tuple[Tensor, Tensor | None], said: Tensor) -> None:
            assert isinstance(block, RSABlock)
            with torch.no_grad():
                each = zip(block.order, block.attend(*given)[1], strict=True)
            attentions = [attention[0, : real[axis], : real[axis]] for axis, attention in each]
            found[name] = Heard(block, _inside(given[0], real), attentions, said)

        return record

    hooks = [block.register_forward_hook(recorder(name)) for name, block in blocks_of(scene).items()]
    with hooked(hooks), torch.enable_grad():
        return scene.logit(scene.answer(image)), found


def taken_up(heard: Heard, k: int, maps: Tensor) -> Tensor:
    """What direction k adds to maps `(C, *positions)`, attention being as it was: `α A g(x)`."""
    block = heard.block
    g = torch.einsum("oc,c...->o...", block.weight[2], maps) + block.bias[2].view(-1, *[1] * (maps.ndim - 1))
    return block.alpha[k] * _along(heard.attentions[k], g, block.order[k])


def contributions(heard: Heard, maps: Tensor, position: Sequence[int], *, first: int = 0) -> Tensor:
    """What each position contributes to a block's output at one position, `(C, *positions)`; all add up to it.

    With attention as it was, a direction is linear: x → x + α A (W x + b). From a position p to the output at q lead
    many ways, each of which is through some directions; ways through m of them carry Wᵐx + Wᵐ⁻¹b, and their weights
    are products of αA that are summed here, going back from q direction by direction.

    Args:
        heard: The block at work.
        maps: What direction `first` is given.
        position: q.
        first: Directions before it are left out.
    """
    block = heard.block
    weights = maps.new_zeros(len(block.order) - first + 1, *maps.shape[1:])  # of ways through m directions
    weights[(0, *position)] = 1
    for k in reversed(range(first, len(block.order))):
        weights[1:] += block.alpha[k] * _along(heard.attentions[k].T, weights[:-1], block.order[k])
    carried, total = maps, weights[0] * maps
    bias = block.bias[2].view(-1, *[1] * (maps.ndim - 1))
    for through in weights[1:]:
        carried = torch.einsum("oc,c...->o...", block.weight[2], carried) + bias
        total, bias = total + through * carried, 0
    return total


def gradient_through(logit: Tensor, image: Tensor, heard: Heard) -> Tensor:
    """|∂ logit / ∂ image| `(*window)` through what slices hear in one block, attention being as it was."""
    (slope,) = torch.autograd.grad(logit, heard.said, retain_graph=True)
    with torch.enable_grad():
        maps, taken = heard.maps, torch.zeros_like(heard.maps)
        for k in range(len(heard.attentions)):
            added = taken_up(heard, k, maps)
            maps, taken = maps + added, taken + added
    (gradient,) = torch.autograd.grad(taken, image, _inside(slope, heard.maps.shape[1:]), retain_graph=True)
    return gradient[0].abs().sum(dim=0)


@contextmanager
def cut(blocks: Sequence[RSABlock], direction: int | slice = slice(None)) -> Iterator[None]:
    """Inside, a direction of each block is deaf, or all are: its α is 0."""
    kept = [block.alpha.detach().clone() for block in blocks]
    with torch.no_grad():
        for block in blocks:
            block.alpha[direction] = 0
    try:
        yield
    finally:
        with torch.no_grad():
            for block, alpha in zip(blocks, kept, strict=True):
                block.alpha.copy_(alpha)


def _inside(maps: Tensor, real: Sequence[int]) -> Tensor:
    """The positions of `(1, C, *padded)` that are no padding, `(C, *positions)`."""
    return maps[(0, slice(None), *(slice(size) for size in real))]


def _along(weights: Tensor, maps: Tensor, axis: int) -> Tensor:
    """Weighted sums of the slices along an axis of `(C, *positions)`, one for each row of weights."""
    return torch.einsum("rs,...s->...r", weights, maps.movedim(1 + axis, -1)).movedim(-1, 1 + axis)


def _array(values: Tensor) -> np.ndarray:
    return values.detach().float().cpu().numpy()
