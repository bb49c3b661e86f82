"""A data set with some of its classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recurseg.data.case import IGNORE
from recurseg.data.dataset import Dataset
from recurseg.data.labels import complete_map
from recurseg.errors import ConfigError, did_you_mean


def only_classes(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The data set with the foreground classes that are named, counted from 1 in their order; others are background.

    Args:
        dataset: As opened.
        names: Classes of it; empty: all of them.

    Raises:
        ConfigError: A class that the data set does not have, the background, or a class twice.
    """
    if not names:
        return dataset
    known = dataset.class_names
    for name in names:
        if name not in known[1:]:
            raise ConfigError(f"classes: {dataset.root} has no class '{name}'{did_you_mean(name, known[1:])}")
    if len(set(names)) < len(names):
        raise ConfigError(f"classes: {', '.join(names)} names a class twice")
    new = {known.index(name): number for number, name in enumerate(names, start=1)} | {IGNORE: IGNORE}
    old_map = complete_map(dataset.manifest.label_map, len(known))
    label_map = {value: new.get(target, 0) for value, target in old_map.items()}
    left_out = [new[target] for target in dataset.manifest.not_evaluated if target in new]
    manifest = dataset.manifest.model_copy(
        update={
            "classes": dict(enumerate([known[0], *names])),
            "label_map": label_map,
            "not_evaluated": left_out,
            "regions": {},
        }
    )
    cases = [replace(case, label_map=label_map, not_evaluated=tuple(left_out)) for case in dataset.cases]
    return replace(dataset, manifest=manifest, cases=cases)
