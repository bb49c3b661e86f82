"""Scales of a chart: values to positions, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Maps `low..high` to `start..stop`, evenly or by logarithm."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(max(value, self.low))
        span = (high - low) or 1.0
        return round(self.start + (value - low) / span * (self.stop - self.start), 1)

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """Round values within the scale, with their labels."""
        if not self.log:
            values = round_values(self.low, self.high, count)
        else:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            decades = [10.0**power for power in range(first, last + 1)]
            values = decades if len(decades) > 3 else [m * d for d in decades for m in (1, 2, 5)]
            values = [value for value in values if self.low <= value <= self.high]
        return [(value, tick_label(value)) for value in values]


def round_values(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` multiples of 1, 2 or 5 times a power of ten from `low` to `high`."""
    if not high > low:
        return [low]
    raw = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def tick_label(value: float) -> str:
    """A tick's value, as short as it can be."""
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:,.10g}" if abs(value) >= 1000 else f"{value:.4g}"


def value_scale(
    values: Sequence[float], start: float, stop: float, *, from_zero: bool = False, margin: float = 0.08
) -> Scale:
    """A scale that holds all values with a little room; logarithmic over a factor of 50, unless it begins at zero."""
    low, high = min(values), max(values)
    if low > 0 and high / low > 50 and not from_zero:
        return Scale(low / 1.15, high * 1.15, start, stop, log=True)
    if from_zero and low >= 0:
        low = 0.0
    room = (high - low) * margin or abs(high) * 0.1 or 1.0
    return Scale(low - (room if low != 0 else 0), high + room, start, stop)
