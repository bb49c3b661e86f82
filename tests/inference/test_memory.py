"""Sizes as users write them, and a budget that tells what is missing."""

from __future__ import annotations

import numpy as np
import pytest

from recurseg.errors import ConfigError, ResourceError
from recurseg.inference.memory import Budget, available, forget_peak, parse_bytes, peak, readable_size, resident


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2GB", 2 * 10**9), ("512MB", 512 * 10**6), ("4GiB", 4 * 2**30), ("1.5 gb", 15 * 10**8), (7, 7)],
)
def test_sizes_are_read_as_written(text: str | int, expected: int) -> None:
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "much", "-2GB", "0", "2XB", "2 G B"])
def test_what_is_no_size_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="write one such as 2GB, 512MB or 4GiB"):
        parse_bytes(text)


def test_sizes_are_told_as_read() -> None:
    assert (readable_size(1.5e9), readable_size(512e6)) == ("1.5 GB", "512 MB")


def test_the_peak_is_what_was_held_since_it_was_forgotten() -> None:
    forget_peak()
    before = resident()
    np.ones(2**23)
    assert 60e6 < peak() - before < 90e6
    forget_peak()
    assert peak() < before + 30e6
    assert resident() < (available() or 0) + resident()


def test_a_budget_that_does_not_suffice_says_how_much_would() -> None:
    Budget(10**15, "case a").require(10**9, "a window")
    limit = resident() + 50 * 10**6
    with pytest.raises(ResourceError, match=r"case a: a window needs about .* than --max-ram .*B: give --max-ram"):
        Budget(limit, "case a").require(10**9, "a window")
    with pytest.raises(ResourceError, match=r"case a: the program itself needs about .* than --max-ram 1 MB"):
        Budget(10**6, "case a").require(10**6, "a window")
    with pytest.raises(ResourceError, match="a section"):
        Budget(10**6, "case a").check("a section")
