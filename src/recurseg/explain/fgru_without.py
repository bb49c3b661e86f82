"""What a network of fGRUs says without its horizontal kernels, and a gamma-Net without each of its other pathways."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor, nn

from recurseg.explain.cine import shown_frame
from recurseg.explain.fgru import gamma_net_of
from recurseg.explain.hooks import hooked
from recurseg.explain.pictures import Part
from recurseg.explain.scene import Scene
from recurseg.explain.without import (
    Answer,
    answer_of,
    withheld_part,
)
from recurseg.layers.fgru import FGRU
from recurseg.layers.gala import GALA
from recurseg.models.gamma_net import GammaNet

KERNELS, TOP_DOWN, ATTENTION, EARLIER = "horizontal kernels", "top-down pathway", "attention", "earlier frames"


def answers_without(
    scene: Scene, progress: Callable[[float], None] = lambda fraction: None
) -> tuple[Answer, list[Answer]]:
    """The answer of a gamma-Net with everything, and without each pathway in turn; of a cine, of the explained frame.

    Args:
        scene: Of a gamma-Net.
        progress: Called with the fraction done.
    """
    model, still = gamma_net_of(scene), shown_frame(scene)
    cuts: dict[str, AbstractContextManager[None]] = {KERNELS: kernels_cut(model), TOP_DOWN: top_down_cut(model)}
    if any(isinstance(module, GALA) for module in model.modules()):
        cuts[ATTENTION] = attention_cut(model)

    def own(logits: Tensor) -> Tensor:
        return logits if scene.at_once is None else logits[:, :, scene.voxel[0]]

    less = []
    with torch.no_grad():
        whole = answer_of(still, "", own(scene.answer(scene.image)))
        for done, (name, cut) in enumerate(cuts.items(), start=1):
            with cut:
                less.append(answer_of(still, name, own(scene.answer(scene.image))))
            progress(done / len(cuts))
        if scene.at_once is not None and scene.voxel[0]:
            repeated = still.image[:, :, None].expand(-1, -1, scene.voxel[0] + 1, -1, -1)
            less.append(answer_of(still, EARLIER, scene.answer(repeated)[:, :, -1]))
    return whole, less


def pathways_part(scene: Scene, whole: Answer, less: Sequence[Answer]) -> Part:
    """The answer with everything and without each pathway, and what differs.

    Args:
        scene: Of an image, or of the explained frame.
        whole: With everything.
        less: Without each.
    """
    means = {
        KERNELS: "positions of a level exchange nothing",
        TOP_DOWN: "nothing comes down from coarser levels",
        ATTENTION: "each channel is gated alike everywhere, by the mean of its attention",
        EARLIER: "the frame stands in the place of all before it",
    }
    told = " ".join(
        f"Without {one.without} {means[one.without]}: {100 * (one.labels != whole.labels).mean():.1f}\u00a0% of the "
        "pixels get another class."
        for one in less
    )
    text = (
        f"The probability of {scene.class_names[scene.target]} with everything and without each pathway, and the "
        f"absolute difference. {told} The weights are those of the training, which had everything."
    )
    return withheld_part(scene, "without_pathways", "Without each pathway", text, whole, less)


@contextmanager
def kernels_cut(model: nn.Module) -> Iterator[None]:
    """Inside, all horizontal kernels are 0: a cell's positions know nothing of one another."""
    cells = [cell for cell in model.modules() if isinstance(cell, FGRU)]
    kernels = [kernel for cell in cells for kernel in (cell.inhibition, cell.excitation) if kernel is not None]
    kept = [kernel.detach().clone() for kernel in kernels]
    with torch.no_grad():
        for kernel in kernels:
            kernel.zero_()
    try:
        yield
    finally:
        with torch.no_grad():
            for kernel, values in zip(kernels, kept, strict=True):
                kernel.copy_(values)


@contextmanager
def top_down_cut(model: GammaNet) -> Iterator[None]:
    """Inside, what comes down from coarser states is 0: the way up has the skips alone."""
    with _replaced(list(model.top_down), torch.zeros_like):
        yield


@contextmanager
def attention_cut(model: nn.Module) -> Iterator[None]:
    """Inside, attention says the same at every position: of each channel its mean."""
    attention = [module for module in model.modules() if isinstance(module, GALA)]
    with _replaced(attention, lambda said: said.mean(dim=(2, 3), keepdim=True).expand_as(said)):
        yield


@contextmanager
def _replaced(modules: Sequence[nn.Module], by: Callable[[Tensor], Tensor]) -> Iterator[None]:
    def replace(module: nn.Module, given: tuple[Tensor, ...], said: Tensor) -> Tensor:
        return by(said)

    with hooked([module.register_forward_hook(replace) for module in modules]):
        yield
