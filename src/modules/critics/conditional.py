"""MACPF's critics: utilities of independent agents, and the same corrected for what the earlier agents do.

Shape legend: B episodes, T steps, N agents, A actions, I inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from components.inputs import Inputs
from modules.agents.dependency import Dependency
from modules.agents.trunk import Head, Trunk


class ConditionalCritic(Head):
    """Q_i(tau_i, .) and Q_i(tau_i, u_<i, .) from one trunk.

    Args:
        trunk: the body.
        n_actions: A.
        embed_dim: units of the embedding of earlier actions.
    """

    def __init__(self, trunk: Trunk, n_actions: int, embed_dim: int) -> None:
        super().__init__(trunk, 2 * n_actions)
        self.dependency = Dependency(trunk.shape.n_agents, n_actions, embed_dim)

    def unroll(self, inputs: Inputs, rows: Sequence[int]) -> Tensor:
        """`[B,T,N,I]` -> outputs `[B,T,N,2A]` for `values`."""
        return self(inputs, rows).squeeze(0)

    def values(self, outputs: Tensor, actions: Tensor | None) -> Tensor:
        """Q_i of all own actions `[B,T,N,A]`: independent (None), or given the one-hot actions `[B,T,N,A]`."""
        return Dependency.independent(outputs) if actions is None else self.dependency(outputs, actions)
