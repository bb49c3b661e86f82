"""Pathfinder: following the dashes answers it, what lies between and around the discs does not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage
from scipy.sparse.csgraph import connected_components
from scipy.stats import ks_2samp

from recurseg.data.phantoms import write_phantom
from recurseg.data.phantoms.pathfinder import LENGTHS, pathfinder


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Many, of half the size; the centres of their discs; and their classes."""
    images, targets = zip(*(pathfinder(size=(1, 150, 150), case=case) for case in range(600)), strict=True)
    return np.stack(images), np.stack([discs(image) for image in images]), np.array(targets)


def discs(picture: np.ndarray) -> np.ndarray:
    """Centres of the two discs, `(2, 2)`, rows and columns of the picture of 300 pixels."""
    found = ndimage.uniform_filter(picture / 255, 2 * round(3 * picture.shape[0] / 300) + 1)
    parts, number = ndimage.label(found > 0.9 * found.max())
    assert number == 2
    return np.array(ndimage.center_of_mass(found, parts, (1, 2))) * 300 / picture.shape[0]


def follow_the_dashes(picture: np.ndarray) -> int:
    """1 where the discs are joined by paddles that stand 6 apart and turn by at most 50° from one to the next."""
    parts = ndimage.label(picture > 100)[0]
    centres = discs(picture) @ (1j, 1)
    ends = []  # beginning and end of each paddle once in either direction, as x + iy
    for rows, columns in ndimage.find_objects(parts):
        if any(rows.start <= c.imag < rows.stop and columns.start <= c.real < columns.stop for c in centres):
            continue
        y, x = np.mgrid[rows.start - 1 : rows.stop + 1, columns.start - 1 : columns.stop + 1].reshape(2, -1)
        light = picture[y, x].astype(float)
        half = 2.5 * (np.linalg.eigh(np.cov(x, y, aweights=light))[1][:, -1] @ (1, 1j))
        middle = np.average(x + 1j * y, weights=light)
        ends += [(middle - half, middle + half), (middle + half, middle - half)]
    begin, end = np.array(ends).T

    def turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.degrees(np.abs(np.angle(b * np.conj(a))))

    between = begin - end[:, None]
    bent = np.maximum(turn((end - begin)[:, None], between), turn(between, end - begin))
    links = (np.abs(between) < 6.5) & (bent < 40)
    links |= np.arange(len(ends))[:, None] // 2 == np.arange(len(ends)) // 2
    group = connected_components(links, directed=False)[1]
    left = [(np.abs(np.abs(begin - c) - 10.8) < 0.9) & (turn(begin - c, end - begin) < 50) for c in centres]
    return int(bool(set(group[left[0]]) & set(group[left[1]])))


@pytest.mark.parametrize("length", LENGTHS)
def test_following_the_dashes_gives_the_answer(length: int) -> None:
    answers = [
        (follow_the_dashes(picture), target)
        for picture, target in (pathfinder(length=length, case=i) for i in range(30))
    ]
    assert np.mean([answer == target for answer, target in answers]) > 0.9


def test_exactly_half_are_connected_in_no_order() -> None:
    for length, seed in ((6, 0), (14, 0), (6, 1)):
        targets = np.array([pathfinder(length=length, size=(1, 64, 64), seed=seed, case=i)[1] for i in range(60)])
        assert targets.sum() == 30
        for n in (2, 3, 5):
            assert 0 < targets[::n].mean() < 1
        assert 3 < np.abs(np.diff(targets[::2])).sum() < 26


def test_the_distance_of_the_discs_has_one_distribution(pictures) -> None:
    _, centres, targets = pictures
    distance = np.linalg.norm(centres[:, 0] - centres[:, 1], axis=1)
    assert 40 < np.median(distance) < 66  # six paddles of 5 with 6 between, bent
    assert ks_2samp(distance[targets == 0], distance[targets == 1]).pvalue > 0.01


def test_a_linear_reader_of_sums_and_disc_positions_guesses(pictures) -> None:
    images, centres, targets = pictures
    features = np.stack(
        [
            images.mean((1, 2)),
            images.std((1, 2)),
            np.mean(images > 127, (1, 2)),
            np.linalg.norm(centres[:, 0] - centres[:, 1], axis=1),
            np.linalg.norm(centres.mean(1) - 150, axis=1),
            np.linalg.norm(centres - 150, axis=2).max(1),
        ],
        1,
    )
    features = np.column_stack([(features - features.mean(0)) / features.std(0), np.ones(len(features))])
    train, test = slice(None, 400), slice(400, None)
    weights = np.linalg.lstsq(features[train], targets[train] - 0.5, rcond=None)[0]
    assert np.mean((features[test] @ weights > 0) == targets[test]) == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("length", LENGTHS)
def test_two_contours_and_fifteen_of_a_third_of_their_length_that_do_not_touch(length: int) -> None:
    paddles = 2 * length + 15 * (length // 3)
    for case in range(4):
        picture, _ = pathfinder(length=length, case=case)
        parts, number = ndimage.label(picture > 100)
        assert number == paddles  # the discs hide one each
        areas = np.bincount(parts.ravel(), picture.ravel() / 255)[1:]
        assert np.sort(areas)[-2:] == pytest.approx([np.pi * 5**2] * 2, rel=0.1)
        assert np.median(areas) == pytest.approx(5 * 2, rel=0.15)
        assert not picture[:17].any()
        assert not picture[:, -17:].any()


def test_a_smaller_canvas_shows_the_same_drawing_smaller() -> None:
    large, target = pathfinder(case=7)
    for side in (150, 100):
        small, same = pathfinder(size=(1, side, side), case=7)
        averaged = large.reshape(side, 300 // side, side, 300 // side).mean((1, 3))
        assert same == target
        assert np.abs(small - averaged).max() < 3


def test_a_wider_canvas_has_more_room_and_the_same_paddles() -> None:
    picture, _ = pathfinder(size=(1, 300, 450))
    assert picture.shape == (300, 450)
    assert ndimage.label(picture > 100)[1] == 42
    assert picture[:, 300:].any()


def test_files_are_a_folder_a_class_and_the_manifest_says_so(tmp_path: Path) -> None:
    import yaml
    from PIL import Image

    out = write_phantom("pathfinder_9", tmp_path / "paths", cases=4, size=(1, 80, 80))
    manifest = yaml.safe_load((out / "dataset.yaml").read_text())
    assert manifest["classes"] == {0: "apart", 1: "connected"}
    for index, case in enumerate(manifest["cases"]):
        picture, target = pathfinder(length=9, size=(1, 80, 80), case=index)
        file = case["images"]["picture"]
        assert np.array_equal(np.array(Image.open(out / file)), picture)
        assert case["target"] == target == ("apart", "connected").index(Path(file).parent.name)
        assert "label" not in case
