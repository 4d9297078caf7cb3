"""Max of Two Quadratics (MTQ): a continuous game with a wide sub-optimal hill and a narrow optimal one.

Two agents (FOP, section 5.1; Wei et al., 2018), u in [-10, 10]^2:

    f1 = 0.8 [-((u1 + 5) / 3)^2 - ((u2 + 5) / 3)^2]        wide, 0 at (-5, -5)
    f2 = 1.0 [-((u1 - 5) / 1)^2 - ((u2 - 5) / 1)^2] + 10   narrow, 10 at (5, 5)
    r  = max(f1, f2)

N agents: the sums over two agents become (2 / N) times the sums over N agents. N = 2 is the paper's game; range
[-40, 10], both summits and the section along u1 = ... = uN do not depend on N, so neither does a good reward scale.

Shape legend: E environments, N agents, P points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np

from components.action_space import ContinuousActions
from envs.multiagentenv import EnvSpec
from envs.one_state import OneStateGame, OneStateVecGame, one_state_info
from utils.errors import Range, typed

VERSION = "1"  # of the rules; results of different versions are not comparable
LOW, HIGH = -10.0, 10.0  # bounds of every action
PAIR = 2  # agents of the paper's game
WIDE = (-5.0, 3.0, 0.8, 0.0)  # centre, width, steepness, height
NARROW = (5.0, 1.0, 1.0, 10.0)
OPTIMAL_RETURN = 9.0  # above it a joint action counts as the optimum (the summit is 10)
SUBOPTIMAL_BAND = 1.0  # |r| below it, left of 0: the sub-optimum (its summit is 0)
GRID = 101  # joint actions on each axis whose learnt values are recorded
TABLE_STEP = 25  # every how manieth of them is printed
MAX_LOGGED = 10  # agents up to which each one's action is logged


@dataclass(frozen=True)
class MTQArgs:
    """Arguments of the game, `env_args.*`; meanings in config/envs/mtq.yaml."""

    n_agents: Annotated[int, Range(1, 1000)] = 2
    reward_scale: Annotated[float, Range(above=0.0)] = 0.1
    episode_limit: Annotated[int, Range(1)] = 1


def max_of_two_quadratics(actions: np.ndarray) -> np.ndarray:
    """The reward in the game's own units: joint actions `[...,N]` -> `[...]` float64, formula above."""

    def hill(centre: float, width: float, steepness: float, height: float) -> np.ndarray:
        squares = np.square((np.asarray(actions, np.float64) - centre) / width)
        top: np.ndarray = height - steepness * PAIR * squares.mean(-1)  # (2 / N) sum_i
        return top

    highest: np.ndarray = np.maximum(hill(*WIDE), hill(*NARROW))
    return highest


def outcome(actions: np.ndarray) -> str:
    """Where a joint action `[N]` ends: "optimum" (r > 9), "suboptimum" (|r| < 1 on the left) or "other"."""
    gained = float(max_of_two_quadratics(actions))
    if gained > OPTIMAL_RETURN:
        return "optimum"
    left = bool((np.asarray(actions) < 0.0).all())
    return "suboptimum" if left and abs(gained) < SUBOPTIMAL_BAND else "other"


