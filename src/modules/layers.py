"""Building blocks with a leading group axis, and the mapping between it and the agent axis.

Shape legend: K ensemble members, B episodes, T steps, N agents, G groups of parameters, M rows, I inputs, H hidden.
Parameters exist once per group. Shared agents: G = K and M = B*N. Independent agents: G = K*N and M = B.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch as th
from torch import Tensor, nn


class GroupedLinear(nn.Module):
    """G linear maps in one batched GEMM, initialised as `torch.nn.Linear`: `[G,M,I] -> [G,M,out]`."""

    def __init__(self, groups: int, n_in: int, n_out: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(max(n_in, 1))
        self.weight = nn.Parameter(th.empty(groups, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(th.empty(groups, 1, n_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """Apply map g to `x[g]`; extra row axes are allowed: `[G,...,I] -> [G,...,out]`."""
        groups, n_in, n_out = self.weight.shape
        out = th.baddbmm(self.bias, x.reshape(groups, -1, n_in), self.weight)
        return out.view(*x.shape[:-1], n_out)


class AgentAxis(nn.Module):
    """Moves between `[K,B,T,N,F]` and the grouped layout `[G,T,M,F]`.

    Args:
        n_agents: N.
        ensemble: K, copies of the network with parameters of their own.
        share_parameters: whether the agents use the same parameters.
    """

    def __init__(self, n_agents: int, ensemble: int = 1, share_parameters: bool = True) -> None:
        super().__init__()
        self.n_agents, self.ensemble, self.shared = n_agents, ensemble, share_parameters
        self.groups = ensemble if share_parameters else ensemble * n_agents

    def to_groups(self, x: Tensor) -> Tensor:
        """`[B,T,N,F]` (the same for each member) -> `[G,T,M,F]`."""
        batch, steps, n_agents, width = x.shape
        grouped = x.permute(2, 1, 0, 3)  # [N,T,B,F]
        if self.shared:
            grouped = x.transpose(0, 1).reshape(1, steps, batch * n_agents, width)
        if self.ensemble == 1:
            return grouped
        return grouped.unsqueeze(0).expand(self.ensemble, *grouped.shape).reshape(self.groups, *grouped.shape[1:])

    def from_groups(self, y: Tensor) -> Tensor:
        """`[G,T,M,F]` -> `[K,B,T,N,F]`."""
        _, steps, _, width = y.shape
        if self.shared:
            return y.view(self.ensemble, steps, -1, self.n_agents, width).transpose(1, 2)
        return y.view(self.ensemble, self.n_agents, steps, -1, width).permute(0, 3, 2, 1, 4)

    def hidden_to_groups(self, hidden: Tensor) -> Tensor:
        """`[B,N,H]` of one member -> `[G,M,H]`."""
        return hidden.reshape(1, -1, hidden.shape[-1]) if self.shared else hidden.transpose(0, 1)

    def hidden_from_groups(self, hidden: Tensor) -> Tensor:
        """`[G,M,H]` of one member -> `[B,N,H]`."""
        if self.shared:
            return hidden.view(-1, self.n_agents, hidden.shape[-1])
        return hidden.transpose(0, 1)


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers with ReLU between them: `mlp(I, H, out)`."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [nn.Linear(n_in, n_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Ensemble(nn.Module):
    """K modules of the same kind called side by side: results are stacked on a leading axis.

    Tensors named in `per_member` carry a leading K and member k gets slice k; all others are shared.
    """

    def __init__(self, members: list[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    @property
    def first(self) -> Any:
        """The first member."""
        return self.members[0]

    def forward(self, utilities: Tensor, state: Tensor, **per_member: Tensor | None) -> Tensor:
        """Mixer call with `utilities [K,B,T,N]`, `state [B,T,S]`, `baseline [K,B,T,N]` -> `[K,B,T,1]`."""
        actions, baseline = per_member.get("actions"), per_member.get("baseline")
        return th.stack(
            [
                mixer(utilities[k], state, actions=actions, baseline=None if baseline is None else baseline[k])
                for k, mixer in enumerate(self.members)
            ]
        )
