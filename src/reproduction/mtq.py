"""What a run learnt about Max of Two Quadratics: final actions, learning path, Q_jt on the grid, errors.

Everything is in the game's own units. Shapes: N agents, X tests, M explored joint actions, G points on a grid's axis.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from envs.differential_game import GRID, HIGH, LOW, NARROW, WIDE, max_of_two_quadratics, outcome
from reproduction.report import columns_of, in_cell, seconds
from reproduction.session import Result
from reproduction.study import Case, Study

OUTCOMES = ("optimum", "suboptimum", "other")
CLOSE = 0.5  # distance of every action from the optimal one that counts as having reached it
PAIR = 2  # agents of games with a grid
RETURN = "test_return_mean"
DIGITS = 4  # decimals in the CSV file

AXIS = np.linspace(LOW, HIGH, GRID)  # [G]
SURFACE = max_of_two_quadratics(np.stack(np.meshgrid(AXIS, AXIS, indexing="ij"), axis=-1))  # r(u_1, u_2), [G,G]


@dataclass(frozen=True)
class Climb:
    """One finished run."""

    result: Result

    @property
    def scale(self) -> float:
        """Learning reward by the game's reward."""
        return float(self.result.cell.settings()["env_args"]["reward_scale"])

    @cached_property
    def final(self) -> np.ndarray:
        """The greedy joint action at the end, `[N]`."""
        return np.array(self.result.values["greedy"])[:, 0]

    @property
    def gained(self) -> float:
        """Its return."""
        return float(max_of_two_quadratics(self.final))

    @property
    def outcome(self) -> str:
        """One of `OUTCOMES`."""
        return outcome(self.final)

    @property
    def success(self) -> bool:
        """Whether the final actions are on the optimal hill (r > 9)."""
        return self.outcome == "optimum"

    @property
    def close(self) -> bool:
        """Whether every final action is within 0.5 of the optimal one."""
        return bool(np.abs(self.final - NARROW[0]).max() <= CLOSE)

    @cached_property
    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Env steps `[X]` and the greedy policies' returns `[X]`."""
        rows = [row for row in self.result.rows if row.get(RETURN) is not None]
        return np.array([row["t_env"] for row in rows]), np.array([row[RETURN] for row in rows])

    @cached_property
    def path(self) -> np.ndarray:
        """Greedy joint actions of all tests of a game of two agents, `[X,2]`."""
        rows = [row for row in self.result.rows if row.get(RETURN) is not None]
        return np.array([[row[f"test_u_{i}_mean"] for i in (1, 2)] for row in rows])

    @cached_property
    def trail(self) -> np.ndarray:
        """Joint actions of training, oldest first, thinned, `[M,N]`."""
        return np.array(self.result.values["explored"]["actions"])[..., 0]

    @cached_property
    def q_joint(self) -> np.ndarray:
        """Learnt Q_jt over the grid of a game of two agents, `[G,G]`, rows u_1."""
        return np.array(self.result.values["q_joint"]).reshape(GRID, GRID) / self.scale

    def error(self, hill: Sequence[float] | None = None) -> float:
        """Mean |Q_jt - r| over the box, or within one width of the summit of NARROW or WIDE in both actions."""
        differences = np.abs(self.q_joint - SURFACE)
        if hill is None:
            return float(differences.mean())
        near = np.abs(AXIS - hill[0]) <= hill[1] + 1e-9
        return float(differences[np.ix_(near, near)].mean())

    def line(self) -> dict[str, Any]:
        """A line of the CSV file."""
        errors = {"q_error_optimum": NARROW, "q_error_suboptimum": WIDE, "q_error_box": None}
        return columns_of(self.result.cell) | {
            "outcome": self.outcome,
            "return": round(self.gained, DIGITS),
            "within_0.5": int(self.close),
            **{f"u_{i + 1}": round(float(action), DIGITS) for i, action in enumerate(self.final)},
            **({name: round(self.error(hill), DIGITS) for name, hill in errors.items()} if self.paired else {}),
            "seconds": round(seconds(self.result), 1),
            "commit": self.result.commit,
        }

    @property
    def paired(self) -> bool:
        """Whether there is a grid."""
        return len(self.final) == PAIR


Group = Mapping[tuple[Case, str], Sequence[Climb]]  # case and method -> runs by seed


def grouped(study: Study, results: Sequence[Result]) -> dict[tuple[Case, str], list[Climb]]:
    """The study's finished runs by case and method, in the study's order; empty groups are left out."""
    groups = {
        (case, method.name): [Climb(result) for result in in_cell(results, method.name, case.name)]
        for case in study.cases
        for method in study.methods_of(case)
    }
    return {key: climbs for key, climbs in groups.items() if climbs}


def counts(climbs: Sequence[Climb]) -> str:
    """How many runs ended where, "5/0/0" in the order of `OUTCOMES`."""
    found = Counter(climb.outcome for climb in climbs)
    return "/".join(str(found[name]) for name in OUTCOMES)


def typical(climbs: Sequence[Climb]) -> Climb:
    """The run with the median final return (the lower one of two)."""
    return sorted(climbs, key=lambda climb: climb.gained)[(len(climbs) - 1) // 2]
