"""Which runs are seeds of a curve: those that train, each seed once."""

from __future__ import annotations

from collections.abc import Sequence

from utils.runs import RunRecord, by_task_and_alg, common_end

SHORT = 0.5  # share of the typical run's steps below which a run that cuts a comparison short is named


def seeds_of_curves(runs: Sequence[RunRecord], split: Sequence[str] = ()) -> tuple[list[RunRecord], list[str]]:
    """The runs to be shown, and what there is to say about the others.

    Runs that only tested a checkpoint are left out where others trained. Of runs with equal settings and seed, which
    repeat each other, the one with most env steps counts, the newer of two.
    """
    notes = []
    training = [run for run in runs if not run.config.get("evaluate")]
    if training and len(training) < len(runs):
        notes.append(f"{len(runs) - len(training)} of {len(runs)} runs only test a checkpoint (evaluate): left out")
    kept: dict[str, RunRecord] = {}
    for task, algs in by_task_and_alg(training or runs, split).items():
        for alg, members in algs.items():
            for run in members:
                same = repr((task, alg, run.engine, run.seed, sorted(run.settings().items())))
                key = same if run.config else str(run.path)
                kept[key] = max(kept.get(key, run), run, key=lambda one: (_length(one), one.start))
    if repeats := len(training or runs) - len(kept):
        notes.append(f"{repeats} of {len(runs)} runs repeat settings and seed of a longer or newer one: left out")
    chosen = {id(run) for run in kept.values()}
    return [run for run in runs if id(run) in chosen], notes


def cut_short(runs: Sequence[RunRecord], metric: str) -> list[str]:
    """For each task whose areas are compared over few env steps only: how many, and which run has no more."""
    notes = []
    for task, algs in by_task_and_alg(runs).items():
        ends = {id(run): float(run.series(metric)[0][-1]) for members in algs.values() for run in members}
        members = [run for group in algs.values() for run in group]
        end, typical = common_end(members, metric), sorted(ends.values())[len(ends) // 2]
        if end < SHORT * typical:
            (run, *_) = [one for one in members if ends[id(one)] == end]
            state = f", {run.status}" if run.status else ""
            notes.append(
                f"areas on {task} are compared over the first {end:,.0f} of {typical:,.0f} env steps: "
                f"{run.path} ({run.alg}, seed {run.seed}{state}) has no more"
            )
    return notes


def _length(run: RunRecord) -> float:
    return float(run.rows[-1]["t_env"]) if run.rows else -1.0
