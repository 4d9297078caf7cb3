"""IQL, VDN, QMIX, Qatten, QPLEX: Q-learning with utilities of the agents; the mixer is the only difference.

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
from modules.choice import taken
from modules.mixers import REGISTRY as MIXERS
from modules.mixers.mixer import Mixer, MixerShape
from modules.rows import at_steps
from utils.config import Copies, Fraction, Width
from utils.masking import masked_mean
from utils.rl_utils import lambda_returns

UNIT_MIXERS = frozenset({"qatten", "qplex_attention"})  # mixers that look at each agent's slice of the state


@register("q_learner")
class QLearner(Learner):
    """Loss (Q_tot(tau,u) - y)^2, y = TD(lambda) return of Q'_tot(tau', argmax_u' Q_i(tau'_i,u'_i)).

    Without a mixer (IQL) each agent regresses its own utility on the team reward.
    """

    @dataclass(frozen=True)
    class Params:
        """Keys of q_learner yamls."""

        mixer: Literal["none", "vdn", "qmix", "qatten", "qplex", "qplex_attention"]  # none: independent Q-learning
        mixing_embed_dim: Width  # units of the mixing network
        double_q: bool  # next actions by the online network, their values by the target
        td_lambda: Fraction  # lambda of the return target; 0 is one-step
        mixing_heads: Copies = 4  # heads of qatten's attention and of qplex's lambda network
        lambda_net: Literal["auto", "heads", "deep", "mlp"] = "auto"  # qplex; auto: mlp if there is one state
        weighted_heads: bool = True  # qatten, qplex_attention: whether the state weighs the attention heads

    def build(self) -> None:
        """Agent (in the mac), mixer, and targets of both."""
        self.mixer = None
        trained = ["mac"]
        if self.params.mixer != "none":
            self.mixer = MIXERS[self.params.mixer](self.mixer_shape())
            trained.append("mixer")
        self.add_targets(*trained)
        self.add_optimiser("q", self.parameters_of(trained), self.config.lr)

    @property
    def prepend_obs(self) -> bool:
        """Whether observations stand in for the unit slices the mixer needs and the state lacks."""
        return self.params.mixer in UNIT_MIXERS and self.env_info.unit_dim is None

    def mixer_shape(self) -> MixerShape:
        """Sizes of the mixer."""
        p, info = self.params, self.env_info
        unit_dim = info.obs_dim if info.unit_dim is None else info.unit_dim
        state_dim = info.state_dim + self.prepend_obs * info.n_agents * info.obs_dim
        sizes = (info.n_agents, state_dim, info.action_space.enc_dim)
        return MixerShape(*sizes, p.mixing_embed_dim, p.mixing_heads, p.lambda_net, unit_dim, p.weighted_heads)

    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """One gradient step."""
        q_all = self.mac.unroll(batch)  # [B,T+1,N,A]
        q_tot = self.mix(self.mixer, batch, q_all, batch.actions, slice(None, -1))  # [B,T,1]; [B,T,N] for IQL

        with th.no_grad():
            targets = self.td_targets(batch, q_all)

        loss = masked_mean((q_tot - targets).square(), batch.mask)
        penalty = None if self.mixer is None else self.mixer.regulariser(self.mixer_state(batch)[:, :-1])
        total = loss if penalty is None else loss + masked_mean(penalty, batch.mask)
        norm = self.optimise("q", total)
        return {"loss": loss.detach(), "grad_norm": norm} | td_metrics(q_tot, targets, batch.mask)

    def mixer_state(self, batch: TrainBatch) -> Tensor:
        """What the mixer is conditioned on, `[B,T+1,S]`: the state, after the observations if it has no unit slices."""
        return th.cat((batch.obs.flatten(-2), batch.state), dim=-1) if self.prepend_obs else batch.state

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Q_tot `[B,T,1]` and the utilities `[B,T,N]`; IQL has no joint value, the sum of utilities stands in."""
        q_all = self.mac.unroll(batch)
        utilities = taken(q_all, batch.actions, slice(-1))
        if self.mixer is None:
            return utilities.sum(-1, keepdim=True), utilities
        return self.mix(self.mixer, batch, q_all, batch.actions, slice(None, -1)), utilities

    def td_targets(self, batch: TrainBatch, q_all: Tensor) -> Tensor:
        """y `[B,T,1]` (`[B,T,N]` for IQL), from the online utilities `[B,T+1,N,A]`."""
        assert batch.avail_actions is not None
        target_q_all = self.target("mac").unroll(batch)  # [B,T+1,N,A]
        chooser = q_all if self.params.double_q else target_q_all
        best = greedy(chooser, batch.avail_actions)[:, 1:]  # [B,T,N,1]
        mixer = self.target("mixer") if self.mixer is not None else None
        next_value = self.mix(mixer, batch, target_q_all, best, slice(1, None))
        reward, terminated, mask = (x.expand(next_value.shape) for x in (batch.reward, batch.terminated, batch.mask))
        return lambda_returns(reward, terminated, next_value, mask, self.config.gamma, self.params.td_lambda)

    def mix(self, mixer: Mixer | None, batch: TrainBatch, q_all: Tensor, actions: Tensor, steps: slice) -> Tensor:
        """Q_tot `[B,T,1]` of `actions [B,T,N,1]` taken at `steps`, or their utilities for independent learners.

        V_i, the baseline of QPLEX, is the maximum of `q_all [B,T+1,N,A]` over available actions.
        """
        utilities = taken(q_all, actions, steps)
        if mixer is None:
            return utilities
        state = self.mixer_state(batch)[:, steps]
        if not mixer.uses:
            return mixer(utilities, state)
        assert batch.avail_actions is not None
        q_all = at_steps(q_all, steps)
        baseline = taken(q_all, greedy(q_all, batch.avail_actions[:, steps]))
        return mixer(utilities, state, actions=batch.action_space.encode(actions), baseline=baseline)
