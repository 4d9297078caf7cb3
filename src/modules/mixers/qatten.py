"""Qatten (Yang et al., 2020): agents weighted by attention of the state to each unit.

Shape legend: B episodes, T steps, N agents, S state, D unit slice, P heads, d length of queries and keys.
"""

from __future__ import annotations

import math

import torch as th
from torch import Tensor, nn

from components.inputs import Inputs
from modules.layers import Linear, mlp
from modules.mixers.mixer import Mixer, MixerShape

QUERY_HIDDEN = 64  # hidden units of the query networks and of the head weights
LOGIT_PENALTY = 1e-3  # coefficient of the squared attention logits in the loss


class UnitAttention(nn.Module):
    """W_i(s) = sum_p w_p(s) a_{p,i}(s) with a_p = softmax_i(e_p(s) . K_p s_i / sqrt(d)), w_p = |MLP(s)|_p.

    Without `weighted_heads` every w_p is 1.

    s_i is agent i's slice: the first N D entries of the state are one slice per agent.
    """

    def __init__(self, shape: MixerShape) -> None:
        super().__init__()
        self.units = (shape.n_agents, shape.unit_dim)
        if math.prod(self.units) > shape.state_dim:
            raise ValueError(f"{self.units} unit slices do not fit into a state of {shape.state_dim} entries")
        self.heads = (shape.n_heads, shape.embed_dim)
        width = shape.n_heads * shape.embed_dim
        self.query = nn.Sequential(
            Linear(shape.state_dim, QUERY_HIDDEN), nn.ReLU(), Linear(QUERY_HIDDEN, width, bias=False)
        )
        self.key = Linear(shape.unit_dim, width, bias=False)
        self.head_weights = mlp(shape.state_dim, QUERY_HIDDEN, shape.n_heads) if shape.weighted_heads else None

    def logits(self, state: Tensor) -> Tensor:
        """Dot products of queries and keys before the division by sqrt(d): `[B,T,S]` -> `[B,T,P,N]`."""
        slices = state[..., : math.prod(self.units)].unflatten(-1, self.units)  # [B,T,N,D]
        keys = self.key(slices).unflatten(-1, self.heads)  # [B,T,N,P,d]
        query = self.query(state).unflatten(-1, self.heads)  # [B,T,P,d]
        return th.einsum("btpd,btnpd->btpn", query, keys)

    def forward(self, state: Tensor) -> Tensor:
        """Weights of the agents, `[B,T,S]` -> `[B,T,N]`, not negative."""
        attention = th.softmax(self.logits(state) / math.sqrt(self.heads[1]), dim=-1)  # [B,T,P,N]
        if self.head_weights is None:
            return attention.sum(-2)
        return (self.head_weights(state).abs().unsqueeze(-1) * attention).sum(-2)

    def penalty(self, state: Tensor) -> Tensor:
        """1e-3 times the squared logits, summed over heads, mean over agents: `[B,T,S]` -> `[B,T,1]`."""
        return LOGIT_PENALTY * self.logits(state).square().sum(-2).mean(-1, keepdim=True)


class QattenMixer(Mixer):
    """Q_tot = sum_p w_p(s) sum_i a_{p,i}(s) Q_i + c(s)."""

    monotonic = True
    igm = True

    def __init__(self, shape: MixerShape) -> None:
        super().__init__(shape)
        self.attention = UnitAttention(shape)
        self.c = mlp(shape.state_dim, shape.embed_dim, 1)

    def mix(self, utilities: Tensor, state: Tensor, actions: Inputs | None, baseline: Tensor | None) -> Tensor:
        """`[B,T,N]` -> `[B,T,1]`."""
        q_tot: Tensor = (self.attention(state) * utilities).sum(-1, keepdim=True) + self.c(state)
        return q_tot

    def regulariser(self, state: Tensor) -> Tensor:
        """The penalty on attention logits, `[B,T,1]`."""
        return self.attention.penalty(state)
