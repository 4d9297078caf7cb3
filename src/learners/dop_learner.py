"""DOP, stochastic (Wang et al., ICLR 2021): off-policy multi-agent decomposed policy gradients.

Shape legend: B episodes, T transitions, N agents, A actions, I inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch as th
from torch import Tensor

from components.episode_buffer import ReplayBuffer, TrainBatch
from components.inputs import Inputs, InputSpec
from components.schedules import Level, Steps
from learners.learner import Learner, Metrics, averaged, register, td_metrics
from modules.agents import REGISTRY as AGENTS
from modules.agents.trunk import AgentShape
from modules.critics import make_critic
from modules.mixers import REGISTRY as MIXERS
from modules.mixers import DOPMixer
from modules.mixers.mixer import MixerShape
from utils.config import Fraction, Positive, Width
from utils.errors import Range, UserError
from utils.masking import masked_mean
from utils.rl_utils import continues, lambda_returns, tree_backup


@register("dop_learner")
class DOPLearner(Learner):
    """Q_tot = sum_i k_i(s) Q_i(s,o_i,u_i) + b(s), judged off- and on-policy; actors follow k_i (Q_i - E_pi Q_i)."""

    mac_class = "mixture_mac"

    @dataclass(frozen=True)
    class Params:
        """Keys of dop_learner yamls."""

        critic_hidden_dim: Width  # units of the two hidden layers of Q_i
        dueling: bool  # Q_i as a value plus one term per action (released code), else one output per action
        mixer: Literal["dop", "dop_normalised"]  # the paper's, or the released code's: k sums to 1 and no b
        mixing_embed_dim: Width  # units of the mixing network
        recent_batch_size: Positive  # on-policy episodes per update, besides batch_size replayed ones
        recent_pool: Positive  # newest episodes of which they are drawn; as many: the newest themselves
        kappa: Fraction | None  # weight of the off-policy loss, the on-policy one has 1 - kappa; null: one mean of both
        tree_steps: Positive  # n of the tree backup
        tree_lambda: Fraction  # its trace parameter
        td_lambda: Fraction  # lambda of the on-policy return
        critic_each_step: bool  # one optimiser step per time index, the first first, else one per update
        entropy_coef: Annotated[float, Range(0.0)]  # weight of the policies' entropy; 0 as published

        def __post_init__(self) -> None:
            """Check what depends on two keys."""
            if (pool := self.recent_pool) < (drawn := self.recent_batch_size):
                raise UserError(f"recent_pool ({pool} episodes) must hold recent_batch_size ({drawn})")

    def build(self) -> None:
        """Critic and mixer, with targets."""
        p, info = self.params, self.env_info
        self.spec = InputSpec(state=True, last_action=False)
        shape = AgentShape(info.n_agents, self.spec.dim(info), p.critic_hidden_dim, self.config.share_parameters)
        self.critic = make_critic(AGENTS["mlp"](shape), info.action_space, p.dueling)
        sizes = MixerShape(info.n_agents, info.state_dim, info.action_space.enc_dim, p.mixing_embed_dim)
        mixer = MIXERS[p.mixer](sizes)
        assert isinstance(mixer, DOPMixer)
        self.mixer = mixer
        self.padded_to = 1 if p.critic_each_step else self.padded_to  # no optimiser steps for padding
        self.add_targets("critic", "mixer")
        self.add_optimiser("actor", self.mac.parameters(), self.config.lr)
        self.add_optimiser("critic", self.parameters_of(["critic", "mixer"]), self.config.critic_lr)

    def sample(self, buffer: ReplayBuffer) -> TrainBatch:
        """Replayed and newest episodes in one batch."""
        counts = self.config.batch_size, self.params.recent_batch_size, self.params.recent_pool
        return buffer.sample_with_recent(*counts, self.device)

    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """Critic on all episodes, actors on the newest."""
        inputs, epsilon = batch.inputs(self.spec), self.mac.epsilon(t_env)
        head = self.mac.unroll(batch)  # [B,T+1,N,A]
        with th.no_grad():
            off, on = self.td_targets(batch, inputs, head, epsilon)
        metrics = self.learn_critic(batch, inputs, off, on)

        # actors: minimise -sg(k_i [Q_i(u_i) - sum_a pi_i(a) Q_i(a)]) log pi_i(u_i) - c_e H(pi_i), means over agents
        policy = self.mac.policy(head[:, :-1], batch.avail_taken, epsilon)
        with th.no_grad():
            q = self.critic.judge(inputs[:, :-1], batch.rows_taken, batch.avail_taken, self.rng)
            gap = (q.taken(batch.actions) - q.expected(policy))[0]  # [B,T,N]
            advantages = self.mixer.weights(batch.state[:, :-1]) * gap
        newest = batch.mask_of(on_policy=True)
        policy_loss = -masked_mean(advantages * policy.log_prob(batch.actions), newest)
        entropy = masked_mean(policy.entropy, newest)
        metrics |= {"policy_loss": policy_loss.detach(), "entropy": entropy.detach()}
        return metrics | {"actor_grad_norm": self.optimise("actor", policy_loss - self.params.entropy_coef * entropy)}

    def td_targets(self, batch: TrainBatch, inputs: Inputs, head: Tensor, epsilon: Level) -> tuple[Tensor, Tensor]:
        """Targets of replayed and of newest episodes, `[B,T,1]` each.

            off  y_t = Q'(u_t) + sum_{j<n} (gamma lambda)^j [prod_{l<=j} pi(u_{t+l})] delta_{t+j},
                 delta_t = r_t + gamma (1 - d_t) E_pi Q'(t+1) - Q'(u_t)
            on   TD(lambda) return of Q'(u_{t+1}); where no action was taken any more, of E_pi Q'

        Q' = Q'_tot is linear in the Q'_i, so its expectation is the mixture of their expectations, exactly.
        """
        p, gamma, mixer = self.params, self.config.gamma, self.target("mixer")
        policy = self.mac.policy(head, batch.avail_actions, epsilon)
        actions = th.cat((batch.actions, batch.actions[:, -1:]), dim=1)  # the last row is not used
        q = self.target("critic").judge(inputs, batch.rows_seen, batch.avail_actions, self.rng)
        taken = mixer(q.taken(actions)[0], batch.state)[:, :-1]  # [B,T,1]
        expected = mixer(q.expected(policy)[0], batch.state)[:, 1:]  # of the next step, [B,T,1]
        probability = policy.log_prob(actions)[:, :-1].sum(-1, keepdim=True).exp()
        td_error = batch.reward + gamma * (1.0 - batch.terminated) * expected - taken
        off = tree_backup(taken, td_error, probability, batch.mask, gamma * p.tree_lambda, p.tree_steps)
        next_value = th.where(continues(batch.mask), taken.roll(-1, dims=1), expected)
        on = lambda_returns(batch.reward, batch.terminated, next_value, batch.mask, gamma, p.td_lambda)
        return off, on

    def learn_critic(self, batch: TrainBatch, inputs: Inputs, off: Tensor, on: Tensor) -> Metrics:
        """Minimise kappa (Q_tot - off)^2 over replayed and (1 - kappa) (Q_tot - on)^2 over newest episodes.

        Each a mean over those real steps of its episodes that the optimiser step is for, all or one time index; without
        kappa one mean over both kinds.
        """
        parts, values = [], []
        replayed, newest = batch.mask_of(on_policy=False), batch.mask_of(on_policy=True)
        for steps, rows in batch.pieces(self.params.critic_each_step, last_first=False):
            q_tot, _ = self.values(batch, inputs[:, steps], steps, rows)
            masks, kappa = (replayed[:, steps], newest[:, steps]), self.params.kappa
            weight = masks[0].sum() / (masks[0].sum() + masks[1].sum()) if kappa is None else kappa
            loss = weight * masked_mean((q_tot - off[:, steps]).square(), masks[0])
            loss = loss + (1.0 - weight) * masked_mean((q_tot - on[:, steps]).square(), masks[1])
            norm = self.optimise("critic", loss)
            parts.append({"loss": loss.detach(), "grad_norm": norm})
            values.append(q_tot.detach())
        q_tot = th.cat(values, dim=1)  # of the steps that any episode has
        targets, real = th.where(newest > 0, on, off), slice(q_tot.shape[1])
        return averaged(parts) | td_metrics(q_tot, targets[:, real], batch.mask[:, real])

    def values(self, batch: TrainBatch, inputs: Inputs, steps: slice, rows: list[int]) -> tuple[Tensor, Tensor]:
        """Q_tot `[B,t,1]` and Q_i `[B,t,N]` of the stored actions at `steps`, from their inputs `[B,t,N,I]`."""
        assert batch.avail_taken is not None
        q = self.critic.judge(inputs, rows, batch.avail_taken[:, steps], self.rng)
        utilities = q.taken(batch.actions[:, steps])[0]
        return self.mixer(utilities, batch.state[:, :-1][:, steps]), utilities

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Q_tot and Q_i."""
        return self.values(batch, batch.inputs(self.spec)[:, :-1], slice(None), batch.rows_taken)
