"""The value-based controller. State goes in and out, none is kept: acting cannot disturb learning.

Shape legend: E environments, B episodes, T transitions, N agents, F outputs, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import torch as th
from torch import Tensor, nn

from components.action_selectors import explore, greedy
from components.episode_buffer import TrainBatch
from components.inputs import InputSpec, build_inputs
from components.schedules import Level, LinearSchedule, Steps
from envs.multiagentenv import EnvInfo
from modules.agents import REGISTRY as AGENTS
from modules.agents.trunk import AgentNetwork, AgentShape
from utils.config import Config
from utils.errors import WrongActionsError


@dataclass
class ActInputs:
    """What the agents know when they act in E environments.

    Args:
        obs: `[E,N,O]`.
        state: `[E,S]`.
        avail: `[E,N,A]` bool, or None.
        last_actions: encoded, `[E,N,U]`, zeros before the first step.
        noise: uniforms in [0,1) of this step, `[E,N,noise_dim]`.
    """

    obs: Tensor
    state: Tensor
    avail: Tensor | None
    last_actions: Tensor
    noise: Tensor


class BasicMAC(nn.Module):
    """Epsilon-greedy on the agent network's utilities."""

    action_kinds: frozenset[str] = frozenset({"discrete"})

    def __init__(self, config: Config, env_info: EnvInfo) -> None:
        super().__init__()
        space = env_info.action_space
        if space.kind not in self.action_kinds:
            kinds = " and ".join(sorted(self.action_kinds))
            raise WrongActionsError(f"{config.name} needs {kinds} actions, {config.env} has {space.kind} ones")
        self.env_info, self.space = env_info, space
        self.spec = InputSpec(last_action=config.obs_last_action, agent_id=config.obs_agent_id)
        self.policy_epsilon, self.uniform_steps = config.policy_epsilon, config.uniform_steps
        self.schedule = LinearSchedule(config.epsilon_start, config.epsilon_finish, config.epsilon_anneal_time)
        shape = AgentShape(env_info.n_agents, self.spec.dim(env_info), config.hidden_dim, config.share_parameters)
        self.agent = AgentNetwork(AGENTS[config.agent](shape), self.head_dim)
        self.agent.scale_outputs(config.agent_output_scale)

    @property
    def head_dim(self) -> int:
        """F, the outputs of the agent network."""
        return self.space.head_dim

    @overload
    def epsilon(self, t_env: int) -> float: ...
    @overload
    def epsilon(self, t_env: Tensor) -> Level: ...
    def epsilon(self, t_env: Steps) -> Level:
        """Share of uniformly random actions after `t_env` env steps."""
        if isinstance(t_env, Tensor) and self.uniform_steps:
            return th.where(t_env < self.uniform_steps, 1.0, self.schedule.value(t_env))
        return 1.0 if self.uniform_steps and t_env < self.uniform_steps else self.schedule.value(t_env)

    def init_hidden(self, n_envs: int) -> Tensor:
        """Zeros `[E,N,H]`."""
        return self.agent.init_hidden(n_envs)

    def unroll(self, batch: TrainBatch) -> Tensor:
        """Outputs at every step of a batch, `[B,T+1,N,F]`."""
        return self.agent.unroll(batch.inputs(self.spec), batch.rows_seen)

    def step(self, act: ActInputs, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """One step of the agent network: `[E,N,H]` -> outputs `[E,N,F]`, `[E,N,H]`."""
        inputs = build_inputs(
            self.spec, act.obs.unsqueeze(1), act.state.unsqueeze(1), act.last_actions.unsqueeze(1)
        )  # [E,1,N,I]
        return self.agent.step(inputs.squeeze(1), hidden)

    def select_actions(
        self, act: ActInputs, hidden: Tensor, epsilon: float, test_mode: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Actions `[E,N,1|D]` in environment units and the new hidden state; greedy when `test_mode`."""
        head, hidden = self.step(act, hidden)
        return self.choose(head, act, 0.0 if test_mode else epsilon, test_mode), hidden

    def choose(self, head: Tensor, act: ActInputs, epsilon: float, test_mode: bool) -> Tensor:
        """From outputs `[E,N,F]` to actions."""
        assert act.avail is not None
        actions = greedy(head, act.avail)
        return actions if epsilon == 0.0 else explore(actions, act.avail, epsilon, act.noise, self.space)
