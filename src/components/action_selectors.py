"""Behaviour: from network outputs to actions, as functions of (outputs, epsilon, noise).

`noise [E,N,noise_dim]` holds the uniforms of this step, drawn from the episode's own stream: what an agent does
depends on the episode's seed, the weights and epsilon, not on how many environments run or which runner is used.
"""

from __future__ import annotations

import torch as th
from torch import Tensor

from components.action_space import ActionSpace, DiscreteActions
from modules.choice import best
from modules.distributions import MaskedCategorical, SquashedNormal, straight_through


def greedy(q_values: Tensor, avail: Tensor) -> Tensor:
    """Best available action: `[...,A]` -> `[...,1]`."""
    return best(q_values, avail)


def explore(actions: Tensor, avail: Tensor | None, epsilon: float, noise: Tensor, space: ActionSpace) -> Tensor:
    """With probability epsilon, independently for each agent, a uniformly random action instead of `actions`."""
    if isinstance(space, DiscreteActions):
        assert avail is not None
        random = space.random(avail, noise[..., 1])
    else:
        random = space.random(None, noise[..., 1 : 1 + space.dim])
    return th.where(noise[..., :1] < epsilon, random, actions)


def sample(policy: MaskedCategorical | SquashedNormal, noise: Tensor, space: ActionSpace) -> Tensor:
    """A sample of the policy in environment units, `[...,N,1|D]`."""
    if isinstance(space, DiscreteActions):
        return policy.sample(noise[..., 2])
    return space.decode(policy.sample(noise[..., 1 + space.dim :]))


def mode(policy: MaskedCategorical | SquashedNormal, space: ActionSpace) -> Tensor:
    """The most probable action (discrete) or the tanh of the mean (continuous), in environment units."""
    return policy.mode if isinstance(space, DiscreteActions) else space.decode(policy.mode)


def sample_with_log_prob(
    policy: MaskedCategorical | SquashedNormal, space: ActionSpace, rng: th.Generator
) -> tuple[Tensor, Tensor]:
    """Fresh actions of a policy in environment units `[...,N,1|D]` and their log-probabilities `[...,N]`."""
    if isinstance(policy, MaskedCategorical):
        uniform = th.rand(policy.log_probs.shape[:-1], generator=rng, device=policy.log_probs.device)
        actions = policy.sample(uniform)
        return actions, policy.log_prob(actions)
    assert not isinstance(space, DiscreteActions)
    normal = th.randn(policy.mean.shape, generator=rng, device=policy.mean.device)
    encoded, log_prob = policy.rsample(normal)
    return space.decode(encoded), log_prob


def log_prob_of(policy: MaskedCategorical | SquashedNormal, actions: Tensor, space: ActionSpace) -> Tensor:
    """log pi_i of given actions in environment units `[...,N,1|D]` -> `[...,N]`; a box: density of encoded ones."""
    return policy.log_prob(actions if isinstance(space, DiscreteActions) else space.encode(actions))


def differentiable_sample(policy: MaskedCategorical | SquashedNormal, rng: th.Generator) -> tuple[Tensor, Tensor]:
    """Fresh encoded actions `[...,N,U]` whose gradient reaches the policy, and log-probabilities `[...,N]`.

    Discrete: straight-through Gumbel-softmax, and the exact expectation of log pi in place of the sample's.
    Continuous: the reparameterised sample (a deterministic policy's action).
    """
    if isinstance(policy, MaskedCategorical):
        uniform = th.rand(policy.log_probs.shape, generator=rng, device=policy.log_probs.device)
        return straight_through(policy, uniform), policy.expect(policy.log_probs)
    return policy.rsample(th.randn(policy.mean.shape, generator=rng, device=policy.mean.device))
