"""VDAC (Su et al., AAAI 2021): value-decomposition actor-critic; the mixer of the V_i is the only difference.

Shape legend: B episodes, T transitions, N agents, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor

from components.episode_buffer import TrainBatch
from components.schedules import Steps
from learners.learner import Learner, Metrics, register, td_metrics
from modules.mixers import REGISTRY as MIXERS
from modules.mixers.mixer import MixerShape
from utils.config import Fraction, Width
from utils.errors import Range
from utils.masking import masked_mean
from utils.rl_utils import lambda_returns


@register("vdac_learner")
class VDACLearner(Learner):
    """V_tot = g_s(V_1(tau_1), .., V_N(tau_N)); every actor follows the advantage R - V_tot. On-policy, no targets."""

    mac_class = "actor_critic_mac"
    on_policy = True

    @dataclass(frozen=True)
    class Params:
        """Keys of vdac_learner yamls."""

        mixer: Literal["vdn", "qmix"]  # VDAC-sum, VDAC-mix
        mixing_embed_dim: Width  # units of the mixing network
        td_lambda: Fraction  # lambda of the return
        value_coef: Annotated[float, Range(0.0)]  # weight of the squared error of V_tot
        entropy_coef: Annotated[float, Range(0.0)]  # weight of the policies' entropy; 0 as published

    def build(self) -> None:
        """The mixer; policies and V_i share the agents' networks."""
        p, info = self.params, self.env_info
        shape = MixerShape(info.n_agents, info.state_dim, info.action_space.enc_dim, p.mixing_embed_dim)
        self.mixer = MIXERS[p.mixer](shape)
        self.add_optimiser("all", self.parameters_of(["mac", "mixer"]), self.config.lr)

    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """Minimise -sg(R - V_tot) log pi_i + c_v (V_tot - sg R)^2 - c_e H(pi_i), means over agents and steps."""
        p, mask = self.params, batch.mask
        head = self.mac.unroll(batch)  # [B,T+1,N,A+1]
        v_tot = self.mixer(self.mac.value(head), batch.state)  # [B,T+1,1]
        values = v_tot[:, :-1]
        # R: TD(lambda) return of the current V_tot
        next_value = v_tot.detach()[:, 1:]
        returns = lambda_returns(batch.reward, batch.terminated, next_value, mask, self.config.gamma, p.td_lambda)

        policy = self.mac.policy(head[:, :-1], batch.avail_taken, self.mac.epsilon(t_env))
        advantages = returns - values.detach()  # [B,T,1], the same for every agent
        policy_loss = -masked_mean(advantages * policy.log_prob(batch.actions), mask)
        value_loss = masked_mean((values - returns).square(), mask)
        entropy = masked_mean(policy.entropy, mask)
        loss = policy_loss + p.value_coef * value_loss - p.entropy_coef * entropy
        norm = self.optimise("all", loss)
        metrics = {"loss": loss, "policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}
        metrics = {name: value.detach() for name, value in metrics.items()} | {"grad_norm": norm}
        return metrics | td_metrics(values, returns, mask)

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """V_tot, since there is no action value, and log pi_i."""
        head = self.mac.unroll(batch)[:, :-1]
        policy = self.mac.policy(head, batch.avail_taken)
        return self.mixer(self.mac.value(head), batch.state[:, :-1]), policy.log_prob(batch.actions)
