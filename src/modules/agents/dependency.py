"""How an agent's outputs depend on the actions of the agents before it (MACPF, Wang et al., ICLR 2023).

Shape legend: B episodes, T steps, N agents, A actions, E units of the embedding.
"""

from __future__ import annotations

import torch as th
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from modules.layers import Linear


class Dependency(nn.Module):
    """Corrects outputs of independent agents for what the earlier agents do, in the fixed order 1..N.

        z_j(u_j) = ELU(W [j, u_j] + b),   x_i^dep(u_<i) = sg(x_i) + y_i + V (1/N) sum_{j<i} z_j(u_j)

    x_i (logits or values of agent i by itself) and y_i are the two halves of a network's outputs.

    Args:
        n_agents: N.
        n_actions: A.
        embed_dim: E.
    """

    def __init__(self, n_agents: int, n_actions: int, embed_dim: int) -> None:
        super().__init__()
        self.pair = Linear(n_agents + n_actions, embed_dim)
        self.out = Linear(embed_dim, n_actions, bias=False)
        self.register_buffer("ids", th.eye(n_agents), persistent=False)

    ids: Tensor  # [N,N]

    @staticmethod
    def independent(outputs: Tensor) -> Tensor:
        """x_i: `[...,N,2A]` -> `[...,N,A]`."""
        return outputs.chunk(2, dim=-1)[0]

    def embed(self, actions: Tensor, agents: slice) -> Tensor:
        """z_j / N of the one-hot actions of some agents, `[...,n,A]` -> `[...,n,E]`."""
        ids = self.ids[agents].expand(*actions.shape[:-1], len(self.ids))
        return F.elu(self.pair(th.cat((ids, actions), dim=-1))) / len(self.ids)

    def correct(self, outputs: Tensor, before: Tensor) -> Tensor:
        """x_i^dep from outputs `[...,n,2A]` and the sum over earlier agents of z_j / N `[...,n,E]` -> `[...,n,A]`."""
        own, correction = outputs.chunk(2, dim=-1)
        corrected: Tensor = own.detach() + correction + self.out(before)
        return corrected

    def forward(self, outputs: Tensor, actions: Tensor) -> Tensor:
        """x^dep of all agents given everyone's one-hot actions: `[...,N,2A]`, `[...,N,A]` -> `[...,N,A]`."""
        embedded = self.embed(actions, slice(None))
        return self.correct(outputs, embedded.cumsum(-2) - embedded)
