"""Tensors of any layout as rows that lie one after the other, for compiled kernels.

Batches have episodes first and time second, their memory mostly the other way round. Kernels walk along the memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch as th
from torch import Tensor


def at_steps(x: Tensor, steps: slice) -> Tensor:
    """`x[:, steps]` of `x [B,T,...]`; its gradient's memory, too, is time first."""
    return x.transpose(0, 1)[steps].transpose(0, 1)


def memory_order(x: Tensor) -> list[int]:
    """The axes of `x` as they lie in memory, the last one kept last."""
    strides = x.stride()
    return [*sorted(range(x.dim() - 1), key=lambda axis: -strides[axis]), x.dim() - 1]


def rows_of(x: Tensor, order: Sequence[int]) -> np.ndarray:
    """`x [...,A]` as `[R,A]` in the given order of axes; a view where memory is in that order."""
    rows: np.ndarray = x.detach().permute(*order).reshape(-1, x.shape[-1]).contiguous().numpy()
    return rows


def numbers_of(x: Tensor, order: Sequence[int]) -> np.ndarray:
    """One number a row, `x [...]` -> `[R]`."""
    numbers: np.ndarray = x.detach().permute(*order[:-1]).reshape(-1).contiguous().numpy()
    return numbers


def empty_rows(shape: th.Size, order: Sequence[int], dtype: th.dtype = th.float32) -> tuple[Tensor, Tensor]:
    """An empty tensor of `shape` whose memory is in the given order, and its memory as rows `[R,A]` or `[R]`."""
    order = [axis for axis in order if axis < len(shape)]
    memory = th.empty([shape[axis] for axis in order], dtype=dtype)
    inverse = sorted(range(len(order)), key=lambda axis: order[axis])
    return memory.permute(*inverse), memory
