"""Learning curves: one panel per task, one colour per algorithm, every seed thin, the estimate thick, its interval.

Figures are returned; nothing is shown on a screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from analysis.estimates import ESTIMATES, estimated
from utils.runs import RunRecord, by_task_and_alg, on_grid

mpl.use("Agg")
from matplotlib import pyplot as plt

PANEL = (5.0, 3.6)  # inches
COLUMNS = 4  # panels in a row
RESOLUTION = 120  # dots per inch
STEPS = 61  # points at which intervals are computed
BLEND = 0.18  # opacity of intervals
ALIKE = 12  # characters of a data hash that the title shows


def figure(runs: Sequence[RunRecord], metric: str, estimate: str = "mean", split: Sequence[str] = ()) -> Any:
    """A figure of the learning curves of `metric`."""
    groups = by_task_and_alg(runs, split)
    colours = {name: f"C{k % 10}" for k, name in enumerate(sorted({alg for algs in groups.values() for alg in algs}))}
    columns = min(len(groups), COLUMNS)
    lines = -(-len(groups) // columns)
    drawn, axes = plt.subplots(
        lines, columns, figsize=(PANEL[0] * columns, PANEL[1] * lines), squeeze=False, layout="constrained"
    )
    for axis, (task, algs) in zip(axes.flat, sorted(groups.items()), strict=False):
        for alg, members in sorted(algs.items()):
            _curve(axis, members, metric, estimate, (alg, colours[alg]))
        engines = sorted({_engine(run) for members in algs.values() for run in members})
        axis.set_title("\n".join([task, *engines]), fontsize=9)
        axis.set(xlabel="env steps", ylabel=metric)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
        axis.ticklabel_format(axis="x", style="sci", scilimits=(0, 4))
    for axis in axes.flat[len(groups) :]:
        axis.set_visible(False)
    drawn.supxlabel(f"{ESTIMATES[estimate]} over seeds, 95 % stratified bootstrap interval; thin: seeds", fontsize=8)
    return drawn


def _engine(run: RunRecord) -> str:
    engine, version, data = (str(run.header.get(key, "?")) for key in ("engine", "engine_version", "data_hash"))
    return f"engine {engine} {version}" + (f" (data {data[:ALIKE]})" if data else "")


def _curve(axis: Any, members: Sequence[RunRecord], metric: str, estimate: str, label: tuple[str, str]) -> None:
    name, colour = label
    for run in members:
        axis.plot(*run.series(metric), color=colour, alpha=0.25, linewidth=0.7)
    grid, values = on_grid(members, metric, STEPS)
    found = estimated(values[:, None], estimate)
    count = f"{len(values)} seed{'s' * (len(values) > 1)}"
    axis.plot(grid, found.value, color=colour, linewidth=2.0, label=f"{name} ({count})")
    if np.isfinite(found.low).all():
        axis.fill_between(grid, found.low, found.high, color=colour, alpha=BLEND, linewidth=0)


def save(drawn: Any, path: Path) -> None:
    """Write a figure and close it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=RESOLUTION)
    plt.close(drawn)
