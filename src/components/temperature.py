"""Temperatures of maximum-entropy methods, as objects with one interface.

`team(t_env)` is the team temperature alpha; `individual(t_env)` the temperatures alpha_i `[N]` of the agents.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch as th
from torch import Tensor, nn

from components.action_space import ActionSpace, DiscreteActions
from components.schedules import LinearSchedule, Steps

LAMBDA_EMA = 0.99  # memory of the advantage-weighted mean of lambda_i
LAMBDA_RANGE = (0.1, 10.0)  # alpha_i stays within this factor of alpha
WEIGHT_FLOOR = 1e-6  # below this mean |advantage| the ratio is noise and is not used


class Temperature(nn.Module):
    """alpha by schedule; alpha_i equal to alpha or, optionally, from lambda.

    The paper's rule is alpha_i = alpha E_{pi_i}[Q_i - V_i] / E_{pi_jt}[lambda_i (Q_i - V_i)], that is alpha over
    the advantage-weighted mean of lambda_i. Numerator and denominator can both approach 0, so the weights are
    |Q_i - V_i|, the mean is a moving average over replayed actions (the paper's are over the policies), and the
    ratio is clamped to [0.1, 10].

    Args:
        schedule: alpha as a function of env steps.
        n_agents: N.
        from_lambda: use the rule above; otherwise alpha_i = alpha.
    """

    lambda_mean: Tensor

    def __init__(self, schedule: LinearSchedule, n_agents: int, from_lambda: bool) -> None:
        super().__init__()
        self.schedule, self.from_lambda = schedule, from_lambda
        self.register_buffer("lambda_mean", th.ones(n_agents))

    def team(self, t_env: Steps) -> Tensor:
        """alpha, a scalar without gradient."""
        value = self.schedule.value(t_env)
        if isinstance(value, Tensor):
            return value.to(self.lambda_mean.dtype)
        return self.lambda_mean.new_full((), value)  # filled there, not copied

    def individual(self, t_env: Steps) -> Tensor:
        """alpha_i, `[N]`."""
        return self.team(t_env) / self.lambda_mean.clamp(*LAMBDA_RANGE)

    @th.no_grad()
    def observe_lambda(self, weights: Tensor, advantages: Tensor, mask: Tensor) -> None:
        """Update the mean of lambda_i from `weights`, `advantages [B,T,N]` and `mask [B,T,1]`."""
        if not self.from_lambda:
            return
        importance = (advantages.abs() * mask).sum((0, 1)) / mask.sum().clamp(min=1.0)  # [N]
        mean = (weights * advantages.abs() * mask).sum((0, 1)) / mask.sum().clamp(min=1.0)
        usable = importance > WEIGHT_FLOOR
        ratio = th.where(usable, mean / importance.clamp(min=WEIGHT_FLOOR), self.lambda_mean)
        self.lambda_mean.lerp_(ratio, 1.0 - LAMBDA_EMA)

    def loss(self, log_prob: Tensor, target_entropy: Tensor) -> Tensor | None:
        """What learning alpha minimises; None where alpha follows a schedule."""
        return None


class AutoTemperature(Temperature):
    """alpha learned as in SAC: minimise E[-log_alpha (sum_i log pi_i + H_target)] over log_alpha."""

    def __init__(self, initial: float, n_agents: int, from_lambda: bool) -> None:
        super().__init__(LinearSchedule(initial, initial, 0), n_agents, from_lambda)
        self.log_alpha = nn.Parameter(th.tensor(math.log(initial)))

    def team(self, t_env: Steps) -> Tensor:
        """exp(log_alpha), detached."""
        return self.log_alpha.detach().exp()

    def loss(self, log_prob: Tensor, target_entropy: Tensor) -> Tensor | None:
        """-log_alpha (sum_i log pi_i + H_target), for sampled or mean log pi_i and H_i `[B,T,N]` -> `[B,T,1]`."""
        return -self.log_alpha * (log_prob + target_entropy).sum(-1, keepdim=True).detach()


class OwnTemperatures(AutoTemperature):
    """alpha_i of every agent learned by itself: minimise E[-log_alpha_i (log pi_i + H_i)]."""

    def __init__(self, initial: float, n_agents: int) -> None:
        super().__init__(initial, n_agents, from_lambda=False)
        self.log_alpha = nn.Parameter(th.full((n_agents,), math.log(initial)))

    def team(self, t_env: Steps) -> Tensor:
        """Mean of the alpha_i, for metrics."""
        return self.individual(t_env).mean()

    def individual(self, t_env: Steps) -> Tensor:
        """alpha_i, `[N]`."""
        return self.log_alpha.detach().exp()

    def loss(self, log_prob: Tensor, target_entropy: Tensor) -> Tensor | None:
        """-log_alpha_i (log pi_i + H_i), `[B,T,N]`."""
        return -self.log_alpha * (log_prob + target_entropy).detach()


def target_entropy(space: ActionSpace, avail: Tensor | None, like: Tensor, scale: float) -> Tensor:
    """H_i `[B,T,N]`: scale * log(number of available actions), or -scale * D in encoded units for a box."""
    if isinstance(space, DiscreteActions):
        assert avail is not None
        return scale * avail.sum(-1).clamp(min=1).to(like.dtype).log()
    return th.full_like(like, -scale * space.dim)


class TemperatureKeys(Protocol):
    """The configuration keys `make_temperature` reads."""

    alpha_mode: str
    alpha_start: float
    alpha_finish: float
    alpha_anneal_time: int
    alpha_individual: str


def make_temperature(keys: TemperatureKeys, n_agents: int) -> Temperature:
    """The temperature that `alpha_mode` (fixed, linear, auto) and `alpha_individual` (shared, lambda, own) ask for."""
    from_lambda = keys.alpha_individual == "lambda"
    if keys.alpha_mode == "auto" and keys.alpha_individual == "own":
        return OwnTemperatures(keys.alpha_start, n_agents)
    if keys.alpha_mode == "auto":
        return AutoTemperature(keys.alpha_start, n_agents, from_lambda)
    finish, duration = (
        (keys.alpha_finish, keys.alpha_anneal_time) if keys.alpha_mode == "linear" else (keys.alpha_start, 0)
    )
    return Temperature(LinearSchedule(keys.alpha_start, finish, duration), n_agents, from_lambda)
