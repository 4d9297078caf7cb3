"""Many parameters as one: an optimiser step of a small network costs a few calls instead of some per parameter."""

from __future__ import annotations

from collections.abc import Sequence

import torch as th
from torch import Tensor, nn

_NORM_FLOOR = 1e-6  # as in PyTorch's clip_grad_norm_


def flatten(weights: Sequence[nn.Parameter]) -> nn.Parameter:
    """A parameter that holds the numbers of all `weights`, which become views of it."""
    flat = nn.Parameter(th.cat([weight.detach().reshape(-1) for weight in weights]))
    start = 0
    for weight in weights:
        weight.data = flat.data[start : start + weight.numel()].view(weight.shape)
        start += weight.numel()
    return flat


def collect_gradient(flat: nn.Parameter, weights: Sequence[nn.Parameter], max_norm: float) -> Tensor:
    """Put the weights' gradients (0 where there is none) into `flat.grad`, scaled down to `max_norm`; returns the norm.

    The weights keep their own gradients as they were.
    """
    pieces = [th.zeros_like(weight) if weight.grad is None else weight.grad for weight in weights]
    gradient = th.cat([piece.reshape(-1) for piece in pieces])
    norm = gradient.norm()
    flat.grad = gradient.mul_((max_norm / (norm + _NORM_FLOOR)).clamp(max=1.0))
    return norm
