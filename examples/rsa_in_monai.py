"""An RSA block in one of MONAI's networks: one line, and what is far away counts.

    python examples/rsa_in_monai.py

A quarter of a minute on one thread. Spots at the right of a volume are lesions if its left edge is bright and decoys
if it is dark. A SegResNet of two levels does not see so far; with slice attention at its bottom it does.
"""

from __future__ import annotations

import torch
import typer
from monai.networks.nets.segresnet import SegResNet
from torch import Tensor, nn
from torch.nn import functional as F

from recurseg.layers.slice_attention import RSABlock

SIZE, SPOT, SPOTS, WIDTH, BATCH, RATE = (4, 16, 32), 3, 3, 8, 4, 1e-2


def segresnet() -> SegResNet:
    return SegResNet(3, WIDTH, in_channels=1, out_channels=1, norm="batch", blocks_down=(1, 1), blocks_up=(1,))


def segresnet_with_attention() -> SegResNet:
    network = segresnet()
    network.down_layers[-1] = nn.Sequential(network.down_layers[-1], RSABlock(2 * WIDTH, scaled=True))
    return network


def volumes(count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Noise with spots, and the lesions among them; both `(count, 1, *SIZE)`."""
    image = 0.3 * torch.randn(count, 1, *SIZE, generator=rng)
    spots = torch.zeros(count, 1, *SIZE)
    low = torch.tensor([0, 0, SIZE[2] // 2 + 4])
    for volume in spots:
        for corner in low + (torch.rand(SPOTS, 3, generator=rng) * (torch.tensor(SIZE) - SPOT - low)).long():
            volume[(0, *(slice(start, start + SPOT) for start in corner.tolist()))] = 1
    bright = torch.rand(count, 1, 1, 1, 1, generator=rng) < 0.5
    image[..., :2] += torch.where(bright, 2.0, -2.0)
    return image + 2 * spots, spots * bright


def train(network: nn.Module, steps: int) -> nn.Module:
    rng = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        image, lesions = volumes(BATCH, rng)
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(network(image), lesions).backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def dice(network: nn.Module) -> float:
    """Of all voxels of new volumes together."""
    image, lesions = volumes(24, torch.Generator().manual_seed(1))
    found = (network(image) > 0).float()
    return (2 * (found * lesions).sum() / (found + lesions).sum()).item()


def main(steps: int = 160) -> None:
    """Trains SegResNet without and with an RSA block and prints what each finds."""
    torch.set_num_threads(1)
    for name, build in {"SegResNet": segresnet, "with an RSA block": segresnet_with_attention}.items():
        torch.manual_seed(0)
        network = train(build(), steps)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        print(f"{name:18} {parameters:6,} parameters   Dice {dice(network):.2f}")


if __name__ == "__main__":
    typer.run(main)
