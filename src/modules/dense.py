"""Affine maps with ReLU between them, in the fastest form this machine has.

On the CPU the many rows of an update go through compiled kernels (`modules/dense_kernels.py`), few rows and other
devices through PyTorch's products.

Shape legend: G groups, P rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch as th
from torch import Tensor
from torch.autograd.function import once_differentiable

from modules import dense_kernels
from modules.compiled import arrays
from modules.nodes import node
from modules.part_sums import PartSums
from modules.tiles import PAD
from modules.turned import in_rows, turned
from utils.threads import parts_for, share, takes_kernels

TALL = 256  # rows from which the kernels are worth their call; more than a block of theirs has


def tall(x: Tensor, rows: int) -> bool:
    """Whether maps of `rows` rows of `x` go to the kernels."""
    return rows >= TALL and takes_kernels(x)


class Packed(NamedTuple):
    """Inputs of a network as rows, the same for all groups if there is one of them: numbers, then ones among zeros.

    Args:
        x: `[G,P,D]`.
        ones: places of the ones among all I inputs, D of them the numbers; int64, -1 for none: `[G,P,J]`.
    """

    x: Tensor
    ones: Tensor


def numbers_alone(x: Tensor) -> Packed:
    """Rows of numbers alone; memory that all groups share is passed on once."""
    x = x[:1] if x.stride(0) == 0 else x
    return Packed(x, th.empty(len(x), x.shape[1], 0, dtype=th.int64))


class _Chain(th.autograd.Function):
    """Maps one after the other in one node of the graph; `parameters` are all weights, then all biases."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ones: Tensor, relu: bool, keep: bool, *parameters: Tensor) -> Tensor:
        count, rows, x = len(parameters) // 2, x.shape[1], x.contiguous()
        weights = [in_rows(w) for w in parameters[:count]]
        biases = [b.flatten(1).contiguous() for b in parameters[count:]]
        parts = parts_for(rows * sum(w.numel() for w in weights))
        shapes = [(len(w), rows, w.shape[2]) for w in weights]
        if not keep:
            shapes = [*((len(parts), dense_kernels.ROWS, width) for *_, width in shapes[:-1]), shapes[-1]]
        outs = [x.new_empty(shape) for shape in shapes]
        passed = (arrays(weights), arrays(biases), relu, arrays((x, ones)), arrays(outs))
        share(dense_kernels.forward, parts, *passed)
        ctx.save_for_backward(x, ones, *weights, *outs)
        ctx.relu = relu
        return outs[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, ones, *saved = ctx.saved_tensors
        weights, outs = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        parts, (groups, n_in, n_out) = parts_for(2 * x.shape[1] * sum(w.numel() for w in weights)), weights[0].shape
        inputs = [x.shape[2], *(w.shape[1] for w in weights[1:])]
        transposed = [(groups, w.shape[2], size) for w, size in zip(weights, inputs, strict=True)]
        biases, ones_of = [(groups, 1, w.shape[2]) for w in weights], (groups, n_in - x.shape[2], n_out)
        sums, count = PartSums(parts, [*transposed, *biases, ones_of]), len(weights)
        d_x = th.empty_like(x) if ctx.needs_input_grad[0] else x.new_empty(len(x), 0, x.shape[2])
        first = weights[0] if ctx.needs_input_grad[0] else weights[0][:, :0]  # for d_x alone
        passed = arrays(turned([first, *weights[1:]], pad=PAD))
        added = sums.arrays[:count], sums.arrays[count:-1], sums.arrays[-1]
        known, rows = (x.numpy(), ones.numpy(), arrays(outs)), grad.contiguous().numpy()
        share(dense_kernels.backward, parts, passed, ctx.relu, known, rows, d_x.numpy(), added)
        *totals, d_ones = sums.total()
        d_first, *d_weights = (total.transpose(1, 2) for total in totals[:count])
        d_first = th.cat((d_first, d_ones), 1) if d_ones.shape[1] > 0 else d_first
        return d_x if ctx.needs_input_grad[0] else None, None, None, None, d_first, *d_weights, *totals[count:]


def chain(x: Tensor | Packed, weights: Sequence[Tensor], biases: Sequence[Tensor], relu: bool = False) -> Tensor:
    """Maps `weights[k] [G,I,O]`, `biases[k] [G,1,O]` one after the other, ReLU between them, and last if asked for.

    `x [G,P,I]` -> `[G,P,O]`, O of the last map. Places of ones are for rows that are `tall`.
    """
    if isinstance(x, Packed) or tall(x, x.shape[1]):
        x, ones = x if isinstance(x, Packed) else numbers_alone(x)
        keep = th.is_grad_enabled() and any(y.requires_grad for y in (x, *weights, *biases))
        out: Tensor = node(_Chain, x, ones, relu, keep, *weights, *biases)
        return out
    last = len(weights) - 1
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = th.baddbmm(bias, x, weight)
        x = x.relu_() if relu or k < last else x
    return x


def affine(x: Tensor | Packed, weight: Tensor, bias: Tensor, relu: bool = False) -> Tensor:
    """x W + b, or its ReLU: `x [G,P,I]`, `weight [G,I,O]`, `bias [G,1,O]` -> `[G,P,O]`."""
    return chain(x, [weight], [bias], relu)
