"""QTRAN's joint action-value networks (Son et al., ICML 2019).

Shape legend: B episodes, T steps, N agents, S state, H hidden, A actions, F = H + A, E units of hidden layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch as th
from torch import Tensor, nn

from modules.layers import mlp


@dataclass(frozen=True)
class JointShape:
    """Sizes: agents N, state S, histories H, actions A, units of hidden layers E."""

    n_agents: int
    state_dim: int
    hidden_dim: int
    n_actions: int
    embed_dim: int

    @property
    def features(self) -> int:
        """F, the length of one agent's encoded history and action."""
        return self.hidden_dim + self.n_actions


class JointQ(nn.Module):
    """Q_jt(s, sum_i enc(h_i,u_i)) and V_jt(s): one value of the whole joint action (QTRAN-base)."""

    def __init__(self, shape: JointShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = mlp(shape.features, shape.features, shape.features)
        self.q = self.make_q()
        self.v = mlp(shape.state_dim, shape.embed_dim, shape.embed_dim, 1)

    def make_q(self) -> nn.Module:
        """[s, sum of encodings] -> one value."""
        shape = self.shape
        return mlp(shape.state_dim + shape.features, shape.embed_dim, shape.embed_dim, 1)

    def encode(self, hidden: Tensor, actions: Tensor) -> Tensor:
        """enc(h_i,u_i): histories `[B,T,N,H]`, one-hot actions `[B,T,N,A]` -> `[B,T,N,F]`."""
        encoded: Tensor = self.encoder(th.cat((hidden, actions), dim=-1))
        return encoded

    def forward(self, state: Tensor, hidden: Tensor, actions: Tensor) -> Tensor:
        """Q_jt of `actions`: `[B,T,S]`, `[B,T,N,H]`, one-hot `[B,T,N,A]` -> `[B,T,1]`."""
        q_joint: Tensor = self.q(th.cat((state, self.encode(hidden, actions).sum(-2)), dim=-1))
        return q_joint


class CounterfactualQ(JointQ):
    """Q_jt(s, ., u_-i) for every agent i in one pass, A values each (QTRAN-alt).

    Agent i's network reads the state, its own history without an action, the encodings of the others' histories
    and actions, summed, and i.
    """

    def make_q(self) -> nn.Module:
        """[s, enc(h_i), sum of the others' encodings, i] -> one value per action of agent i."""
        shape = self.shape
        n_in = shape.state_dim + 2 * shape.features + shape.n_agents
        return mlp(n_in, shape.embed_dim, shape.embed_dim, shape.n_actions)

    def counterfactuals(self, state: Tensor, hidden: Tensor, actions: Tensor) -> Tensor:
        """Q_jt(s, a, u_-i) for all i and a, `[B,T,N,A]`; row i does not depend on u_i."""
        n_agents = self.shape.n_agents
        encoded = self.encode(hidden, actions)  # [B,T,N,F]
        others = encoded.sum(-2, keepdim=True) - encoded
        own = self.encode(hidden, th.zeros_like(actions))
        rows = (*encoded.shape[:-1], -1)
        ids = th.eye(n_agents, device=state.device).expand(*encoded.shape[:-1], n_agents)
        q_all: Tensor = self.q(th.cat((state.unsqueeze(-2).expand(rows), own, others, ids), dim=-1))
        return q_all

    def forward(self, state: Tensor, hidden: Tensor, actions: Tensor) -> Tensor:
        """Q_jt of `actions` as each of the N networks sees it, `[B,T,N]`."""
        return (self.counterfactuals(state, hidden, actions) * actions).sum(-1)
