"""My algorithm (Author et al., year). Deviations from the paper: docs/algorithms/my.md.

Shape legend: B episodes, T transitions, N agents, A actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch as th
from torch import Tensor

from components.action_selectors import greedy
from components.episode_buffer import TrainBatch
from components.schedules import Steps
from learners.learner import Learner, Metrics, register, td_metrics
from utils.config import Fraction
from utils.masking import masked_mean
from utils.rl_utils import lambda_returns


@register("my_learner")
class MyLearner(Learner):
    """Template: a sum of utilities regressed on TD(lambda) returns. Replace the three marked places."""

    @dataclass(frozen=True)
    class Params:
        """The keys the yaml adds; each is checked for type and range."""

        td_lambda: Fraction  # lambda of the return target, in [0, 1]

    def build(self) -> None:
        """(1) Networks as attributes (the agents' is `self.mac`), their targets, optimisers."""
        self.add_targets("mac")
        self.add_optimiser("q", self.parameters_of(["mac"]), self.config.lr)

    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """(2) One update: loss, step, metrics to log."""
        q_tot, _ = self.evaluate_actions(batch)
        with th.no_grad():
            q_next = self.target("mac").unroll(batch)  # [B,T+1,N,A]
            best = q_next.gather(-1, greedy(q_next, batch.avail_actions)).squeeze(-1)  # [B,T+1,N]
            next_value = best.sum(-1, keepdim=True)[:, 1:]  # [B,T,1]
            targets = lambda_returns(
                batch.reward, batch.terminated, next_value, batch.mask, self.config.gamma, self.params.td_lambda
            )
        loss = masked_mean((q_tot - targets).square(), batch.mask)
        return {"loss": loss.detach(), "grad_norm": self.optimise("q", loss)} | td_metrics(q_tot, targets, batch.mask)

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """(3) Q_tot `[B,T,1]` and utilities `[B,T,N]` of the stored actions, for tables of one-step games."""
        utilities = self.mac.unroll(batch)[:, :-1].gather(-1, batch.actions).squeeze(-1)
        return utilities.sum(-1, keepdim=True), utilities
