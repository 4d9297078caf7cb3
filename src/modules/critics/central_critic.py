"""The centralised soft critic Q(s, u_1..u_N), K of them side by side (MASAC).

Shape legend: K ensemble members, B episodes, T steps, N agents, U encoded action, S state, I inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch as th
from torch import Tensor

from components.action_selectors import differentiable_sample
from components.action_space import ActionSpace
from components.inputs import Inputs, InputSpec
from envs.multiagentenv import EnvInfo
from modules.agents import REGISTRY as AGENTS
from modules.agents.trunk import AgentShape
from modules.critics.critic import ActionCritic, ActionValue, ContinuousCritic, DiscreteCritic, make_critic
from modules.critics.q_function import Policy


class CentralQ:
    """Q of joint actions at every state of a batch; a `SoftQ` with n = 1.

    Args:
        head: `[B,T,1,N*U]` -> `[K,B,T,1]`.
        frozen_head: the same with its weights frozen.
        action_space: of one agent.
        rng: of the fresh actions.
    """

    def __init__(
        self, head: ActionValue, frozen_head: ActionValue, action_space: ActionSpace, rng: th.Generator
    ) -> None:
        self.head, self.frozen_head, self.action_space, self.rng = head, frozen_head, action_space, rng

    def taken(self, actions: Tensor) -> Tensor:
        """Stored joint actions `[B,T,N,1|D]` -> `[K,B,T,1]`."""
        return self.head(_row(self.action_space.encode(actions)))

    def objective(self, policy: Policy, alpha: Tensor, agent: int | None = None) -> Tensor:
        """Sum_i alpha_i log pi_i - min_k Q(s, u) for fresh u of all agents, differentiable in all of them or one.

        Args:
            policy: of all agents.
            alpha: alpha_i `[N]`.
            agent: the only one whose action and entropy carry a gradient, or None.

        Returns:
            `[B,T,1]`.
        """
        encoded, log_prob = differentiable_sample(policy, self.rng)  # [B,T,N,U], [B,T,N]
        if agent is not None:
            mine = th.arange(len(alpha), device=alpha.device) == agent  # [N]
            encoded = th.where(mine.unsqueeze(-1), encoded, encoded.detach())
            log_prob = th.where(mine, log_prob, log_prob.detach())
        return (alpha * log_prob).sum(-1, keepdim=True) - self.frozen_head(_row(encoded)).amin(0)


def _row(encoded: Tensor) -> Tensor:
    """`[B,T,N,U]` -> `[B,T,1,N*U]`."""
    return encoded.flatten(-2).unsqueeze(-2)


class CentralCritic(ActionCritic):
    """Q(s, u) on the state alone: one row instead of one per agent."""

    def __init__(self, kind: str, info: EnvInfo, hidden_dim: int, ensemble: int) -> None:
        shape = AgentShape(1, info.state_dim, hidden_dim, ensemble=ensemble)
        super().__init__(AGENTS[kind](shape), info.n_agents * info.action_space.enc_dim)
        self.action_space = info.action_space

    def judge(self, inputs: Inputs, rows: Sequence[int], avail: Tensor | None, rng: th.Generator) -> CentralQ:
        """States, one for each agent and all the same, `[B,T,N,S]` -> `CentralQ`."""
        return CentralQ(*self.at(inputs[:, :, :1], rows), self.action_space, rng)


SPECS = {
    "local": InputSpec(),  # Q_i(tau_i, u_i)
    "central": InputSpec(obs=False, state=True, last_action=False, agent_id=False),  # Q(s, u_1..u_N)
}


def make_soft_critic(
    scope: str, kind: str, info: EnvInfo, shape: AgentShape
) -> DiscreteCritic | ContinuousCritic | CentralCritic:
    """Critics of the scope "local" (one for each agent, `shape`) or "central", with trunks of a `kind`."""
    if scope == "central":
        return CentralCritic(kind, info, shape.hidden_dim, shape.ensemble)
    return make_critic(AGENTS[kind](shape), info.action_space)
