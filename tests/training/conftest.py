import numpy as np
import pytest
import tifffile


@pytest.fixture(scope="session")
def make_stacks():
    """Writes a data set of four small volumes into a folder: bright balls in noise."""
    return _write_stacks


@pytest.fixture
def stacks(tmp_path):
    """A data set of four small volumes: bright balls in noise."""
    return _write_stacks(tmp_path / "data")


@pytest.fixture
def small():
    """Settings that make any training take seconds."""
    return [
        "model.options={widths: [2, 3], pixelwise: [4], kernel: 3, block: [2, 2], init: orthogonal}",
        "stages=[{steps: 12, window: [3, 12, 12], batch: 2}]",
        "validation.times=3",
        "checkpoint.every=3",
    ]


def _write_stacks(root):
    random = np.random.default_rng(0)
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    z, y, x = np.mgrid[:5, :20, :18]
    for case in range(4):
        ball = (z - 2) ** 2 * 4 + (y - 8 - case) ** 2 + (x - 9) ** 2 < 36
        image = random.normal(100, 20, ball.shape) + 60 * ball
        for name, array in (("images", image.astype(np.float32)), ("labels", ball.astype(np.uint8))):
            metadata = {"axes": "ZYX", "spacing": 3, "unit": "mm"}
            path = root / name / f"case{case}.tif"
            tifffile.imwrite(path, array, imagej=True, metadata=metadata, resolution=(1, 1))
    return root
