"""ConvLSTMs along slices against their equations, PyTorch's LSTM and the published grouping of slices."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from recurseg.layers.conv_lstm import BidirectionalConvLSTM, ConvLSTM, SequenceToSequence


def step(layer, x, h, c):
    """One slice by Tseng et al. 2017, section 3.4; the layer's gates stand in the order i, f, o, cell input."""
    z = F.conv2d(x, layer.weight_x, layer.bias, padding="same") + F.conv2d(h, layer.weight_h, padding="same")
    i, f, o, g = z.chunk(4, dim=1)
    c = c * f.sigmoid() + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def scan(layer, x, state=None):
    zero = x.new_zeros(len(x), layer.width, *x.shape[3:])
    h, c = state or (zero, zero)
    hidden = []
    for plane in x.unbind(2):
        h, c = step(layer, plane, h, c)
        hidden.append(h)
    return torch.stack(hidden, dim=2), (h, c)


def volume(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_equals_the_paper_s_equations_from_zero_and_from_a_state():
    torch.manual_seed(0)
    layer = ConvLSTM(3, 4)
    nn.init.normal_(layer.bias)
    x, start = volume(2, 3, 5, 4, 6), tuple(volume(2, 4, 4, 6, seed=seed) for seed in (1, 2))
    for state in (None, start):
        hidden, final = layer(x, state)
        expected, last = scan(layer, x, state)
        torch.testing.assert_close(hidden, expected)
        torch.testing.assert_close(final, last)


def test_with_a_kernel_of_one_every_pixel_is_pytorch_s_lstm():
    torch.manual_seed(0)
    layer, lstm = ConvLSTM(3, 4, kernel=1), nn.LSTM(3, 4, batch_first=True)
    order = torch.tensor([0, 1, 3, 2])  # PyTorch's gates are i, f, cell input, o
    with torch.no_grad():
        for ours, theirs in ((layer.weight_x, lstm.weight_ih_l0), (layer.weight_h, lstm.weight_hh_l0)):
            theirs.copy_(ours.flatten(1).unflatten(0, (4, 4))[order].flatten(0, 1))
        lstm.bias_ih_l0.copy_(layer.bias.unflatten(0, (4, 4))[order].flatten())
        lstm.bias_hh_l0.zero_()
    x = volume(1, 3, 6, 2, 2)
    pixels = x[0].permute(2, 3, 1, 0).flatten(0, 1)  # (H·W, D, C)
    expected = lstm(pixels)[0].unflatten(0, (2, 2)).permute(3, 2, 0, 1)[None]
    torch.testing.assert_close(layer(x)[0], expected)


@pytest.mark.parametrize("cuts", [(1, 4), (2, 2, 1), (1, 1, 1, 1, 1)], ids=str)
def test_slices_in_chunks_give_what_they_give_whole(cuts):
    layer = ConvLSTM(2, 3)
    x = volume(2, 2, 5, 4, 4)
    hidden, state = [], None
    for chunk in x.split(cuts, dim=2):
        part, state = layer(chunk, state)
        hidden.append(part)
    torch.testing.assert_close(torch.cat(hidden, dim=2), layer(x)[0])


def test_begins_orthogonal_and_remembering():
    layer = ConvLSTM(64, 6)
    for weight in (layer.weight_x, layer.weight_h):
        for gate in weight.split(6):
            rows = gate.detach().flatten(1)
            torch.testing.assert_close(rows @ rows.T, torch.eye(6), atol=1e-5, rtol=0)
    assert layer.bias.detach().view(4, 6).sum(1).tolist() == [0, 6, 0, 0]


def test_state_stays_in_float32_under_autocast():
    layer = ConvLSTM(2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden, (h, c) = layer(volume(1, 2, 4, 3, 3))
    assert hidden.dtype == torch.bfloat16
    assert h.dtype == c.dtype == torch.float32


def test_both_ways_is_one_forth_and_one_back_side_by_side():
    torch.manual_seed(0)
    layer = BidirectionalConvLSTM(2, 3)
    x = volume(1, 2, 4, 3, 5)
    back = scan(layer.back, x.flip(2))[0].flip(2)
    torch.testing.assert_close(layer(x)[0], torch.cat([scan(layer.forth, x)[0], back], dim=1))


def test_writer_starts_from_the_reader_s_state_and_reads_its_own_output():
    torch.manual_seed(0)
    layer = SequenceToSequence(2, 3, length=3)
    x = volume(2, 2, 3, 4, 4)
    _, (h, c) = scan(layer.reader, x)
    written, said = [], h
    for _ in range(3):
        h, c = step(layer.writer, said, h, c)
        said = h
        written.append(h)
    torch.testing.assert_close(layer(x), torch.stack(written, dim=2))


def test_groups_of_slices_follow_each_other_and_the_last_reaches_back():
    layer = SequenceToSequence(2, 3, length=3)
    x = volume(2, 2, 8, 3, 3)  # groups 0-2, 3-5 and 5-7, whose first slice the second group has written
    written = layer(x)
    for start, kept in ((0, slice(0, 3)), (3, slice(0, 3)), (5, slice(1, 3))):
        alone = layer(x[:, :, start : start + 3])[:, :, kept]
        torch.testing.assert_close(written[:, :, start + (kept.start or 0) : start + 3], alone)


def test_155_slices_are_51_groups_of_three_and_two_slices():
    assert SequenceToSequence(1, 1, length=3)(volume(1, 1, 155, 1, 1)).shape == (1, 1, 155, 1, 1)


def test_a_volume_shorter_than_a_group_is_one_group():
    assert SequenceToSequence(1, 2, length=3)(volume(1, 1, 2, 3, 3)).shape == (1, 2, 2, 3, 3)


@pytest.mark.parametrize("layer", [ConvLSTM(2, 3), BidirectionalConvLSTM(2, 3), SequenceToSequence(2, 3)])
def test_every_weight_and_every_slice_gets_a_gradient(layer):
    x = volume(1, 2, 5, 3, 3).requires_grad_()
    out = layer(x)
    (out[0] if isinstance(out, tuple) else out).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in layer.parameters())
    assert (x.grad.abs().sum((0, 1, 3, 4)) > 0).all()
