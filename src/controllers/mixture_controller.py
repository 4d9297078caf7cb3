"""The actor of on-policy gradients: epsilon is part of the policy that is sampled, trained and judged."""

from __future__ import annotations

from torch import Tensor

from components.action_selectors import mode, sample
from components.schedules import Level, is_zero
from controllers.basic_controller import ActInputs
from controllers.soft_controller import SoftMAC
from envs.multiagentenv import EnvInfo
from modules.distributions import MaskedCategorical, SquashedNormal
from utils.config import Config


class MixtureMAC(SoftMAC):
    """pi = (1 - epsilon) softmax + epsilon uniform over available actions, applied once; the mode when tested.

    With `mask_before_softmax=False` both are over all actions, of which the available ones are renormalised.
    """

    action_kinds = frozenset({"discrete"})

    def __init__(self, config: Config, env_info: EnvInfo) -> None:
        super().__init__(config, env_info)
        self.mask_before_softmax = config.mask_before_softmax

    def policy(self, head: Tensor, avail: Tensor | None, epsilon: Level = 0.0) -> MaskedCategorical | SquashedNormal:
        """The policy of outputs `[...,N,A]`."""
        if self.mask_before_softmax or is_zero(epsilon) or avail is None:
            return self.mixed(self.space.distribution(head, avail), avail, epsilon)
        return self.mixed_then_masked(head, avail, epsilon)

    def choose(self, head: Tensor, act: ActInputs, epsilon: float, test_mode: bool) -> Tensor:
        """From outputs `[E,N,F]` to actions `[E,N,1]`."""
        policy = self.policy(head, act.avail, epsilon)
        return mode(policy, self.space) if test_mode else sample(policy, act.noise, self.space)


class ActorCriticMAC(MixtureMAC):
    """Agents that also value their history: the last output is V_i, the others are logits."""

    @property
    def head_dim(self) -> int:
        """A logits and a value."""
        return self.space.head_dim + 1

    def policy(self, head: Tensor, avail: Tensor | None, epsilon: Level = 0.0) -> MaskedCategorical | SquashedNormal:
        """The policy of outputs `[...,N,A+1]`."""
        return super().policy(head[..., :-1], avail, epsilon)

    def value(self, head: Tensor) -> Tensor:
        """V_i(tau_i) of outputs `[...,N,A+1]` -> `[...,N]`."""
        return head[..., -1]
