"""What an explanation is made of: moving pictures, curves and tables; how they look is the report's affair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Colours = Literal["grey", "heat", "mixed"]


@dataclass(frozen=True)
class Picture:
    """One picture, or one for each step of its part's slider.

    Attributes:
        title: What it shows.
        values: float32 `(T, H, W)`; `(T, H, W, N)` for "mixed". T is 1 for a picture that does not move.
        colours: "grey" from the lowest to the highest value; "heat" from 0 to `top`, on a logarithmic scale where
            `decades` says so; "mixed" the same with a colour for each of N sources, the stronger one shown.
        top: Value of the brightest colour; 0 where everything is 0.
        decades: Powers of ten below `top` that are told apart; 0 for a linear scale.
        sources: Names of the N sources of "mixed".
        mark: Row and column of the voxel that is explained.
        mark_step: The step whose picture holds that voxel; None for all.
        bound: bool `(T, h, w)` over the same area, whose edge is drawn; may move where the picture stands still.
        pixel: Height and width of a pixel, in any unit.
    """

    title: str
    values: np.ndarray
    colours: Colours = "heat"
    top: float = 1.0
    decades: int = 0
    sources: tuple[str, ...] = ()
    mark: tuple[int, int] | None = None
    mark_step: int | None = None
    bound: np.ndarray | None = None
    pixel: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Part:
    """Rows of pictures that one slider moves.

    Attributes:
        name: Of its PNG file, lower case with underscores.
        title: Heading.
        text: How to read it.
        rows: Pictures side by side, row after row.
        steps: What each step of the slider is called; a single one needs no slider.
        start: Step that is shown first.
        axis: What the slider moves along.
    """

    name: str
    title: str
    text: str
    rows: Sequence[Sequence[Picture]]
    steps: Sequence[str] = ("",)
    start: int = 0
    axis: str = ""


@dataclass(frozen=True)
class Curve:
    """Lines over steps.

    Attributes:
        name: Of its SVG file, lower case with underscores.
        title: Heading.
        text: How to read it.
        steps: What each step is called, a few characters each.
        axis: What the steps are.
        lines: Name of a line → its value at each step, NaN where there is none.
        own: The step that is explained, which is marked.
    """

    name: str
    title: str
    text: str
    steps: Sequence[str]
    axis: str
    lines: Mapping[str, Sequence[float]]
    own: int


@dataclass(frozen=True)
class Table:
    """Numbers with a heading, all as text; the first column names the row."""

    title: str
    text: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Explanation:
    """Why a model says what it says of one voxel.

    Attributes:
        model: Its name.
        case: Id of the case.
        facts: (what, value) of the voxel, in words.
        parts: Pictures, curves and tables in the order in which they are read.
        numbers: The same as plain data, for `explain.json`.
        notes: What was chosen and what it leaves out.
    """

    model: str
    case: str
    facts: list[tuple[str, str]]
    parts: list[Part | Curve | Table] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
