"""Recursions over the steps of a batch, compiled on the CPU."""

from __future__ import annotations

import numba as nb
import torch as th
from torch import Tensor


@nb.njit(cache=True, fastmath={"contract"})
def _backwards(own, carry, out):  # type: ignore[no-untyped-def]
    for row in range(own.shape[0]):
        out[row, -1] = own[row, -1]
        for t in range(own.shape[1] - 2, -1, -1):
            for i in range(own.shape[2]):
                out[row, t, i] = own[row, t, i] + carry[row, t, i] * out[row, t + 1, i]


def linear_recursion(own: Tensor, carry: Tensor) -> Tensor:
    """G_t = a_t + c_t G_{t+1} with nothing after the last step: a `own`, c `carry`, both `[B,T,F]` -> `[B,T,F]`."""
    if own.device.type == "cpu" and not (th.is_grad_enabled() and (own.requires_grad or carry.requires_grad)):
        out = th.empty(own.shape, dtype=own.dtype)
        _backwards(own.contiguous().numpy(), carry.contiguous().numpy(), out.numpy())
        return out
    g_t, returns = th.zeros_like(own[:, 0]), []
    for own_t, carry_t in zip(reversed(own.unbind(1)), reversed(carry.unbind(1)), strict=True):
        g_t = th.addcmul(own_t, carry_t, g_t)
        returns.append(g_t)
    return th.stack(returns[::-1], dim=1)
