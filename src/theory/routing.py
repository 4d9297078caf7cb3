"""Does it matter how eq. (7) is differentiated? Tabular learners on one-step two-agent games, many seeds at once.

Every quantity is a free table, so nothing here is due to networks: Q_i(u_i), V_jt, lambda_i(u) = softplus(table).

Shape legend: G independent runs, A actions, B samples per update; two agents throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch as th
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

PAIR = 2
BATCH = 32  # joint actions drawn per update
ALPHA_START = 1.0
EPSILON_FINISH = 0.05

Routing = Literal["detached", "literal", "vdn", "qplex"]
Data = Literal["uniform", "epsilon", "on_policy", "all"]


@dataclass(frozen=True)
class Study:
    """One setting.

    Args:
        routing: "detached" gives Q_i gradient 1 (released code), "literal" differentiates eq. (7) as printed,
            "vdn" is additive, "qplex" is "detached" with V_i = max Q_i.
        data: "uniform" joint actions, "epsilon" from 1 to 0.05 over the first half on top of the soft policies,
            "on_policy" samples of the soft policies, or "all" joint actions in every update.
        alpha_finish: temperature at the end of the linear schedule from 1.
        steps: updates.
        lr: learning rate of Adam.
        seed: of everything random.
    """

    routing: Routing = "detached"
    data: Data = "uniform"
    alpha_finish: float = 0.01
    steps: int = 10_000
    lr: float = 0.01
    seed: int = 0


@dataclass
class Tables:
    """The learnt numbers of G runs."""

    q: Tensor  # [G,2,A]
    v: Tensor  # [G]
    weights: Tensor  # lambda_i before the softplus, [G,2,A,A]
    optimiser: th.optim.Adam = field(init=False)

    @classmethod
    def initial(cls, runs: int, n_actions: int, lr: float, rng: th.Generator) -> Tables:
        """Small random Q_i, V_jt = 0, lambda_i near 1."""
        out = cls(
            nn.Parameter(0.1 * th.randn(runs, PAIR, n_actions, generator=rng)),
            nn.Parameter(th.zeros(runs)),
            nn.Parameter(0.5 + 0.1 * th.randn(runs, PAIR, n_actions, n_actions, generator=rng)),
        )
        out.optimiser = th.optim.Adam([out.q, out.v, out.weights], lr)
        return out

    def soft_values(self, alpha: float, routing: Routing) -> Tensor:
        """V_i `[G,2]`, detached."""
        q = self.q.detach()
        return q.amax(-1) if routing == "qplex" else alpha * (q / alpha).logsumexp(-1)

    def joint(self, actions: Tensor, alpha: float, routing: Routing) -> Tensor:
        """Q_jt of joint actions `[G,B,2]` -> `[G,B]`."""
        n_actions = self.q.shape[-1]
        utilities = self.q.gather(-1, actions.transpose(1, 2))  # [G,2,B]
        if routing == "vdn":
            return utilities.sum(1)
        cell = (actions[..., 0] * n_actions + actions[..., 1]).unsqueeze(1).expand(-1, PAIR, -1)
        weights = F.softplus(self.weights.flatten(-2).gather(-1, cell))  # [G,2,B]
        advantages = utilities - self.soft_values(alpha, routing).unsqueeze(-1)
        if routing == "literal":
            return (weights * advantages).sum(1) + self.v.unsqueeze(-1)
        return (utilities + (weights - 1.0) * advantages.detach()).sum(1) + self.v.unsqueeze(-1)


@dataclass(frozen=True)
class Learnt:
    """What G runs ended with.

    Args:
        optimal: whether the greedy joint action is the optimum, `[G]` bool.
        error: largest |Q_jt - payoff| over all joint actions, `[G]`.
    """

    optimal: np.ndarray
    error: np.ndarray


def learn(payoffs: np.ndarray, study: Study) -> Learnt:
    """Train G runs, run g on the game `payoffs[g]`, by squared error on the payoff of sampled joint actions.

    Args:
        payoffs: `[G,A,A]`; repeat one game for many seeds.
        study: the setting.
    """
    games = th.as_tensor(payoffs, dtype=th.float32)
    runs, n_actions = len(games), games.shape[-1]
    rng = th.Generator().manual_seed(study.seed)
    tables = Tables.initial(runs, n_actions, study.lr, rng)
    every = th.cartesian_prod(*[th.arange(n_actions)] * PAIR).expand(runs, -1, -1)  # [G,A*A,2]
    draw = _sampler(study, every, rng)
    for step in range(study.steps):
        alpha = ALPHA_START + (study.alpha_finish - ALPHA_START) * step / study.steps
        actions = draw(tables.q.detach(), alpha, step)  # [G,B,2]
        targets = _payoff(games, actions)
        loss = (tables.joint(actions, alpha, study.routing) - targets).square().mean(-1).sum()
        tables.optimiser.zero_grad()
        loss.backward()
        tables.optimiser.step()
    with th.no_grad():
        error = (tables.joint(every, study.alpha_finish, study.routing) - _payoff(games, every)).abs().amax(-1)
        reached = _payoff(games, tables.q.argmax(-1).unsqueeze(1)).squeeze(1)
    return Learnt((reached >= games.flatten(1).amax(-1)).numpy(), error.numpy())


def _payoff(games: Tensor, actions: Tensor) -> Tensor:
    """Payoffs `[G,B]` of joint actions `[G,B,2]` in games `[G,A,A]`."""
    return games.flatten(1).gather(1, actions[..., 0] * games.shape[-1] + actions[..., 1])


def _sampler(study: Study, every: Tensor, rng: th.Generator) -> Callable[[Tensor, float, int], Tensor]:
    """A function of (Q_i `[G,2,A]`, alpha, step) that draws joint actions `[G,B,2]` as `study.data` says."""

    def draw(q: Tensor, alpha: float, step: int) -> Tensor:
        if study.data == "all":
            return every
        runs, _, n_actions = q.shape
        epsilon = {"uniform": 1.0, "on_policy": 0.0}.get(study.data)
        if epsilon is None:
            epsilon = max(EPSILON_FINISH, 1.0 - (1.0 - EPSILON_FINISH) * 2.0 * step / study.steps)
        policy = (q / alpha).softmax(-1) * (1.0 - epsilon) + epsilon / n_actions
        drawn = th.multinomial(policy.view(-1, n_actions), BATCH, replacement=True, generator=rng)
        return drawn.view(runs, PAIR, BATCH).transpose(1, 2)

    return draw
