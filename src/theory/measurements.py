"""Statistics over many random games and tasks, for the tests and for `python src/theory_report.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from theory import policy_iteration as pi
from theory import soft
from theory.tasks import factored_task, generic_task, local_policies, random_policies

NO_DROP = 1e-9  # falls of a value of the order of 50 below this are rounding
N_AGENTS, N_ACTIONS, N_STATES = 2, 3, 4  # of the random tasks; 2 local states per agent in factored ones


def igm_violation_rate(alpha: float, games: int) -> float:
    """Share of random games where action-dependent weights break IGM at temperature alpha.

    Two agents, three actions, Q_i standard normal, lambda_i(u) log-normal and independent over joint actions.
    """
    rng = np.random.default_rng(0)
    violated = 0
    for _ in range(games):
        q_all = rng.normal(size=(N_AGENTS, N_ACTIONS))
        weights = np.exp(rng.normal(size=(N_AGENTS, N_ACTIONS, N_ACTIONS)))
        joint = soft.joint_q(q_all, soft.soft_value(q_all, alpha), weights, 0.0)
        violated += not soft.igm_holds(joint, q_all)
    return violated / games


@dataclass(frozen=True)
class IterationStatistics:
    """Factorised soft policy iteration over many tasks.

    Args:
        lowered: tasks in which some sweep lowered the value of some state.
        cycling: tasks in which the policies did not converge.
        mean_gap: mean over tasks of `Outcome.gap`, the distance to the unconstrained soft optimum.
        largest_gap: the largest of them.
    """

    lowered: int
    cycling: int
    mean_gap: float
    largest_gap: float


def iterate_tasks(
    kind: Literal["factored", "generic"], tasks: int, alpha: float, sweep: pi.Sweep
) -> IterationStatistics:
    """Run `sweep` to its end on tasks 0 to `tasks - 1` of a kind, two agents with three actions each."""
    outcomes = []
    for seed in range(tasks):
        rng = np.random.default_rng(seed)
        if kind == "factored":
            n_local = round(N_STATES ** (1 / N_AGENTS))
            task = factored_task(rng, n_local, N_AGENTS, N_ACTIONS)
            start = local_policies(rng, n_local, N_AGENTS, N_ACTIONS)
        else:
            task = generic_task(rng, N_STATES, N_AGENTS, N_ACTIONS)
            start = random_policies(rng, task)
        outcomes.append(pi.run(task, start, alpha, sweep))
    gaps = [outcome.gap for outcome in outcomes]
    return IterationStatistics(
        lowered=sum(outcome.largest_drop > NO_DROP for outcome in outcomes),
        cycling=sum(not outcome.converged for outcome in outcomes),
        mean_gap=float(np.mean(gaps)),
        largest_gap=float(np.max(np.abs(gaps))),
    )
