"""Affine maps with ReLU between them, in the fastest form this machine has.

On the CPU the many rows of an update go through compiled kernels (`modules/dense_kernels.py`), few rows and other
devices through PyTorch's products.

Shape legend: G groups, P rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch as th
from torch import Tensor
from torch.autograd.function import once_differentiable

from modules import dense_kernels
from modules.compiled import arrays
from utils.threads import parts_for, share, takes_kernels

TALL = 256  # rows from which the kernels are worth their call; more than a block of theirs has


def tall(x: Tensor, rows: int) -> bool:
    """Whether maps of `rows` rows of `x` go to the kernels."""
    return rows >= TALL and takes_kernels(x)


class _Chain(th.autograd.Function):
    """Maps one after the other in one node of the graph; `parameters` are all weights, then all biases."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, relu: bool, keep: bool, *parameters: Tensor) -> Tensor:
        count, rows, x = len(parameters) // 2, x.shape[1], x.contiguous()
        weights, biases = [w.contiguous() for w in parameters[:count]], [b.flatten(1) for b in parameters[count:]]
        parts = parts_for(rows * sum(w.numel() for w in weights))
        shapes = [(len(w), rows, w.shape[2]) for w in weights]
        if not keep:
            shapes = [*((len(parts), dense_kernels.ROWS, width) for *_, width in shapes[:-1]), shapes[-1]]
        outs = [x.new_empty(shape) for shape in shapes]
        passed = (arrays(weights), arrays(biases), relu, x.numpy(), arrays(outs))
        share(dense_kernels.forward, parts, *passed)
        ctx.save_for_backward(x, *weights, *outs)
        ctx.relu = relu
        return outs[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        weights, outs = saved[: len(saved) // 2], saved[len(saved) // 2 :]
        parts = parts_for(2 * x.shape[1] * sum(w.numel() for w in weights))
        d_weights = [w.new_zeros(len(parts), len(w), *w.shape[:0:-1]) for w in weights]  # transposed
        d_biases = [w.new_zeros(len(parts), len(w), 1, w.shape[2]) for w in weights]
        d_x = th.empty_like(x) if ctx.needs_input_grad[0] else x.new_empty(len(x), 0, x.shape[2])
        turned = arrays([w.transpose(1, 2).contiguous() for w in weights])
        sums = (arrays(d_weights), arrays(d_biases))
        known, rows = (x.numpy(), arrays(outs)), grad.contiguous().numpy()
        share(dense_kernels.backward, parts, turned, ctx.relu, known, rows, d_x.numpy(), sums)
        totals = [total.sum(0).transpose(1, 2) for total in d_weights] + [total.sum(0) for total in d_biases]
        return d_x if ctx.needs_input_grad[0] else None, None, None, *totals


def chain(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], relu: bool = False) -> Tensor:
    """Maps `weights[k] [G,I,O]`, `biases[k] [G,1,O]` one after the other, ReLU between them, and last if asked for.

    `x [G,P,I]` -> `[G,P,O]`, O of the last map.
    """
    if tall(x, x.shape[1]):
        x = x[:1] if x.stride(0) == 0 else x
        keep = th.is_grad_enabled() and any(y.requires_grad for y in (x, *weights, *biases))
        out: Tensor = _Chain.apply(x, relu, keep, *weights, *biases)
        return out
    last = len(weights) - 1
    for k, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
        x = th.baddbmm(bias, x, weight)
        x = x.relu_() if relu or k < last else x
    return x


def affine(x: Tensor, weight: Tensor, bias: Tensor, relu: bool = False) -> Tensor:
    """x W + b, or its ReLU: `x [G,P,I]`, `weight [G,I,O]`, `bias [G,1,O]` -> `[G,P,O]`."""
    return chain(x, [weight], [bias], relu)
