"""The actor of deterministic policy gradients: softmax for discrete actions, a tanh mean plus noise for a box."""

from __future__ import annotations

from torch import Tensor

from components.action_space import ContinuousActions
from components.schedules import Level
from controllers.soft_controller import SoftMAC
from envs.multiagentenv import EnvInfo
from modules.distributions import MaskedCategorical, SquashedNormal, TanhPoint
from utils.config import Config


class DeterministicMAC(SoftMAC):
    """Explores by sampling the softmax (discrete) or by Gaussian noise (box), and by the share epsilon; tests greedily.

    The learner's key `action_noise` is the noise's standard deviation in units of half the box.
    """

    def __init__(self, config: Config, env_info: EnvInfo) -> None:
        super().__init__(config, env_info)
        self.action_noise: float = config.params.action_noise

    @property
    def head_dim(self) -> int:
        """One logit per action, or one mean per dimension."""
        return self.space.enc_dim

    def policy(self, head: Tensor, avail: Tensor | None, epsilon: Level = 0.0) -> MaskedCategorical | SquashedNormal:
        """The policy of outputs `[...,N,F]`, without the share of random actions."""
        if isinstance(self.space, ContinuousActions):
            return TanhPoint(head, self.action_noise)
        return self.space.distribution(head, avail)
