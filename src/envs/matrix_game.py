"""Cooperative matrix games of any number of agents: one state, the payoff tensor gives everyone's reward.

Payoffs by name or as nested lists: docs/games.md.

Shape legend: E environments, N agents, A actions, P = A^N joint actions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Annotated, Any

import numpy as np

from components.action_space import DiscreteActions
from envs.multiagentenv import EnvSpec
from envs.one_state import OneStateGame, OneStateVecGame, one_state_info
from envs.payoffs import PayoffArgs, make_payoff
from utils.errors import Range, typed

VERSION = "1"  # of the rules; results of different versions are not comparable
MAX_TABLE = 4096  # joint actions up to which tables are made
MAX_SQUARE = 10  # actions up to which a two-agent game is shown as a square
SHOWN_JOINT_ACTIONS = 10  # rows shown of larger games
LETTERS = 26
PAIR = 2  # agents of games shown as a square


@dataclass(frozen=True)
class MatrixGameArgs:
    """Arguments of the game, `env_args.*`; meanings in config/envs/matrix_game.yaml."""

    payoff: str | Sequence[Any] = "paper"
    penalty_k: Annotated[float, Range(high=0.0)] = -100.0
    random_seed: Annotated[int, Range(0)] = 0
    n_agents: Annotated[int, Range(0)] = 0
    n_actions: Annotated[int, Range(0)] = 0
    episode_limit: Annotated[int, Range(1)] = 1


class MatrixGame(OneStateGame):
    """One step (or `episode_limit` equal ones) with reward `payoff[u_1, ..., u_N]`.

    Args:
        payoff: float64 tensor, one axis of length A for each of the N agents.
        episode_limit: steps of an episode; the last one terminates it.
    """

    def __init__(self, payoff: np.ndarray, episode_limit: int = 1) -> None:
        self.payoff = payoff
        space = DiscreteActions(payoff.shape[0])
        super().__init__(one_state_info("matrix_game", VERSION, payoff.ndim, space, episode_limit, payoff))

    def rewards(self, actions: np.ndarray) -> np.ndarray:
        """Payoffs of the joint actions `[E,N,1]` -> `[E]`."""
        n_actions = self.payoff.shape[0]
        if actions.size and (actions.min() < 0 or actions.max() >= n_actions):
            raise ValueError(f"actions must be 0 to {n_actions - 1}, got {actions.min()} to {actions.max()}")
        gained: np.ndarray = self.payoff[tuple(actions[..., 0].T)]
        return gained

    def enumerate_joint_actions(self) -> np.ndarray:
        """All joint actions `[P,N,1]` int64, the last agent's action changing fastest."""
        return enumerate_joint_actions(self.payoff.shape)


def enumerate_joint_actions(shape: tuple[int, ...]) -> np.ndarray:
    """All joint actions of a payoff tensor of this shape, `[P,N,1]` int64: `payoff.ravel()[p]` is the p-th's."""
    return np.indices(shape, dtype=np.int64).reshape(len(shape), -1).T[..., None]


def spec(env_args: Mapping[str, Any]) -> EnvSpec:
    """Validate `env_args` and return the recipe.

    Raises:
        UserError: unknown key or preset, wrong type or range, lists that are not a payoff tensor.
    """
    args = typed(MatrixGameArgs, env_args, "env_args key")
    payoff = make_payoff(args.payoff, PayoffArgs(args.penalty_k, args.random_seed, args.n_agents, args.n_actions))
    has_tables = args.episode_limit == 1 and payoff.size <= MAX_TABLE
    return EnvSpec(
        single=partial(MatrixGame, payoff, args.episode_limit),
        batched=partial(_batched, payoff, args.episode_limit),
        engine="matrix_game",
        args=asdict(args),
        joint_actions=partial(enumerate_joint_actions, payoff.shape) if has_tables else None,
        tables=partial(value_tables, payoff) if has_tables else None,
    )


