"""Policies as distributions: a masked categorical and a tanh-squashed Gaussian with one interface.

Both offer `sample(uniform)`, `log_prob`, `mode`, the categorical also exact expectations and its entropy; each
reduces to `[...]` = one number per agent.
Sampling takes uniform numbers from the caller, so an episode's randomness is set by its seed alone.
"""

from __future__ import annotations

import copy
import math

import torch as th
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from modules.categorical import inverse_cdf, masked_expectation, masked_softmax
from modules.choice import soft_cost, taken
from modules.rows import at_steps

LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0  # range of log standard deviations, as in common SAC implementations
_ATANH_MARGIN = 1e-6  # encoded actions are pulled this far inside (-1, 1) before atanh; float32 resolution
_ATANH_BOUND = 1.0 - _ATANH_MARGIN
_TINY = 1e-20  # smallest uniform whose logarithm is taken
_BELOW_ONE = 1.0 - 2.0**-40  # largest uniform used: at 1 the inverse CDF would be the last action, available or not


class MaskedCategorical:
    """Categorical over available actions.

    Unavailable logits are filled with `finfo.min`, not -inf: the sum over actions of pi log pi then holds no
    0 * inf, and a padded row with nothing available gives finite values and gradients. Their probability is
    exactly 0 and nothing is added to it.

    Args:
        logits: `[...,A]`.
        avail: `[...,A]` bool, or None when every action is available.
    """

    def __init__(self, logits: Tensor, avail: Tensor | None = None) -> None:
        if avail is not None and avail.shape != logits.shape:
            raise ValueError(f"logits {tuple(logits.shape)} and avail {tuple(avail.shape)} differ")
        self.avail = avail
        self.log_probs, self.probs = masked_softmax(logits, avail)  # [...,A]; probs exactly 0 where unavailable

    @classmethod
    def of(cls, probs: Tensor, avail: Tensor, log_probs: Tensor | None = None) -> MaskedCategorical:
        """The policy with these probabilities `[...,A]`, 0 where unavailable; their logarithms may be known."""
        policy = cls.__new__(cls)
        policy.avail, policy.probs = avail, probs
        policy.log_probs = probs.clamp(min=_TINY).log() if log_probs is None else log_probs
        return policy

    def at(self, steps: slice) -> MaskedCategorical:
        """The policy at some of the steps of `[B,T,...]`."""
        return _SomeSteps(self, steps)

    def sample(self, uniform: Tensor) -> Tensor:
        """Inverse-CDF sample: uniform `[...]` in [0,1) -> indices `[...,1]`, never an unavailable one."""
        return inverse_cdf(self.probs, uniform.clamp(max=min(_BELOW_ONE, 1.0 - th.finfo(uniform.dtype).eps / 2.0)))

    def log_prob(self, actions: Tensor) -> Tensor:
        """Indices `[...,1]` -> `[...]`."""
        return taken(self.log_probs, actions)

    def expect(self, values: Tensor) -> Tensor:
        """E_pi[values] for `[...,A]`, over available actions -> `[...]`; whatever the others' values are.

        An unavailable log-probability times a temperature above 1 is -inf, which 0 * -inf would turn into NaN.
        """
        return masked_expectation(self.probs, values, self.avail)

    def soft_cost(self, values: Tensor, avail: Tensor, alpha: Tensor) -> Tensor:
        """E_pi[alpha log pi - min_k Q_k], exact; no gradient to `values [K,...,A]` and alpha `[...]` -> `[...]`."""
        return soft_cost(self.probs, self.log_probs, values, avail, alpha)

    @property
    def entropy(self) -> Tensor:
        """-sum_a pi log pi over available actions, `[...]`."""
        return -self.expect(self.log_probs)

    @property
    def mode(self) -> Tensor:
        """Most probable action, indices `[...,1]`."""
        return self.log_probs.argmax(-1, keepdim=True)


class _SomeSteps(MaskedCategorical):
    """A policy at some steps of another, whose numbers are taken every time they are asked for.

    They are not kept: what is taken where gradients are switched off would have none later.
    """

    def __init__(self, whole: MaskedCategorical, steps: slice) -> None:
        self.whole, self.steps = whole, steps
        avail = th.ones_like(whole.probs, dtype=th.bool) if whole.avail is None else whole.avail
        self.avail = avail[:, steps]

    @property
    def probs(self) -> Tensor:  # type: ignore[override]
        """`[B,T,...,A]`."""
        return at_steps(self.whole.probs, self.steps)

    @property
    def log_probs(self) -> Tensor:  # type: ignore[override]
        """`[B,T,...,A]`."""
        return at_steps(self.whole.log_probs, self.steps)

    def soft_cost(self, values: Tensor, avail: Tensor, alpha: Tensor) -> Tensor:
        """See `MaskedCategorical`."""
        return soft_cost(self.whole.probs, self.whole.log_probs, values, avail, alpha, self.steps)


