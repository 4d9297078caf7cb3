"""Which runs are seeds of a curve: those that train, each seed once."""

from __future__ import annotations

from collections.abc import Sequence

from utils.runs import RunRecord, by_task_and_alg, common_end

OF_THE_DATA = ("batch_size_run", "checkpoint_path", "load_step")  # free within a curve, but not of the same run
SHORT = 0.5  # share of the typical run's steps below which a run that cuts a comparison short is named


def seeds_of_curves(runs: Sequence[RunRecord], split: Sequence[str] = ()) -> tuple[list[RunRecord], list[str]]:
    """The runs to be shown, and what there is to say about the others.

    Runs that only tested a checkpoint are left out of curves that others trained. Of runs with equal settings and seed,
    which repeat each other, the one with most env steps counts, the newer of two.
    """
    tests, kept = 0, dict[str, RunRecord]()
    for task, algs in by_task_and_alg(runs, split).items():
        for alg, members in algs.items():
            training = [run for run in members if not run.config.get("evaluate")] or members
            tests += len(members) - len(training)
            for run in training:
                key = f"{task} {alg} {_identity(run)}" if run.config else str(run.path)
                kept[key] = max(kept.get(key, run), run, key=lambda one: (_length(one), one.start))
    repeats, notes = len(runs) - tests - len(kept), []
    if tests:
        notes.append(f"{tests} of {len(runs)} runs only test a checkpoint (evaluate): left out")
    if repeats:
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
                f"areas of {metric} on {task} are compared over the first {end:,.0f} of {typical:,.0f} env steps: "
                f"{run.path} ({run.alg}, seed {run.seed}{state}) has no more"
            )
    return notes


def _identity(run: RunRecord) -> str:
    """What two runs have in common that are the same experiment, as text."""
    own = [run.config.get(key) for key in OF_THE_DATA]
    return repr((run.engine, run.seed, own, sorted(run.settings().items())))


def _length(run: RunRecord) -> float:
    return float(run.rows[-1]["t_env"]) if run.rows else -1.0
