"""A split with fewer training patients, to see how much a network learns from how little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from recurseg.data.splits import Split
from recurseg.errors import ConfigError


def fewer(split: Split, fraction: float, seed: int) -> Split:
    """Keeps the training cases of a fraction of their patients, at least one; validation stays.

    Args:
        split: As `split_cases` gives it.
        fraction: In (0, 1]. With one seed, the patients of a smaller fraction are among those of a larger one.
        seed: Decides which patients.

    Raises:
        ConfigError: A fraction outside (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ConfigError(f"fraction {fraction:g}: how much of the training patients is used, above 0 and at most 1")
    patients = sorted({case.patient for case in split.train})
    count = max(1, round(fraction * len(patients)))
    kept = {patients[number] for number in np.random.default_rng([seed, 0xF3]).permutation(len(patients))[:count]}
    train = [case for case in split.train if case.patient in kept]
    used = f"{count} of {len(patients)} training patients are used: {', '.join(sorted(kept))}"
    return replace(split, train=train, description=f"{split.description}; {used}")
