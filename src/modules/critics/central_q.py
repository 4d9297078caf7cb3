"""What a critic of encoded actions is told: the agent's own action and history, or everything (MADDPG).

Shape legend: B episodes, T steps, N agents, U encoded action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch as th
from torch import Tensor

from components.inputs import InputSpec
from envs.multiagentenv import EnvInfo


def own_actions(own: Tensor, others: Tensor) -> Tensor:
    """Row i is judged with agent i's own action: `[B,T,N,U]`, the others' ignored."""
    return own


def joint_actions(own: Tensor, others: Tensor) -> Tensor:
    """Row i is judged with everyone's actions, its own from `own`, the others' from `others`.

    Args:
        own: `[B,T,N,U]`.
        others: `[B,T,N,U]`.

    Returns:
        `[B,T,N,N*U]`.
    """
    n_agents = own.shape[-2]
    mine = th.eye(n_agents, dtype=th.bool, device=own.device).unsqueeze(-1)  # [N,N,1]
    return th.where(mine, own.unsqueeze(-3), others.unsqueeze(-3)).flatten(-2)


def others_actions(actions: Tensor) -> Tensor:
    """Row i holds everyone's actions with zeros for agent i's own: `[B,T,N,U]` -> `[B,T,N,N*U]`."""
    return joint_actions(th.zeros_like(actions), actions)


@dataclass(frozen=True)
class CriticScope:
    """Inputs of a critic, whose actions it sees (`agents` = 1 or all), and how rows of actions are put together."""

    spec: InputSpec
    sees_all: bool
    arrange: Callable[[Tensor, Tensor], Tensor]

    def width(self, info: EnvInfo) -> int:
        """Length of a row of actions."""
        return info.action_space.enc_dim * (info.n_agents if self.sees_all else 1)


SCOPES = {
    "own": CriticScope(InputSpec(last_action=False), False, own_actions),  # Q_i(o_i, u_i)
    "own_state": CriticScope(InputSpec(state=True, last_action=False), False, own_actions),  # Q_i(s, o_i, u_i)
    "joint": CriticScope(InputSpec(state=True, last_action=False), True, joint_actions),  # Q_i(s, o_i, u_1..u_N)
}
