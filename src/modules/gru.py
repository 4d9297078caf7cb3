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
from modules.compiled import arrays
from utils.threads import parts_for, share, takes_kernels


class _CompiledGRU(th.autograd.Function):
    """h_t = (1 - z) n + z h_{t-1} for all packed rows, in one node of the graph; float32 on the CPU.

    r = sigmoid(x_r + h W_r + b_r), z = sigmoid(x_z + h W_z + b_z), n = tanh(x_n + r (h W_n + b_n)), where x_r, x_z,
    x_n are the input's products and biases.
    """

    @staticmethod
    def forward(  # noqa: PLR0913 - autograd passes every tensor by itself
        ctx: Any,
        x: Tensor,
        h_0: Tensor,
        w_in: Tensor,
        b_in: Tensor,
        weight: Tensor,
        bias: Tensor,
        counts: list[int],
        keep: bool,
    ) -> Tensor:
        (groups, rows, _), size = x.shape, weight.shape[1]
        x, h_0 = x.contiguous(), h_0.contiguous()
        hidden, saved = x.new_empty(groups, rows, size), x.new_empty(groups, rows if keep else 0, 4 * size)
        inside, outside = bias[:, 0], b_in[:, 0]
        biases = th.cat(
            (inside[:, : 2 * size] + outside[:, : 2 * size], outside[:, 2 * size :], inside[:, 2 * size :]), 1
        )
        steps, parts = np.array(counts, np.int64), parts_for(rows * (w_in.numel() + weight.numel()), counts[0])
        passed = (arrays(some) for some in ((w_in, weight, biases), (x, h_0), (hidden, saved)))
        share(gru_kernels.forward, parts, steps, *passed)
        ctx.save_for_backward(hidden, saved, x, h_0, w_in, weight)
        ctx.counts = counts
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, saved, x, h_0, w_in, weight = ctx.saved_tensors
        counts, (groups, rows, size) = ctx.counts, hidden.shape
        parts = parts_for(2 * rows * (w_in.numel() + weight.numel()), counts[0])
        sums = [grad.new_zeros(len(parts), *shape) for shape in (w_in.shape, weight.shape, (groups, 4 * size))]
        d_x = x.new_empty(groups, rows if ctx.needs_input_grad[0] else 0, x.shape[2])
        d_h = grad.new_zeros(groups, counts[0], size)
        turned = w_in.transpose(1, 2).contiguous(), weight.roll(size, -1).transpose(1, 2).contiguous()
        known, rows, written = (x, h_0, hidden, saved), grad.contiguous().numpy(), (d_x, d_h)
        passed = (arrays(turned), arrays(known), rows, arrays(written), arrays(sums))
        share(gru_kernels.backward, parts, np.array(counts, np.int64), *passed)
        d_in, d_weight, d_bias = (total.sum(0) for total in sums)
        d_bias = d_bias.unsqueeze(1)
        d_biases = d_bias[..., size:], d_bias[..., : 3 * size].roll(-size, -1)
        return (
            d_x if ctx.needs_input_grad[0] else None,
            d_h,
            d_in,
            d_biases[0],
            d_weight.roll(-size, -1),
            d_biases[1],
            None,
            None,
        )


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
        if not takes_kernels(x):
            return _stock(x, hidden, *weights, list(counts))
        keep = th.is_grad_enabled() and any(y.requires_grad for y in (x, hidden, *weights))
        out: Tensor = _CompiledGRU.apply(x, hidden, *weights, list(counts), keep)
        return out
