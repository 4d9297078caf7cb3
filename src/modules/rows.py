"""Tensors of any layout as rows that lie one after the other, for compiled kernels.

Batches have episodes first and time second, their memory mostly the other way round. Kernels walk along the memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch as th
from torch import Tensor
from torch.autograd.function import once_differentiable

from modules.nodes import node
from utils.threads import takes_kernels


class _AtSteps(th.autograd.Function):
    """Neighbouring steps. The gradient is written in one pass; PyTorch's fills all with zeros first."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, first: int, last: int) -> Tensor:
        ctx.around = first, x.shape[1] - last
        return x.transpose(0, 1)[first:last].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        inner = grad.transpose(0, 1)
        before, after = (inner.new_zeros(steps, *inner.shape[1:]) for steps in ctx.around)
        return th.cat((before, inner, after)).transpose(0, 1), None, None


def at_steps(x: Tensor, steps: slice) -> Tensor:
    """`x[:, steps]` of `x [B,T,...]`; its gradient's memory, too, is time first."""
    first, last, by = steps.indices(x.shape[1])
    if takes_kernels(x) and x.requires_grad and by == 1 and first < last:
        out: Tensor = node(_AtSteps, x, first, last)
        return out
    return x.transpose(0, 1)[steps].transpose(0, 1)


def memory_order(x: Tensor) -> list[int]:
    """The axes of `x` as they lie in memory, the last one kept last."""
    strides = x.stride()
    return [*sorted(range(x.dim() - 1), key=lambda axis: -strides[axis]), x.dim() - 1]


def _in_order(x: Tensor, order: Sequence[int]) -> np.ndarray:
    array: np.ndarray = x.detach().numpy().transpose(order)  # numpy's views cost a third of PyTorch's
    return array


def rows_of(x: Tensor, order: Sequence[int]) -> np.ndarray:
    """`x [...,A]` as `[R,A]` in the given order of axes; a view where memory is in that order."""
    return np.ascontiguousarray(_in_order(x, order).reshape(-1, x.shape[-1]))


def shared_rows(x: Tensor, order: Sequence[int]) -> np.ndarray:
    """`rows_of` without leading axes along which all is the same: `[R',A]`, row r of all is row r % R' of these."""
    return np.ascontiguousarray(_once(_in_order(x, order)).reshape(-1, x.shape[-1]))


def numbers_of(x: Tensor, order: Sequence[int]) -> np.ndarray:
    """One number a row, `x [...]` -> `[R]`."""
    return np.ascontiguousarray(_in_order(x, order[:-1]).reshape(-1))


def shared_numbers(x: Tensor, order: Sequence[int]) -> np.ndarray:
    """`numbers_of` without leading axes along which all is the same: `[R']`, row r of all has row r % R' of these."""
    return np.ascontiguousarray(_once(_in_order(x, order[:-1])).reshape(-1))


def _once(array: np.ndarray) -> np.ndarray:
    while array.ndim > 1 and array.shape[0] > 0 and array.strides[0] == 0:
        array = array[0]
    return array


def empty_rows(shape: th.Size, order: Sequence[int], dtype: th.dtype = th.float32) -> tuple[Tensor, Tensor]:
    """An empty tensor of `shape` whose memory is in the given order, and its memory as rows `[R,A]` or `[R]`."""
    order = [axis for axis in order if axis < len(shape)]
    memory = th.empty([shape[axis] for axis in order], dtype=dtype)
    inverse = sorted(range(len(order)), key=lambda axis: order[axis])
    return memory.permute(*inverse), memory
