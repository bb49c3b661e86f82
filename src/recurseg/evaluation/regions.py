"""Regions: sets of classes that are measured as one mask, as the whole tumour of BraTS is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recurseg.errors import ConfigError


def settle_regions(regions: Mapping[str, Sequence[int]], names: Sequence[str]) -> dict[str, list[int]]:
    """Checks regions against the classes.

    Args:
        regions: Name → classes; regions may overlap.
        names: Name of each class, 0 first.

    Returns:
        Name → classes, ascending.

    Raises:
        ConfigError: No class, an unknown one, the background, or the name of a class that the region is not.
    """
    settled = {}
    known = ", ".join(f"{c} {name}" for c, name in enumerate(names) if c)
    for name, members in regions.items():
        if not members or not set(members) <= set(range(1, len(names))):
            raise ConfigError(f"region '{name}' of classes {list(members)}: foreground classes are {known}")
        settled[name] = sorted(set(members))
        if name in names and settled[name] != [names.index(name)]:
            raise ConfigError(f"region '{name}' has the name of another class: foreground classes are {known}")
    return settled


def notes_of(regions: Mapping[str, Sequence[int]], names: Sequence[str]) -> list[str]:
    """What each region is, in words, one line each."""
    return [f"{name} is one mask of {', '.join(names[c] for c in members)}" for name, members in regions.items()]
