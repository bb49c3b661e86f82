"""A data set with some of its modalities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recurseg.data.dataset import Dataset
from recurseg.errors import ConfigError, DataError, did_you_mean


def only_modalities(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The data set with the modalities that are named, in their order.

    Args:
        dataset: As opened.
        names: Modalities of it; empty: all of them.

    Raises:
        ConfigError: A modality that the data set does not have, or one twice.
        DataError: A case has none of them.
    """
    if not names:
        return dataset
    for name in names:
        if name not in dataset.modalities:
            raise ConfigError(f"modalities: {dataset.root} has no {name}{did_you_mean(name, dataset.modalities)}")
    if len(set(names)) < len(names):
        raise ConfigError(f"modalities: {', '.join(names)} names one twice")
    cases = []
    for case in dataset.cases:
        images = {name: case.images[name] for name in names if name in case.images}
        if not images:
            raise DataError(f"case {case.id}: has no image of {', '.join(names)}: leave it out of the manifest")
        cases.append(replace(case, images=images, modalities=tuple(names)))
    return replace(dataset, manifest=dataset.manifest.model_copy(update={"modalities": list(names)}), cases=cases)
