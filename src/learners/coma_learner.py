"""COMA (Foerster et al., AAAI 2018): counterfactual multi-agent policy gradients.

Shape legend: B episodes, T transitions, N agents, A actions, I inputs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch as th
from torch import Tensor

from components.action_selectors import sample_with_log_prob
from components.episode_buffer import TrainBatch
from components.inputs import InputSpec
from components.schedules import Level, Steps
from learners.learner import Learner, Metrics, averaged, register, td_metrics
from modules.agents import REGISTRY as AGENTS
from modules.agents.trunk import AgentShape
from modules.critics import make_critic
from modules.critics.central_q import joint_actions, others_actions
from modules.critics.q_function import QFunction
from utils.config import Fraction, Width
from utils.masking import masked_mean
from utils.rl_utils import lambda_returns


@register("coma_learner")
class COMALearner(Learner):
    """Critic: TD(lambda) of Q_i(s, o_i, u_-i; u_i). Actors follow A_i = Q_i(u_i) - sum_a pi_i(a) Q_i(a). On-policy."""

    mac_class = "mixture_mac"
    on_policy = True

    @dataclass(frozen=True)
    class Params:
        """Keys of coma_learner yamls."""

        critic_hidden_dim: Width  # units of the critic's two hidden layers
        td_lambda: Fraction  # lambda of the return target
        critic_each_step: bool  # one optimiser step per time index, the last first, else one per update

    def build(self) -> None:
        """The critic: one output per own action, given everyone else's."""
        p, info = self.params, self.env_info
        self.spec = InputSpec(state=True, last_action=False)
        width = self.spec.dim(info) + 2 * info.n_agents * info.action_space.enc_dim
        shape = AgentShape(info.n_agents, width, p.critic_hidden_dim, self.config.share_parameters)
        self.critic = make_critic(AGENTS["mlp"](shape), info.action_space)
        self.padded_to = 1 if p.critic_each_step else self.padded_to  # no optimiser steps for padding
        self.add_targets("critic")
        self.add_optimiser("actor", self.mac.parameters(), self.config.lr)
        self.add_optimiser("critic", self.critic.parameters(), self.config.critic_lr)

    def critic_inputs(self, batch: TrainBatch, actions: Tensor) -> Tensor:
        """State, own observation and id, others' actions `[B,T+1,N,1]`, everyone's last actions: `[B,T+1,N,I]`."""
        others = others_actions(batch.action_space.encode(actions))
        last_actions = joint_actions(batch.last_actions, batch.last_actions)
        return th.cat((batch.inputs(self.spec).full(), others, last_actions), dim=-1)

    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """The critic, then the actors."""
        epsilon = self.mac.epsilon(t_env)
        head = self.mac.unroll(batch)  # [B,T+1,N,A]
        with th.no_grad():
            actions = self.continued_actions(batch, head, epsilon)  # [B,T+1,N,1]
            inputs = self.critic_inputs(batch, actions)
            targets = self.td_targets(batch, inputs, actions)  # [B,T,N]
        metrics = self.learn_critic(batch, inputs, targets)

        # actors: minimise -mean over i of sg(A_i) log pi_i(u_i)
        policy = self.mac.policy(head[:, :-1], batch.avail_taken, epsilon)
        with th.no_grad():
            q = self.judge(batch, inputs, slice(0, -1), batch.rows_taken)
            advantages = (q.taken(batch.actions) - q.expected(policy))[0]  # [B,T,N]
        policy_loss = -masked_mean(advantages * policy.log_prob(batch.actions), batch.mask)
        metrics |= {"policy_loss": policy_loss.detach(), "entropy": masked_mean(policy.entropy.detach(), batch.mask)}
        return metrics | {"actor_grad_norm": self.optimise("actor", policy_loss)}

    def continued_actions(self, batch: TrainBatch, head: Tensor, epsilon: Level) -> Tensor:
        """The stored actions, and one sampled from the policies at each episode's last observation: `[B,T+1,N,1]`."""
        policy = self.mac.policy(head, batch.avail_actions, epsilon)
        fresh, _ = sample_with_log_prob(policy, batch.action_space, self.rng)
        real = th.cat((batch.mask, th.zeros_like(batch.mask[:, :1])), dim=1).unsqueeze(-1) > 0  # [B,T+1,1,1]
        return th.where(real, th.cat((batch.actions, batch.actions[:, -1:]), dim=1), fresh)

    def judge(self, batch: TrainBatch, inputs: Tensor, steps: slice, rows: list[int]) -> QFunction:
        """The online critic at `steps`, from the inputs of all steps `[B,T+1,N,I]`."""
        assert batch.avail_actions is not None
        return self.critic.judge(inputs[:, steps], rows, batch.avail_actions[:, steps], self.rng)

    def td_targets(self, batch: TrainBatch, inputs: Tensor, actions: Tensor) -> Tensor:
        """y_i = TD(lambda) return of Q'_i(s', o'_i, u'_-i; u'_i) of the actions that followed, `[B,T,N]`."""
        q = self.target("critic").judge(inputs, batch.rows_seen, batch.avail_actions, self.rng)
        next_value = q.taken(actions)[0, :, 1:]
        reward, terminated, mask = (x.expand(next_value.shape) for x in (batch.reward, batch.terminated, batch.mask))
        return lambda_returns(reward, terminated, next_value, mask, self.config.gamma, self.params.td_lambda)

    def learn_critic(self, batch: TrainBatch, inputs: Tensor, targets: Tensor) -> Metrics:
        """Minimise (Q_i(u_i) - y_i)^2."""
        parts, judged = [], list[Tensor]()
        for steps, rows in batch.pieces(self.params.critic_each_step):
            values = self.judge(batch, inputs, steps, rows).taken(batch.actions[:, steps])[0]
            mask, y = batch.mask[:, steps], targets[:, steps]
            loss = masked_mean((values - y).square(), mask)
            parts.append({"loss": loss.detach(), "grad_norm": self.optimise("critic", loss)})
            judged.insert(0, values.detach())  # the last step is the first
        values = th.cat(judged, dim=1)  # of the steps that any episode has
        real = slice(values.shape[1])
        return averaged(parts) | td_metrics(values, targets[:, real], batch.mask[:, real])

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Mean over agents of Q_i(s, u), which all estimate the team's return, and log pi_i."""
        head = self.mac.unroll(batch)
        inputs = self.critic_inputs(batch, th.cat((batch.actions, batch.actions[:, -1:]), dim=1))
        values = self.judge(batch, inputs, slice(0, -1), batch.rows_taken).taken(batch.actions)[0]
        policy = self.mac.policy(head[:, :-1], batch.avail_taken)
        return values.mean(-1, keepdim=True), policy.log_prob(batch.actions)
