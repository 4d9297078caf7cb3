"""Payoff tensors of cooperative matrix games: `payoff[u_1, ..., u_N]` is the reward of everyone.

Each preset is a function of `PayoffArgs`; `PRESETS` lists them by name.

Shape legend: N agents (axes), A actions (length of each axis).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from utils.errors import UserError, nearest, shown

MAX_CELLS = 1_000_000  # joint actions; a payoff tensor is kept in memory
MIN_ACTIONS = 2  # per agent
RANDOM_STD = 5.0  # standard deviation of random payoffs, of the order of the paper's game (7.2)
MAX_REDRAWS = 10_000  # draws of random_hard before giving up

CLIMBING = [[11, -30, 0], [-30, 7, 6], [0, 0, 5]]
QPLEX = [[8, -12, -12], [-12, 6, 0], [-12, 0, 6]]


@dataclass(frozen=True)
class PayoffArgs:
    """What presets may depend on; `n_agents` and `n_actions` are 0 for the preset's own size."""

    penalty_k: float = -100.0
    random_seed: int = 0
    n_agents: int = 0
    n_actions: int = 0

    def shape(self, n_agents: int, n_actions: int) -> tuple[int, ...]:
        """Shape of the tensor, given the preset's own size; `UserError` if it is too large or has one action."""
        agents, actions = self.n_agents or n_agents, self.n_actions or n_actions
        if actions < MIN_ACTIONS:
            raise UserError(f"env_args n_actions must be at least {MIN_ACTIONS}, or 0, got {actions}")
        if agents * np.log(actions) > np.log(MAX_CELLS):
            raise UserError(
                f"env_args payoff of {agents} agents with {actions} actions has {actions}^{agents} joint actions, "
                f"more than {MAX_CELLS}"
            )
        return (actions,) * agents


def miscoordination(args: PayoffArgs) -> np.ndarray:
    """FOP's Table 1a (from QTRAN): 8 if all play A, -12 if only some do, 0 if nobody does. 2 agents, 3 actions."""
    shape = args.shape(2, 3)
    players_of_a = (np.indices(shape) == 0).sum(0)
    payoff: np.ndarray = np.select([players_of_a == len(shape), players_of_a > 0], [8.0, -12.0], 0.0)
    return payoff


def penalty(args: PayoffArgs) -> np.ndarray:
    """Claus and Boutilier (1998): 10 at (A,A) and (C,C), 2 at (B,B), penalty_k at (A,C) and (C,A), else 0."""
    _fixed_size(args, "penalty")
    payoff = np.diag([10.0, 2.0, 10.0])
    payoff[0, 2] = payoff[2, 0] = args.penalty_k
    return payoff


def identity(args: PayoffArgs) -> np.ndarray:
    """1 if all agents choose the same action, else 0: as many optima as actions. 2 agents, 4 actions."""
    indices = np.indices(args.shape(2, 4))
    payoff: np.ndarray = (indices == indices[0]).all(0).astype(np.float64)
    return payoff


def two_hills_21(args: PayoffArgs) -> np.ndarray:
    """QTRAN's large game, 21 x 21: a wide hill of height 5 at (15,5) and a narrow one of height 10 at (5,15).

    max(5 - ((15-u1)/3)^2 - ((5-u2)/3)^2, 10 - (5-u1)^2 - (15-u2)^2, -10); the floor -10 is ours.
    """
    _fixed_size(args, "qtran21")
    u1, u2 = np.indices((21, 21)).astype(np.float64)
    wide = 5.0 - ((15.0 - u1) / 3.0) ** 2 - ((5.0 - u2) / 3.0) ** 2
    narrow = 10.0 - (5.0 - u1) ** 2 - (15.0 - u2) ** 2
    return np.maximum(np.maximum(wide, narrow), -10.0)


def random(args: PayoffArgs) -> np.ndarray:
    """Independent normal payoffs with standard deviation 5. 2 agents, 3 actions."""
    return _draw(np.random.default_rng(args.random_seed), args.shape(2, 3))


def random_hard(args: PayoffArgs) -> np.ndarray:
    """A random game redrawn until an additive fit under uniform data misses the optimum. 2 agents, 3 actions."""
    rng, shape = np.random.default_rng(args.random_seed), args.shape(2, 3)
    for _ in range(MAX_REDRAWS):
        payoff = _draw(rng, shape)
        if payoff[additive_greedy(payoff)] < payoff.max():
            return payoff
    raise UserError(f"env_args payoff=random_hard found no game of shape {shape} in {MAX_REDRAWS} draws")


def additive_greedy(payoff: np.ndarray) -> tuple[int, ...]:
    """Greedy joint action of the additive least-squares fit under uniform data: the best marginal means."""
    axes = range(payoff.ndim)
    return tuple(int(payoff.mean(axis=tuple(j for j in axes if j != i)).argmax()) for i in axes)


PRESETS: dict[str, Callable[[PayoffArgs], np.ndarray]] = {
    "paper": miscoordination,
    "qtran": miscoordination,
    "qtran21": two_hills_21,
    "qplex": lambda args: _constant(args, QPLEX, "qplex"),
    "climbing": lambda args: _constant(args, CLIMBING, "climbing"),
    "penalty": penalty,
    "identity": identity,
    "identity4": identity,
    "random": random,
    "random_hard": random_hard,
}


def make_payoff(payoff: str | Sequence[Any], args: PayoffArgs) -> np.ndarray:
    """The payoff tensor of a preset's name or of nested lists, whose depth is the number of agents.

    Raises:
        UserError: unknown preset, ragged or non-numeric lists, different numbers of actions, a size given to a
            payoff that has its own.
    """
    if isinstance(payoff, str):
        if payoff not in PRESETS:
            raise UserError(
                f"unknown env_args payoff {shown(payoff)}{nearest(payoff, PRESETS)}; known: {', '.join(PRESETS)}, "
                "or nested lists such as [[8,-12],[-12,0]]"
            )
        return PRESETS[payoff](args)
    _fixed_size(args, "a list")
    return _from_lists(payoff)


def _from_lists(lists: Sequence[Any]) -> np.ndarray:
    try:
        payoff = np.array(lists, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"env_args payoff must be nested lists of numbers, the same length within a level, got {shown(lists)}"
        ) from error
    if len(set(payoff.shape)) != 1 or payoff.shape[0] < MIN_ACTIONS:
        raise UserError(
            f"env_args payoff must have the same number of actions, at least 2, for every agent, got {payoff.shape}"
        )
    if payoff.size > MAX_CELLS or not np.isfinite(payoff).all():
        raise UserError(f"env_args payoff must hold at most {MAX_CELLS} finite numbers, got {shown(lists)}")
    return payoff


def _constant(args: PayoffArgs, payoff: list[list[int]], name: str) -> np.ndarray:
    _fixed_size(args, name)
    return np.array(payoff, dtype=np.float64)


def _fixed_size(args: PayoffArgs, name: str) -> None:
    if args.n_agents or args.n_actions:
        raise UserError(f"env_args n_agents and n_actions cannot be set: payoff={name} has its own size")


def _draw(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return RANDOM_STD * rng.standard_normal(shape)
