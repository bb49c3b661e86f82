"""Procedural data sets: made-up images that look and fail like real ones, for demonstrations and tests."""

from __future__ import annotations

from recurseg.data.phantoms.registry import PHANTOMS, Phantom, write_phantom

__all__ = ["PHANTOMS", "Phantom", "write_phantom"]
