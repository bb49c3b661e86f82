"""Digits as several networks complete them, and what the exchange through the memory adds (SHAMANN, figure 5)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recurseg.data.dataset import Dataset
from recurseg.data.files import write_bytes
from recurseg.experiments.rows import Entry
from recurseg.explain.exchange import alone, answers, exchange_cut
from recurseg.explain.memory_traffic import read_image
from recurseg.inference import load
from recurseg.models.shamann import PatchReader
from recurseg.preprocess import prepare
from recurseg.training.deletion import deleted_from_images
from recurseg.training.recipe_files import read_recipe

WRONG = "#c03028"


def choose_examples(legible: list[np.ndarray], count: int) -> list[int]:
    """Digits that tell networks apart: those that the last gets right and most others wrong; at the end one all miss.

    Args:
        legible: For each network, bool `(n,)`: whether its digits are read right.
        count: Digits wanted.

    Returns:
        Numbers of digits, fewer where there are fewer.
    """
    *others, last = legible
    missed = np.sum([~right for right in others], axis=0) if others else np.zeros(len(last), int)
    order = np.argsort(np.where(last, -missed, 1), kind="stable")
    told_apart = [int(number) for number in order[: count - 1] if last[number]]
    failed = np.flatnonzero(~last & (missed == len(others)))
    return [*told_apart, *(int(number) for number in failed[:1])]


def draw_digits(panels: Mapping[str, Sequence[Entry]], dataset: Dataset, test: str, count: int, path: Path) -> None:
    """Draws for each panel some test digits, a row each: altered, original, completed by each network.

    A digit that the classifier misreads has a red frame. Behind them stands, for the last network, what each actor
    says alone: with the shared memory and with the exchange cut.

    Args:
        panels: Panel → finished rows, each with its run.
        dataset: Digits in IDX files.
        test: Id of the case that the rows were measured on.
        count: Digits in a panel.
        path: PNG file.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    rows = {name: _rows(entries, dataset, test, count) for name, entries in panels.items()}
    columns = max(len(row) for own in rows.values() for row in own)
    height = sum(map(len, rows.values()))
    figure = plt.figure(figsize=(0.9 * columns, 0.95 * height + 0.8 * len(rows)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, height_ratios=[len(own) + 0.5 for own in rows.values()], squeeze=False)
    for part, (name, own) in zip(parts[:, 0], rows.items(), strict=True):
        part.suptitle(name, fontsize="medium")
        axes = part.subplots(len(own), columns, squeeze=False)
        for number, (line, row) in enumerate(zip(axes, own, strict=True)):
            for place, panel in enumerate(line):
                panel.set(xticks=[], yticks=[])
                if place >= len(row):
                    panel.axis("off")
                    continue
                title, digit, right = row[place]
                panel.imshow(digit, cmap="gray", vmin=0, vmax=1)
                if number == 0:
                    panel.set_title(title.replace(", ", ",\n"), fontsize="xx-small")
                for edge in panel.spines.values():
                    edge.set(color="#808080" if right else WRONG, linewidth=0.5 if right else 2.0)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=150)
    plt.close(figure)
    write_bytes(path, drawn.getvalue())


_Cell = tuple[str, np.ndarray, bool]
"""Heading, digit `(H, W)`, and whether the classifier reads it right."""


def _rows(entries: Sequence[Entry], dataset: Dataset, test: str, count: int) -> list[list[_Cell]]:
    legible = [entry.result.completion.legible for entry in entries if entry.result and entry.result.completion]
    recipes = [read_recipe(entry.run / "recipe.yaml") for entry in entries if entry.run]
    models = [load(entry.run).model for entry in entries if entry.run]
    case = next(case for case in dataset.cases if case.id == test)
    digits, deletion = prepare(case, recipes[0].preprocessing).image[0], recipes[0].deletion
    assert deletion is not None
    rows = []
    for number in choose_examples(legible, count):
        original = digits[number : number + 1]
        lost = deleted_from_images(original.shape, deletion, seed=recipes[0].seed, first=number)
        altered = np.where(lost, np.float32(0), original)
        image = torch.from_numpy(altered)[None]
        cells: list[_Cell] = [("altered", altered[0], True), ("original", original[0], True)]
        for entry, model, right in zip(entries, models, legible, strict=True):
            with torch.no_grad():
                cells.append((entry.row.name.split(",")[0], _picture(model(image)), bool(right[number])))
        rows.append([*cells, *_exchange(models[-1], image)])
    return rows


def _exchange(model: torch.nn.Module, image: Tensor) -> list[_Cell]:
    """What each actor says alone, with the exchange and with it cut."""
    if not isinstance(model, PatchReader):
        return []
    whole = read_image(model, image)
    if whole.traffic is None or not whole.traffic.shared:
        return []
    with exchange_cut(model):
        cut = read_image(model, image)
    mean = whole.outputs.mean(dim=2, keepdim=True)
    cells: list[_Cell] = []
    for actor, order in enumerate(model.orders):
        for reading, what in ((whole, "alone"), (cut, "exchange cut")):
            said = answers(model, image, alone(reading.outputs, actor, mean))
            cells.append((f"{order}, {what}", _picture(said), True))
    return cells


def _picture(image: Tensor) -> np.ndarray:
    return image[0, 0].clamp(0, 1).numpy()
