"""Training curves as charts: paths, ticks and marks in the units of an SVG, which the template draws."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recurseg.evaluation.metrics import METRICS
from recurseg.evaluation.result import number
from recurseg.report.axes import Scale, round_values, tick_label, value_scale
from recurseg.report.folder import RunFiles

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 520, 58, 14, 30, 36
MOST_POINTS = 400
"""Points that a line keeps; of more steps, each point stands for a few."""


@dataclass
class Chart:
    """One chart, positions in SVG units.

    Attributes:
        title: What the y axis shows.
        note: How to read the lines.
        summary: The chart in a sentence, for those who do not see it.
        height: Of the SVG; the width is `WIDTH`.
        lines: (style class, path) in drawing order.
        x_ticks: (position, step).
        minute_ticks: (position, minutes).
        y_ticks: (position, value).
        stages: Positions where a new stage begins.
        dots: (x, y) of single values.
        best: (x, y, label) of the best checkpoint.
        best_above: Whether its label stands above it.
        hover: (x, y, text) of what a pointer finds.
    """

    title: str
    note: str
    summary: str
    height: int
    lines: list[tuple[str, str]] = field(default_factory=list)
    x_ticks: list[tuple[float, str]] = field(default_factory=list)
    minute_ticks: list[tuple[float, str]] = field(default_factory=list)
    y_ticks: list[tuple[float, str]] = field(default_factory=list)
    stages: list[float] = field(default_factory=list)
    dots: list[tuple[float, float]] = field(default_factory=list)
    best: tuple[float, float, str] | None = None
    best_above: bool = True
    hover: list[tuple[float, float, str]] = field(default_factory=list)
    width: int = WIDTH
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP

    @property
    def bottom(self) -> int:
        return self.height - BOTTOM


class Clock:
    """Minutes of training at a step: the seconds of all updates and validations until then."""

    def __init__(self, log: list[dict[str, Any]]) -> None:
        self.steps, self.minutes = [0.0], [0.0]
        for event in log:
            if event.get("event") in ("step", "validation"):
                self.steps.append(float(event["step"]))
                self.minutes.append(self.minutes[-1] + float(event.get("seconds") or 0) / 60)

    def at(self, step: float) -> float:
        return float(np.interp(step, self.steps, self.minutes))

    def step_at(self, minutes: float) -> float:
        return float(np.interp(minutes, self.minutes, self.steps))


def charts(run: RunFiles) -> list[Chart]:
    """Loss, validation metric, learning rate and gradient norm against steps; empty where nothing was logged."""
    steps = run.events("step")
    if not steps:
        return []
    frame = _Frame(run, Clock(run.log), last=max(int(event["step"]) for event in steps))
    drawn = [
        frame.measured(steps, "loss", "Loss", 240),
        frame.validation(run.events("validation")),
        frame.scheduled(steps, "lr", "Learning rate", 150),
        frame.measured(steps, "grad_norm", "Gradient norm", 150),
    ]
    return [chart for chart in drawn if chart is not None]


class _Frame:
    """What the charts of a run share: the x axis in steps and minutes, and the stages."""

    def __init__(self, run: RunFiles, clock: Clock, last: int) -> None:
        self.run, self.clock = run, clock
        self.x = Scale(0, last, LEFT, WIDTH - RIGHT)
        ends = itertools.accumulate(int(stage.get("steps", 0)) for stage in run.recipe.get("stages") or [])
        self.stages = [self.x(end) for end in list(ends)[:-1] if end < last]

    def chart(self, title: str, note: str, summary: str, height: int, y: Scale) -> Chart:
        minutes = round_values(0, self.clock.minutes[-1], 5) if self.clock.minutes[-1] > 0 else []
        return Chart(
            title=title,
            note=note,
            summary=summary,
            height=height,
            x_ticks=[(self.x(step), label) for step, label in self.x.ticks(6) if step == int(step)],
            minute_ticks=_apart([(self.x(self.clock.step_at(minute)), tick_label(minute)) for minute in minutes]),
            y_ticks=[(y(value), label) for value, label in y.ticks(5 if height > 200 else 3)],
            stages=self.stages,
        )

    def measured(self, events: list[dict[str, Any]], key: str, title: str, height: int) -> Chart | None:
        """A noisy value of every step, with its running mean."""
        step, value = _finite(events, key)
        if not len(value):
            return None
        window = max(1, min(len(value) // 4, round(len(value) / 25)))
        smooth = _running_mean(value, window)
        y = value_scale(np.quantile(value, [0.002, 0.998]).tolist() + smooth.tolist(), height - BOTTOM, TOP)
        lost = len(events) - len(value)
        note = f"thin: every step; bold: mean of {window} steps" if window > 1 else "every step"
        note += f"; {lost} step{'s' * (lost != 1)} without a finite value left out" if lost else ""
        note += "; logarithmic" if y.log else ""
        summary = (
            f"{title} over {len(events)} steps: running mean {number(smooth[0])} at the start, "
            f"{number(smooth[-1])} at the end, lowest {number(smooth.min())}."
        )
        chart = self.chart(title, note, summary, height, y)
        clipped = np.clip(value, y.low, y.high)
        chart.lines.append(("raw" if window > 1 else "mean", self._envelope(step, clipped, y)))
        if window > 1:
            chart.lines.append(("mean", self._path(step, smooth, y)))
        self._hover(chart, step, smooth, y, f"{title.lower()} {{}}" + (f" (mean of {window})" if window > 1 else ""))
        return chart

    def scheduled(self, events: list[dict[str, Any]], key: str, title: str, height: int) -> Chart | None:
        """A value that is set, not measured."""
        step, value = _finite(events, key)
        if not len(value):
            return None
        y = value_scale(value.tolist(), height - BOTTOM, TOP, from_zero=True)
        summary = f"{title}: {number(value[0])} at the first step, {number(value[-1])} at the last."
        chart = self.chart(title, "", summary, height, y)
        chart.lines.append(("mean", self._path(step, value, y)))
        self._hover(chart, step, value, y, f"{title.lower()} {{}}")
        return chart

    def validation(self, events: list[dict[str, Any]], height: int = 240) -> Chart | None:
        """The recipe's metric on the held-out cases, with the best checkpoint marked."""
        metric = self.run.metric
        rows = [{"step": e["step"], "value": (e.get("values") or {}).get(metric)} for e in events]
        step, value = _finite(rows, "value")
        if not len(value):
            return None
        y = value_scale(value.tolist(), height - BOTTOM, TOP, margin=0.2)
        better = METRICS[metric].better if metric in METRICS else "higher"
        best_step = self.run.manifest.get("best_step")
        told = f"; best {number(_best(value, better))}" + (f" at step {best_step}" if best_step else "")
        summary = f"{metric} of the held-out cases at {len(value)} steps, {better} is better{told}."
        note = f"held-out cases, {better} is better"
        counted = (self.run.recipe.get("validation") or {}).get("cases")
        note += f"; the first {counted} cases only" if counted else ""
        chart = self.chart(metric, note, summary, height, y)
        chart.lines.append(("validation", self._path(step, value, y)))
        chart.dots = [(self.x(s), y(v)) for s, v in zip(step, value, strict=True)]
        for s, v in zip(step, value, strict=True):
            if s == best_step:
                chart.best = (self.x(s), y(v), f"best {number(v)}")
        chart.best_above = better == "higher"
        self._hover(chart, step, value, y, f"{metric} {{}}")
        return chart

    def _path(self, step: np.ndarray, value: np.ndarray, y: Scale) -> str:
        keep = np.unique(np.linspace(0, len(step) - 1, MOST_POINTS).round().astype(int))
        points = (f"{self.x(s)},{y(v)}" for s, v in zip(step[keep], value[keep], strict=True))
        return "M" + "L".join(points)

    def _envelope(self, step: np.ndarray, value: np.ndarray, y: Scale) -> str:
        """The line of all values; of many, lowest and highest of every few."""
        if len(value) <= 2 * MOST_POINTS:
            return "M" + "L".join(f"{self.x(s)},{y(v)}" for s, v in zip(step, value, strict=True))
        parts = zip(np.array_split(step, MOST_POINTS), np.array_split(value, MOST_POINTS), strict=True)
        return "M" + "L".join(
            f"{self.x(float(s.mean()))},{y(v)}" for s, part in parts for v in (float(part.min()), float(part.max()))
        )

    def _hover(self, chart: Chart, step: np.ndarray, value: np.ndarray, y: Scale, text: str) -> None:
        keep = np.unique(np.linspace(0, len(step) - 1, MOST_POINTS // 2).round().astype(int))
        for s, v in zip(step[keep], value[keep], strict=True):
            told = f"step {int(s):,} · {self.clock.at(s):.1f} min · {text.format(number(float(v)))}"
            chart.hover.append((self.x(s), y(v), told))


def _apart(ticks: list[tuple[float, str]]) -> list[tuple[float, str]]:
    """Ticks without those that would touch the one before: a long validation takes minutes and no steps."""
    kept: list[tuple[float, str]] = []
    for tick in ticks:
        if not kept or tick[0] - kept[-1][0] >= 24:
            kept.append(tick)
    return kept


def _best(value: np.ndarray, better: str) -> float:
    return float(value.min() if better == "lower" else value.max())


def _finite(events: list[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    pairs = [(float(e["step"]), float(e[key])) for e in events if isinstance(e.get(key), int | float)]
    kept = [(s, v) for s, v in pairs if math.isfinite(v)]
    return np.array([s for s, _ in kept]), np.array([v for _, v in kept])


def _running_mean(value: np.ndarray, window: int) -> np.ndarray:
    """Mean over a centred window, which shrinks at both ends."""
    total = np.concatenate([[0.0], np.cumsum(value)])
    index = np.arange(len(value))
    low, high = np.maximum(index - window // 2, 0), np.minimum(index + (window - window // 2), len(value))
    return (total[high] - total[low]) / (high - low)
