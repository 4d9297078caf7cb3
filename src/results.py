"""Learning curves and tables of runs: `python src/results.py plot|table RUNS... [options]`.

RUNS are run directories or directories above them, for example results/sacred.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.errors import UserError
from utils.runs import RunRecord, by_task_and_alg, check_engines, check_metric, find_runs, first_crossing, on_grid

DEFAULT_METRIC = "test_battle_won_mean"
PANEL = (5.0, 3.6)  # inches


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Command line to arguments; a bad one ends with exit code 2."""
    parser = argparse.ArgumentParser(prog="results.py", description=__doc__)
    parser.add_argument("command", choices=("plot", "table"))
    parser.add_argument("runs", nargs="+", type=Path, help="run directories or directories above them")
    parser.add_argument("--metric", default=DEFAULT_METRIC, help=f"default {DEFAULT_METRIC}")
    parser.add_argument("--out", type=Path, help="plot: the picture (default curves.png); table: a Markdown file")
    parser.add_argument("--mix-engines", action="store_true", help="put results of different engines on one axis")
    parser.add_argument("--threshold", type=float, default=0.9, help="table: level whose first crossing is shown")
    return parser.parse_args(argv)


def plot(runs: Sequence[RunRecord], metric: str, path: Path) -> None:
    """One panel per task, one colour per algorithm: every seed thin, their mean, where all have values, thick."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    groups = by_task_and_alg(runs)
    figure, axes = plt.subplots(
        1, len(groups), figsize=(PANEL[0] * len(groups), PANEL[1]), squeeze=False, layout="constrained"
    )
    for axis, (task, algs) in zip(axes[0], groups.items(), strict=True):
        for colour, (alg, members) in enumerate(sorted(algs.items())):
            grid, values = on_grid(members, metric)
            for run in members:
                axis.plot(*run.series(metric), color=f"C{colour}", alpha=0.3, linewidth=0.8)
            axis.plot(grid, values.mean(0), color=f"C{colour}", linewidth=2.0, label=f"{alg} ({len(values)} seeds)")
        axis.set(title=f"{task}\n{members[0].engine}", xlabel="env steps", ylabel=metric)
        axis.title.set_fontsize(9)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def table(runs: Sequence[RunRecord], metric: str, threshold: float) -> str:
    """Markdown: per task and algorithm the seeds, their last values, mean over the steps all have, first crossing."""
    head = ["task", "algorithm", "seeds", "env steps (each)", "last (each)", "last mean", "mean over common steps"]
    lines = [[*head, f"first >= {threshold:g}"], ["---"] * (len(head) + 1)]
    for task, algs in by_task_and_alg(runs).items():
        for alg, members in sorted(algs.items()):
            _, values = on_grid(members, metric)
            ends = [tuple(axis[-1] for axis in run.series(metric)) for run in members]
            crossings = [first_crossing(run, metric, threshold) for run in members]
            lines.append(
                [
                    task,
                    alg,
                    " ".join(str(run.header.get("seed")) for run in members),
                    " ".join(f"{step / 1000:,.0f}k" for step, _ in ends),
                    " ".join(f"{value:.2f}" for _, value in ends),
                    f"{np.mean([value for _, value in ends]):.3f}",
                    f"{values.mean():.3f}",
                    " ".join("-" if step is None else f"{step / 1000:,.0f}k" for step in crossings),
                ]
            )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    args = parse(argv)
    try:
        runs = find_runs(args.runs)
        check_metric(runs, args.metric)
        runs = [run for run in runs if len(run.series(args.metric)[0])]
        check_engines(runs, args.mix_engines)
        if args.command == "plot":
            path = args.out or Path("curves.png")
            plot(runs, args.metric, path)
            print(path.resolve())
            return 0
        text = table(runs, args.metric, args.threshold)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text, encoding="utf-8")
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
