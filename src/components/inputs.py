"""What a per-agent network reads, and the one function that builds it.

Shape legend: B episodes (or E environments), T steps, N agents, O observation, S state, U encoded action, I input.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch as th
from torch import Tensor

from envs.multiagentenv import EnvInfo


@dataclass(frozen=True)
class InputSpec:
    """Fields of the input of one agent, concatenated in this order."""

    obs: bool = True
    state: bool = False
    last_action: bool = True
    agent_id: bool = True

    def dim(self, env_info: EnvInfo) -> int:
        """I, the length of the input."""
        sizes = (env_info.obs_dim, env_info.state_dim, env_info.action_space.enc_dim, env_info.n_agents)
        used = (self.obs, self.state, self.last_action, self.agent_id)
        return sum(size for size, on in zip(sizes, used, strict=True) if on)


def build_inputs(spec: InputSpec, obs: Tensor, state: Tensor, last_actions: Tensor) -> Tensor:
    """Concatenate the fields of `spec`.

    Args:
        spec: which fields.
        obs: `[B,T,N,O]`.
        state: `[B,T,S]`, repeated for each agent.
        last_actions: encoded previous actions `[B,T,N,U]`, zeros before the first.

    Returns:
        `[B,T,N,I]`.
    """
    batch, steps, n_agents, _ = obs.shape
    parts: list[Tensor] = []
    if spec.obs:
        parts.append(obs)
    if spec.state:
        parts.append(state.unsqueeze(2).expand(batch, steps, n_agents, -1))
    if spec.last_action:
        parts.append(last_actions)
    if spec.agent_id:
        parts.append(th.eye(n_agents, device=obs.device).expand(batch, steps, n_agents, n_agents))
    return parts[0] if len(parts) == 1 else th.cat(parts, dim=-1)
