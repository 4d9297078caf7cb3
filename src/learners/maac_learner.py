"""MAAC (Iqbal and Sha, ICML 2019): actor-attention-critic, off-policy; discrete as published, continuous constructed.

Shape legend: B episodes, T transitions, N agents, F policy outputs, I inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch as th
from torch import Tensor

from components.action_selectors import log_prob_of, sample_with_log_prob
from components.episode_buffer import TrainBatch
from components.inputs import Inputs, InputSpec
from components.schedules import Steps
from learners.learner import Learner, Metrics, register, td_metrics
from modules.agents.trunk import AgentShape
from modules.critics.attention import AttentionCritic
from modules.critics.q_function import Policy, QFunction
from utils.config import Copies, Positive, Width
from utils.errors import Range
from utils.masking import masked_mean


@register("maac_learner")
class MAACLearner(Learner):
    """Soft critics that attend to the other agents; actors follow Q_i - b_i - alpha log pi_i at fresh joint actions."""

    mac_class = "soft_mac"

    @dataclass(frozen=True)
    class Params:
        """Keys of maac_learner yamls."""

        critic_hidden_dim: Width  # units of encoders, attention and output layers
        attention_heads: Copies  # a divisor of critic_hidden_dim
        alpha: Annotated[float, Range(0.0)]  # temperature, in units of the learning reward
        baseline_samples: Positive  # own actions per baseline, continuous actions only; discrete: exact
        attention_penalty: Annotated[float, Range(0.0)]  # coefficient of the squared attention logits
        output_penalty: Annotated[float, Range(0.0)]  # coefficient of the squared policy outputs

    def build(self) -> None:
        """The critic, with targets of it and of the policies."""
        p, info = self.params, self.env_info
        self.spec = InputSpec()
        shape = AgentShape(info.n_agents, self.spec.dim(info), p.critic_hidden_dim, self.config.share_parameters)
        self.critic = AttentionCritic(shape, info.action_space, p.attention_heads)
        self.add_targets("mac", "critic")
        self.add_optimiser("actor", self.mac.parameters(), self.config.lr)
        self.add_optimiser("critic", self.critic.parameters(), self.config.critic_lr)

    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """One step of the critics, one of the actors."""
        inputs, p = batch.inputs(self.spec), self.params  # [B,T+1,N,I]
        with th.no_grad():
            targets = self.td_targets(batch, inputs)  # [B,T,N]

        # critics: squared error of Q_i(o, u) against y_i, and the attention penalty
        q, squared_logits = self.judge(batch, inputs, batch.actions_enc)
        values = q.taken(batch.actions)[0]  # [B,T,N]
        loss = masked_mean((values - targets).square(), batch.mask)
        penalty = p.attention_penalty * masked_mean(squared_logits, batch.mask)
        metrics = {"loss": loss.detach(), "grad_norm": self.optimise("critic", loss + penalty)}

        # actors: minimise -log pi_i(u_i) sg(Q_i(u) - b_i - alpha log pi_i(u_i)), u fresh for all agents
        head = self.mac.unroll(batch)[:, :-1]  # [B,T,N,F]
        policy = self.mac.policy(head, batch.avail_taken)
        with th.no_grad():
            fresh, _ = sample_with_log_prob(policy, batch.action_space, self.rng)  # [B,T,N,1|D]
            advantages = self.advantages(batch, inputs, policy, fresh)
        log_prob = log_prob_of(policy, fresh, batch.action_space)  # [B,T,N]
        weight = advantages - p.alpha * log_prob.detach()
        policy_loss = masked_mean(p.output_penalty * head.square().mean(-1) - weight * log_prob, batch.mask)
        metrics |= {"policy_loss": policy_loss.detach(), "actor_grad_norm": self.optimise("actor", policy_loss)}
        metrics["entropy"] = masked_mean(-log_prob.detach(), batch.mask)
        return metrics | td_metrics(values, targets, batch.mask)

    def judge(self, batch: TrainBatch, inputs: Inputs, encoded: Tensor) -> tuple[QFunction, Tensor]:
        """The online critic where actions were taken, for joint actions `[B,T,N,U]`; inputs of all steps."""
        return self.critic.judge(inputs[:, :-1], batch.rows_taken, batch.avail_taken, encoded, self.rng)

    def advantages(self, batch: TrainBatch, inputs: Inputs, policy: Policy, fresh: Tensor) -> Tensor:
        """Q_i(o,u) - b_i `[B,T,N]`, b_i = E_{u_i ~ pi_i} Q_i(o,(u_i,u_-i)), the others' `fresh` actions fixed."""
        q, _ = self.judge(batch, inputs, batch.action_space.encode(fresh))
        return (q.taken(fresh) - q.expected(policy, self.params.baseline_samples))[0]

    def td_targets(self, batch: TrainBatch, inputs: Inputs) -> Tensor:
        """y_i = r + gamma (1 - d) [Q'_i(o',u') - alpha log pi'_i(u'_i)], u' ~ the target policies, `[B,T,N]`."""
        if not batch.bootstraps:
            return batch.reward.expand(batch.actions.shape[:-1])
        target_mac = self.target("mac")
        policy = target_mac.policy(target_mac.unroll(batch), batch.avail_actions)
        fresh, log_prob = sample_with_log_prob(policy, batch.action_space, self.rng)
        encoded = batch.action_space.encode(fresh)
        q, _ = self.target("critic").judge(inputs, batch.rows_seen, batch.avail_actions, encoded, self.rng)
        next_value = (q.taken(fresh)[0] - self.params.alpha * log_prob)[:, 1:]
        return batch.reward + self.config.gamma * (1.0 - batch.terminated) * next_value

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Mean over agents of Q_i(o, u), which all estimate the team's return, and log pi_i."""
        q, _ = self.judge(batch, batch.inputs(self.spec), batch.actions_enc)
        policy = self.mac.policy(self.mac.unroll(batch)[:, :-1], batch.avail_taken)
        log_prob = log_prob_of(policy, batch.actions, batch.action_space)
        return q.taken(batch.actions)[0].mean(-1, keepdim=True), log_prob
