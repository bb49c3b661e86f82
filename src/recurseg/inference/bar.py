"""One progress bar over many cases, with the time left."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class CasesBar:
    """Shows on stderr which case is at work and how much of all voxels is done.

    Args:
        voxels: Size of each case, in the order in which they are predicted.
        quiet: Whether to show nothing.
    """

    def __init__(self, voxels: Sequence[int], *, quiet: bool) -> None:
        self._voxels = list(voxels)
        self._number, self._done, self._total, self._name = 0, 0, sum(self._voxels), ""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=quiet,
            refresh_per_second=2,
            speed_estimate_period=600,
        )
        self._task = self._progress.add_task("", total=self._total)

    def __enter__(self) -> CasesBar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, name: str) -> None:
        """Names the case at work."""
        self._name = f"{name} ({self._number + 1}/{len(self._voxels)})"
        self.tell(self._name)

    def add(self, text: str) -> None:
        """Says something of the case at work, beside its name."""
        self.tell(f"{self._name}, {text}")

    def tell(self, text: str) -> None:
        """Says what is at work, where it is not one case."""
        self._progress.update(self._task, description=text)

    def within(self, fraction: float) -> None:
        """Shows how far the case at work is, in [0, 1]."""
        self._progress.update(self._task, completed=self._done + fraction * self._voxels[self._number])

    def finish(self, number: int | None = None) -> None:
        """Ends the case at work, or case `number` where they end in any order."""
        self._done += self._voxels[self._number if number is None else number]
        self._number += 1
        self._progress.update(self._task, completed=self._done)

    def skip(self, number: int | None = None) -> None:
        """Leaves a case out, as `finish` names it, so that it does not count for the time left."""
        self._total -= self._voxels[self._number if number is None else number]
        self._number += 1
        self._progress.update(self._task, completed=self._done if self._total else 1, total=self._total or 1)
