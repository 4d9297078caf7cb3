"""Transposed copies of weights for kernels; PyTorch takes 3 ns a number for one (a lead, by hand).

Shape legend: G groups, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from modules import turned_kernels
from modules.compiled import arrays
from utils.threads import parts_for, share, takes_kernels

COST = 16  # of a number, in multiply-adds


def in_rows(weight: Tensor) -> Tensor:
    """`weight [G,I,O]` without gaps in memory."""
    if weight.is_contiguous() or not weight.transpose(1, 2).is_contiguous() or not takes_kernels(weight):
        return weight.contiguous()
    return turned([weight.transpose(1, 2)])[0]


def turned(weights: Sequence[Tensor], shifts: Sequence[int] | None = None, pad: int = 0) -> list[Tensor]:
    """The transposes of `weights [G,I,O]`, each with `pad` numbers after every row that are not set: `[G,O,I+pad]`.

    The rows of each are `shifts` further down, the last ones first. Weights have no gaps in memory.
    """
    outs = [w.new_empty(len(w), w.shape[2], w.shape[1] + pad) for w in weights]
    shifts, parts = tuple(shifts or [0] * len(weights)), parts_for(COST * sum(out.numel() for out in outs))
    share(turned_kernels.turn, parts, arrays([w.detach() for w in weights]), shifts, arrays(outs))
    return outs


def beside(weights: Sequence[Tensor], columns: slice, multiple: int = 1) -> Tensor:
    """The transposes of `weights [O,I']` side by side, of I of their columns: `[I, sum of O]`.

    Rows are a `multiple` of so many numbers apart; what lies after the last weight's is not set.
    """
    matrices = [weight.contiguous() for weight in weights]
    first, last, _ = columns.indices(matrices[0].shape[1])
    width = sum(weight.shape[0] for weight in matrices)
    out = matrices[0].new_empty(last - first, -(-width // multiple) * multiple)
    share(turned_kernels.turn_beside, parts_for(COST * out.numel()), arrays(matrices), first, out.numpy())
    return out
