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
from torch.autograd.function import once_differentiable

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


def _forward(start: int, gates: Tensor, h_gates: Tensor, before: Tensor, h_n: Tensor, hidden: Tensor) -> None:
    """One step in PyTorch operations, for any device and precision; see `gru_kernels.forward_step`."""
    size, rows = before.shape[-1], slice(start, start + before.shape[1])
    rz, new = gates[:, rows, : 2 * size], gates[:, rows, 2 * size :]
    rz.add_(h_gates[..., : 2 * size]).sigmoid_()
    h_n[:, rows] = h_gates[..., 2 * size :]
    new.addcmul_(rz[..., :size], h_n[:, rows]).tanh_()
    hidden[:, rows] = th.lerp(new, before, rz[..., size:])


def _backward(start: int, grad: Tensor, before: Tensor, saved: tuple[Tensor, ...], grads: Any, d_h: Tensor) -> None:
    """One step of the backward pass in PyTorch operations; see `gru_kernels.backward_step`."""
    rows = slice(start, start + before.shape[1])
    gates, h_n = (x[:, rows] for x in saved)
    r, z, n = gates.chunk(3, dim=-1)
    d = d_h[:, : before.shape[1]] + grad[:, rows]
    # through h = n + z (h' - n), n = tanh(x_n + r h_n) and the two sigmoids
    d_n = d * (1.0 - z) * (1.0 - n * n)
    d_z = d * (before - n) * z * (1.0 - z)
    d_r = d_n * h_n * r * (1.0 - r)
    grads[0][:, rows] = th.cat((d_r, d_z, d_n * r), dim=-1)
    grads[1][:, rows] = d_n
    d_h[:, : before.shape[1]] = d * z


class _UnrolledGRU(th.autograd.Function):
    """h_t = (1 - z) n + z h_{t-1} for all packed rows, in one node of the graph.

    r = sigmoid(x_r + h W_r + b_r), z = sigmoid(x_z + h W_z + b_z), n = tanh(x_n + r (h W_n + b_n)), where x_r, x_z,
    x_n are the input part, one GEMM. It is overwritten by r, z, n step by step: memory is what limits this on a CPU.
    """

    @staticmethod
    def forward(  # noqa: PLR0913 - autograd passes every tensor by itself
        ctx: Any, x: Tensor, h_0: Tensor, w_in: Tensor, b_in: Tensor, weight: Tensor, bias: Tensor, counts: list[int]
    ) -> Tensor:
        gates = th.baddbmm(b_in, x, w_in)  # [G,P,3H]
        groups, rows, width = gates.shape
        h_n, hidden = (gates.new_empty(groups, rows, width // 3) for _ in range(2))
        h_gates = gates.new_empty(groups, counts[0], width)
        compiled = _compiled(gates)
        arrays: Any = tuple(y.numpy() for y in (gates, h_n, hidden)) if compiled else ()
        for previous, start, count in _steps(counts):
            before = _before(hidden, h_0, previous, count)
            part = th.baddbmm(bias, before, weight, out=h_gates[:, :count])
            if compiled:
                gru_kernels.forward_step(start, part.numpy(), before.numpy(), *arrays)
            else:
                _forward(start, gates, part, before, h_n, hidden)
        ctx.save_for_backward(gates, h_n, hidden, x, h_0, w_in, weight)
        ctx.counts = counts
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gates, h_n, hidden, x, h_0, w_in, weight = ctx.saved_tensors
        counts, saved, grad = ctx.counts, (gates, h_n), grad.contiguous()
        groups, rows, size = hidden.shape
        d_gates, d_n = grad.new_empty(groups, rows, 3 * size), grad.new_empty(groups, rows, size)
        d_h = grad.new_zeros(groups, counts[0], size)
        compiled = _compiled(grad)
        inputs: Any = tuple(y.numpy() for y in saved) if compiled else saved
        outputs: Any = (d_gates.numpy(), d_n.numpy()) if compiled else (d_gates, d_n)
        for previous, start, count in reversed(list(_steps(counts))):
            before = _before(hidden, h_0, previous, count)
            if compiled:
                gru_kernels.backward_step(start, grad.numpy(), before.numpy(), inputs, outputs, d_h.numpy())
            else:
                _backward(start, grad, before, saved, outputs, d_h)
            past = d_h[:, :count]
            th.baddbmm(past, d_gates[:, start : start + count], weight.transpose(1, 2), out=past)
        d_weight = _recurrent_weight_grad(hidden, h_0, d_gates, counts)
        d_bias = d_gates.sum(1, keepdim=True)
        d_gates[..., 2 * size :] = d_n  # from here on with respect to the input part, where r does not enter n
        d_b_in = th.cat((d_bias[..., : 2 * size], d_n.sum(1, keepdim=True)), dim=-1)
        d_x = th.bmm(d_gates, w_in.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        return d_x, d_h, th.bmm(x.transpose(1, 2), d_gates), d_b_in, d_weight, d_bias, None


def _recurrent_weight_grad(hidden: Tensor, h_0: Tensor, d_gates: Tensor, counts: Sequence[int]) -> Tensor:
    """sum over rows of h_{t-1}^T d_gates, `[G,H,3H]`: one GEMM over the rows after the first step, one for those."""
    first, rows = counts[0], hidden.shape[1]
    if counts[-1] == first:
        befores = hidden[:, : rows - first]
    else:
        kept = [th.arange(previous, previous + count) for previous, _, count in _steps(counts) if previous >= 0]
        befores = hidden.index_select(1, th.cat(kept).to(hidden.device))
    out = th.bmm(h_0[:, :first].transpose(1, 2), d_gates[:, :first])
    return out.baddbmm_(befores.transpose(1, 2), d_gates[:, first:]) if rows > first else out


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
        weights = (self.weight_in, self.bias_in, self.weight_hidden, self.bias_hidden)
        out: Tensor = _UnrolledGRU.apply(x, hidden, *weights, list(counts))
        return out
