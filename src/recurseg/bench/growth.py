"""How time grows with size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from recurseg.bench.registry import Measurement
from recurseg.bench.timing import SECONDS, take_turns


def measure_growth(
    works: Sequence[Callable[[], object]], sizes: Sequence[int], *, of: str = "voxels", seconds: float = SECONDS
) -> Measurement:
    """Times the same work on images of growing size.

    Args:
        works: One for each size.
        sizes: What grows, for each.
        of: What that is.
        seconds: About how long it takes.

    Returns:
        For each round the exponent p of `time ~ size^p`, fitted in logarithms; the curve has the medians.
    """
    taken = take_turns(works, seconds=seconds)
    curve = list(zip(sizes, np.median(taken, axis=0).tolist(), strict=True))
    picture = f"growth_{of.replace(' ', '_')}"
    return Measurement([fit_exponent(sizes, times) for times in taken], curve, picture, size=of)


def fit_exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Returns the p with which `seconds ~ sizes^p` fits best: least squares of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])
