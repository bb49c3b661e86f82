from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recurseg.models.padding import crop_to, pad_to_multiple

axes = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 8)), min_size=2, max_size=3)


@settings(max_examples=40, deadline=None)
@given(axes)
def test_padding_fills_the_multiple_and_cropping_undoes_it(axes):
    size, multiple = zip(*axes, strict=True)
    image = torch.randn(2, 3, *size)
    padded = pad_to_multiple(image, multiple)
    for before, after, step in zip(size, padded.shape[2:], multiple, strict=True):
        assert after % step == 0
        assert before <= after < before + step
    assert torch.equal(crop_to(padded, size), image)


@pytest.mark.parametrize(("mode", "numpy_mode"), [("replicate", "edge"), ("zero", "constant")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_padding_equals_numpy(mode, numpy_mode, dtype):
    image = torch.arange(2 * 3 * 5.0).reshape(1, 2, 1, 3, 5).to(dtype)
    wanted = np.pad(image.float().numpy(), [(0, 0), (0, 0), (0, 3), (0, 1), (0, 3)], mode=numpy_mode)
    np.testing.assert_array_equal(pad_to_multiple(image, (4, 4, 4), mode=mode).float().numpy(), wanted)


def test_what_fits_is_not_copied():
    image = torch.zeros(1, 1, 16, 32)
    assert pad_to_multiple(image, (16, 16), positions=2) is image


@pytest.mark.parametrize(("size", "wanted"), [((1, 1), (16, 32)), ((16, 16), (16, 32)), ((17, 3), (32, 16))], ids=str)
def test_two_positions_stay_for_normalisation(size, wanted):
    assert pad_to_multiple(torch.zeros(1, 1, *size), (16, 16), positions=2).shape[2:] == wanted
