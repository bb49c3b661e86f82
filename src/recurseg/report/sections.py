"""Which sections of a case are shown, and which part of them."""

from __future__ import annotations

import re

import numpy as np

from recurseg.data.case import IGNORE
from recurseg.report.view import View

MARGIN = 0.03
"""Room kept around what the crop keeps, as a share of it."""


class Sections:
    """Sections of a case: evenly over those with any foreground, the worst among them.

    Args:
        id: The case; `stack[16-19]` begins at section 16 of its file.
        view: How it is looked at.
        reference: Classes in stored order, 255 = not counted.
        prediction: Classes on the same grid.
        most: How many to choose at most.

    Attributes:
        indices: The chosen sections, ascending.
        worst: Place within `indices` of the section with the largest share of wrong pixels.
        wrong: Share of wrong pixels of every section.
        counts: Number of wrong pixels of every section.
    """

    def __init__(self, id: str, view: View, reference: np.ndarray, prediction: np.ndarray, most: int) -> None:
        self.flat = view.slice_axis is None
        found = re.search(r"\[(\d+)-\d+\]$", id)
        self._first = int(found[1]) if found else 0
        counted = reference != IGNORE
        self.counts = _by_section(counted & (reference != prediction), view)
        self.wrong = self.counts / np.maximum(_by_section(counted, view), 1)
        used = np.flatnonzero(_by_section((counted & (reference > 0)) | (prediction > 0), view))
        if not len(used):
            used = np.arange(len(self.counts))
        self._candidates = np.arange(used[0], used[-1] + 1)
        even = self._candidates[np.unique(np.linspace(0, len(self._candidates) - 1, most).round().astype(int))]
        worst = int(self._candidates[np.argmax(self.wrong[self._candidates])])
        if worst not in even:
            even[np.argmin(np.abs(even - worst))] = worst
        self.indices = [int(index) for index in even]
        self.worst = self.indices.index(worst)

    def name(self, index: int) -> str:
        """What a section is called: its number in the file, counted from 0."""
        return "image" if self.flat else f"section {self._first + index}"

    def told(self, index: int) -> str:
        """How wrong a section is, in words."""
        return f"{self.counts[index]:,} pixels wrong, {100 * self.wrong[index]:.2f} %"

    @property
    def note(self) -> str:
        """What was chosen, in words; "" for an image."""
        if self.flat:
            return ""
        chosen, candidates, total = len(self.indices), len(self._candidates), len(self.counts)
        which = f"{chosen} of {total} sections" if chosen < total else "All sections"
        evenly = ", evenly spaced" if chosen < candidates else ""
        empty = ", those without any foreground left out" if candidates < total else ""
        return (
            f"{which}{evenly}{empty}; counted from 0 as in the file; the one with most wrong pixels is shown first."
        )


def content_box(pictures: list[np.ndarray]) -> tuple[slice, slice]:
    """The box that holds everything that is not 0 in any of the pictures (H, W), with a margin."""
    used = np.zeros(pictures[0].shape, bool)
    for picture in pictures:
        used |= picture != 0
    box = []
    for axis in (1, 0):
        filled = np.flatnonzero(used.any(axis=axis))
        length = used.shape[1 - axis]
        low, high = (int(filled[0]), int(filled[-1]) + 1) if len(filled) else (0, length)
        room = 2 + round(MARGIN * (high - low))
        box.append(slice(max(0, low - room), min(length, high + room)))
    return box[0], box[1]


def _by_section(mask: np.ndarray, view: View) -> np.ndarray:
    if view.slice_axis is None:
        return np.array([mask.sum()])
    return mask.sum(axis=tuple(axis for axis in range(mask.ndim) if axis != view.slice_axis))
