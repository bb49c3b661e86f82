"""X-rays through made-up bodies: how many centimetres of a thing lie on the way to each pixel.

A body has u to the image's right (the patient's left), v down and w towards its chest, in centimetres; the origin
lies in the midline at the level of the lungs' apices. Rays run along w. Solids are projected by formula, thin
structures as clouds of points, each with its volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Field = np.ndarray


@dataclass(frozen=True)
class Cloud:
    """A thing as points: `(N, 3)` (u, v, w) in cm and the volume that each stands for, `(N,)` cm³."""

    points: np.ndarray
    volume: np.ndarray


def join(clouds: list[Cloud]) -> Cloud:
    """Several clouds as one."""
    return Cloud(np.concatenate([c.points for c in clouds]), np.concatenate([c.volume for c in clouds]))


@dataclass(frozen=True)
class View:
    """Where the detector's pixels lie on the patient.

    Attributes:
        shape: Rows, columns.
        pixel: Edge of a pixel in cm.
        origin: Row and column of the body's origin.
        roll: Radians that the patient leans to the image's right.
        turn: Radians that the patient is turned about the long axis; the chest moves to the image's right.
    """

    shape: tuple[int, int]
    pixel: float
    origin: tuple[float, float]
    roll: float
    turn: float

    def grid(self) -> tuple[Field, Field]:
        """u and v of every pixel's middle."""
        rows, columns = np.mgrid[: self.shape[0], : self.shape[1]].astype(np.float32)
        down, right = (rows - self.origin[0]) * self.pixel, (columns - self.origin[1]) * self.pixel
        cos, sin = np.float32(np.cos(self.roll)), np.float32(np.sin(self.roll))
        return cos * right + sin * down, cos * down - sin * right

    def shift(self, w: float) -> float:
        """How far the turn moves what lies at depth w, in cm along u."""
        return w * float(np.sin(self.turn))

    def project(self, cloud: Cloud) -> Field:
        """Centimetres of a cloud on the way to each pixel."""
        u, v, w = cloud.points.T.astype(np.float32)
        u = u * np.float32(np.cos(self.turn)) + w * np.float32(np.sin(self.turn))
        cos, sin = np.float32(np.cos(self.roll) / self.pixel), np.float32(np.sin(self.roll) / self.pixel)
        row, column = sin * u + cos * v + np.float32(self.origin[0]), cos * u - sin * v + np.float32(self.origin[1])
        height, width = self.shape
        total = np.zeros((height + 2) * (width + 2))
        top, left = np.floor(row).astype(int), np.floor(column).astype(int)
        for i in (0, 1):
            for j in (0, 1):
                share = np.abs(1 - i - (row - top)) * np.abs(1 - j - (column - left)) * cloud.volume
                place = np.clip(top + i + 1, 0, height + 1) * (width + 2) + np.clip(left + j + 1, 0, width + 1)
                total += np.bincount(place, share, len(total))
        return (total.reshape(height + 2, width + 2)[1:-1, 1:-1] / self.pixel**2).astype(np.float32)


def ellipsoid(
    u: Field, v: Field, centre: tuple[float, float], semi: tuple[float, float], depth: float, tilt: float = 0
) -> Field:
    """Chords of an ellipsoid: `semi` (along u, along v) and half `depth` in cm, tilted in the image by radians."""
    x, y = u - centre[0], v - centre[1]
    cos, sin = np.float32(np.cos(tilt)), np.float32(np.sin(tilt))
    inside = 1 - ((cos * x + sin * y) / semi[0]) ** 2 - ((cos * y - sin * x) / semi[1]) ** 2
    return 2 * depth * np.sqrt(np.clip(inside, 0, None))


def capsule(
    u: Field, v: Field, start: tuple[float, float], end: tuple[float, float], radius: tuple[float, float]
) -> Field:
    """Chords of a rod with round ends whose radius runs from the first value to the second."""
    along = np.subtract(end, start).astype(np.float32)
    x, y = u - start[0], v - start[1]
    t = np.clip((x * along[0] + y * along[1]) / (along @ along), 0, 1)
    thick = radius[0] + t * (radius[1] - radius[0])
    return 2 * np.sqrt(np.clip(thick**2 - (x - t * along[0]) ** 2 - (y - t * along[1]) ** 2, 0, None))


def merge(*chords: Field) -> Field:
    """Chords of overlapping solids as one, without creases where they meet."""
    return np.sum([chord**4 for chord in chords], 0) ** np.float32(0.25)


def strips(radius: float, step: float, hollow: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """A round cross-section cut along the rays: where strips lie, -1..1 of the radius, and their shares of its area.

    Args:
        radius: In cm.
        step: Widest strip in cm.
        hollow: Radius of a hole as a share of the radius.
    """
    count = max(2, int(np.ceil(2 * radius / step)))
    x = (2 * np.arange(count) + 1) / count - 1
    chord = np.sqrt(1 - x**2) - np.sqrt(np.clip(hollow**2 - x**2, 0, None))
    return x, chord / chord.sum()


def tube(path: np.ndarray, radius: tuple[float, float] | np.ndarray, step: float, *, hollow: float = 0) -> Cloud:
    """A bent rod as points, cut into strips along the rays.

    Args:
        path: `(N, 3)` points on its axis in cm.
        radius: Half height (across axis and rays) and half depth in cm, or `(N, 2)` of them.
        step: Centimetres between points.
        hollow: 0 a solid rod, towards 1 a pipe.
    """
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    arc = np.concatenate([[0], np.cumsum(lengths)])
    radius = np.broadcast_to(np.asarray(radius, float), (len(path), 2))
    count = max(2, int(np.ceil(arc[-1] / step)))
    at = (np.arange(count) + 0.5) / count * arc[-1]
    axis, size = (np.stack([np.interp(at, arc, column) for column in table.T], -1) for table in (path, radius))
    tangent = np.gradient(axis, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    along = tangent[:, :2] / (np.linalg.norm(tangent[:, :2], axis=1, keepdims=True) + 1e-9)
    x, share = strips(float(radius[:, 0].max()), step, hollow)
    spread = 2 * (np.arange(count) * 0.618034 % 1) - 1
    end_on = size[:, 1] * tangent[:, 2] ** 7 * spread  # a rod seen from its end is round
    points = np.repeat(axis[:, None], len(x), 1)
    points[..., :2] += (size[:, :1] * x)[..., None] * (along[:, ::-1] * [1, -1])[:, None]
    points[..., :2] += (end_on[:, None] * along)[:, None]
    volume = np.pi * size.prod(1) * (1 - hollow**2) * arc[-1] / count
    return Cloud(points.reshape(-1, 3), np.outer(volume, share).ravel())