def _batched(payoff: np.ndarray, episode_limit: int, n_envs: int) -> OneStateVecGame:
    return OneStateVecGame(MatrixGame(payoff, episode_limit), n_envs)


def individual_values(shape: tuple[int, ...], utilities: np.ndarray) -> np.ndarray:
    """Q_i of every action, `[N,A]`, from the utilities `[P,N]` of all joint actions (the first that contains it)."""
    n_agents, n_actions = len(shape), shape[0]
    joint = enumerate_joint_actions(shape)[..., 0]  # [P,N]
    first = [[int((joint[:, i] == a).argmax()) for a in range(n_actions)] for i in range(n_agents)]
    return np.array([utilities[first[i], i] for i in range(n_agents)])


def value_tables(payoff: np.ndarray, q_tot: np.ndarray, utilities: np.ndarray) -> str:
    """Learnt values beside the payoff, as text.

    Args:
        payoff: N axes of length A.
        q_tot: Q_jt of all joint actions in the order of `enumerate_joint_actions`, `[P]`.
        utilities: Q_i of the same, `[P,N]`.
    """
    q_joint = q_tot.reshape(payoff.shape)
    q_all = individual_values(payoff.shape, utilities)  # [N,A]
    greedy = tuple(int(a) for a in q_all.argmax(-1))
    square = payoff.ndim == PAIR and payoff.shape[0] <= MAX_SQUARE
    lines = _square(payoff, q_joint, q_all, greedy) if square else _listing(payoff, q_joint)
    error = np.abs(q_joint - payoff).max()
    return "\n".join(
        (
            *lines,
            f"greedy joint action {_name(greedy)}: payoff {payoff[greedy]:.1f} of at most {payoff.max():.1f}",
            f"largest |Q_jt - payoff|: {error:.2f}",
        )
    )


def action_name(action: int) -> str:
    """A, B, C, ... as in the paper; numbers beyond Z."""
    return chr(ord("A") + action) if action < LETTERS else str(action)


def _name(joint: tuple[int, ...]) -> str:
    return "(" + ", ".join(action_name(a) for a in joint) + ")"


def _square(payoff: np.ndarray, q_joint: np.ndarray, q_all: np.ndarray, greedy: tuple[int, ...]) -> list[str]:
    """Two tables side by side: the payoff; Q_jt with Q_1 beside the rows and Q_2 above the columns."""
    labels = [
        [f"{q_all[i, a]:.1f}({action_name(a)})" + ("*" if a == greedy[i] else " ") for a in range(payoff.shape[0])]
        for i in range(PAIR)
    ]
    names = [action_name(a) for a in range(payoff.shape[0])]
    head = " " * 4 + "".join(f"{name:>8}" for name in names) + "   |" + " " * 12
    lines = ["payoff (rows: agent 1, columns: agent 2)  |  learnt Q_jt with Q_1 and Q_2 (* greedy)"]
    lines.append(head + "".join(f"{label:>12}" for label in labels[1]))
    for a, name in enumerate(names):
        left = f"{name:>4}" + "".join(f"{value:8.1f}" for value in payoff[a])
        right = f"{labels[0][a]:>12}" + "".join(f"{value:11.1f} " for value in q_joint[a])
        lines.append(f"{left}   |{right}")
    return lines


def _listing(payoff: np.ndarray, q_joint: np.ndarray) -> list[str]:
    """The best joint actions by payoff."""
    best = np.argsort(-payoff, axis=None, kind="stable")[:SHOWN_JOINT_ACTIONS]
    lines = [f"the {len(best)} best of {payoff.size} joint actions:  payoff  learnt Q_jt"]
    for flat in best:
        joint = tuple(int(a) for a in np.unravel_index(flat, payoff.shape))
        lines.append(f"{_name(joint):>20} {payoff[joint]:8.1f} {q_joint[joint]:8.1f}")
    return lines