class MaxOfTwoQuadratics(OneStateGame):
    """MTQ with N agents; the learning reward is `reward_scale * r`, `info["game_return"]` is r.

    Actions outside the box (rounding) are moved to its border.
    """

    def __init__(self, n_agents: int = PAIR, reward_scale: float = 0.1, episode_limit: int = 1) -> None:
        numbers = np.array([*WIDE, *NARROW, LOW, HIGH, n_agents])
        space = ContinuousActions(1, LOW, HIGH)
        super().__init__(one_state_info("mtq", VERSION, n_agents, space, episode_limit, numbers), reward_scale)

    def rewards(self, actions: np.ndarray) -> np.ndarray:
        """Joint actions `[E,N,1]` -> r `[E]`."""
        if not np.isfinite(actions).all():
            raise ValueError("actions must be finite numbers")
        return max_of_two_quadratics(np.clip(actions[..., 0], LOW, HIGH))

    def details(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """Every agent's action as `u_1`, ..., `u_N`, so that logs hold the learning path."""
        count = self.env_info.n_agents
        return {f"u_{i + 1}": actions[:, i, 0] for i in range(count)} if count <= MAX_LOGGED else {}


def spec(env_args: Mapping[str, Any]) -> EnvSpec:
    """Validate `env_args` and return the recipe.

    Raises:
        UserError: unknown key, wrong type or range.
    """
    args = typed(MTQArgs, env_args, "env_args key")
    has_tables = args.episode_limit == 1
    return EnvSpec(
        single=partial(MaxOfTwoQuadratics, args.n_agents, args.reward_scale, args.episode_limit),
        batched=partial(_batched, args),
        engine="mtq",
        args=asdict(args),
        joint_actions=partial(recorded_actions, args.n_agents) if has_tables else None,
        tables=partial(value_tables, args) if has_tables else None,
    )


def _batched(args: MTQArgs, n_envs: int) -> OneStateVecGame:
    return OneStateVecGame(MaxOfTwoQuadratics(args.n_agents, args.reward_scale, args.episode_limit), n_envs)


def grid_actions(per_axis: int) -> np.ndarray:
    """Joint actions of two agents on a square grid over the box, `[per_axis^2,2,1]` float32, u2 changing fastest."""
    axis = np.linspace(LOW, HIGH, per_axis, dtype=np.float32)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, PAIR, 1)


def recorded_actions(n_agents: int) -> np.ndarray:
    """Joint actions whose values are recorded, `[P,N,1]` float32: a grid for two agents, the diagonal for more."""
    if n_agents == PAIR:
        return grid_actions(GRID)
    return np.repeat(np.linspace(LOW, HIGH, GRID, dtype=np.float32), n_agents).reshape(-1, n_agents, 1)


def value_tables(args: MTQArgs, q_tot: np.ndarray, utilities: np.ndarray) -> str:
    """Learnt values beside the game's, both in the game's units, as text.

    Args:
        args: the game's arguments.
        q_tot: Q_jt of `recorded_actions`, in units of the learning reward, `[P]`.
        utilities: Q_i of the same, `[P,N]`.
    """
    shown = np.arange(0, GRID, TABLE_STEP)
    if args.n_agents == PAIR:  # rows of the grid
        shown = (shown[:, None] * GRID + shown).ravel()
    points = recorded_actions(args.n_agents)[shown, :, 0]  # [P,N]
    true, learnt = max_of_two_quadratics(points), q_tot[shown] / args.reward_scale
    individual = utilities[shown] / args.reward_scale
    axis = np.unique(points)
    lines = ["reward r and, in brackets, learnt Q_jt (both in the game's units)"]
    if args.n_agents == PAIR:
        lines.append("  u1\\u2" + "".join(f"{u:17.0f}" for u in axis))
        cells = [f"{r:8.1f} ({q:6.1f})" for r, q in zip(true, learnt, strict=True)]
        size = len(axis)
        lines += [f"{u:7.0f} " + " ".join(cells[k * size : (k + 1) * size]) for k, u in enumerate(axis)]
        individual = np.stack((individual[::size, 0], individual[:size, 1]), axis=-1)  # along each own axis
    else:
        lines += [f"  all u = {u:5.0f}: {r:8.1f} ({q:6.1f})" for u, r, q in zip(axis, true, learnt, strict=True)]
    for i in range(args.n_agents):
        values = ", ".join(f"{u:.0f}: {q:.1f}" for u, q in zip(axis, individual[:, i], strict=True))
        lines.append(f"Q_{i + 1}(u): {values}")
    return "\n".join(lines)
