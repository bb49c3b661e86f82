"""The progress of a training on the terminal: loss, rate, time left."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from recurseg.training.loop import Report

SMOOTHING = 0.95
LINE_EVERY = 60.0
"""Seconds between lines where the console is a file and shows no bar."""


@contextmanager
def training_bar(console: Console, steps: int, done: int) -> Iterator[Report]:
    """Shows a bar of `steps` steps, `done` of them done; yields a function of (step, loss, rate, note).

    The loss shown is a running mean; a note, such as a validation's result, stays as a line above the bar.
    """
    columns = (
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TextColumn("rate {task.fields[rate]:.1e}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(elapsed_when_finished=False),
    )
    with Progress(*columns, console=console, refresh_per_second=2, speed_estimate_period=120) as progress:
        task = progress.add_task("", total=steps, completed=done, loss=float("nan"), rate=0.0)
        mean: float | None = None
        last = time.monotonic()

        def report(step: int, loss: float, rate: float, note: str) -> None:
            nonlocal mean, last
            mean = loss if mean is None else SMOOTHING * mean + (1 - SMOOTHING) * loss
            progress.update(task, completed=step, loss=mean, rate=rate)
            if not console.is_terminal and time.monotonic() - last > LINE_EVERY:
                note = note or f"loss {mean:.4f}, left {_clock(progress.tasks[task].time_remaining)}"
            if note:
                last = time.monotonic()
                progress.console.print(f"step {step}: {note}", highlight=False)

        yield report


def _clock(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
