"""Validity of steps and masked statistics. Padding never reaches a loss, a gradient or a metric."""

from __future__ import annotations

import math

import torch as th
from torch import Tensor

RANK = 3  # [B,T,1]


def valid_mask(filled: Tensor) -> Tensor:
    """Transition t is real iff the observation after it was stored: `filled [B,T+1,1]` -> mask `[B,T,1]`.

    Right for terminated and truncated episodes, since the final observation is always stored.
    """
    return filled[:, 1:].to(th.float32)


def masked_mean(x: Tensor, mask: Tensor, keep: int = 0) -> Tensor:
    """Mean of `x` where mask is 1.

    Args:
        x: `[...,B,T,N]` or `[...,B,T,1]`; leading ensemble axes are averaged over.
        mask: `[B,T,1]`, zeros and ones.
        keep: so many leading axes of `x` are not averaged over, those of the result.

    Raises:
        ValueError: if the ranks cannot mean the same axes (a silent broadcast is the commonest masking bug).
    """
    if mask.dim() != RANK or x.dim() < RANK + keep or x.shape[-3:-1] != mask.shape[:2]:
        raise ValueError(f"masked_mean: x {list(x.shape)} does not fit mask {list(mask.shape)}")
    kept = th.where(mask > 0, x, 0.0)  # 0 * nan would be nan
    total = kept.flatten(keep).sum(-1) if keep else kept.sum()
    return total / (mask.sum().clamp(min=1.0) * (x.numel() / mask.numel() / math.prod(x.shape[:keep])))
