"""The non-local block against its equation, and its fused twin against it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recurseg.layers.non_local import NonLocalBlock


def build(channels=4, *, fused=False):
    torch.manual_seed(0)
    block = NonLocalBlock(channels, fused=fused)
    torch.nn.init.normal_(block.out.weight)
    torch.nn.init.normal_(block.out.bias)
    return block


def image(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("spatial", [(5,), (3, 4), (2, 3, 4), (1, 1, 1)], ids=str)
def test_equals_its_equation_written_out(spatial, fused):
    block, x = build(fused=fused), image(2, 4, *spatial)
    theta, phi, g, out = ((m.weight.unsqueeze(2), m.bias) for m in (block.theta, block.phi, block.g, block.out))
    theta, phi, g = (F.conv1d(x.flatten(2), *maps) for maps in (theta, phi, g))
    heard = torch.stack([value @ (a.T @ b).softmax(1).T for a, b, value in zip(theta, phi, g, strict=True)])
    expected = x + F.conv1d(heard, *out).view_as(x)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_fused_and_plain_have_the_same_gradients():
    mask = torch.ones(1, 1, 3, 4, dtype=torch.bool)
    mask[..., 3:] = False
    found = []
    for fused in (False, True):
        block, x = build(fused=fused), image(2, 4, 3, 4).requires_grad_()
        block(x, mask).sin().sum().backward()
        found.append([x.grad, *(parameter.grad for parameter in block.parameters())])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
def test_padding_is_as_good_as_absent(fused):
    block, x = build(fused=fused), image(2, 4, 3, 5)
    mask = torch.ones(1, 1, 3, 5, dtype=torch.bool)
    mask[..., 3:] = False
    out = block(x, mask)
    torch.testing.assert_close(out[..., :3], block(x[..., :3]), rtol=1e-4, atol=1e-5)
    assert torch.equal(out[..., 3:], x[..., 3:])


def test_a_fresh_block_changes_nothing_and_has_the_parameters_of_its_four_maps():
    block, x = NonLocalBlock(512), image(1, 512, 2, 2)
    assert torch.equal(block(x), x)
    assert sum(p.numel() for p in block.parameters()) == 3 * (512 * 256 + 256) + 256 * 512 + 512


@pytest.mark.parametrize("fused", [False, True], ids=["plain", "fused"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_sums_beyond_the_range_of_fp16_stay_finite(dtype, fused):
    block, x = build(fused=fused), 300 * image(1, 4, 3, 4).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        out = block(x)
    assert out.isfinite().all()


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that any operation inside writes."""

    numbers = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        found = operation(*args, **(kwargs or {}))
        written = [t.untyped_storage().nbytes() // t.element_size() for t in tree_leaves(found) if torch.is_tensor(t)]
        self.numbers = max(self.numbers, *written, 0)
        return found


@pytest.mark.parametrize("padded", [False, True], ids=["whole", "padded"])
def test_fused_writes_no_map_of_all_voxels_by_all_voxels(padded):
    mask = torch.arange(300).view(1, 1, 300) < 290 if padded else None
    numbers = []
    for fused in (False, True):
        with Largest() as largest:
            build(fused=fused)(image(1, 4, 300).requires_grad_(), mask).sum().backward()
        numbers.append(largest.numbers)
    assert numbers[0] >= 300**2
    assert numbers[1] < 300 * 20
