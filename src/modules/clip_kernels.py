"""Clipping a gradient by its norm, compiled by numba; float32."""

from __future__ import annotations

import numpy as np

from modules.compiled import cached
from modules.lanes import elementwise, summed

F = np.float32
EPS = 1e-6  # as in torch.nn.utils.clip_grad_norm_
BLOCK = 512  # numbers whose squares are summed up in single precision

_SQUARES, _TIMES = summed(lambda x: (x * x,)), elementwise(lambda x, factor: (factor * x,))


@cached
def clip(part, grad, largest, norm):  # type: ignore[no-untyped-def]
    """`grad [n]` scaled down to the norm `largest`; its norm before goes to `norm [1]`. For one part.

    NaN and infinity make all of `grad` NaN, or NaN and zeros, as in PyTorch.
    """
    total = 0.0
    for first in range(0, len(grad), BLOCK):
        total += _SQUARES(min(BLOCK, len(grad) - first), ((grad, first),), ())
    found = np.sqrt(total)
    norm[0] = F(found)
    factor = largest / (found + EPS)
    if not factor >= 1.0:
        _TIMES(len(grad), ((grad, 0), F(factor)), ((grad, 0),))
