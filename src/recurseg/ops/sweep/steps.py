"""What a step of the scan does between two convolutions, number by number, with the factors of `scan.py`."""

from __future__ import annotations

import torch
from torch import Tensor

_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input


class Forward:
    """The steps of a block.

    Args:
        gates: What the input adds to the gates, `(T, B, G, 4O, H, W)`; become the gates after their non-linearity.
        hidden: Become the hidden states, `(T, B, G, O, H, W)`.
    """

    def __init__(self, gates: Tensor, hidden: Tensor) -> None:
        self._steps = list(zip(*(part.unbind() for part in (gates, *gates.chunk(4, 3), hidden)), strict=True))

    def step(self, t: int, recurrent: Tensor | None, before: Tensor | None, cell: Tensor) -> Tensor:
        """Takes step t and returns its hidden state.

        Args:
            t: Step.
            recurrent: What the last hidden state adds to the gates, `(B, G, 4O, H, W)`, or None.
            before: The last cell, `(B, G, O, H, W)`, or None for zero; may be `cell`.
            cell: Becomes the new cell.
        """
        gates, s, i, f, o, hidden = self._steps[t]
        if recurrent is not None:
            gates += recurrent
        gates.sigmoid_()
        if before is None:
            torch.mul(i, -2, out=cell)
        else:
            torch.mul(f, before, out=cell).sub_(i, alpha=2)
        cell.addcmul_(i, s, value=4)
        torch.sigmoid(cell, out=hidden)
        return hidden.sub_(0.5).mul_(o)


class Backward:
    """The steps of a block, taken from the last to the first.

    All that does not wait for a later step is done at once: the derivatives of the gates by the cell (by the hidden
    state, for the output gate), and of the hidden state by the cell.

    Args:
        gates: After their non-linearity, `(T, B, G, 4O, H, W)`.
        cells: `(T, B, G, O, H, W)`.
        before: The cells one step earlier.
        grad: Gradient of the hidden states from outside the scan, in float32.
        dtype: Of the gradient of the gates that is wanted, if the step can choose.

    Attributes:
        of_gates: The gradient of the gates before their non-linearity, `(T, B, G, 4O, H, W)`.
    """

    def __init__(self, gates: Tensor, cells: Tensor, before: Tensor, grad: Tensor, dtype: torch.dtype) -> None:
        parts, t = gates.unflatten(3, (4, -1)), cells.sigmoid()
        slopes = torch.empty_like(parts)
        (s, i, f, o), (to_s, to_i, to_f, to_o) = parts.unbind(3), slopes.unbind(3)
        _sigmoid_backward(4 * i, s, grad_input=to_s)
        _sigmoid_backward((4 * s).sub_(2), i, grad_input=to_i)
        _sigmoid_backward(before, f, grad_input=to_f)
        _sigmoid_backward(t - 0.5, o, grad_input=to_o)
        to_cell = _sigmoid_backward(o, t, grad_input=t)
        each = (grad, to_cell, slopes[:, :, :, :3], to_o, f)
        self._steps = list(zip(*(part.unbind() for part in each), strict=True))
        self.of_gates = slopes.flatten(3, 4)

    def step(self, t: int, grad_hidden: Tensor, grad_cell: Tensor) -> Tensor:
        """Takes step t: `of_gates[t]` is there afterwards; returns the gradient of the cell one step earlier.

        Args:
            t: Step.
            grad_hidden: Gradient of its hidden state from the step after; is overwritten.
            grad_cell: Gradient of its cell from the step after; is overwritten.
        """
        grad, to_cell, cell_gates, to_o, f = self._steps[t]
        grad_hidden += grad
        grad_cell.addcmul_(grad_hidden, to_cell)
        to_o *= grad_hidden
        cell_gates *= grad_cell.unsqueeze(2)
        return grad_cell.mul_(f)
