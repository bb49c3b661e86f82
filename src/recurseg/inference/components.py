"""Connected pieces of a prediction."""

from __future__ import annotations

import itertools
import math

import numpy as np

from recurseg.data.formats.lazy import DiskArray

_BYTES = 8
"""About what a voxel takes while pieces are found."""


def keep_largest_component(labels: np.ndarray) -> np.ndarray:
    """Keeps the largest connected piece of each foreground class, corners touching; the rest becomes background.

    Args:
        labels: Classes, 2-D or 3-D, 0 = background.

    Returns:
        A new array of the same type.
    """
    kept = np.zeros_like(labels)
    for index in np.unique(labels[labels != 0]):
        pieces, count = _pieces(labels == index)
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        kept[pieces == 1 + np.argmax(sizes[1:])] = index
    return kept


def keep_largest_on_disk(labels: DiskArray, slab_bytes: int) -> None:
    """`keep_largest_component` of labels on disk, in place: pieces of slabs are joined where they touch.

    Args:
        labels: uint8 classes, 2-D or 3-D.
        slab_bytes: About how much to work on at once.
    """
    step = max(1, slab_bytes // (math.prod(labels.shape[1:]) * _BYTES))
    slabs = [slice(start, min(start + step, labels.shape[0])) for start in range(0, labels.shape[0], step)]
    classes = set[int]().union(*(np.unique(labels[slab]).tolist() for slab in slabs)) - {0}
    for index in sorted(classes):
        largest = _pieces_of_largest(labels, slabs, index)
        before = 0
        for slab in slabs:
            part = labels[slab]
            pieces, count = _pieces(part == index)
            lost = np.concatenate([[False], ~largest[before : before + count]])
            labels[slab] = np.where(lost[pieces], 0, part)
            before += count


def _pieces_of_largest(labels: DiskArray, slabs: list[slice], index: int) -> np.ndarray:
    """Of the pieces of all slabs, numbered on from slab to slab, which belong to the largest of a class."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    sizes: list[int] = []
    joined: list[np.ndarray] = [np.zeros((0, 2), np.int64)]
    last: np.ndarray | None = None
    for slab in slabs:
        pieces, count = _pieces(labels[slab] == index)
        plane = [np.where(face, face + np.int64(len(sizes)), 0) for face in (pieces[0], pieces[-1])]
        if last is not None:
            joined.append(_touching(last, plane[0]))
        sizes += np.bincount(pieces.ravel(), minlength=count + 1)[1:].tolist()
        last = plane[1]
    one, other = np.concatenate(joined).T - 1
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(len(sizes), len(sizes)))
    whole = connected_components(graph, directed=False)[1]
    totals = np.bincount(whole, weights=sizes)
    return whole == whole[np.argmax(totals[whole])]


def _pieces(mask: np.ndarray) -> tuple[np.ndarray, int]:
    """Pieces numbered from 1 in the order in which they begin, and how many there are."""
    from scipy.ndimage import label

    found = np.empty(mask.shape, np.int32)
    label(mask, np.ones((3,) * mask.ndim), output=found)
    return found, int(found.max(initial=0))


def _touching(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Pairs of numbers above 0 that lie on each other, or corner to corner, in two planes."""
    padded = np.pad(other, 1)
    pairs = []
    for shift in itertools.product(range(3), repeat=one.ndim):
        under = padded[tuple(slice(by, by + size) for by, size in zip(shift, one.shape, strict=True))]
        both = (one > 0) & (under > 0)
        pairs.append(np.unique(np.stack([one[both], under[both]], axis=1), axis=0))
    return np.concatenate(pairs)
