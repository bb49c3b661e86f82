"""The textbook forms that ours are measured against compute the same, and hold and take what textbooks say."""

import pytest
import torch
from torch import nn

from recurseg.bench.low_memory import multiply_adds
from recurseg.bench.multiply_adds import forward_multiply_adds
from recurseg.bench.textbook import ConvLSTMCell, TextbookConvLSTM, textbook
from recurseg.layers.actors import LSTMActors
from recurseg.layers.conv_lstm import ConvLSTM, SequenceToSequence
from recurseg.layers.md_lstm import MDLSTM
from recurseg.layers.slice_attention import RSABlock
from recurseg.layers.sweep import PyramidSweep
from recurseg.models import create_model

SMALL = {"widths": (3,), "pixelwise": (), "kernel": 3}


def gradients(module: nn.Module, image: torch.Tensor) -> list[torch.Tensor]:
    image = image.clone().requires_grad_()
    found = module(image)
    hidden = found[0] if isinstance(found, tuple) else found
    return [hidden, *torch.autograd.grad(hidden.square().sum(), image)]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (PyramidSweep(2, 3, kernel=3), (2, 2, 3, 4, 5)),
        (PyramidSweep(2, 3, kernel=3, spatial_dims=2), (2, 2, 4, 5)),
        (ConvLSTM(2, 3), (2, 2, 3, 4, 5)),
        (SequenceToSequence(2, 3, length=2), (1, 2, 5, 3, 4)),
        (
            create_model("pyramid_lstm", in_channels=1, num_classes=2, widths=(3,), pixelwise=(), kernel=3),
            (1, 1, 3, 3, 4),
        ),
    ],
    ids=["pyramid", "pyramid of an image", "convlstm", "with a state", "a network"],
)
def test_the_textbook_loop_computes_what_ours_does(layer, shape):
    loop = textbook(layer)
    assert loop is not None
    assert any(isinstance(part, ConvLSTMCell) for part in loop.modules())
    torch.testing.assert_close(gradients(loop, torch.ones(shape)), gradients(layer, torch.ones(shape)))


def test_ours_is_left_as_it_is():
    layer = nn.Sequential(ConvLSTM(2, 3))
    textbook(layer)
    assert isinstance(layer[0], ConvLSTM)


def test_what_has_no_textbook_form_has_none():
    assert textbook(nn.Sequential(MDLSTM(1, 2), LSTMActors(2, 3))) is None


def test_the_textbook_form_of_slice_attention_compares_all_voxels():
    network = textbook(nn.Sequential(RSABlock(4)))
    assert network is not None
    voxels = 2 * 3 * 4
    assert forward_multiply_adds(network, (1, 4, 2, 3, 4)) == 4 * voxels * 4 * 2 + 2 * voxels**2 * 2


def test_a_cell_by_hand():
    """Gates all 0 but the input gate's bias: c = σ(2) tanh(0) = 0 from nothing, c = c/2 from a cell before."""
    cell = ConvLSTMCell(1, 1, kernel=1)
    nn.init.zeros_(cell.gates.weight)
    with torch.no_grad():
        cell.gates.bias.copy_(torch.tensor([2.0, 0.0, 0.0, 0.0]))
    h, c = TextbookConvLSTM(cell)(
        torch.ones(1, 1, 2, 1, 1), (torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), 4.0))
    )[1]
    assert c.item() == pytest.approx(1.0)
    assert h.item() == pytest.approx(0.5 * torch.tanh(torch.tensor(1.0)).item())


def test_a_direction_s_multiply_adds_are_those_that_torch_counts():
    layer = ConvLSTM(16, 32, kernel=7)
    assert multiply_adds((3, 8, 9)) == forward_multiply_adds(layer, (1, 16, 3, 8, 9))
