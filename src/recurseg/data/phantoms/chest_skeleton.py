"""Bones of a made-up chest, as clouds of points."""

from __future__ import annotations

import numpy as np

from .chest_anatomy import Chest, profile, wall_at
from .chest_projection import Cloud, join, tube


def skeleton(rng: np.random.Generator, chest: Chest, step: float) -> Cloud:
    """Ribs, spine, clavicles, shoulder blades and humeri; volumes in cm³ of compact bone."""
    return join([*_ribs(rng, chest, step), *_spine(rng, chest, step), *_shoulders(rng, chest, step)])


def _scaled(cloud: Cloud, density: float) -> Cloud:
    return Cloud(cloud.points, cloud.volume * density)


def _ribs(rng: np.random.Generator, chest: Chest, step: float) -> list[Cloud]:
    """Twelve pairs: arcs from the spine around the side down to the cartilage, where bone ends."""
    clouds = []
    size = 0.048 * chest.width * rng.uniform(0.9, 1.15)
    spread = chest.height * rng.uniform(0.098, 0.108)
    lift = rng.uniform(-0.02, 0.05) * chest.height
    for number in range(12):
        ends = np.radians(np.interp(number, [0, 1, 5, 8, 10, 11], [125, 150, 152, 140, 85, 60]))
        slope = chest.slope * np.interp(number, [0, 2, 6, 11], [0.55, 0.8, 1, 1.05])
        for s in (-1, 1):
            angle = np.linspace(0.1, ends, 60)
            turned = (1 - np.cos(angle)) / 2
            arch = -0.05 * chest.height * np.sin(np.clip(angle, 0, 1.2) * 2.6) * (1 - chest.child * 0.5)
            v = (number - 0.9) * spread + lift + arch + slope * chest.height * turned**1.15
            v = v + chest.height * rng.normal(0, 0.004)
            level = np.maximum(v, 0.03 * chest.height)
            u = s * (wall_at(chest, level) + 0.015 * chest.width) * np.sin(angle) ** 0.9
            w = -chest.depth * (0.35 + 0.65 * profile(chest, level)) * np.cos(angle)
            height = size * np.interp(angle, [0.1, 0.6, 2.0, 2.7], [0.8, 1, 1.05, 1.3])
            thick = height * np.interp(angle, [0.1, 1.5, 2.1, 2.7], [0.7, 0.6, 0.4, 0.22])  # flat in front
            clouds.append(tube(np.stack([u, v, w], -1), np.stack([height, thick], -1), step, hollow=0.7))
    return clouds


def _spine(rng: np.random.Generator, chest: Chest, step: float) -> list[Cloud]:
    """A slightly bent column of 23 vertebrae, copies of one."""
    spread = chest.height * 0.104
    bend, phase = rng.normal(0, 0.03) * chest.width, rng.uniform(0, 2 * np.pi)
    wide = 0.15 * chest.width
    model = _vertebra(wide, 0.4 * spread, step)
    clouds = []
    for number in range(-6, 17):
        size = np.interp(number, [-6, 0, 12, 16], [0.6, 0.73, 0.97, 1.07])
        v = (number - 0.6) * spread
        place = [bend * np.sin(2 * np.pi * v / (2.5 * chest.height) + phase), v, -1.05 * chest.depth]
        clouds.append(Cloud(model.points * [size, 1, size] + place, model.volume * size**2))
    return clouds


def _vertebra(wide: float, tall: float, step: float) -> Cloud:
    """Body with end plates, two pedicles, transverse and spinous processes around the origin; half sizes in cm."""
    ring = np.linspace(0, 2 * np.pi, 14)
    parts = [_scaled(_rod([-wide, 0, 0], [wide, 0, 0], (tall, wide), 2 * step), 0.1)]
    for end in (-tall, tall):
        parts.append(_scaled(_rod([-wide, end, 0], [wide, end, 0], (0.12 * tall, 0.6 * wide), step), 0.4))
    for s in (-1, 1):
        eye = [s * 0.62 * wide + 0.16 * wide * np.cos(ring), 0.24 * (wide * np.sin(ring) - tall), np.full(14, -wide)]
        parts.append(tube(np.stack(eye, -1), (0.06 * wide, 0.25 * wide), step))
        process = [s * 0.6 * wide, -0.35 * tall, -wide], [s * 1.75 * wide, -0.6 * tall, -wide]
        parts.append(_scaled(_rod(*process, (0.16 * wide, 0.2 * wide), step), 0.5))
    spinous = [0, 0.25 * tall, -1.2 * wide], [0, 1.9 * tall, -2 * wide]
    return join([*parts, _scaled(_rod(*spinous, (0.11 * wide, 0.4 * wide), step), 0.4)])


