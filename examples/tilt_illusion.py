"""Does a network that learned to find borders among stripes see the tilt illusion?

    python examples/tilt_illusion.py docs/results/gamma_net/tilt_illusion

Five minutes on one thread. To us a grating seems tilted away from a surround that is tilted by 15 to 30 degrees more,
and slightly towards one that is by 60 to 90; Linsley et al. 2020 report the same of a gamma-Net that learned contours
in photographs. Striped regions stand in for those. Fixed Gabor energies drive one fGRU, gamma-Net's without norms and
attention: all that its cells know of the surround comes through its horizontal kernels. A linear map decodes a
grating's orientation from the cells at its middle, fitted on gratings without surround.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import typer
from matplotlib.figure import Figure
from rich.progress import track
from scipy import stats
from torch import Tensor, nn
from torch.nn import functional as F

from recurseg.data.files import write_json
from recurseg.explain.fgru_without import kernels_cut
from recurseg.layers.fgru import FGRU
from recurseg.models.hgru_classifier import Settling
from recurseg.models.image_classifier import WAVELENGTH, gabor_filters
from recurseg.report.svg import write_svg

SIDE, FILTER, ORIENTATIONS, KERNEL, TIME_STEPS, REGIONS, BATCH, RATE = 48, 9, 8, 7, 4, 4, 8, 1e-2
Y, X = torch.meshgrid(*[torch.arange(SIDE) - SIDE // 2] * 2, indexing="ij")
DISC = X**2 + Y**2 <= 8**2  # the filters at its middle reach 4
CONTRAST, FITTED, TILTS, BANDS = 0.4, 300, np.arange(7.5, 91, 7.5), ((15, 30), (60, 82.5))
COLOURS = {"before training": "#c08030", "trained": "#1f5f8b", "trained, then kernels cut": "#33404a"}


class BorderNet(nn.Module):
    """Says where regions meet, at half the image's resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.filters = nn.Buffer(gabor_filters(2 * ORIENTATIONS, FILTER).unsqueeze(1))
        cell = FGRU(ORIENTATIONS, kernel=KERNEL, preset="original", norm="none", attention="off", steps=TIME_STEPS)
        self.settling, self.readout = Settling(cell, steps=TIME_STEPS), nn.Conv2d(ORIENTATIONS, 1, 3, padding=1)

    def cells(self, images: Tensor) -> Tensor:
        even_odd = F.conv2d(images.unsqueeze(1), self.filters, padding=FILTER // 2, stride=2)
        return self.settling(even_odd.unflatten(1, (ORIENTATIONS, 2)).norm(dim=2))  # (B, ORIENTATIONS, H/2, W/2)

    def loss(self, images: Tensor, borders: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.readout(self.cells(images)), borders)


def gratings(angle: Tensor, rng: torch.Generator, wavelength: Tensor | float = WAVELENGTH * FILTER) -> Tensor:
    """Waves along `angle` (radians, `(N, 1, 1)`), of random phase, -1 to 1."""
    turns = (X * angle.cos() + Y * angle.sin()) / wavelength + torch.rand(angle.shape, generator=rng)
    return torch.cos(2 * math.pi * turns)


def scenes(count: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Regions of random form, brightness and stripes under noise, and the borders between them."""

    def drawn(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count * REGIONS, 1, 1, generator=rng)

    fields = F.interpolate(torch.randn(count, REGIONS, 4, 4, generator=rng), size=(SIDE, SIDE), mode="bicubic")
    region = fields.argmax(1, keepdim=True).float()
    stripes = drawn(0.1, 0.5) * gratings(drawn(0, math.pi), rng, WAVELENGTH * FILTER * 2 ** drawn(-0.5, 0.5))
    image = (drawn(-0.5, 0.5) + stripes).unflatten(0, (count, REGIONS)).gather(1, region.long()).squeeze(1)
    image = image - image.mean((1, 2), keepdim=True) + 0.1 * torch.randn(image.shape, generator=rng)
    return image, (F.max_pool2d(region, 3, 2, 1) > -F.max_pool2d(-region, 3, 2, 1)).float()


def train(network: BorderNet, rng: torch.Generator, steps: int, title: str) -> None:
    """Adam on ever new scenes, its rate rising and falling once."""
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in track(range(steps), title):
        optimizer.zero_grad()
        network.loss(*scenes(BATCH, rng)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()


@torch.no_grad()
def measure(network: BorderNet, probes: int, seed: int) -> dict:
    """Degrees by which surrounds of each tilt push the decoded centre away; errors of decoder and network."""
    rng = torch.Generator().manual_seed(seed)

    def at_middle(images: Tensor) -> Tensor:
        cells = torch.cat([network.cells(some)[..., SIDE // 4, SIDE // 4] for some in images.split(64)])
        return F.pad(cells, (0, 1), value=1.0).double()

    def decoded(images: Tensor) -> Tensor:
        return torch.view_as_complex(at_middle(images) @ decoder)  # at twice the angle

    def degrees(doubled: Tensor) -> np.ndarray:
        return doubled.angle().rad2deg().numpy() / 2

    angle, contrast = torch.rand(2, FITTED, 1, 1, generator=rng)
    discs = DISC * CONTRAST * (0.5 + contrast) * gratings(math.pi * angle, rng)
    truth = torch.exp(2j * math.pi * angle.double().flatten())
    decoder = torch.linalg.lstsq(at_middle(discs), torch.view_as_real(truth), driver="gelsd").solution
    error = np.sqrt(np.mean(degrees(decoded(discs) / truth) ** 2))
    centre = math.pi / probes * torch.arange(probes).view(-1, 1, 1)
    shown, away = CONTRAST * gratings(centre, rng), []
    for tilt in np.radians(TILTS):
        plus, minus = (CONTRAST * gratings(centre + turn, rng) for turn in (tilt, -tilt))
        turned = decoded(torch.where(DISC, shown, minus)) / decoded(torch.where(DISC, shown, plus))
        away.append(round(degrees(turned).mean().item() / 2, 4))
    loss = network.loss(*scenes(64, rng))
    return {"away": away, "decoder's error": round(error.item(), 2), "cross-entropy": round(loss.item(), 4)}


def interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over networks, the first axis, and half its 95 % interval by Student's t."""
    return values.mean(0), stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)


def effect(curves: np.ndarray, low: float, high: float) -> str:
    """What surrounds tilted by `low` to `high` do to the centre, in words, of networks' curves `(N, TILTS)`."""
    mean, margin = interval(curves[:, (low <= TILTS) & (high >= TILTS)].mean(1))
    says = "repulsion" if mean > margin else "attraction" if -mean > margin else "neither way beyond chance"
    return f"{low} to {high}°: {mean:+z.2f}° away (95 % {mean - margin:+z.2f} to {mean + margin:+z.2f}): {says}"


def draw(curves: dict[str, np.ndarray], title: str) -> Figure:
    """Mean and 95 % interval over networks, and every trained network."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.plot(TILTS, curves["trained"].T, color=COLOURS["trained"], linewidth=0.5, alpha=0.6)
    for name, each in curves.items():
        mean, margin = interval(each)
        axes.plot(TILTS, mean, color=COLOURS[name], label=name)
        axes.fill_between(TILTS, mean - margin, mean + margin, color=COLOURS[name], alpha=0.15, linewidth=0)
    axes.set(xlabel="surround tilted by, degrees", ylabel="centre turns away by, degrees", xticks=range(0, 91, 15))
    axes.set_title(title, fontsize=9)
    axes.legend(frameon=False, fontsize=8)
    return figure


def main(out: Path, networks: int = typer.Option(5, min=2), steps: int = 700, quick: bool = False) -> None:
    """Writes OUT/tilt_illusion.svg and .json; --quick: of two networks that are hardly trained."""
    networks, steps, probes = (2, 4, 6) if quick else (networks, steps, 48)
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    found = {name: [] for name in COLOURS}
    for seed in range(networks):
        torch.manual_seed(seed)
        network = BorderNet()
        found["before training"].append(measure(network, probes, seed))
        train(network, torch.Generator().manual_seed(seed), steps, f"network {seed + 1} of {networks}")
        found["trained"].append(measure(network, probes, seed))
        with kernels_cut(network):
            found["trained, then kernels cut"].append(measure(network, probes, seed))
    curves = {name: np.array([one["away"] for one in each]) for name, each in found.items()}
    effects = {name: [effect(each, *band) for band in BANDS] for name, each in curves.items()}
    about = {"steps": steps, "torch": torch.__version__, "tilts": TILTS.tolist()}
    write_json(out / "tilt_illusion.json", {**about, "effects": effects, "networks": found})
    title = "trained: surround tilted by " + "\nby ".join(effects["trained"])
    write_svg(draw(curves, title), out / "tilt_illusion.svg")
    print(title)


if __name__ == "__main__":
    typer.run(main)
