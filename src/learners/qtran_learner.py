"""QTRAN (Son et al., ICML 2019), base and alt: a free joint Q-function and an additive one tied to it by constraints.

Shape legend: B episodes, T transitions, N agents, A actions, H hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch as th
from torch import Tensor

from components.action_selectors import greedy
from components.episode_buffer import TrainBatch
from components.schedules import Steps
from learners.learner import Learner, Metrics, register, td_metrics
from modules.agents.trunk import AgentNetwork
from modules.choice import taken
from modules.critics.joint_q import CounterfactualQ, JointQ, JointShape
from utils.config import Width
from utils.errors import Range
from utils.masking import masked_mean

NETWORKS: dict[str, type[JointQ]] = {"base": JointQ, "alt": CounterfactualQ}


@register("qtran_learner")
class QTRANLearner(Learner):
    """Loss L_td + opt_weight L_opt + nopt_weight L_nopt, with Q' = sum_i Q_i and u- the joint greedy action of Q'.

        L_td   = (Q_jt(tau,u) - y)^2,    y = r + gamma (1 - d) Q_jt'(tau',u-')
        L_opt  = (Q'(tau,u-) - sg Q_jt(tau,u-) + V_jt(s))^2
        L_nopt = min(0, Q'(tau,u) - sg Q_jt(tau,u) + V_jt(s))^2                                              (base)
        L_nopt = 1/N sum_i (min_a [Q'(tau,a,u_-i) - sg Q_jt(tau,a,u_-i) + V_jt(s)])^2                        (alt)

    u- and the minimum run over available actions. Constraints use online networks only.
    """

    @dataclass(frozen=True)
    class Params:
        """Keys of qtran_learner yamls."""

        constraint: Literal["base", "alt"]  # which L_nopt
        mixing_embed_dim: Width  # units of the hidden layers of Q_jt and V_jt
        opt_weight: Annotated[float, Range(0.0)]  # of L_opt
        nopt_weight: Annotated[float, Range(0.0)]  # of L_nopt

    def build(self) -> None:
        """Agents (in the mac) and joint networks, with targets of both."""
        info, config = self.env_info, self.config
        sizes = (info.n_agents, info.state_dim, config.hidden_dim, info.action_space.enc_dim)
        self.joint_q = NETWORKS[self.params.constraint](JointShape(*sizes, self.params.mixing_embed_dim))
        self.add_targets("mac", "joint_q")
        self.add_optimiser("q", self.parameters_of(["mac", "joint_q"]), config.lr)

    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """One gradient step on the three losses."""
        assert batch.avail_actions is not None
        q_all, hidden = self.unroll(self.mac.agent, batch)  # [B,T+1,N,A], [B,T+1,N,H]
        best = greedy(q_all, batch.avail_actions)  # u-, [B,T+1,N,1]
        with th.no_grad():
            targets = self.td_targets(batch, best)  # [B,T,1]

        # L_td trains Q_jt; alt has N views of Q_jt(tau,u), each of them regresses on y
        state, q_all, hidden, best = batch.state[:, :-1], q_all[:, :-1], hidden[:, :-1], best[:, :-1]
        q_joint = self.joint_q(state, hidden, batch.actions_enc)  # [B,T,1]; [B,T,N] for alt
        td_loss = masked_mean((q_joint - targets).square(), batch.mask)

        # the constraints train Q_i and V_jt
        v = self.joint_q.v(state)  # [B,T,1]
        with th.no_grad():
            q_best = self.joint_q(state, hidden, batch.action_space.encode(best)).mean(-1, keepdim=True)
        q_sum = taken(q_all, best).sum(-1, keepdim=True)  # Q'(tau,u-), [B,T,1]
        opt_loss = masked_mean((q_sum - q_best + v).square(), batch.mask)
        nopt_loss = masked_mean(self.nopt_error(batch, q_all, hidden, v).square(), batch.mask)

        loss = td_loss + self.params.opt_weight * opt_loss + self.params.nopt_weight * nopt_loss
        norm = self.optimise("q", loss)
        losses = {"loss": loss, "td_loss": td_loss, "opt_loss": opt_loss, "nopt_loss": nopt_loss, "grad_norm": norm}
        metrics = {name: value.detach() for name, value in losses.items()}
        return metrics | td_metrics(q_joint.mean(-1, keepdim=True), targets, batch.mask)

    def nopt_error(self, batch: TrainBatch, q_all: Tensor, hidden: Tensor, v: Tensor) -> Tensor:
        """What L_nopt squares: `[B,T,1]` for base, `[B,T,N]` for alt."""
        assert batch.avail_taken is not None
        state, of_taken = batch.state[:, :-1], taken(q_all, batch.actions)  # [B,T,N]
        q_sum = of_taken.sum(-1, keepdim=True)  # Q'(tau,u), [B,T,1]
        if not isinstance(self.joint_q, CounterfactualQ):
            with th.no_grad():
                q_joint = self.joint_q(state, hidden, batch.actions_enc)
            return (q_sum - q_joint + v).clamp(max=0.0)
        with th.no_grad():
            q_joint = self.joint_q.counterfactuals(state, hidden, batch.actions_enc)  # [B,T,N,A]
        error = q_all - of_taken.unsqueeze(-1) + q_sum.unsqueeze(-1) - q_joint + v.unsqueeze(-1)
        return error.masked_fill(~batch.avail_taken, th.finfo(error.dtype).max).amin(-1)

    def td_targets(self, batch: TrainBatch, best: Tensor) -> Tensor:
        """y `[B,T,1]`: target networks at the greedy joint action `best [B,T+1,N,1]` of the online Q_i."""
        _, hidden = self.unroll(self.target("mac").agent, batch)
        actions = batch.action_space.encode(best[:, 1:])
        next_value = self.target("joint_q")(batch.state[:, 1:], hidden[:, 1:], actions).mean(-1, keepdim=True)
        targets: Tensor = batch.reward + self.config.gamma * (1.0 - batch.terminated) * next_value
        return targets

    def unroll(self, agent: AgentNetwork, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Utilities `[B,T+1,N,A]` and histories `[B,T+1,N,H]` of every agent."""
        axis, rows, size = agent.trunk.axis, batch.rows_seen, len(batch.obs)
        features = agent.trunk(batch.inputs(self.mac.spec), rows)
        return axis.unpack(agent.head(features), rows, size).squeeze(0), axis.unpack(features, rows, size).squeeze(0)

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Q_jt (alt: mean of the N views) and the utilities, whose sum is Q' and not Q_jt."""
        q_all, hidden = self.unroll(self.mac.agent, batch)
        q_joint = self.joint_q(batch.state[:, :-1], hidden[:, :-1], batch.actions_enc).mean(-1, keepdim=True)
        return q_joint, taken(q_all[:, :-1], batch.actions)