def _rod(start: list[float], end: list[float], radius: tuple[float, float], step: float) -> Cloud:
    return tube(np.array([start, end]), radius, step)


def _shoulders(rng: np.random.Generator, chest: Chest, step: float) -> list[Cloud]:
    """Clavicles, shoulder blades and humeri, a little higher on one side than on the other."""
    width, height, depth = chest.width, chest.height, chest.depth
    clouds = []
    tilt = rng.uniform(-0.02, 0.12) * height
    outward = rng.uniform(-0.04, 0.1) * width
    for s in (-1, 1):
        raised = tilt + rng.normal(0, 0.01) * height
        along = np.linspace(0, 1, 40)
        u = s * width * (0.13 + 1.02 * along)
        v = height * (0.13 - 0.02 * np.sin(2 * np.pi * along)) - raised * along - 0.06 * height * along
        w = depth * (0.75 - 0.5 * along + 0.12 * np.sin(2 * np.pi * along))
        thick = 0.05 * width * (1 + 0.35 * np.cos(2 * np.pi * along))
        clouds.append(tube(np.stack([u, v, w], -1), np.stack([thick, thick], -1), step, hollow=0.6))
        clouds += _shoulder_blade(chest, s, outward, raised, step)
        joint = np.array([s * (1.17 * width + 0.5 * chest.wall), 0.05 * height - 0.5 * raised, -0.2 * depth])
        towards = np.array([s * np.sin(chest.arms), np.cos(chest.arms), 0])
        shaft = joint + 2 * width * np.outer([-0.06, 0.08, 0.2, 1], towards)
        bore = width * np.array([0.17, 0.15, 0.085, 0.08])
        clouds.append(tube(shaft, np.stack([bore, bore], -1), step, hollow=0.75))
    return clouds


def _shoulder_blade(chest: Chest, s: int, outward: float, raised: float, step: float) -> list[Cloud]:
    """A thin triangle with thick borders, its spine and the acromion, the coracoid process."""
    width, height, back = chest.width, chest.height, -0.9 * chest.depth
    inner, tip, socket = (
        np.array([s * (x * width + outward), y * height - 0.5 * raised, back])
        for x, y in ((0.74, 0.06), (0.98, 0.5), (1.08, 0.11))
    )
    count = int(np.ceil(0.6 * height / step))
    a, b = (np.mgrid[:count, :count].reshape(2, -1) + 0.5) / count
    a = np.sqrt(a)
    flat = np.outer(1 - a, inner) + np.outer(a * (1 - b), tip) + np.outer(a * b, socket)
    (x1, y1, _), (x2, y2, _) = tip - inner, socket - inner
    area = abs(x1 * y2 - y1 * x2) / 2
    blade = Cloud(flat, np.full(len(flat), area * 0.012 * width / len(flat)))
    bow = 0.05 * width * np.sin(np.linspace(0, np.pi, 20))[:, None] * np.array([s, 0, 0])
    edges = [(inner, tip, -1, 0.018), (tip, socket, -0.4, 0.028), (inner, socket, 0, 0.014)]
    lines = [
        tube(a + np.linspace(0, 1, 20)[:, None] * (b - a) + bend * bow, (thick * width,) * 2, step)
        for a, b, bend, thick in edges
    ]
    acromion = np.array([s * 1.3 * width, -0.02 * height - raised, back * 0.5])
    root = inner + 0.25 * (tip - inner)
    spine = np.stack([root, (root + acromion) / 2 + [0, 0.01 * height, 0], acromion])
    lines.append(_scaled(tube(spine, np.array([[0.02, 0.03], [0.04, 0.04], [0.06, 0.04]]) * width, step), 0.6))
    hook = socket + np.array([[-s * 0.08 * width, -0.02 * height, 0.3], [-s * 0.02 * width, 0.015 * height, 3]])
    lines.append(_scaled(tube(hook, (0.04 * width, 0.04 * width), step), 0.12))
    return [blade, *lines]
