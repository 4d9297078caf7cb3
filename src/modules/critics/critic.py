"""Individual critics Q_i(tau_i, u_i), K of them side by side.

Shape legend: K ensemble members, G parameter groups, B episodes, T steps, N agents, M rows, H hidden.
"""

from __future__ import annotations

import torch as th
from torch import Tensor, nn
from torch.func import functional_call

from components.action_space import ActionSpace, ContinuousActions
from modules.agents import Trunk
from modules.critics.q_function import ContinuousQ, DiscreteQ, QFunction
from modules.layers import GroupedLinear


class DiscreteCritic(nn.Module):
    """A trunk and one output per action."""

    def __init__(self, trunk: Trunk, n_actions: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = GroupedLinear(trunk.axis.groups, trunk.shape.hidden_dim, n_actions)

    def forward(self, inputs: Tensor, avail: Tensor | None, rng: th.Generator) -> QFunction:
        """Inputs `[B,T,N,I]`, availability `[B,T,N,A]` -> `DiscreteQ`."""
        if avail is None:
            raise ValueError("a discrete critic needs avail_actions")
        features, _ = self.trunk(inputs)
        return DiscreteQ(self.trunk.axis.from_groups(self.head(features)), avail)


class _ActionHead(nn.Module):
    """[features, encoded action] -> linear, ReLU, linear -> one value."""

    def __init__(self, groups: int, hidden_dim: int, dim: int) -> None:
        super().__init__()
        self.first = GroupedLinear(groups, hidden_dim + dim, hidden_dim)
        self.last = GroupedLinear(groups, hidden_dim, 1)

    def forward(self, features: Tensor, actions: Tensor) -> Tensor:
        out: Tensor = self.last(th.relu(self.first(th.cat((features, actions), dim=-1))))
        return out


class ContinuousCritic(nn.Module):
    """A trunk over the history and a head that also takes the encoded action."""

    def __init__(self, trunk: Trunk, action_space: ContinuousActions) -> None:
        super().__init__()
        self.trunk, self.action_space = trunk, action_space
        self.head = _ActionHead(trunk.axis.groups, trunk.shape.hidden_dim, action_space.dim)

    def forward(self, inputs: Tensor, avail: Tensor | None, rng: th.Generator) -> QFunction:
        """Inputs `[B,T,N,I]` -> `ContinuousQ` at these histories."""
        axis = self.trunk.axis
        features, _ = self.trunk(inputs)
        constant = features.detach()
        weights = {name: weight.detach() for name, weight in self.head.named_parameters()}

        def head(encoded: Tensor) -> Tensor:
            return axis.from_groups(self.head(features, axis.to_groups(encoded))).squeeze(-1)

        def frozen(encoded: Tensor) -> Tensor:
            out = functional_call(self.head, weights, (constant, axis.to_groups(encoded)))
            return axis.from_groups(out).squeeze(-1)

        def normal(size: th.Size) -> Tensor:
            return th.randn(size, generator=rng, device=features.device)

        return ContinuousQ(head, frozen, self.action_space, normal)


class ValueCritic(nn.Module):
    """Individual V_i(tau_i) of K members, for eq. (10)."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = GroupedLinear(trunk.axis.groups, trunk.shape.hidden_dim, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs `[B,T,N,I]` -> `[K,B,T,N]`."""
        features, _ = self.trunk(inputs)
        return self.trunk.axis.from_groups(self.head(features)).squeeze(-1)


def make_critic(trunk: Trunk, action_space: ActionSpace) -> DiscreteCritic | ContinuousCritic:
    """The critic that fits the action space."""
    if isinstance(action_space, ContinuousActions):
        return ContinuousCritic(trunk, action_space)
    return DiscreteCritic(trunk, action_space.n_actions)
