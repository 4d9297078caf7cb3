"""Soft actor-critic for several agents: independent (ISAC), with a centralised critic (MASAC), in turns (HASAC).

Shape legend: K critics, B episodes, T transitions, N agents, n = N values (ISAC) or 1 (MASAC).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch as th
from torch import Tensor

from components.action_selectors import differentiable_sample, log_prob_of
from components.episode_buffer import TrainBatch
from components.schedules import Steps
from components.temperature import make_temperature, target_entropy
from learners.learner import Learner, Metrics, averaged, register, td_metrics
from modules.agents.trunk import AgentShape
from modules.critics.central_critic import SPECS, make_soft_critic
from utils.config import Copies, Count, Rate
from utils.errors import Range, UserError
from utils.masking import masked_mean


@register("sac_learner")
class SACLearner(Learner):
    """Critics: y = r + gamma (1 - d) E_pi[min_k Q'_k - alpha log pi] at the next step. Actors: maximise the same of Q.

    Local scope: every agent by itself on the team reward. Central scope: one Q(s,u), log pi = sum_i log pi_i.
    """

    mac_class = "soft_mac"

    @dataclass(frozen=True)
    class Params:
        """Keys of sac_learner yamls."""

        critic: Literal["rnn", "mlp"]
        critic_scope: Literal["local", "central"]  # Q_i(tau_i, u_i) of every agent, or one Q(s, u_1..u_N)
        n_critics: Copies  # K; targets and actors use the minimum over K
        alpha_mode: Literal["fixed", "linear", "auto"]  # alpha_start for ever, annealed, learned
        alpha_start: Rate  # initial temperature, in units of the learning reward
        alpha_finish: Rate  # final temperature of alpha_mode=linear
        alpha_anneal_time: Count  # env steps from alpha_start to alpha_finish
        alpha_lr: Rate  # learning rate of alpha_mode=auto
        alpha_individual: Literal["shared", "own"]  # alpha_mode=auto: one alpha for the team or one for each agent
        target_entropy: Annotated[float, Range()]  # alpha_mode=auto: times log|available actions|, or times -D
        update_order: Literal["together", "random"]  # actors in one step, or one after the other (HASAC)

        def __post_init__(self) -> None:
            """Turns are about one joint value."""
            if self.update_order == "random" and self.critic_scope == "local":
                raise UserError("update_order=random needs critic_scope=central, the local critics know nobody else")

    def build(self) -> None:
        """K critics with targets, temperatures."""
        p, info, config = self.params, self.env_info, self.config
        if p.update_order == "random" and (config.share_parameters or config.optimiser != "rmsprop"):
            others = "shared weights and Adam's momentum would move agents whose turn it is not"
            raise UserError(f"update_order=random needs share_parameters=False and optimiser=rmsprop: {others}")
        self.padded_to = self.padded_to if p.update_order == "together" else 0  # turns are drawn anew
        self.spec = SPECS[p.critic_scope]
        dims = info.n_agents, self.spec.dim(info), config.hidden_dim
        shape = AgentShape(*dims, config.share_parameters, ensemble=p.n_critics)
        self.critic = make_soft_critic(p.critic_scope, p.critic, info, shape)
        self.temperature = make_temperature(p, info.n_agents)
        self.add_targets("critic")
        self.add_optimiser("actor", self.mac.parameters(), config.lr)
        self.add_optimiser("critic", self.critic.parameters(), config.critic_lr)
        if p.alpha_mode == "auto":
            self.add_optimiser("alpha", self.temperature.parameters(), p.alpha_lr)

    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """One step of critics, actors and temperatures."""
        alpha = self.temperature.individual(t_env)  # [N]
        head = self.mac.unroll(batch)  # [B,T+1,N,F]
        with th.no_grad():
            targets = self.td_targets(batch, head, alpha)  # [B,T,n]

        # critics: squared error of every Q_k(u) against y
        q = self.judge(batch)
        values = q.taken(batch.actions)  # [K,B,T,n]
        loss = masked_mean((values - targets).square(), batch.mask)
        metrics = {"loss": loss.detach()} | td_metrics(values, targets, batch.mask)

        # actors: minimise E_pi[alpha_i log pi_i - min_k Q], all at once or in turns
        parts: list[Metrics] = []
        for agent in self.turns():
            head = self.mac.unroll(batch) if parts else head
            policy = self.mac.policy(head[:, :-1], batch.avail_taken)
            objective = q.objective(policy, alpha) if agent is None else q.objective(policy, alpha, agent)
            policy_loss = masked_mean(objective, batch.mask)
            parts.append({"policy_loss": policy_loss.detach(), "actor_grad_norm": self.move(policy_loss, agent)})
        metrics |= averaged(parts)
        metrics["grad_norm"] = self.optimise("critic", loss * self.params.n_critics)  # after those who look through it

        # temperatures: minimise E[-log alpha (log pi + H_target)]
        with th.no_grad():
            _, log_prob = differentiable_sample(policy, self.rng)  # [B,T,N]
        goal = target_entropy(self.env_info.action_space, batch.avail_taken, log_prob, self.params.target_entropy)
        alpha_loss = self.temperature.loss(log_prob, goal)
        if alpha_loss is not None:
            self.optimise("alpha", masked_mean(alpha_loss, batch.mask))
        return metrics | {"alpha": self.temperature.team(t_env), "entropy": masked_mean(-log_prob, batch.mask)}

    def turns(self) -> list[int | None]:
        """Whose policies move in each step of the actors: None for all, or every agent once in random order."""
        if self.params.update_order == "together":
            return [None]
        return [*th.randperm(self.env_info.n_agents, generator=self.rng, device=self.device).tolist()]

    def move(self, loss: Tensor, agent: int | None) -> Tensor:
        """One step of all actors, or of one: the others' second moments rest, which RMSprop would shrink by zeros."""
        flat, state = self.flat["actor"], self.optimisers["actor"].state
        if agent is None:
            return self.optimise("actor", loss)
        before = state[flat.vector]["square_avg"].clone() if state else th.zeros_like(flat.vector)
        norm = self.optimise("actor", loss)
        moments = state[flat.vector]["square_avg"]
        moments.copy_(th.where(flat.part(agent), moments, before))
        return norm

    def judge(self, batch: TrainBatch) -> Any:
        """The critics where actions were taken, a `SoftQ`."""
        return self.critic.judge(batch.inputs(self.spec)[:, :-1], batch.rows_taken, batch.avail_taken, self.rng)

    def td_targets(self, batch: TrainBatch, head: Tensor, alpha: Tensor) -> Tensor:
        """y = r + gamma (1 - d) E_{u' ~ pi}[min_k Q'_k(u') - alpha log pi(u')], `[B,T,n]`.

        The expectation is exact for local discrete critics, one sample elsewhere.
        """
        if not batch.bootstraps:
            n_values = self.env_info.n_agents if self.params.critic_scope == "local" else 1
            return batch.reward.expand(-1, -1, n_values)
        policy = self.mac.policy(head, batch.avail_actions)
        inputs = batch.inputs(self.spec)
        q = self.target("critic").judge(inputs, batch.rows_seen, batch.avail_actions, self.rng)
        next_value = -q.objective(policy, alpha)[:, 1:]
        targets: Tensor = batch.reward + self.config.gamma * (1.0 - batch.terminated) * next_value
        return targets

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Mean over critics (and agents) of Q; Q_i, or log pi_i of a central critic, which has no utilities."""
        values = self.judge(batch).taken(batch.actions).mean(0)  # [B,T,n]
        if self.params.critic_scope == "local":
            return values.mean(-1, keepdim=True), values
        policy = self.mac.policy(self.mac.unroll(batch)[:, :-1], batch.avail_taken)
        return values, log_prob_of(policy, batch.actions, batch.action_space)
