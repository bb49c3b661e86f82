"""The frames from which a network of time sees one frame of a cine."""

from __future__ import annotations


def frames_up_to(frame: int, length: int, frames: int) -> list[int]:
    """A series of frames that ends at one, as in the γ-Net thesis: end-diastole is reached backward in time.

    Args:
        frame: The last of the series, counted from 0.
        length: How many frames the series has, ≥ 1.
        frames: How many the cine has.

    Returns:
        The frames before it in their order, where so many are there; otherwise the later ones, backward. Beyond the
        end of a cine shorter than `length` its last frame is repeated.
    """
    first = frame - length + 1
    if first >= 0:
        return list(range(first, frame + 1))
    return [min(number, frames - 1) for number in range(frame + length - 1, frame - 1, -1)]
