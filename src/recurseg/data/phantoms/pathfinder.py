"""Pathfinder: are two discs joined by one dashed contour? Long-range grouping that a short receptive field cannot do.

Every picture has two long dashed contours that begin side by side and never touch, fifteen short ones that distract,
and two discs: one at an end of a contour, one at the far end of the same contour (connected) or of the other (apart).
Which contour it is decides nothing but where the second disc lies. Written after Linsley et al. 2018, "Learning
long-range spatial dependencies with horizontal gated recurrent units", and the settings of their generator
(paddles of 5 x 2 pixels 6 apart, discs of radius 5, on 300 x 300 pixels), with two departures: the number of
distractors is met, not only tried, and the distance between the discs has one distribution in both classes, so that
it gives nothing away. What theirs gives away, ours does too: a contour hardly turns, so that a reader of the paddles
next to both discs, who asks whether they point at each other, is right in 94, 90 and 85 % (6, 9 and 14 paddles).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from .fields import even_coin, generator

DEFAULT_SIZE = (1, 300, 300)
LENGTHS = (6, 9, 14)
"""Paddles in a contour, from easy to hard."""
CLASSES = ("apart", "connected")

CANVAS = 300
"""Pixels on the shorter side that the measures below are for; they scale with the picture."""
PADDLE, THICKNESS, GAP, MARKER = 5.0, 2.0, 6.0, 5.0
"""Length and thickness of a paddle, least distance between two of them, radius of the discs."""
CONTINUITY = 1.8
"""A contour turns by an angle a from paddle to paddle with a chance in proportion to cos²(1.8 a), at most 50°."""
SIDE_BY_SIDE = 27.0
"""Distance between the beginnings of the two contours."""
PADDING = 22.0
"""Border that stays empty."""
DISTRACTORS = 15
ANTIALIAS = 2


def pathfinder(
    *, length: int = 6, size: tuple[int, int, int] = DEFAULT_SIZE, seed: int = 0, case: int = 0
) -> tuple[np.ndarray, int]:
    """Makes one picture; of each two consecutive ones, one is connected.

    Args:
        length: Paddles in a contour, 6, 9 or 14 in the paper; distractors have a third of them, rounded down.
        size: 1, rows, columns; the drawing shrinks with the shorter side, and with equal sides it stays the same.
        seed: Of the data set.
        case: Index of the picture in the data set.

    Returns:
        Picture, uint8 `(rows, columns)`, 0 to 255; and the class: 0 apart, 1 connected.
    """
    rows, columns = size[1:]
    target = even_coin(f"pathfinder {length}", seed, case)
    canvas = complex(columns, rows) * CANVAS / min(rows, columns)
    rng = generator("pathfinder", seed, case, (length, int(canvas.real), int(canvas.imag)))
    contours = _two_contours(rng, length, canvas)
    marks = [contours[0][0, 0], contours[0 if target else 1][-1, -1]]
    paddles = _with_distractors(rng, length // 3, canvas, np.concatenate(contours))
    return _draw(paddles, np.array(marks), (rows, columns)), target


def _contours(rng: np.random.Generator, length: int) -> Iterator[np.ndarray]:
    """Paddles in a row as ends in the complex plane, `(length, 2)`; they begin at 0 and do not touch themselves."""
    neighbours = np.abs(np.subtract.outer(range(length), range(length))) < 2
    while True:
        turns = _turns(rng, (16, length - 1))
        heading = np.exp(1j * np.cumsum(np.hstack([rng.uniform(0, 2 * np.pi, (16, 1)), turns]), 1))
        joints = np.cumsum(heading, 1) * (PADDLE + GAP)
        ends = joints[..., None] - heading[..., None] * (PADDLE, 0)
        points = _points(ends)
        between = np.abs(points[:, :, None] - points[:, None]).reshape(16, length, 3, length, 3).min((2, 4))
        yield from (ends - ends[:, :1, :1])[np.all((between > GAP) | neighbours, (1, 2))]


def _turns(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Angles with density in proportion to cos²(CONTINUITY · angle) up to its first zero."""
    x = np.linspace(-1, 1, 201)
    return np.interp(rng.uniform(size=shape), (1 + x + np.sin(np.pi * x) / np.pi) / 2, x) * np.pi / (2 * CONTINUITY)


