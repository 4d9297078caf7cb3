"""IQL, VDN, QMIX: Q-learning with utilities of the agents; the mixer is the only difference.

Shape legend: B episodes, T transitions, N agents, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch as th
from torch import Tensor

from components.action_selectors import greedy
from components.episode_buffer import TrainBatch
from learners.learner import Learner, Metrics, register, td_metrics
from modules.mixers import REGISTRY as MIXERS
from modules.mixers.mixer import MixerShape
from utils.config import Fraction, Positive
from utils.masking import masked_mean
from utils.rl_utils import lambda_returns


@register("q_learner")
class QLearner(Learner):
    """Loss (Q_tot(tau,u) - y)^2, y = TD(lambda) return of Q'_tot(tau', argmax_u' Q_i(tau'_i,u'_i)).

    Without a mixer (IQL) each agent regresses its own utility on the team reward.
    """

    @dataclass(frozen=True)
    class Params:
        """Keys of q_learner yamls."""

        mixer: Literal["none", "vdn", "qmix"]  # none: independent Q-learning
        mixing_embed_dim: Positive  # units of the mixing network
        double_q: bool  # next actions by the online network, their values by the target
        td_lambda: Fraction  # lambda of the return target; 0 is one-step

    def build(self) -> None:
        """Agent (in the mac), mixer, and targets of both."""
        self.mixer = None
        trained = ["mac"]
        if self.params.mixer != "none":
            info = self.env_info
            shape = MixerShape(info.n_agents, info.state_dim, info.action_space.enc_dim, self.params.mixing_embed_dim)
            self.mixer = MIXERS[self.params.mixer](shape)
            trained.append("mixer")
        self.add_targets(*trained)
        self.add_optimiser("q", self.parameters_of(trained), self.config.lr)

    def learn(self, batch: TrainBatch, t_env: int) -> Metrics:
        """One gradient step."""
        q_all = self.mac.unroll(batch)  # [B,T+1,N,A]
        q_tot, _ = self.values_of_taken(batch, q_all)  # [B,T,1]; [B,T,N] for IQL

        with th.no_grad():
            targets = self.td_targets(batch, q_all)

        loss = masked_mean((q_tot - targets).square(), batch.mask)
        norm = self.optimise("q", loss)
        return {"loss": loss.detach(), "grad_norm": norm} | td_metrics(q_tot, targets, batch.mask)

    def values_of_taken(self, batch: TrainBatch, q_all: Tensor) -> tuple[Tensor, Tensor]:
        """Q_tot `[B,T,1]` (IQL: the utilities) and the utilities `[B,T,N]` of the stored actions."""
        utilities = q_all[:, :-1].gather(-1, batch.actions).squeeze(-1)
        return self.mix(self.mixer, utilities, batch.state[:, :-1]), utilities

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """As `values_of_taken`; IQL has no joint value, the sum of utilities stands in."""
        q_tot, utilities = self.values_of_taken(batch, self.mac.unroll(batch))
        return (q_tot if self.mixer is not None else utilities.sum(-1, keepdim=True)), utilities

    def td_targets(self, batch: TrainBatch, q_all: Tensor) -> Tensor:
        """y `[B,T,1]` (`[B,T,N]` for IQL), from the online utilities `[B,T+1,N,A]`."""
        assert batch.avail_actions is not None
        target_q_all = self.target("mac").unroll(batch)  # [B,T+1,N,A]
        chooser = q_all if self.params.double_q else target_q_all
        best = greedy(chooser, batch.avail_actions)  # [B,T+1,N,1]
        next_utilities = target_q_all.gather(-1, best).squeeze(-1)[:, 1:]  # [B,T,N]
        mixer = self.target("mixer") if self.mixer is not None else None
        next_value = self.mix(mixer, next_utilities, batch.state[:, 1:])
        reward, terminated, mask = (x.expand(next_value.shape) for x in (batch.reward, batch.terminated, batch.mask))
        return lambda_returns(reward, terminated, next_value, mask, self.config.gamma, self.params.td_lambda)

    @staticmethod
    def mix(mixer: th.nn.Module | None, utilities: Tensor, state: Tensor) -> Tensor:
        """Q_tot, or the utilities themselves for independent learners."""
        return utilities if mixer is None else mixer(utilities, state)
