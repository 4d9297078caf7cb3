"""A GRU over packed sequences with a leading group axis and a hand-written backward pass.

Sequences of different lengths are packed: rows are sorted by length, longest first, and step t holds only the
`counts[t]` rows that are that long. The P = sum(counts) packed rows stand one step after the other, so the state
before step t is a prefix of step t - 1's rows, and no work is done on padding. The input-to-gate product and the
recurrent weight gradient are one GEMM each over all rows; only the recurrence itself is a loop. On full-length
sequences it is the same function as `torch.nn.GRU`.

Shape legend: G groups of parameters (ensemble members, or agents that do not share), M rows, I inputs, H hidden.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch as th
from torch import Tensor, nn

from modules import gru_kernels


def _steps(counts: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(first row of the step before, first row, number of rows) of every step; the first step's before is -1."""
    previous, start = -1, 0
    for count in counts:
        yield previous, start, count
        previous, start = start, start + count


def _before(hidden: Tensor, h_0: Tensor, previous: int, count: int) -> Tensor:
    """h_{t-1} of the rows of step t, `[G,count,H]`."""
    return h_0[:, :count] if previous < 0 else hidden[:, previous : previous + count]


def _compiled(x: Tensor) -> bool:
    return x.device.type == "cpu" and x.dtype == th.float32


def _forward(start: int, x_gates: Tensor, h_gates: Tensor, before: Tensor, saved: tuple[Tensor, ...]) -> None:
    """One step in PyTorch operations, for any device and precision; see `gru_kernels.forward_step`."""
    size = before.shape[-1]
    rows = slice(start, start + before.shape[1])
    rz, h_n, new, hidden = (x[:, rows] for x in saved)
    th.add(x_gates[:, rows, : 2 * size], h_gates[..., : 2 * size], out=rz).sigmoid_()
    h_n.copy_(h_gates[..., 2 * size :])
    th.addcmul(x_gates[:, rows, 2 * size :], rz[..., :size], h_n, out=new).tanh_()
    th.lerp(new, before, rz[..., size:], out=hidden)


def _backward(start: int, grad: Tensor, before: Tensor, saved: tuple[Tensor, ...], grads: Any, d_h: Tensor) -> None:
    """One step of the backward pass in PyTorch operations; see `gru_kernels.backward_step`."""
    rows = slice(start, start + before.shape[1])
    rz, h_n, new, _ = (x[:, rows] for x in saved)
    r, z = rz.chunk(2, dim=-1)
    d = d_h[:, : before.shape[1]] + grad[:, rows]
    # through h = n + z (h' - n), n = tanh(x_n + r h_n) and the two sigmoids
    d_n = d * (1.0 - z) * (1.0 - new * new)
    d_z = d * (before - new) * z * (1.0 - z)
    d_r = d_n * h_n * r * (1.0 - r)
    grads[0][:, rows] = th.cat((d_r, d_z, d_n * r), dim=-1)
    grads[1][:, rows] = th.cat((d_r, d_z, d_n), dim=-1)
    d_h[:, : before.shape[1]] = d * z


class _Recurrence(th.autograd.Function):
    """h_t = (1 - z) n + z h_{t-1} for all packed rows, given the input part of the gates.

    r = sigmoid(x_r + h W_r + b_r), z = sigmoid(x_z + h W_z + b_z), n = tanh(x_n + r (h W_n + b_n)).
    """

    @staticmethod
    def forward(ctx: Any, x_gates: Tensor, h_0: Tensor, weight: Tensor, bias: Tensor, counts: list[int]) -> Tensor:
        groups, rows, width = x_gates.shape
        sizes = (2 * width // 3, width // 3, width // 3, width // 3)
        saved = tuple(x_gates.new_empty(groups, rows, size) for size in sizes)
        h_gates = x_gates.new_empty(groups, counts[0], width)
        compiled = _compiled(x_gates)
        arrays = tuple(x.numpy() for x in saved) if compiled else ()
        inputs: Any = x_gates.detach().numpy() if compiled else x_gates
        for previous, start, count in _steps(counts):
            before = _before(saved[3], h_0, previous, count)
            gates = th.baddbmm(bias, before, weight, out=h_gates[:, :count])
            if compiled:
                gru_kernels.forward_step(start, inputs, gates.numpy(), before.numpy(), arrays)
            else:
                _forward(start, x_gates, gates, before, saved)
        ctx.save_for_backward(*saved, h_0, weight)
        ctx.counts = counts
        return saved[3]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        *kept, h_0, weight = ctx.saved_tensors
        saved, weight_t, grad = tuple(kept), weight.transpose(1, 2), grad.contiguous()
        groups, rows, size = saved[3].shape
        grads = tuple(grad.new_empty(groups, rows, 3 * size) for _ in range(2))
        befores = grad.new_empty(groups, rows, size)  # h_{t-1} of every packed row
        d_h = grad.new_zeros(groups, ctx.counts[0], size)
        compiled = _compiled(grad)
        arrays = tuple(x.numpy() for x in saved) if compiled else ()
        outputs: Any = tuple(x.numpy() for x in grads) if compiled else grads
        for previous, start, count in reversed(list(_steps(ctx.counts))):
            before = befores[:, start : start + count]
            before.copy_(_before(saved[3], h_0, previous, count))
            if compiled:
                gru_kernels.backward_step(start, grad.numpy(), before.numpy(), arrays, outputs, d_h.numpy())
            else:
                _backward(start, grad, before, saved, grads, d_h)
            past = d_h[:, :count]
            past.copy_(th.baddbmm(past, grads[0][:, start : start + count], weight_t))
        d_weight = th.bmm(befores.transpose(1, 2), grads[0])
        return grads[1], d_h, d_weight, grads[0].sum(1, keepdim=True), None


class GRU(nn.Module):
    """GRU with G independent parameter groups, initialised as `torch.nn.GRU`.

    Args:
        groups: G.
        n_in: I.
        n_hidden: H.
    """

    def __init__(self, groups: int, n_in: int, n_hidden: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(n_hidden)
        self.n_hidden = n_hidden
        self.weight_in = nn.Parameter(th.empty(groups, n_in, 3 * n_hidden).uniform_(-bound, bound))
        self.bias_in = nn.Parameter(th.empty(groups, 1, 3 * n_hidden).uniform_(-bound, bound))
        self.weight_hidden = nn.Parameter(th.empty(groups, n_hidden, 3 * n_hidden).uniform_(-bound, bound))
        self.bias_hidden = nn.Parameter(th.empty(groups, 1, 3 * n_hidden).uniform_(-bound, bound))

    def forward(self, x: Tensor, counts: Sequence[int], hidden: Tensor | None = None) -> Tensor:
        """All hidden states.

        Args:
            x: packed inputs, `[G,P,I]`.
            counts: rows of every step, never increasing, sum P.
            hidden: state before the first step, `[G,counts[0],H]`; zeros if None.

        Returns:
            `[G,P,H]`, packed as `x`.
        """
        if hidden is None:
            hidden = x.new_zeros(x.shape[0], counts[0], self.n_hidden)
        x_gates = th.baddbmm(self.bias_in, x, self.weight_in)
        out: Tensor = _Recurrence.apply(x_gates, hidden, self.weight_hidden, self.bias_hidden, list(counts))
        return out
