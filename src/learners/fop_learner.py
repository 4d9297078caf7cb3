"""FOP (Zhang et al., ICML 2021), discrete and continuous. Switches and their effects: docs/algorithms/fop.md.

Shape legend: K critics, B episodes, T transitions, N agents, A actions, D action dimensions, I inputs.
"""

from __future__ import annotations

import torch as th
from torch import Tensor

from components.action_selectors import sample_with_log_prob
from components.episode_buffer import TrainBatch
from components.inputs import Inputs, InputSpec, encoded
from components.schedules import Steps
from components.temperature import make_temperature, target_entropy
from learners.fop_params import FOPParams
from learners.learner import Learner, Metrics, register, td_metrics
from modules.agents import REGISTRY as AGENTS
from modules.agents.trunk import AgentShape, Head
from modules.critics import DiscreteQ, QFunction, make_critic
from modules.layers import Ensemble
from modules.mixers import REGISTRY as MIXERS
from modules.mixers.mixer import MixerShape
from utils.masking import masked_mean
from utils.rl_utils import lambda_returns


@register("fop_learner")
class FOPLearner(Learner):
    """Algorithm 1: joint soft Q by eq. (9), individual V by eq. (10), policies by eq. (11), temperatures, targets."""

    Params = FOPParams
    mac_class = "soft_mac"

    def build(self) -> None:
        """K critics Q_i and mixers, V_i networks where used, temperature; targets of Q_i and the mixer."""
        p, info, config = self.params, self.env_info, self.config
        self.space, n_critics = info.action_space, p.members(info.action_space)
        self.spec = InputSpec(last_action=p.critic_last_action, agent_id=config.obs_agent_id)
        shape = AgentShape(
            info.n_agents, self.spec.dim(info), config.hidden_dim, config.share_parameters, ensemble=n_critics
        )
        self.critic = make_critic(AGENTS[p.critic](shape), self.space)
        self.value = Head(AGENTS[p.critic](shape), 1) if p.value_function(self.space) == "network" else None
        dims = info.n_agents, info.state_dim, self.space.enc_dim, p.mixing_embed_dim
        sizes = MixerShape(*dims, p.lambda_heads, p.lambda_net, lambda_max=p.lambda_max)
        self.mixer = Ensemble([MIXERS[p.mixing](sizes) for _ in range(n_critics)])
        self.temperature = make_temperature(p, info.n_agents)
        self.add_targets("critic", "mixer")
        self.add_optimiser("actor", self.mac.parameters(), config.lr)
        self.add_optimiser("critic", self.parameters_of(["critic", "mixer"]), config.critic_lr)
        if self.value is not None:
            self.add_optimiser("value", self.value.parameters(), config.critic_lr)
        if p.alpha_mode == "auto":
            self.add_optimiser("alpha", self.temperature.parameters(), p.alpha_lr)

    def learn(self, batch: TrainBatch, t_env: Steps) -> Metrics:
        """One update of every network on one batch."""
        alpha_i, inputs = self.temperature.individual(t_env), batch.inputs(self.spec)  # [N], [B,T+1,N,I]
        head, epsilon = self.mac.unroll(batch), self.mac.epsilon(t_env)  # [B,T+1,N,F]
        seen = self.mac.policy(head, batch.avail_actions, epsilon)
        policy = seen.at(slice(-1))  # where actions were taken
        with th.no_grad():
            fresh, log_prob = sample_with_log_prob(seen, self.space, self.rng)
            targets = self.td_targets(batch, inputs, fresh, log_prob, t_env)  # [B,T,1]

        q = self.critic.judge(inputs[:, :-1], batch.rows_taken, batch.avail_taken, self.rng)
        q_joint, advantages = self.joint_q(batch, q, inputs[:, :-1], alpha_i)  # before any step, like all losses
        metrics: Metrics = {}

        # eq. (10): V_i -> E_{u_i ~ pi_i}[Q_i - alpha_i log pi_i]
        if self.value is not None:
            with th.no_grad():
                soft_values = q.evaluate(policy, alpha_i, self.params.v_samples)  # [K,B,T,N]
            value_loss = masked_mean(
                (self.value(inputs[:, :-1], batch.rows_taken).squeeze(-1) - soft_values).square(), batch.mask
            )
            metrics["value_grad_norm"] = self.optimise("value", value_loss)

        # eq. (11): minimise E_{u_i ~ pi_i}[alpha_i log pi_i - min_k Q_i]
        policy_loss = masked_mean(q.objective(policy, alpha_i), batch.mask)
        metrics |= {"policy_loss": policy_loss.detach(), "actor_grad_norm": self.optimise("actor", policy_loss)}

        # alpha: minimise E[-log alpha (sum_i log pi_i + H_target)]
        if self.params.alpha_mode == "auto":
            goal = target_entropy(self.space, batch.avail_taken, log_prob[:, :-1], self.params.target_entropy)
            alpha_loss = self.temperature.loss(log_prob[:, :-1], goal)
            assert alpha_loss is not None
            self.optimise("alpha", masked_mean(alpha_loss, batch.mask))
        metrics |= {"alpha": self.temperature.team(t_env), "entropy": masked_mean(-log_prob[:, :-1], batch.mask)}
        # eq. (9), last: (10) and (11) look through the critic's weights
        return metrics | self.learn_critic(batch, q_joint, advantages, targets)

    def td_targets(self, batch: TrainBatch, inputs: Inputs, fresh: Tensor, log_prob: Tensor, t_env: Steps) -> Tensor:
        """Eq. (9): y = r + gamma (1 - d) [min_k Q'_jt(tau', u') - alpha sum_i log pi_i(u'_i|tau'_i)], as a return.

        u' (`fresh [B,T+1,N,1|D]`, with `log_prob [B,T+1,N]`) is drawn from the current policies. Every step's entropy
        enters the TD(lambda) recursion as part of the reward; switches reproduce the released code.
        """
        p, gamma = self.params, self.config.gamma
        next_q = th.zeros_like(batch.reward)
        if batch.bootstraps:
            q = self.target("critic").judge(inputs, batch.rows_seen, batch.avail_actions, self.rng)
            baseline = self.baseline(q, inputs, batch.rows_seen, self.temperature.individual(t_env))
            mixer, chosen = self.target("mixer"), encoded(fresh, self.space)
            q_joint = mixer(q.taken(fresh), batch.state, actions=chosen, baseline=baseline)  # [K,B,T+1,1]
            next_q = q_joint.amin(0)[:, 1:]
        total = log_prob.sum(-1, keepdim=True) if p.entropy_sum else log_prob.mean(-1, keepdim=True)
        bonus = -self.temperature.team(t_env) * total[:, 1:]  # entropy of step t + 1, [B,T,1]
        if not p.terminal_entropy:
            bonus = bonus * (1.0 - batch.terminated)
        if p.entropy_in_return:
            reward = batch.reward + gamma * bonus
            return lambda_returns(reward, batch.terminated, next_q, batch.mask, gamma, p.td_lambda)
        return lambda_returns(batch.reward, batch.terminated, next_q, batch.mask, gamma, p.td_lambda) + bonus

    def learn_critic(self, batch: TrainBatch, q_joint: Tensor, advantages: Tensor, targets: Tensor) -> Metrics:
        """Eq. (9): minimise (Q_jt(tau,u) - y)^2 over Q_i, V_jt and lambda, for each of the K pairs."""
        loss = masked_mean((q_joint - targets).square(), batch.mask)
        norm = self.optimise("critic", loss * len(q_joint))
        if self.temperature.from_lambda:  # alpha_i from the first mixer's lambda_i
            weights = self.mixer.first.lambda_weights(batch.state[:, :-1], batch.actions_enc).detach()
            self.temperature.observe_lambda(weights, advantages[0], batch.mask)
        return {"loss": loss.detach(), "grad_norm": norm} | td_metrics(q_joint, targets, batch.mask)

    def joint_q(self, batch: TrainBatch, q: QFunction, inputs: Inputs, alpha_i: Tensor) -> tuple[Tensor, Tensor]:
        """Eq. (7): Q_jt `[K,B,T,1]` of the stored actions, and the advantages Q_i - V_i `[K,B,T,N]`, detached."""
        utilities = q.taken(batch.actions)  # [K,B,T,N]
        with th.no_grad():
            baseline = self.baseline(q, inputs, batch.rows_taken, alpha_i)
        actions = encoded(batch.actions, self.space)
        q_joint = self.mixer(utilities, batch.state[:, :-1], actions=actions, baseline=baseline)
        return q_joint, utilities.detach() - baseline

    def evaluate_actions(self, batch: TrainBatch) -> tuple[Tensor, Tensor]:
        """Means over the K critics, at the temperature of the last update."""
        inputs = batch.inputs(self.spec)[:, :-1]
        q = self.critic.judge(inputs, batch.rows_taken, batch.avail_taken, self.rng)
        q_joint, _ = self.joint_q(batch, q, inputs, self.temperature.individual(self.t_env))
        return q_joint.mean(0), q.taken(batch.actions).mean(0)

    def baseline(self, q: QFunction, inputs: Inputs, rows: list[int], alpha_i: Tensor) -> Tensor:
        """V_i `[K,B,T,N]`: alpha_i log-sum-exp over available actions, or the V-networks of eq. (10)."""
        if self.value is not None:
            value: Tensor = self.value(inputs, rows)
            return value.squeeze(-1)
        if self.params.v_function == "unmasked":  # the released code: unavailable actions count too (F5)
            assert isinstance(q, DiscreteQ)
            q = DiscreteQ(q.q_all, q.avail.new_ones(q.avail.shape[-1]).expand_as(q.avail))
        return q.soft_value(alpha_i)
