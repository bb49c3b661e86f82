"""A cine is predicted frame by frame, from series that end at a frame, or streamed with the state carried on."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recurseg.data.series import frames_up_to
from recurseg.inference.cine import predict_cine


class Sum(nn.Module):
    """Adds up the frames that it has seen: logits are (0, sum)."""

    task, spatial_dims, sequence_axis = "segmentation", 2, "time"

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, image: Tensor, state: Tensor | None = None, *, return_state: bool = False):
        frames = image if image.ndim == 5 else image[:, :, None]
        total = (0 if state is None else state) + self.weight * frames.cumsum(dim=2)
        logits = torch.cat([torch.zeros_like(total), total], dim=1)
        logits = logits if image.ndim == 5 else logits[:, :, 0]
        return (logits, total[:, :, -1:]) if return_state else logits


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(1, 5, 3, 6, 4)).astype(np.float32)  # C, T, D, H, W


def logit(probabilities: np.ndarray) -> np.ndarray:
    return np.log(probabilities[1] / probabilities[0])


@pytest.mark.parametrize(
    ("frame", "length", "frames", "expected"),
    [
        (5, 3, 10, [3, 4, 5]),  # end-systole: in the order of time
        (0, 3, 10, [2, 1, 0]),  # end-diastole: backward
        (2, 3, 10, [0, 1, 2]),
        (0, 4, 2, [1, 1, 1, 0]),  # a cine shorter than the series
        (7, 1, 10, [7]),
    ],
)
def test_a_series_ends_at_its_frame(frame, length, frames, expected):
    assert frames_up_to(frame, length, frames) == expected


def test_each_frame_by_itself(image):
    found = predict_cine(Sum(), image, frames="each", window=(1, 6, 4))
    assert found.shape == (2, 5, 3, 6, 4)
    np.testing.assert_allclose(logit(found), image[0], atol=1e-5)


def test_a_frame_is_seen_with_the_series_that_ends_at_it(image):
    found = predict_cine(Sum(), image, frames="series", window=(3, 6, 4))
    seen = [[2, 1, 0], [3, 2, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
    expected = np.stack([image[0, frames].sum(axis=0) for frames in seen])
    np.testing.assert_allclose(logit(found), expected, atol=1e-4)


def test_windows_in_the_section_and_mirrors_change_nothing_for_a_network_of_pixels(image):
    whole = predict_cine(Sum(), image, frames="series", window=(3, 6, 4))
    tiled = predict_cine(Sum(), image, frames="series", window=(3, 4, 3), flips=True)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 2, 5, 9])
def test_streaming_carries_the_state_over_all_frames(image, chunk):
    done = []
    found = predict_cine(Sum(), image, frames="stream", window=(chunk, 6, 4), progress=done.append)
    np.testing.assert_allclose(logit(found), image[0].cumsum(axis=0), atol=1e-4)
    assert done[-1] == 1


@pytest.mark.parametrize("frames", ["each", "series", "stream"])
def test_some_frames_are_as_they_are_among_all(image, frames):
    settings = {"frames": frames, "window": (1 if frames == "each" else 3, 6, 4)}
    whole = predict_cine(Sum(), image, **settings)
    some = predict_cine(Sum(), image, only=[0, 3], **settings)
    np.testing.assert_allclose(some, whole[:, [0, 3]], atol=1e-6)


def test_a_cine_of_one_slice_has_no_slice_axis(image):
    flat = predict_cine(Sum(), image[:, :, 1], frames="series", window=(2, 6, 4))
    assert flat.shape == (2, 5, 6, 4)
    np.testing.assert_allclose(
        flat, predict_cine(Sum(), image, frames="series", window=(2, 6, 4))[:, :, 1], atol=1e-6
    )