def straight_through(policy: MaskedCategorical, uniform: Tensor, temperature: float = 1.0) -> Tensor:
    """Gumbel-softmax sample, one-hot forward, with the gradient of the soft sample (Jang et al., 2017).

    Args:
        policy: over A actions.
        uniform: `[...,A]` in [0,1).
        temperature: of the soft sample.

    Returns:
        `[...,A]`, exactly one-hot, never an unavailable action.
    """
    gumbel = -(-uniform.clamp(_TINY, 1.0 - _ATANH_MARGIN).log()).log()
    noisy = policy.log_probs + gumbel
    soft = th.softmax(noisy / temperature, dim=-1)
    hard = th.zeros_like(soft).scatter_(-1, noisy.argmax(-1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())


class SquashedNormal:
    """tanh(Normal(mean, std)) per dimension, in encoded units [-1, 1].

    log pi(a) = sum_d [log N(z_d) - log(1 - tanh(z_d)^2)], a = tanh(z); the Jacobian is computed as
    2 (log 2 - z - softplus(-2z)), exact where 1 - tanh^2 underflows.

    Args:
        head: `[...,2D]`, means then log standard deviations (clamped to [-5, 2]).
    """

    def __init__(self, head: Tensor) -> None:
        self.mean, log_std = head.chunk(2, dim=-1)  # [...,D] each
        self.log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)

    def at(self, steps: slice) -> SquashedNormal:
        """The policy at some of the steps of `[B,T,...]`."""
        policy = copy.copy(self)
        policy.mean, policy.log_std = at_steps(self.mean, steps), at_steps(self.log_std, steps)
        return policy

    def _log_prob_pre_tanh(self, z: Tensor) -> Tensor:
        normal = -0.5 * ((z - self.mean) * (-self.log_std).exp()).square() - self.log_std - 0.5 * math.log(2 * math.pi)
        jacobian = 2.0 * (math.log(2.0) - z - F.softplus(-2.0 * z))
        return (normal - jacobian).sum(-1)

    def rsample(self, normal: Tensor) -> tuple[Tensor, Tensor]:
        """Reparameterised sample from standard normals `[...,D]` -> encoded action `[...,D]`, log-prob `[...]`."""
        z = self.mean + self.log_std.exp() * normal
        return th.tanh(z), self._log_prob_pre_tanh(z)

    def sample(self, uniform: Tensor) -> Tensor:
        """Sample from uniforms `[...,D]` in [0,1) -> encoded action `[...,D]`, no gradient."""
        normal = th.special.ndtri(uniform.double().clamp(1e-12, 1.0 - 1e-12)).to(self.mean.dtype)
        return self.rsample(normal)[0].detach()

    def log_prob(self, actions: Tensor) -> Tensor:
        """Encoded actions `[...,D]` in [-1, 1] -> `[...]`; beyond +-(1 - 1e-6) they are read as that."""
        return self._log_prob_pre_tanh(th.atanh(actions.clamp(-_ATANH_BOUND, _ATANH_BOUND)))

    @property
    def mode(self) -> Tensor:
        """tanh of the mean, the action used in tests, `[...,D]`."""
        return th.tanh(self.mean)


class TanhPoint(SquashedNormal):
    """A deterministic action tanh(head) that explores by additive Gaussian noise, in encoded units [-1, 1].

    Args:
        head: `[...,D]`, before the tanh.
        noise_std: standard deviation of the noise, encoded units.
    """

    def __init__(self, head: Tensor, noise_std: float) -> None:
        self.mean, self.noise_std = head, noise_std
        self.log_std = th.full_like(head, math.log(noise_std))

    def rsample(self, normal: Tensor) -> tuple[Tensor, Tensor]:
        """The action itself, without noise, `[...,D]`; its log-density counts as 0, `[...]`."""
        return self.mode, self.mean.new_zeros(self.mean.shape[:-1])

    def sample(self, uniform: Tensor) -> Tensor:
        """The action plus noise from uniforms `[...,D]`, clipped to the box; no gradient."""
        normal = th.special.ndtri(uniform.double().clamp(1e-12, 1.0 - 1e-12)).to(self.mean.dtype)
        return (self.mode + self.noise_std * normal).clamp(-1.0, 1.0).detach()

    def log_prob(self, actions: Tensor) -> Tensor:
        """Log-density of the noise at encoded actions `[...,D]`, up to a constant -> `[...]`."""
        return -0.5 * ((actions - self.mode) / self.noise_std).square().sum(-1)
