"""What a learner asks of Q_i(tau_i, .), the same for discrete and continuous actions.

Shape legend: K ensemble members, B episodes, T steps, N agents, A discrete actions, D action dimensions.
Temperatures alpha_i are `[N]` everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch as th
from torch import Tensor

from components.action_space import ActionSpace
from modules.categorical import soft_maximum
from modules.choice import taken
from modules.distributions import MaskedCategorical, SquashedNormal

Policy = MaskedCategorical | SquashedNormal


class SoftQ(Protocol):
    """What an actor that maximises Q and entropy needs: n = N values of individual critics, or 1 of a central one."""

    def taken(self, actions: Tensor) -> Tensor:
        """Q of stored actions `[B,T,N,1|D]` -> `[K,B,T,n]`."""

    def objective(self, policy: Policy, alpha: Tensor) -> Tensor:
        """E_{u ~ policy}[alpha log pi - min_k Q] -> `[B,T,n]`; no gradient to Q's weights."""


class QFunction(SoftQ, Protocol):
    """Individual soft Q-functions of K members at every step of a batch of histories; n = N."""

    def soft_value(self, alpha: Tensor) -> Tensor:
        """V_i = alpha log integral exp(Q_i / alpha) over the agent's available actions -> `[K,B,T,N]`."""

    def evaluate(self, policy: Policy, alpha: Tensor, samples: int = 1) -> Tensor:
        """E_{u ~ policy}[Q_i - alpha log pi_i] -> `[K,B,T,N]`; differentiable in the policy."""

    def expected(self, policy: Policy, samples: int = 1) -> Tensor:
        """E_{u ~ policy}[Q_i] -> `[K,B,T,N]`; exact, or a mean over samples with Q's weights frozen."""


class DiscreteQ:
    """Q-values of all actions, `[K,B,T,N,A]`, with the availability mask `[B,T,N,A]`."""

    def __init__(self, q_all: Tensor, avail: Tensor) -> None:
        self.q_all, self.avail = q_all, avail

    def taken(self, actions: Tensor) -> Tensor:
        """Gather `[B,T,N,1]` -> `[K,B,T,N]`."""
        return taken(self.q_all, actions.expand(len(self.q_all), *actions.shape))

    def soft_value(self, alpha: Tensor) -> Tensor:
        """V_i = alpha log sum_{a available} exp(Q_i(a) / alpha); masked after dividing by alpha -> `[K,B,T,N]`."""
        return soft_maximum(self.q_all, self.avail, alpha)

    def evaluate(self, policy: Policy, alpha: Tensor, samples: int = 1) -> Tensor:
        """Exact sum over the available actions -> `[K,B,T,N]`."""
        assert isinstance(policy, MaskedCategorical)
        return policy.expect(self.q_all - alpha.unsqueeze(-1) * policy.log_probs)

    def expected(self, policy: Policy, samples: int = 1) -> Tensor:
        """Sum_a pi_i(a) Q_i(a) -> `[K,B,T,N]`."""
        assert isinstance(policy, MaskedCategorical)
        return policy.expect(self.q_all)

    def objective(self, policy: Policy, alpha: Tensor) -> Tensor:
        """Sum_a pi_i(a) [alpha log pi_i(a) - min_k Q_i(a)], exact -> `[B,T,N]`."""
        assert isinstance(policy, MaskedCategorical)
        avail = self.avail if policy.avail is None else policy.avail
        return policy.soft_cost(self.q_all, avail, alpha)


class ContinuousQ:
    """Q-values on demand: `head(encoded actions [B,T,N,D]) -> [K,B,T,N]`.

    Args:
        head: the critic at fixed histories; also of S actions to each, `[B,T,N,S,D] -> [K,B,T,N,S]`.
        frozen_head: the same with its weights detached, for gradients with respect to actions only.
        action_space: the box.
        normal: draws standard normals of a given shape from the learner's generator.
    """

    def __init__(
        self,
        head: Callable[[Tensor], Tensor],
        frozen_head: Callable[[Tensor], Tensor],
        action_space: ActionSpace,
        normal: Callable[[th.Size], Tensor],
    ) -> None:
        self.head, self.frozen_head, self.action_space, self.normal = head, frozen_head, action_space, normal

    def taken(self, actions: Tensor) -> Tensor:
        """Environment units `[B,T,N,D]` -> `[K,B,T,N]`."""
        return self.head(self.action_space.encode(actions))

    def soft_value(self, alpha: Tensor) -> Tensor:
        """No closed form over a box: use a V-network (paper eq. 10) or `evaluate`."""
        raise TypeError("continuous actions have no closed-form soft value: use v_function=network")

    def evaluate(self, policy: Policy, alpha: Tensor, samples: int = 8) -> Tensor:
        """Mean over reparameterised samples of Q_i - alpha log pi_i, Q's weights frozen -> `[K,B,T,N]`."""
        assert isinstance(policy, SquashedNormal)
        normal = self.normal(th.Size((samples, *policy.mean.shape)))  # [S,B,T,N,D]
        encoded, log_prob = policy.rsample(normal)
        values = self.frozen_head(encoded.movedim(0, -2)).mean(-1)
        return values - alpha * log_prob.mean(0)

    def expected(self, policy: Policy, samples: int = 8) -> Tensor:
        """Mean of Q_i over samples -> `[K,B,T,N]`."""
        return self.evaluate(policy, th.zeros(()), samples)

    def objective(self, policy: Policy, alpha: Tensor) -> Tensor:
        """One reparameterised sample of alpha log pi_i - min_k Q_i -> `[B,T,N]`."""
        assert isinstance(policy, SquashedNormal)
        encoded, log_prob = policy.rsample(self.normal(policy.mean.shape))
        return alpha * log_prob - self.frozen_head(encoded).amin(0)
