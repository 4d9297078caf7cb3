"""Weighted QMIX (Rashid et al., NeurIPS 2020), centrally weighted (CW) and optimistically weighted (OW).

Shape legend: B episodes, T transitions, N agents, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch as th
from torch import Tensor

from components.action_selectors import greedy
from components.episode_buffer import TrainBatch
from components.schedules import Steps
from learners.learner import Learner, Metrics, register, td_metrics
from modules.agents import REGISTRY as AGENTS
from modules.agents.trunk import AgentNetwork, AgentShape
from modules.choice import taken
from modules.mixers import Mixer, QMIXMixer, QStarMixer
from modules.mixers.mixer import MixerShape
from utils.config import Fraction, Width
from utils.masking import masked_mean
from utils.rl_utils import lambda_returns


def central_weights(is_greedy: Tensor, targets: Tensor, best_value: Tensor, w_low: float) -> Tensor:
    """CW: w = 1 if u = u^ or y > Q*'(s,u^), else w_low; `is_greedy` bool, all `[B,T,1]`."""
    return th.where(is_greedy | (targets > best_value), 1.0, w_low)


def optimistic_weights(q_tot: Tensor, targets: Tensor, w_low: float) -> Tensor:
    """OW: w = 1 if Q_tot(tau,u) < y, else w_low; all `[B,T,1]`."""
    return th.where(q_tot < targets, 1.0, w_low)


@register("wqmix_learner")
class WQMIXLearner(Learner):
    """Loss sg(w) (Q_tot(tau,u) - y)^2 + (Q*(s,tau,u) - y)^2,  y = r + gamma (1 - d) Q*'(s',tau',u^').

    Q_tot is QMIX, Q* an unrestricted central function with agent networks of its own, u^ the greedy joint action of
    QMIX's agents. Q_tot is the projection of Q* onto monotonic functions, weighted towards the actions that matter.
    """

    @dataclass(frozen=True)
    class Params:
        """Keys of wqmix_learner yamls."""

        weighting: Literal["central", "optimistic"]  # CW or OW
        w_low: Fraction  # weight of the joint actions that matter less; 1 is QMIX with targets from Q*
        mixing_embed_dim: Width  # units of QMIX's mixing network
        central_embed_dim: Width  # units of each of the three hidden layers of Q*'s mixing network
        td_lambda: Fraction  # lambda of the return target; 0 is one-step

    def build(self) -> None:
        """QMIX (agents in the mac), Q* with targets, one optimiser for all, as in the authors' code."""
        p, info, config = self.params, self.env_info, self.config
        sizes = (info.n_agents, info.state_dim, info.action_space.enc_dim)
        agent = AgentShape(info.n_agents, self.mac.spec.dim(info), config.hidden_dim, config.share_parameters)
        self.mixer = QMIXMixer(MixerShape(*sizes, p.mixing_embed_dim))
        self.central_agent = AgentNetwork(AGENTS[config.agent](agent), info.action_space.enc_dim)
        self.central_mixer = QStarMixer(MixerShape(*sizes, p.central_embed_dim))
        self.add_targets("central_agent", "central_mixer")
        trained = ["mac", "mixer", "central_agent", "central_mixer"]
        self.add_optimiser("q", self.parameters_of(trained), config.lr)

    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """One gradient step on both losses."""
        assert batch.avail_actions is not None
        q_all = self.mac.unroll(batch)  # [B,T+1,N,A]
        best = greedy(q_all, batch.avail_actions)  # u^, [B,T+1,N,1]
        q_tot = self.joint(self.mixer, q_all, batch.actions, batch)  # [B,T,1]
        q_star = self.joint(self.central_mixer, self.central_q(self.central_agent, batch), batch.actions, batch)

        with th.no_grad():
            target_q_all = self.central_q(self.target("central_agent"), batch)
            best_value = self.joint(self.target("central_mixer"), target_q_all, best, batch)  # Q*'(s,u^), [B,T+1,1]
            targets = lambda_returns(
                batch.reward, batch.terminated, best_value[:, 1:], batch.mask, self.config.gamma, self.params.td_lambda
            )
            weights = self.weights(batch.actions == best[:, :-1], q_tot, targets, best_value[:, :-1])

        loss = masked_mean(weights * (q_tot - targets).square(), batch.mask)
        central_loss = masked_mean((q_star - targets).square(), batch.mask)
        norm = self.optimise("q", loss + central_loss)
        metrics = {"loss": loss.detach(), "central_loss": central_loss.detach(), "grad_norm": norm}
        metrics["weight_mean"] = masked_mean(weights, batch.mask)
        metrics["q_star_mean"] = masked_mean(q_star.detach(), batch.mask)
        return metrics | td_metrics(q_tot, targets, batch.mask)

    def weights(self, same: Tensor, q_tot: Tensor, targets: Tensor, best_value: Tensor) -> Tensor:
        """w(s,u) `[B,T,1]`; `same [B,T,N,1]` tells where agents took their greedy action."""
        if self.params.weighting == "optimistic":
            return optimistic_weights(q_tot, targets, self.params.w_low)
        return central_weights(same.all(-2), targets, best_value, self.params.w_low)

    def central_q(self, agent: AgentNetwork, batch: TrainBatch) -> Tensor:
        """Utilities inside Q*, `[B,T+1,N,A]`."""
        return agent.unroll(batch.inputs(self.mac.spec), batch.rows_seen)

    @staticmethod
    def joint(mixer: Mixer, q_all: Tensor, actions: Tensor, batch: TrainBatch) -> Tensor:
        """Joint value `[B,T',1]` of `actions [B,T',N,1]`, the first T' steps of the batch."""
        steps = actions.shape[1]
        value: Tensor = mixer(taken(q_all, actions, slice(steps)), batch.state[:, :steps])
        return value

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Q_tot `[B,T,1]`, the weighted projection (not Q*), and the utilities of QMIX's agents `[B,T,N]`."""
        q_all = self.mac.unroll(batch)
        return self.joint(self.mixer, q_all, batch.actions, batch), taken(q_all[:, :-1], batch.actions)
