"""Everything that differs between discrete and continuous actions, so that learners and runners need no `if`.

Shape legend: E environments, B episodes, T steps, N agents, A discrete actions, D action dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import torch as th
from torch import Tensor

from modules.distributions import MaskedCategorical, SquashedNormal


@dataclass(frozen=True)
class DiscreteActions:
    """A actions numbered 0..A-1, stored as `[...,N,1]` integers with an availability mask `[...,N,A]`."""

    n_actions: int

    kind = "discrete"
    action_dim = 1  # numbers stored per agent and step
    action_dtype = th.int64
    noise_dim = 3  # uniforms one agent needs to act: explore?, which action if so, which action if not

    def __post_init__(self) -> None:
        """Refuse an empty set of actions."""
        if self.n_actions < 1:
            raise ValueError(f"n_actions must be at least 1, got {self.n_actions}")

    @property
    def enc_dim(self) -> int:
        """Length of an encoded action."""
        return self.n_actions

    @property
    def head_dim(self) -> int:
        """Outputs of a policy network: one logit per action."""
        return self.n_actions

    def encode(self, actions: Tensor) -> Tensor:
        """`[...,N,1]` indices to one-hot `[...,N,A]`."""
        shape = (*actions.shape[:-1], self.n_actions)
        return th.zeros(shape, device=actions.device).scatter_(-1, actions, 1.0)

    def distribution(self, head: Tensor, avail: Tensor | None) -> MaskedCategorical:
        """Policy over the available actions from logits `[...,N,A]`."""
        return MaskedCategorical(head, avail)

    def random(self, avail: Tensor, uniform: Tensor) -> Tensor:
        """Uniform over available actions: avail `[...,N,A]` bool, uniform `[...,N]` in [0,1) -> `[...,N,1]`."""
        count = avail.sum(-1)  # [...,N]
        rank = (uniform * count).long().clamp(max=count - 1) + 1  # the rank-th available action
        return (avail.cumsum(-1) == rank.unsqueeze(-1)).to(th.uint8).argmax(-1, keepdim=True)


@dataclass(frozen=True)
class ContinuousActions:
    """A box `[low, high]^D`, the same for each dimension. Stored in the environment's own units."""

    dim: int
    low: float
    high: float

    kind = "continuous"
    action_dtype = th.float32

    def __post_init__(self) -> None:
        """Refuse a box without an inside."""
        if self.dim < 1:
            raise ValueError(f"dim must be at least 1, got {self.dim}")
        if not (self.low < self.high and math.isfinite(self.high - self.low)):
            raise ValueError(f"finite bounds with low < high expected, got {self.low} and {self.high}")

    @property
    def action_dim(self) -> int:
        """Numbers stored per agent and step."""
        return self.dim

    @property
    def noise_dim(self) -> int:
        """Uniforms one agent needs to act: explore?, D for a random action, D for a policy sample."""
        return 1 + 2 * self.dim

    @property
    def enc_dim(self) -> int:
        """Length of an encoded action."""
        return self.dim

    @property
    def head_dim(self) -> int:
        """Outputs of a stochastic policy network: mean and log-std per dimension."""
        return 2 * self.dim

    def encode(self, actions: Tensor) -> Tensor:
        """Environment units `[...,N,D]` to [-1, 1]."""
        return (actions - self.low) * (2.0 / (self.high - self.low)) - 1.0

    def decode(self, encoded: Tensor) -> Tensor:
        """[-1, 1] to environment units `[...,N,D]`."""
        return self.low + (encoded + 1.0) * (0.5 * (self.high - self.low))

    def distribution(self, head: Tensor, avail: Tensor | None) -> SquashedNormal:
        """Tanh-squashed Gaussian over encoded actions from `[...,N,2D]`; `avail` is always None here."""
        return SquashedNormal(head)

    def random(self, avail: Tensor | None, uniform: Tensor) -> Tensor:
        """Uniform in the box: uniform `[...,N,D]` in [0,1) -> `[...,N,D]`."""
        return self.low + uniform * (self.high - self.low)


ActionSpace: TypeAlias = DiscreteActions | ContinuousActions
