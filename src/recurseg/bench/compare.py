"""A layer or network against its arithmetic bound, its textbook form and a feed-forward rival: time and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from recurseg.bench.bound import MATRIX_SIDE, TRAIN, matrix_product
from recurseg.bench.multiply_adds import forward_multiply_adds
from recurseg.bench.peak import peak_memory
from recurseg.bench.registry import Measurement, benchmark
from recurseg.bench.rivals import Rival, count_parameters
from recurseg.bench.textbook import textbook
from recurseg.bench.timing import forward_of, take_turns, training_of


@dataclass(frozen=True)
class Case:
    """What is measured.

    Attributes:
        build: Makes it.
        shape: Of its input.
        rival: Makes the feed-forward rival of as many parameters; None where it is feed-forward itself or has none.
        in_textbooks: Whether it has layers with a textbook form.
        needs: The package that this form is from.
        seconds: About how long a comparison takes.
        least: Rounds that are made in any case.
        side: Rows and columns of the matrices whose product gives the rate.
    """

    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    rival: Rival | None = None
    in_textbooks: bool = False
    needs: str | None = None
    seconds: float = 1.0
    least: int = 5
    side: int = MATRIX_SIDE


def works(case: Case, *, train: bool) -> dict[str, Callable[[], object]]:
    """A forward pass or training step of ours and, where there are such, of "textbook" and "rival", on one input."""
    ours = case.build()
    forms = {"ours": ours}
    if case.in_textbooks and (loop := textbook(ours)) is not None:
        forms["textbook"] = loop
    if case.rival is not None:
        forms["rival"] = case.rival(count_parameters(ours))
    work_of, image = training_of if train else forward_of, torch.randn(case.shape)
    return {name: work_of(form.train(train), image) for name, form in forms.items()}


@cache
def seconds_of(case: Case, train: bool, /) -> dict[str, Float[np.ndarray, " rounds"]]:
    """Seconds of all works, and of as many multiply-adds in a large matrix product ("bound"), in turns."""
    entrants = works(case, train=train) | {"bound": matrix_product(case.side)}
    taken = dict(
        zip(entrants, take_turns(list(entrants.values()), seconds=case.seconds, least=case.least).T, strict=True)
    )
    taken["bound"] *= (TRAIN if train else 1) * forward_multiply_adds(case.build().eval(), case.shape) / case.side**3
    return taken


@cache
def peaks_of(case: Case, train: bool, /) -> dict[str, int]:
    """Bytes that each work holds at its height beyond input and weights."""
    return {name: peak_memory(work) for name, work in works(case, train=train).items()}


def seconds(case: Case, train: bool) -> Measurement:
    return Measurement(seconds_of(case, train)["ours"].tolist())


def over_bound(case: Case, train: bool) -> Measurement:
    taken = seconds_of(case, train)
    return Measurement((taken["ours"] / taken["bound"]).tolist())


def over_ours(case: Case, train: bool, *, form: str) -> Measurement:
    taken = seconds_of(case, train)
    return Measurement((taken[form] / taken["ours"]).tolist())


def memory(case: Case, train: bool) -> Measurement:
    return Measurement([peaks_of(case, train)["ours"] / 2**20])


def memory_over_ours(case: Case, train: bool, *, form: str) -> Measurement:
    peaks = peaks_of(case, train)
    return Measurement([peaks[form] / peaks["ours"]])


@dataclass(frozen=True)
class Column:
    """What is said of a case."""

    unit: str
    what: str
    measure: Callable[[Case, bool], Measurement]
    form: str = "ours"


COLUMNS = {
    "seconds": Column("s", "time", seconds),
    "bound": Column("ratio", "time over the arithmetic bound", over_bound),
    "textbook": Column("ratio", "time of its textbook form over it", partial(over_ours, form="textbook"), "textbook"),
    "rival": Column("ratio", "time of a feed-forward rival over it", partial(over_ours, form="rival"), "rival"),
    "memory": Column("MiB", "peak memory beyond input and weights", memory),
    "memory_textbook": Column(
        "ratio", "peak memory of its textbook form over it", partial(memory_over_ours, form="textbook"), "textbook"
    ),
    "memory_rival": Column(
        "ratio", "peak memory of a feed-forward rival over it", partial(memory_over_ours, form="rival"), "rival"
    ),
}
"""Last part of an id → what it is."""


def register(group: str, name: str, case: Case, *, long: bool = False) -> None:
    """Makes every column of a case, forward and training, a benchmark "group:name:mode:column"."""
    for mode in ("forward", "train"):
        for column, found in COLUMNS.items():
            if (found.form == "textbook" and not case.in_textbooks) or (found.form == "rival" and not case.rival):
                continue
            benchmark(
                f"{group}:{name}:{mode}:{column}",
                unit=found.unit,
                what=f"{mode} {found.what}: {name}, input {' × '.join(map(str, case.shape))}",
                needs=case.needs if found.form == "textbook" else None,
                long=long,
            )(partial(found.measure, case, mode == "train"))
