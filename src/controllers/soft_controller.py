"""The soft actor: a stochastic policy over the agent network's outputs, discrete or continuous."""

from __future__ import annotations

import math

import torch as th
from torch import Tensor

from components.action_selectors import explore, mode, sample
from components.action_space import ContinuousActions
from components.schedules import Level, is_zero
from controllers.basic_controller import ActInputs, BasicMAC
from envs.multiagentenv import EnvInfo
from modules.categorical import mixture_then_masked
from modules.distributions import MaskedCategorical, SquashedNormal
from utils.config import Config


class SoftMAC(BasicMAC):
    """Samples its policy (and a uniform action with probability epsilon); the mode when tested.

    `policy_epsilon=True` reproduces FOP's released code: the policy that is sampled, trained and evaluated in
    the losses already contains the epsilon mixture, and epsilon is applied once more when acting.
    """

    action_kinds = frozenset({"discrete", "continuous"})

    def __init__(self, config: Config, env_info: EnvInfo) -> None:
        super().__init__(config, env_info)
        if isinstance(self.space, ContinuousActions) and self.head_dim == self.space.head_dim:
            self.agent.shift_outputs(slice(self.space.dim, None), math.log(config.policy_std))

    def policy(self, head: Tensor, avail: Tensor | None, epsilon: Level = 0.0) -> MaskedCategorical | SquashedNormal:
        """The policy of outputs `[...,N,F]`; `epsilon` is used only with `policy_epsilon`."""
        if not self.policy_epsilon or is_zero(epsilon) or avail is None:
            return self.space.distribution(head, avail)
        return self.mixed_then_masked(head, avail, epsilon)

    @staticmethod
    def mixed_then_masked(head: Tensor, avail: Tensor, epsilon: Level) -> MaskedCategorical:
        """(1 - epsilon) softmax + epsilon uniform over all actions, then the available ones renormalised.

        Of several released codes. Where the preferred action is not available, the others are nearly equally likely.
        """
        log_probs, probs = mixture_then_masked(head, avail, epsilon)
        return MaskedCategorical.of(probs, avail, log_probs)

    @staticmethod
    def mixed(
        policy: MaskedCategorical | SquashedNormal, avail: Tensor | None, epsilon: Level
    ) -> MaskedCategorical | SquashedNormal:
        """(1 - epsilon) pi + epsilon uniform over available actions; densities over a box are left as they are."""
        if is_zero(epsilon) or avail is None:
            return policy
        assert isinstance(policy, MaskedCategorical)
        share = avail.to(policy.probs.dtype)
        uniform = share / share.sum(-1, keepdim=True).clamp(min=1.0)
        weight = epsilon.to(uniform.dtype) if isinstance(epsilon, Tensor) else epsilon
        return MaskedCategorical.of(th.lerp(policy.probs, uniform, weight), avail)

    def choose(self, head: Tensor, act: ActInputs, epsilon: float, test_mode: bool) -> Tensor:
        """From outputs `[E,N,F]` to actions `[E,N,1|D]`."""
        policy = self.policy(head, act.avail, epsilon)
        if test_mode:
            return mode(policy, self.space)
        actions = sample(policy, act.noise, self.space)
        return actions if epsilon == 0.0 else explore(actions, act.avail, epsilon, act.noise, self.space)
