"""MACPF (Wang, Ye and Lu, ICLR 2023): multi-agent conditional policy factorisation.

Shape legend: B episodes, T transitions, N agents, A actions, I inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch as th
from torch import Tensor

from components.action_selectors import sample_with_log_prob
from components.episode_buffer import TrainBatch
from components.inputs import InputSpec
from components.schedules import LinearSchedule, Steps
from learners.learner import Learner, Metrics, register, td_metrics
from modules.agents import REGISTRY as AGENTS
from modules.agents.trunk import AgentShape
from modules.choice import taken
from modules.critics.conditional import ConditionalCritic
from modules.distributions import MaskedCategorical
from modules.mixers import DOPMixer
from modules.mixers.mixer import MixerShape
from utils.config import Count, Fraction, Rate, Width
from utils.masking import masked_mean
from utils.rl_utils import lambda_returns

CHAINS = {"": False, "dep_": True}  # prefix of the metrics, whether an agent knows what the earlier ones do


@register("macpf_learner")
class MACPFLearner(Learner):
    """Two soft actor-critics with linear mixers: of conditional policies, to act, and independent ones, to execute."""

    mac_class = "conditional_mac"

    @dataclass(frozen=True)
    class Params:
        """Keys of macpf_learner yamls."""

        critic: Literal["rnn", "mlp"]
        dependency_dim: Width  # units of the embedding of earlier actions, of actors and critics
        mixing_embed_dim: Width  # units of the mixing networks
        shared_mixer: bool  # one mixer for both chains (the released code) or one each
        td_lambda: Fraction  # lambda of the soft return
        alpha_start: Rate  # initial temperature, in units of the learning reward
        alpha_finish: Rate  # final temperature
        alpha_anneal_time: Count  # env steps between the two

    def build(self) -> None:
        """Critic and mixers, with targets."""
        p, info, config = self.params, self.env_info, self.config
        self.spec = InputSpec()
        shape = AgentShape(info.n_agents, self.spec.dim(info), config.hidden_dim, config.share_parameters)
        self.critic = ConditionalCritic(AGENTS[p.critic](shape), info.action_space.enc_dim, p.dependency_dim)
        sizes = MixerShape(info.n_agents, info.state_dim, info.action_space.enc_dim, p.mixing_embed_dim)
        self.mixer = DOPMixer(sizes)
        judges = ["critic", "mixer"]
        if not p.shared_mixer:
            self.dep_mixer = DOPMixer(sizes)
            judges.append("dep_mixer")
        self.alpha = LinearSchedule(p.alpha_start, p.alpha_finish, p.alpha_anneal_time)
        self.add_targets(*judges)
        self.add_optimiser("actor", self.mac.parameters(), config.lr)
        self.add_optimiser("critic", self.parameters_of(judges), config.critic_lr)

    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """One step of the critics on both chains' losses, one of the actors on both objectives."""
        alpha, inputs = self.alpha.value(t_env), batch.inputs(self.spec)  # [B,T+1,N,I]
        head = self.mac.unroll(batch)  # [B,T+1,N,2A]
        out = self.critic.unroll(inputs, batch.rows_seen)  # [B,T+1,N,2A]
        with th.no_grad():
            slow_out = self.target("critic").unroll(inputs, batch.rows_seen)
        loss, policy_loss = out.new_zeros(()), out.new_zeros(())
        metrics: Metrics = {}
        for prefix, dependent in CHAINS.items():
            policy, fresh, seen = self.policies(batch, head, dependent)
            with th.no_grad():
                next_q = taken(self.target("critic").values(slow_out, seen), fresh)  # [B,T+1,N]
                targets = self.td_targets(batch, prefix, next_q, alpha * policy.log_prob(fresh))

            # critics: squared error of Q_tot(u) against y
            q_tot = self.q_tot(batch, prefix, out)
            errors = masked_mean((q_tot - targets).square(), batch.mask)
            loss = loss + errors

            # actors: minimise mean over i of E_{u_i ~ pi_i}[alpha log pi_i - Q_i], given fresh u_<i if dependent
            q_all = self.critic.values(out.detach(), seen).detach()
            objective = masked_mean(policy.expect(alpha * policy.log_probs - q_all)[:, :-1], batch.mask)
            policy_loss = policy_loss + objective
            chain = {"loss": errors, "policy_loss": objective} | td_metrics(q_tot, targets, batch.mask)
            chain["entropy"] = masked_mean(policy.entropy[:, :-1], batch.mask)
            metrics |= {prefix + name: value.detach() for name, value in chain.items()}
        metrics["grad_norm"] = self.optimise("critic", loss)
        return metrics | {"actor_grad_norm": self.optimise("actor", policy_loss)}

    def policies(
        self, batch: TrainBatch, head: Tensor, dependent: bool
    ) -> tuple[MaskedCategorical, Tensor, Tensor | None]:
        """A chain's policies at every step, fresh actions `[B,T+1,N,1]`, and these one-hot if the agents see them."""
        avail, space = batch.avail_actions, batch.action_space
        if not dependent:
            policy = self.mac.policy(head, avail)
            return policy, sample_with_log_prob(policy, space, self.rng)[0], None
        uniform = th.rand(head.shape[:-1], generator=self.rng, device=head.device)
        with th.no_grad():
            fresh = self.mac.draw(head, avail, lambda policy, one: policy.sample(uniform[..., one]))
        return self.mac.conditional(head, avail, fresh), fresh, space.encode(fresh)

    def td_targets(self, batch: TrainBatch, prefix: str, next_q: Tensor, cost: Tensor) -> Tensor:
        """y = r + gamma (1 - d) [Q'_tot(u') - alpha sum_i log pi_i(u'_i)] as a TD(lambda) return, `[B,T,1]`.

        `next_q [B,T+1,N]` holds the target utilities of fresh u' and `cost [B,T+1,N]` their alpha log pi_i. The entropy
        of step t + 1 belongs to the reward of step t, so that every step's counts once in a return.
        """
        gamma = self.config.gamma
        value = self.target(self.mixer_of(prefix))(next_q, batch.state)[:, 1:]
        bonus = -cost.sum(-1, keepdim=True)[:, 1:] * (1.0 - batch.terminated)
        return lambda_returns(
            batch.reward + gamma * bonus, batch.terminated, value, batch.mask, gamma, self.params.td_lambda
        )

    def mixer_of(self, prefix: str) -> str:
        """The name of a chain's mixer."""
        return "mixer" if self.params.shared_mixer else f"{prefix}mixer"

    def q_tot(self, batch: TrainBatch, prefix: str, out: Tensor) -> Tensor:
        """Q_tot `[B,T,1]` of the stored actions in the chain `prefix`, from the critic's outputs."""
        seen = batch.actions_enc if CHAINS[prefix] else None
        utilities = taken(self.critic.values(out[:, :-1], seen), batch.actions)
        q_tot: Tensor = self.get_submodule(self.mixer_of(prefix))(utilities, batch.state[:, :-1])
        return q_tot

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Q_tot of the conditional chain, which training follows, and Q_i of the independent agents, as executed."""
        out = self.critic.unroll(batch.inputs(self.spec), batch.rows_seen)
        utilities = taken(self.critic.values(out[:, :-1], None), batch.actions)
        return self.q_tot(batch, "dep_", out), utilities
