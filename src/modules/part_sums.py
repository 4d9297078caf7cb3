"""Sums over rows, of which each part of a compiled loop makes its own; results depend on the parts alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import torch as th
from torch import Tensor

from modules import sum_kernels
from utils.threads import Parts, parts_for, share

COST = 8  # of one number of a part, in multiply-adds


class PartSums:
    """All in one piece of memory, which the parts make zeros of before they add to it (`cleared`).

    Args:
        parts: of the loop, see `utils/threads.py`.
        shapes: of what is summed up.

    Attributes:
        arrays: as kernels take them, float32 `[parts, *shape]` each.
    """

    def __init__(self, parts: Parts, shapes: Sequence[Sequence[int]]) -> None:
        self._shapes, self._sizes = shapes, [math.prod(shape) for shape in shapes]
        self._memory = th.empty(len(parts) * sum(self._sizes))
        memory, ends = self._memory.numpy(), [len(parts) * end for end in accumulate(self._sizes, initial=0)]
        self.arrays: tuple[np.ndarray, ...] = tuple(
            memory[begin:end].reshape(len(parts), *shape)
            for begin, end, shape in zip(ends, ends[1:], shapes, strict=False)
        )

    def total(self) -> list[Tensor]:
        """The sums of all parts, of each shape."""
        out = self._memory
        if len(out) > sum(self._sizes):
            out = th.empty(sum(self._sizes))
            sizes, parts = np.array(self._sizes, np.int64), parts_for(COST * len(self._memory))
            share(sum_kernels.add_up, parts, sizes, self._memory.numpy(), out.numpy())
        return [piece.view(*shape) for piece, shape in zip(out.split(self._sizes), self._shapes, strict=True)]
