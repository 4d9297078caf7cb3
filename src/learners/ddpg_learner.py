"""Deterministic policy gradients: MADDPG, FACMAC (FacMADDPG) and deterministic DOP, discrete and continuous.

Shape legend: B episodes, T transitions, N agents, F policy outputs, U encoded action, I inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch as th
from torch import Tensor

from components.action_selectors import differentiable_sample, log_prob_of, mode
from components.episode_buffer import TrainBatch
from components.inputs import Inputs
from components.schedules import Steps
from learners.learner import Learner, Metrics, register, td_metrics
from modules.agents import REGISTRY as AGENTS
from modules.agents.trunk import AgentShape
from modules.critics import ActionCritic
from modules.critics.central_q import SCOPES
from modules.critics.critic import ActionValue
from modules.layers import frozen
from modules.mixers import REGISTRY as MIXERS
from modules.mixers.mixer import MixerShape
from utils.config import Fraction, Rate, Width
from utils.errors import Range
from utils.masking import masked_mean
from utils.rl_utils import lambda_returns

Judge = Callable[..., Tensor] | None  # a mixer, online, frozen or target


@register("ddpg_learner")
class DDPGLearner(Learner):
    """Critic: (Q(u) - y)^2, y = TD(lambda) return of Q'(mu'(tau')). Actor: maximise Q(mu(tau)).

    Q is Q_tot of a mixer over Q_i(o_i,u_i) (FACMAC: all actions replaced by the actors' at once), or, without a mixer,
    each agent's Q_i(s,o_i,u_1..u_N), its own action replaced and the others' taken from the buffer (MADDPG).
    """

    mac_class = "deterministic_mac"

    @dataclass(frozen=True)
    class Params:
        """Keys of ddpg_learner yamls."""

        critic: Literal["mlp", "rnn"]
        critic_scope: Literal["own", "own_state", "joint"]  # Q_i(o_i, u_i), Q_i(s, o_i, u_i), Q_i(s, o_i, u_1..u_N)
        mixer: Literal["none", "vdn", "qmix", "nonmonotonic", "dop"]
        mixing_embed_dim: Width  # units of the mixing network
        td_lambda: Fraction  # lambda of the return target; 0 is one-step
        action_noise: Rate  # std of the Gaussian noise of acting, in units of half the box; continuous actions only
        output_penalty: Annotated[float, Range(0.0)]  # coefficient of the mean squared policy outputs in the actor loss

    def build(self) -> None:
        """Critic, mixer where used, targets of both and of the actors."""
        p, info, config = self.params, self.env_info, self.config
        self.scope = SCOPES[p.critic_scope]
        shape = AgentShape(info.n_agents, self.scope.spec.dim(info), config.hidden_dim, config.share_parameters)
        self.critic = ActionCritic(AGENTS[p.critic](shape), self.scope.width(info))
        judges = ["critic"]
        self.mixer = None
        if p.mixer != "none":
            sizes = MixerShape(info.n_agents, info.state_dim, info.action_space.enc_dim, p.mixing_embed_dim)
            self.mixer = MIXERS[p.mixer](sizes)
            judges.append("mixer")
        self.add_targets("mac", *judges)
        self.add_optimiser("actor", self.mac.parameters(), config.lr)
        self.add_optimiser("critic", self.parameters_of(judges), config.critic_lr)

    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """One step of the critic (and mixer), one of the actors."""
        inputs, state = batch.inputs(self.scope.spec), batch.state  # [B,T+1,N,I], [B,T+1,S]
        with th.no_grad():
            targets = self.td_targets(batch, inputs)

        # critic: squared error of Q(u) against y
        q, frozen_q = self.critic.at(inputs[:, :-1], batch.rows_taken)
        values = self.joint(q, batch.actions_enc, batch.actions_enc, self.mixer, state[:, :-1])
        loss = masked_mean((values - targets).square(), batch.mask)

        # actors: minimise -Q(mu(tau)), through the frozen critic: the chain rule over actions
        head = self.mac.unroll(batch)[:, :-1]  # [B,T,N,F]
        fresh, _ = differentiable_sample(self.mac.policy(head, batch.avail_taken), self.rng)  # [B,T,N,U]
        mixer = None if self.mixer is None else frozen(self.mixer)
        gain = masked_mean(self.joint(frozen_q, fresh, batch.actions_enc, mixer, state[:, :-1]), batch.mask)
        penalty = masked_mean(head.square().mean(-1), batch.mask)
        norm = self.optimise("actor", self.params.output_penalty * penalty - gain)
        metrics = {"policy_loss": -gain.detach(), "actor_grad_norm": norm, "loss": loss.detach()}
        metrics["grad_norm"] = self.optimise("critic", loss)  # after the actors, who look through it
        return metrics | td_metrics(values, targets, batch.mask)

    def joint(self, q: ActionValue, own: Tensor, others: Tensor, mixer: Judge, state: Tensor) -> Tensor:
        """Q_tot `[B,T,1]` (without a mixer every agent's Q, `[B,T,N]`) of encoded actions `[B,T,N,U]`."""
        utilities = q(self.scope.arrange(own, others))[0]  # [B,T,N]
        return utilities if mixer is None else mixer(utilities, state)

    def td_targets(self, batch: TrainBatch, inputs: Inputs) -> Tensor:
        """y = r + gamma (1 - d) Q'(tau', mu'(tau')) as a TD(lambda) return, `[B,T,1]` or `[B,T,N]`.

        mu' is the target actors' greedy action: one-hot argmax, or tanh of the output without noise.
        """
        if not batch.bootstraps:
            return batch.reward if self.mixer is not None else batch.reward.expand(batch.actions.shape[:-1])
        target_mac, space = self.target("mac"), self.env_info.action_space
        policy = target_mac.policy(target_mac.unroll(batch), batch.avail_actions)
        best = space.encode(mode(policy, space))  # [B,T+1,N,U]
        q, _ = self.target("critic").at(inputs, batch.rows_seen)
        mixer = None if self.mixer is None else self.target("mixer")
        next_value = self.joint(q, best, best, mixer, batch.state)[:, 1:]
        reward, terminated, mask = (x.expand(next_value.shape) for x in (batch.reward, batch.terminated, batch.mask))
        return lambda_returns(reward, terminated, next_value, mask, self.config.gamma, self.params.td_lambda)

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Q_tot and Q_i; without a mixer the mean of the agents' Q, and how probable the actors make the actions."""
        q, _ = self.critic.at(batch.inputs(self.scope.spec)[:, :-1], batch.rows_taken)
        utilities = self.joint(q, batch.actions_enc, batch.actions_enc, None, batch.state)
        if self.mixer is not None:
            return self.mixer(utilities, batch.state[:, :-1]), utilities
        policy = self.mac.policy(self.mac.unroll(batch)[:, :-1], batch.avail_taken)
        return utilities.mean(-1, keepdim=True), log_prob_of(policy, batch.actions, batch.action_space)
