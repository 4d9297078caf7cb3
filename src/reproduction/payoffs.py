"""What a run learnt about a matrix game: tables in the paper's form, errors, success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import envs
from envs.matrix_game import MatrixGame, action_name, individual_values
from reproduction.report import columns_of, seconds
from reproduction.session import Result

PAIR = 2  # agents of games that fit into a square
MAX_COLUMNS = 16  # joint values in a CSV line
TOLERANCE = 1e-9  # of a payoff that counts as the best


@dataclass(frozen=True)
class Learnt:
    """A run's joint values over all joint actions. Shapes: N agents, A actions; the payoff has N axes of length A."""

    result: Result

    @cached_property
    def payoff(self) -> np.ndarray:
        """The game."""
        cell = self.result.cell
        game = envs.resolve(cell.env, cell.settings()["env_args"]).single()
        assert isinstance(game, MatrixGame)
        return game.payoff

    @cached_property
    def q_joint(self) -> np.ndarray:
        """Q_jt, as the payoff."""
        return np.array(self.result.values["q_joint"]).reshape(self.payoff.shape)

    @cached_property
    def q_all(self) -> np.ndarray:
        """Q_i `[N,A]`; nan in records made from a page's CSV file, which does not have them."""
        found = self.result.values.get("utilities", np.full((self.payoff.size, self.payoff.ndim), np.nan))
        return individual_values(self.payoff.shape, np.array(found))

    @cached_property
    def greedy(self) -> tuple[int, ...]:
        """The joint action of the greedy policies."""
        return tuple(int(action[0]) for action in self.result.values["greedy"])

    @property
    def gained(self) -> float:
        """Payoff of the greedy joint action."""
        return float(self.payoff[self.greedy])

    @property
    def success(self) -> bool:
        """Whether the greedy joint action is an optimum."""
        return bool(self.gained >= self.payoff.max() - TOLERANCE)

    @property
    def error(self) -> float:
        """Largest |Q_jt - payoff|."""
        return float(np.abs(self.q_joint - self.payoff).max())

    def line(self) -> dict[str, Any]:
        """A line of the CSV file."""
        q_joint = {
            f"q_jt {_names(index)}": round(float(self.q_joint[index]), 4) for index in np.ndindex(self.payoff.shape)
        }
        return columns_of(self.result.cell) | {
            "greedy": _names(self.greedy),
            "payoff": self.gained,
            "optimum": float(self.payoff.max()),
            "success": int(self.success),
            "largest_error": round(self.error, 4),
            "seconds": round(seconds(self.result), 1),
            "commit": self.result.commit,
            **(q_joint if self.payoff.size <= MAX_COLUMNS else {}),
        }


def _names(joint: tuple[int, ...]) -> str:
    return "".join(action_name(action) for action in joint)


def median(learnt: Sequence[Learnt]) -> Learnt:
    """The run with the median error (the lower one of two)."""
    return sorted(learnt, key=lambda one: one.error)[(len(learnt) - 1) // 2]


def square(q_1: Sequence[float], q_2: Sequence[float], q_joint: Any, greedy: Sequence[int]) -> list[list[str]]:
    """The paper's table: Q_2 above the columns, Q_1 beside the rows, the greedy actions and their value in bold."""
    rows = [["Q_1 \\ Q_2", *(_bold(_valued(q, b), b == greedy[1]) for b, q in enumerate(q_2))]]
    for a, q in enumerate(q_1):
        cells = [_bold(f"{value + 0.0:.1f}", (a, b) == tuple(greedy)) for b, value in enumerate(q_joint[a])]
        rows.append([_bold(_valued(q, a), a == greedy[0]), *cells])
    return rows


def ours(learnt: Learnt) -> list[list[str]]:
    """`square` of a run of a two-agent game."""
    return square(learnt.q_all[0], learnt.q_all[1], learnt.q_joint, learnt.greedy)


def beside(left: list[list[str]], right: list[list[str]], gap: str) -> list[list[str]]:
    """Two tables of the same height as one, with `gap` as heading of the column between them."""
    return [[*a, gap if k == 0 else "", *b] for k, (a, b) in enumerate(zip(left, right, strict=True))]


def _valued(q: float, action: int) -> str:
    """Q_i and the action's letter; the letter alone where Q_i was not kept."""
    return action_name(action) if np.isnan(q) else f"{q:.1f} ({action_name(action)})"


def _bold(text: str, wanted: bool) -> str:
    return f"**{text}**" if wanted else text
