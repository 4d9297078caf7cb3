"""A GRU over packed sequences with a leading group axis; on the CPU compiled, with a hand-written backward pass.

Sequences of different lengths are packed: rows are sorted by length, longest first, and step t holds only the
`counts[t]` rows that are that long. The P = sum(counts) packed rows stand one step after the other, so the state
before step t is a prefix of step t - 1's rows, and no work is done on padding. The input-to-gate product and the
recurrent weight gradient are one GEMM each over all rows; only the recurrence itself is a loop. On full-length
sequences it is the same function as `torch.nn.GRU`.

Shape legend: G groups of parameters (ensemble members, or agents that do not share), M rows, I inputs, H hidden.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from modules import gru_kernels
from modules.dense import product
from utils.threads import share, workers_for


def _befores(hidden: Tensor, h_0: Tensor, counts: Sequence[int]) -> list[Tensor]:
    """h_{t-1} of the rows of the first step, `[G,M,H]`, and of all later ones, `[G,P-M,H]`."""
    first = counts[0]
    if counts[-1] == first:
        return [h_0[:, :first], hidden[:, : hidden.shape[1] - first]]
    n_here, n_next = np.array(counts), np.array([*counts[1:], 0])
    row = np.arange(hidden.shape[1]) - np.repeat(n_here.cumsum() - n_here, n_here)  # within its step, [P]
    goes_on = th.from_numpy(np.flatnonzero(row < np.repeat(n_next, n_here)))
    return [h_0[:, :first], hidden.index_select(1, goes_on)]


class _CompiledGRU(th.autograd.Function):
    """h_t = (1 - z) n + z h_{t-1} for all packed rows, in one node of the graph; float32 on the CPU.

    r = sigmoid(x_r + h W_r + b_r), z = sigmoid(x_z + h W_z + b_z), n = tanh(x_n + r (h W_n + b_n)), where x_r, x_z,
    x_n are the input part, one GEMM. It is overwritten by r, z, n step by step: memory is what limits this on a CPU.
    """

    @staticmethod
    def forward(  # noqa: PLR0913 - autograd passes every tensor by itself
        ctx: Any, x: Tensor, h_0: Tensor, w_in: Tensor, b_in: Tensor, weight: Tensor, bias: Tensor, counts: list[int]
    ) -> Tensor:
        gates = product(x, w_in)  # [G,P,3H]
        groups, rows, width = gates.shape
        size = width // 3
        h_n, hidden = (gates.new_empty(groups, rows, size) for _ in range(2))
        inside, outside = bias[:, 0], b_in[:, 0]
        biases = th.cat(
            (inside[:, : 2 * size] + outside[:, : 2 * size], outside[:, 2 * size :], inside[:, 2 * size :]), 1
        )
        parameters = (weight.numpy(), biases.numpy())
        arrays = (y.numpy() for y in (gates, h_n, hidden))
        steps, workers = np.array(counts, np.int64), workers_for(groups * rows * width * size)
        share(gru_kernels.forward, workers, steps, parameters, h_0.contiguous().numpy(), *arrays)
        ctx.save_for_backward(gates, h_n, hidden, x, h_0, w_in, weight)
        ctx.counts = counts
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gates, h_n, hidden, x, h_0, w_in, weight = ctx.saved_tensors
        counts, (groups, rows, size) = ctx.counts, hidden.shape
        workers = workers_for(3 * groups * rows * size * size)
        d_gates = grad.new_empty(groups, rows, 4 * size)  # of n within r's reach, r, z, n outside of it
        d_bias, d_h = grad.new_zeros(workers, groups, 4 * size), grad.new_zeros(groups, counts[0], size)
        before = (h_0.contiguous().numpy(), hidden.numpy())
        outputs = (d_gates.numpy(), d_bias.numpy(), d_h.numpy())
        turned = weight.roll(size, -1).transpose(1, 2).contiguous().numpy()  # columns r, z, n -> n, r, z
        arrays = (before, (gates.numpy(), h_n.numpy()), grad.contiguous().numpy(), outputs)
        share(gru_kernels.backward, workers, np.array(counts, np.int64), turned, *arrays)
        inside, outside = d_gates[..., : 3 * size], d_gates[..., size:]
        first, later = _befores(hidden, h_0, counts)
        d_weight = th.bmm(first.transpose(1, 2), inside[:, : counts[0]])
        d_weight = th.baddbmm(d_weight, later.transpose(1, 2), inside[:, counts[0] :])
        total = d_bias.sum(0).unsqueeze(1)
        d_x = product(outside, w_in.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        d_in, d_b_in = th.bmm(x.transpose(1, 2), outside), total[..., size:]
        return d_x, d_h, d_in, d_b_in, d_weight.roll(-size, -1), total[..., : 3 * size].roll(-size, -1), None


def _stock(
    x: Tensor, h_0: Tensor, w_in: Tensor, b_in: Tensor, weight: Tensor, bias: Tensor, counts: list[int]
) -> Tensor:
    """The same on any device and in any precision, group by group; cuDNN on a GPU.

    The weights of a group are put into one piece of memory in cuDNN's order, or it would do so itself at every call.
    """
    ragged, train = counts[-1] < counts[0], th.is_grad_enabled()  # cuDNN keeps what a gradient needs only in training
    options = (True, 1, 0.0, train, False)  # biases, layers, dropout, training, both directions
    outputs = []
    for g in range(len(x)):
        parts = [w_in[g].t(), weight[g].t(), b_in[g, 0], bias[g, 0]]
        joined = th.cat([part.flatten() for part in parts]).split([part.numel() for part in parts])
        flat = [one.view(part.shape) for one, part in zip(joined, parts, strict=True)]
        first = h_0[g : g + 1].contiguous()
        if ragged:
            outputs.append(th._VF.gru(x[g], th.tensor(counts), first, flat, *options)[0])
        else:
            steps = x[g].view(len(counts), counts[0], -1)
            outputs.append(th._VF.gru(steps, first, flat, *options, False)[0].flatten(0, 1))
    return th.stack(outputs)


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
        compiled = x.device.type == "cpu" and x.dtype == th.float32
        out: Tensor = (_CompiledGRU.apply if compiled else _stock)(x, hidden, *weights, list(counts))
        return out
