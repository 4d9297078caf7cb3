"""Input layer with ReLU, GRU, output layer over packed sequences, in one node of the graph; float32 on the CPU.

Compiled, with a hand-written backward pass: `modules/recurrent_kernels.py`. Input and output layer may be missing.

Shape legend: G groups, P packed rows (see `modules/gru.py`), M rows of the first step, I inputs, D of them numbers,
X inputs of the GRU, H hidden, F outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th
from torch import Tensor
from torch.autograd.function import once_differentiable

from modules import recurrent_kernels as kernels
from modules.compiled import arrays
from modules.dense import Packed
from modules.nodes import node
from modules.part_sums import PartSums
from modules.tiles import PAD
from modules.turned import turned
from utils.threads import parts_for, share

Layer = tuple[Tensor, Tensor]  # weights `[G,I,O]`, biases `[G,1,O]`
Cell = tuple[Tensor, Tensor, Tensor, Tensor]  # weights and biases of inputs, of states: `[G,.,3H]`, `[G,1,3H]`; r, z, n


class _Recurrent(th.autograd.Function):
    """h_t = (1 - z) n + z h_{t-1} for all packed rows; h_t, or the output layer's results.

    r = sigmoid(x_r + h W_r + b_r), z = sigmoid(x_z + h W_z + b_z), n = tanh(x_n + r (h W_n + b_n)), where x_r, x_z,
    x_n are the products and biases of ReLU(x W + b), or of x.
    """

    @staticmethod
    def forward(  # noqa: PLR0913 - autograd passes every tensor by itself
        ctx: Any,
        x: Tensor,
        ones: Tensor,
        h_0: Tensor,
        w_first: Tensor,
        b_first: Tensor,
        w_in: Tensor,
        b_in: Tensor,
        w_hidden: Tensor,
        b_hidden: Tensor,
        w_last: Tensor,
        b_last: Tensor,
        counts: np.ndarray,
        keep: bool,
    ) -> Tensor:
        x, h_0, rows, (groups, n_in, size) = x.contiguous(), h_0.contiguous(), x.shape[1], _sizes(w_in)
        layered, headed = w_first.shape[2] > 0, w_last.shape[2] > 0
        out = x.new_empty(groups, rows, w_last.shape[2])
        hidden = x.new_empty(groups, rows if keep or not headed else 0, size)
        features = x.new_empty(groups, rows if keep and layered else 0, n_in)
        saved = x.new_empty(groups, rows if keep else 0, 4 * size)
        weights = w_first, w_in, w_hidden, w_last
        biases = [b[:, 0].contiguous() for b in (b_first, b_in, b_hidden, b_last)]
        passed = (arrays(some) for some in (weights, biases, (x, ones, h_0)))
        parts = parts_for(rows * sum(w.numel() for w in weights), int(counts[0]))
        share(kernels.forward, parts, counts, *passed, arrays((out, hidden, features, saved)))
        ctx.save_for_backward(x, ones, h_0, hidden, features, saved, *weights)
        ctx.counts = counts
        return out if headed else hidden

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        *known, w_first, w_in, w_hidden, w_last = ctx.saved_tensors
        x, (groups, n_in, size), wanted = known[0], _sizes(w_in), ctx.needs_input_grad[0]
        work = 2 * x.shape[1] * sum(w.numel() for w in (w_first, w_in, w_hidden, w_last))
        parts = parts_for(work, int(ctx.counts[0]))
        layer, n_out = w_first.shape[2], w_last.shape[2]  # 0 where there is none
        shapes = (
            *((layer, x.shape[2] if layer else 0), (w_first.shape[1] - x.shape[2] if layer else 0, layer), (layer,)),
            *((n_in, 3 * size), (size, 3 * size), (4 * size,), (n_out, size), (n_out,)),
        )
        sums = PartSums(parts, [(groups, *shape) for shape in shapes])
        d_x = x.new_empty(groups, x.shape[1] if wanted else 0, n_in)
        d_h = grad.new_zeros(groups, int(ctx.counts[0]), size)
        weights = arrays(turned([w_in, w_hidden, w_last], [0, size, 0], PAD))  # of the states' n comes first
        passed = arrays(known), grad.contiguous().numpy(), arrays((d_x, d_h)), sums.arrays
        share(kernels.backward, parts, ctx.counts, weights, *passed)
        d_first, d_ones, d_layer, d_in, d_hidden, d_bias, d_last, d_out = sums.total()
        d_first, d_layer = th.cat((d_first.transpose(1, 2), d_ones), 1), d_layer.unsqueeze(1)
        d_bias = d_bias.unsqueeze(1)
        cell = d_in, d_bias[..., size:], d_hidden.roll(-size, -1), d_bias[..., : 3 * size].roll(-size, -1)
        return (
            *(d_x if wanted else None, None, d_h if ctx.needs_input_grad[2] else None, d_first, d_layer, *cell),
            *(d_last.transpose(1, 2), d_out.unsqueeze(1), None, None),
        )


def _sizes(w_in: Tensor) -> tuple[int, int, int]:
    """G, X, H of the GRU's input weights."""
    groups, n_in, triple = w_in.shape
    return groups, n_in, triple // 3


def recurrent(
    given: Packed,
    counts: Sequence[int],
    h_0: Tensor | None,
    cell: Cell,
    first: Layer | None = None,
    last: Layer | None = None,
) -> Tensor:
    """States `[G,P,H]` of every step, or the output layer's results `[G,P,F]`.

    Args:
        given: inputs; without an input layer, numbers alone and for every group.
        counts: rows of every step, never increasing, sum P.
        h_0: state before the first step, `[G,counts[0],H]`; None: zeros.
        cell: the GRU.
        first: the input layer, whose results go through a ReLU; its inputs get no gradient.
        last: the output layer.
    """
    groups, size = cell[2].shape[:2]
    h_0 = given.x.new_empty(groups, 0, size) if h_0 is None else h_0
    none = (h_0.new_empty(groups, 0, 0), h_0.new_empty(groups, 1, 0))
    if first is not None and given.x.requires_grad:
        raise ValueError("inputs of the input layer get no gradient here: use the layers one by one")
    x = given.x if first is not None else given.x.expand(groups, -1, -1)
    weights = (*(first or none), *cell, *(last or (h_0.new_empty(groups, size, 0), none[1])))
    keep = th.is_grad_enabled() and any(y.requires_grad for y in (x, h_0, *weights))
    out: Tensor = node(_Recurrent, x, given.ones, h_0, *weights, np.array(counts, np.int64), keep)
    return out
