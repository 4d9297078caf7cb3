"""Print the numbers of docs/algorithms/fop.md, theory part, as Markdown: `python src/theory_report.py`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import torch as th

from envs.payoffs import PayoffArgs, additive_greedy, make_payoff
from theory import policy_iteration as pi
from theory import soft
from theory.fits import additive_fit, monotone_fit, monotone_fits, squared_error
from theory.measurements import igm_violation_rate, iterate_tasks
from theory.routing import Data, Routing, Study, learn

M1 = make_payoff("paper", PayoffArgs())
IDENTITY = make_payoff("identity4", PayoffArgs())
RANDOM_LR = 0.03  # Adam, random games


def row(*cells: object) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def header(*names: str) -> str:
    """The first two lines of a Markdown table."""
    return row(*names) + "\n" + "|---" * len(names) + "|"


def violations(games: int) -> Iterator[str]:
    """T3: how often action-dependent weights break IGM."""
    alphas = (2.0, 0.5, 0.1, 0.01, 1e-6)
    yield f"\n### Greedy actions that are not those of Q_jt, {games} random games (T3)\n"
    yield header("alpha", *(f"{alpha:g}" for alpha in alphas))
    yield row("IGM violated", *(f"{igm_violation_rate(alpha, games):.1%}" for alpha in alphas))


def factorisability() -> Iterator[str]:
    """T12 and T13: total correlation of the optimal joint policies."""
    alphas = (0.05, 0.2, 0.5, 1, 2, 3, 5, 8, 10)
    yield "\n### Total correlation of the optimal joint policy in nats, 0 where IGO can hold (T12, T13)\n"
    yield header("game", *(f"alpha {alpha:g}" for alpha in alphas))
    for name, payoff in (("paper", M1), ("identity4", IDENTITY)):
        joints = [soft.boltzmann(payoff, alpha) for alpha in alphas]
        yield row(name, *(f"{soft.total_correlation(joint):.5f}" for joint in joints))
    yield row("paper: chance of (A,A)", *(f"{soft.boltzmann(M1, alpha)[0, 0]:.4f}" for alpha in alphas))


def iteration(tasks: int) -> Iterator[str]:
    """T10 and T11: where policy iteration is monotonic and optimal."""
    yield f"\n### Factorised soft policy iteration, {tasks} random tasks each (T10, T11)\n"
    yield header("tasks", "agents improve", "alpha", "value fell", "never settled", "mean gap", "largest gap")
    settings = (("factored", pi.simultaneous), ("generic", pi.simultaneous), ("generic", pi.sequential))
    for kind, sweep in settings:
        for alpha in (0.05, 0.2, 1.0):
            found = iterate_tasks("factored" if kind == "factored" else "generic", tasks, alpha, sweep)
            gaps = (f"{found.mean_gap:.2g}", f"{found.largest_gap:.2g}")
            yield row(kind, sweep.__name__, alpha, f"{found.lowered}/{tasks}", f"{found.cycling}/{tasks}", *gaps)


def papers_game() -> Iterator[str]:
    """T11 on the paper's own game."""
    yield "\n### The same on the paper's matrix game, from uniform policies (T11)\n"
    yield header("alpha", "chance of A at the end", "payoff", "gap to the soft optimum")
    for alpha in (0.01, 0.1, 0.5, 1.0, 2.0):
        outcome = pi.run(pi.one_state_task(M1), np.full((2, 1, 3), 1 / 3), alpha, pi.simultaneous)
        policies = outcome.policies[:, 0]
        payoff = float((soft.product_policy(policies) * M1).sum())
        yield row(alpha, f"{policies[0, 0]:.2g}", f"{payoff:.2f}", f"{outcome.gap:.3f}")


def fits() -> Iterator[str]:
    """T14 and T15: best additive and monotonic fits."""
    additive, best = additive_fit(M1), monotone_fit(M1)
    familiar = min((f for f in monotone_fits(M1) if f.orders[0][0] == f.orders[1][0] == 0), key=lambda f: f.error)
    yield "\n### Least-squares fits of the paper's game under uniform data (T14, T15)\n"
    yield header("class", "(A,A)", "(A,B)", "(B,B)", "sum of squared errors", "payoff of its greedy action")
    for name, fit in (("additive", additive), ("monotonic, A lowest", familiar.fit), ("monotonic, best", best.fit)):
        cells = (f"{fit[0, 0]:.3f}", f"{fit[0, 1]:.3f}", f"{fit[1, 1]:.3f}", f"{squared_error(fit, M1):.1f}")
        greedy = additive_greedy(M1) if name == "additive" else soft.greedy(fit)
        yield row(name, *cells, f"{M1[greedy]:.0f}")


def routings(runs: int, updates: int) -> Iterator[str]:
    """7.4: the two gradient routings on the paper's game."""
    games = np.repeat(M1[None], runs, axis=0)
    data: tuple[Data, ...] = ("uniform", "epsilon", "on_policy")
    yield f"\n### Optimum found on the paper's game: {runs} tabular runs of {updates} updates, Adam 0.01\n"
    yield header("gradient of Q_i", "alpha from 1 to", *data)
    names: tuple[tuple[Routing, str], ...] = (("detached", "1"), ("literal", "lambda_i"), ("vdn", "additive"))
    for routing, name in names:
        for alpha in (0.01, 0.1, 0.5, 1.0):
            found = [learn(games, Study(routing, kind, alpha, updates)) for kind in data]
            yield row(name, alpha, *(f"{f.optimal.mean():.0%} (error {np.median(f.error):.2g})" for f in found))


def random_games(games: int, updates: int) -> Iterator[str]:
    """T18: direct regression on random payoffs."""
    yield f"\n### Optimum found on {games} random games each: {updates} updates on all joint actions, Adam 0.03 (T18)\n"
    names: tuple[tuple[Routing, str], ...] = (
        ("detached", "1"), ("qplex", "1, V_i = max Q_i"), ("literal", "lambda_i"), ("vdn", "additive"),
    )  # fmt: skip
    yield header("gradient of Q_i", "3 x 3", "4 x 4", "5 x 5")
    for routing, name in names:
        cells = []
        for size in (3, 4, 5):
            seeds = (PayoffArgs(random_seed=seed, n_actions=size) for seed in range(games))
            payoffs = np.array([make_payoff("random", args) for args in seeds])
            found = learn(payoffs, Study(routing, "all", steps=updates, lr=RANDOM_LR))
            cells.append(f"{found.optimal.mean():.0%} (median error {np.median(found.error):.2g})")
        yield row(name, *cells)


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=200, help="random tasks per row of the iteration table")
    parser.add_argument("--games", type=int, default=1000, help="random games of the violation table")
    parser.add_argument("--runs", type=int, default=50, help="runs per cell of the routing table; twice that, random")
    parser.add_argument("--updates", type=int, default=10_000, help="updates per run; 0 leaves the learnt tables out")
    args = parser.parse_args()
    th.set_num_threads(1)  # the tables are tiny
    parts = [violations(args.games), factorisability(), iteration(args.tasks), papers_game(), fits()]
    if args.updates > 0:
        parts += [routings(args.runs, args.updates), random_games(2 * args.runs, args.updates)]
    for part in parts:
        for line in part:
            print(line, flush=True)


if __name__ == "__main__":
    main()