def _two_contours(rng: np.random.Generator, length: int, canvas: complex) -> np.ndarray:
    """Two that begin side by side, `(2, length, 2)`, the first's beginning as far from either end as contours reach.

    How far the second's end is from there is taken from a third contour before anything is tried, and kept, as is the
    first's form: so the distance of two discs tells nothing, however many placements fail.
    """
    drawn = _contours(rng, length)
    first, apart = next(drawn), abs(next(drawn)[-1, -1])
    for second in drawn:
        end = second[-1, -1]
        cosine = (apart**2 - SIDE_BY_SIDE**2 - abs(end) ** 2) / (2 * SIDE_BY_SIDE * abs(end))
        if abs(cosine) < 1:
            begin = SIDE_BY_SIDE * end / abs(end) * np.exp(1j * rng.choice([-1, 1]) * np.arccos(cosine))
            pair = np.stack([first, second + begin])
            corner = complex(np.real(pair).min(), np.imag(pair).min()) - PADDING * (1 + 1j)
            room = canvas - PADDING * (1 + 1j) - complex(np.real(pair).max(), np.imag(pair).max()) + corner
            if min(room.real, room.imag) > 0 and _clear(first, second + begin):
                return pair - corner + complex(room.real * rng.uniform(), room.imag * rng.uniform())
    raise AssertionError("contours never end")


def _with_distractors(rng: np.random.Generator, length: int, canvas: complex, paddles: np.ndarray) -> np.ndarray:
    """The paddles and those of short contours that touch nothing."""
    free, wanted = canvas - 2 * PADDING * (1 + 1j), len(paddles) + DISTRACTORS * length
    for contour in _contours(rng, length):
        contour = contour + complex(free.real * rng.uniform(), free.imag * rng.uniform())
        inside = (contour.real > 0) & (contour.real < free.real) & (contour.imag > 0) & (contour.imag < free.imag)
        contour += PADDING * (1 + 1j)
        if inside.all() and _clear(contour, paddles):
            paddles = np.concatenate([paddles, contour])
        if len(paddles) == wanted:
            break
    return paddles


def _clear(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether no paddle of `a` comes closer than GAP to one of `b`."""
    return bool(np.abs(_points(a)[:, None] - _points(b)).min() > GAP)


def _points(ends: np.ndarray) -> np.ndarray:
    """Both ends and the middle of paddles, `(..., 3 paddles)`."""
    return (ends @ np.array([[1, 0.5, 0], [0, 0.5, 1]])).reshape(*ends.shape[:-2], -1)


def _draw(paddles: np.ndarray, marks: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """White on black, drawn at least ANTIALIAS times finer than CANVAS and than the picture, then averaged."""
    import cv2

    times = max(ANTIALIAS, math.ceil(ANTIALIAS * CANVAS / min(shape)))
    scale = times * min(shape) / CANVAS
    fine = np.zeros((times * shape[0], times * shape[1]), np.uint8)
    along = (paddles[:, 1:] - paddles[:, :1]) / PADDLE
    inset = 0.5 / scale  # OpenCV fills every pixel that a polygon's border touches
    ends = paddles + along * (inset, -inset)
    across = 1j * along * (THICKNESS / 2 - inset)
    corners = np.concatenate([ends - across, (ends + across)[:, ::-1]], 1)
    cv2.fillPoly(fine, list(_sixteenths(corners, scale)), 255, shift=4)
    for mark in _sixteenths(marks, scale):
        cv2.circle(fine, mark.tolist(), round((MARKER * scale - 0.5) * 16), 255, -1, shift=4)
    return cv2.resize(fine, shape[::-1], interpolation=cv2.INTER_AREA)


def _sixteenths(points: np.ndarray, scale: float) -> np.ndarray:
    """Complex points as OpenCV takes them: (x, y) in sixteenths of a pixel, whole at a pixel's middle."""
    return np.rint((np.stack([np.real(points), np.imag(points)], -1) * scale - 0.5) * 16).astype(np.int32)
