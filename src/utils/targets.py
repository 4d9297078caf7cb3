"""Target network updates."""

from __future__ import annotations

import torch as th
from torch import nn


@th.no_grad()
def hard_update(target: nn.Module, source: nn.Module) -> None:
    """theta' <- theta, parameters and buffers."""
    target.load_state_dict(source.state_dict())


@th.no_grad()
def soft_update(target: nn.Module, source: nn.Module, tau: float) -> None:
    """theta' <- theta' + tau (theta - theta'), Polyak averaging; tau in (0, 1]."""
    slow: list[th.Tensor] = list(target.parameters())
    if slow:
        th._foreach_lerp_(slow, list(source.parameters()), tau)
