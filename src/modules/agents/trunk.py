"""The body shared by agents and critics: inputs to features, with or without memory.

Shape legend: K ensemble members, G parameter groups, B episodes, T steps, N agents, I inputs, H hidden, F outputs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch as th
from torch import Tensor, nn

from modules.gru import GRU
from modules.layers import AgentAxis, GroupedLinear


@dataclass(frozen=True)
class AgentShape:
    """Sizes of a per-agent network: agents N, inputs I, hidden units H, members K, shared parameters or not."""

    n_agents: int
    n_inputs: int
    hidden_dim: int
    share_parameters: bool = True
    ensemble: int = 1


class Trunk(nn.Module, ABC):
    """Inputs `[B,T,N,I]` to features `[G,T,M,H]` in the grouped layout of `AgentAxis`."""

    def __init__(self, shape: AgentShape) -> None:
        super().__init__()
        self.shape = shape
        self.axis = AgentAxis(shape.n_agents, shape.ensemble, shape.share_parameters)
        self.first = GroupedLinear(self.axis.groups, shape.n_inputs, shape.hidden_dim)

    def init_hidden(self, batch: int) -> Tensor:
        """Zeros `[B,N,H]`, the history before the first step."""
        return self.first.weight.new_zeros(batch, self.shape.n_agents, self.shape.hidden_dim)

    def forward(self, inputs: Tensor, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Features of every step, `[G,T,M,H]`, and the hidden state after the last, `[G,M,H]`."""
        if inputs.shape[2:] != (self.shape.n_agents, self.shape.n_inputs):
            expected = f"[B,T,{self.shape.n_agents},{self.shape.n_inputs}]"
            raise ValueError(f"agent inputs must be {expected}, got {tuple(inputs.shape)}")
        return self.body(th.relu(self.first(self.axis.to_groups(inputs))), hidden)

    @abstractmethod
    def body(self, x: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """From the first layer `[G,T,M,H]` to features `[G,T,M,H]` and the new hidden state `[G,M,H]`."""


class RNNTrunk(Trunk):
    """Linear, ReLU, GRU: the DRQN body of PyMARL."""

    def __init__(self, shape: AgentShape) -> None:
        super().__init__(shape)
        self.rnn = GRU(self.axis.groups, shape.hidden_dim, shape.hidden_dim)

    def body(self, x: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """GRU over the T steps."""
        out: tuple[Tensor, Tensor] = self.rnn(x, hidden)
        return out


class MLPTrunk(Trunk):
    """Linear, ReLU, linear, ReLU: no memory; the hidden state is carried along unchanged."""

    def __init__(self, shape: AgentShape) -> None:
        super().__init__(shape)
        self.second = GroupedLinear(self.axis.groups, shape.hidden_dim, shape.hidden_dim)

    def body(self, x: Tensor, hidden: Tensor | None) -> tuple[Tensor, Tensor]:
        """A second layer, step by step the same."""
        features = th.relu(self.second(x))
        return features, x.new_zeros(x[:, 0].shape) if hidden is None else hidden


class AgentNetwork(nn.Module):
    """A trunk and a linear head: the policy or utility network of every agent.

    Args:
        trunk: the body.
        n_outputs: F, for example one value per action.
    """

    def __init__(self, trunk: Trunk, n_outputs: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = GroupedLinear(trunk.axis.groups, trunk.shape.hidden_dim, n_outputs)

    def init_hidden(self, batch: int) -> Tensor:
        """Zeros `[B,N,H]`."""
        return self.trunk.init_hidden(batch)

    def forward(self, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """`[B,T,N,I]`, `[B,N,H]` -> `[B,T,N,F]`, `[B,N,H]`. Acting is the case T = 1."""
        axis = self.trunk.axis
        features, last = self.trunk(inputs, axis.hidden_to_groups(hidden))
        return axis.from_groups(self.head(features))[0], axis.hidden_from_groups(last)
