"""Figures 2 and 3 of the paper: reward surface, learning curves, learning paths over the learnt Q_jt.

`case.info.about` is shown below a case's heading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from envs.differential_game import HIGH, LOW, NARROW, WIDE
from reproduction.intervals import mean_interval, shown_mean, shown_rate
from reproduction.mtq import AXIS, SURFACE, Climb, counts, grouped, typical
from reproduction.records import thinned
from reproduction.report import Report
from reproduction.session import Result
from reproduction.study import Case, Study

PANEL = 2.35  # inches of a square panel
COLUMNS = (3, 4)  # panels in a row: three for up to six panels
LEVELS = np.linspace(-40.0, 10.0, 26)  # of the contours: the range of the game's rewards
LEGEND = """
Colour: learnt Q_jt of the run with the median final return (first panel: the reward itself). Red dots: its exploration,
each a joint action of training, thinned. Line: its greedy joint actions from start (circle) to end (square); thin
lines: the other seeds. White crosses: the two summits. In brackets: runs that end at the optimum, at the sub-optimum,
elsewhere.
"""


def render(study: Study, results: Sequence[Result], report: Report) -> None:
    """The summary, the learning curves, then the learning paths of every case."""
    groups = grouped(study, results)
    for climbs in groups.values():
        for climb in climbs:
            report.row(climb.line())
    by_case: dict[Case, dict[str, list[Climb]]] = {}
    for (case, method), climbs in groups.items():
        by_case.setdefault(case, {})[method] = climbs
    _summary(by_case, report)
    report.text("## Learning curves")
    caption = "return of the deterministic policies in the game's units, mean and 95 % interval over seeds"
    report.figure(_curves(by_case), caption, "_curves")
    for case, methods in by_case.items():
        report.text(f"## Learning paths, {case.title}")
        if "about" in case.info:
            report.text(str(case.info["about"]))
        report.text(LEGEND)
        report.figure(_paths(methods), f"learning paths, {case.title}", f"_paths_{case.name}")


def _summary(by_case: Mapping[Case, Mapping[str, Sequence[Climb]]], report: Report) -> None:
    head = ["case", "method", "optimum / sub-optimum / other", "optimum (Wilson 95 %)", "final return (mean ± 95 %)"]
    head += ["within 0.5 of (5, 5)", "mean error of Q_jt near the optimum", "near the sub-optimum", "over the box"]
    rows = []
    for case, methods in by_case.items():
        for method, climbs in methods.items():
            close = sum(climb.close for climb in climbs)
            errors = [np.median([climb.error(hill) for climb in climbs]) for hill in (NARROW, WIDE, None)]
            row = [case.name, method, counts(climbs), shown_rate(sum(climb.success for climb in climbs), len(climbs))]
            row += [shown_mean([climb.gained for climb in climbs]), f"{close}/{len(climbs)}"]
            rows.append([*row, *(f"{error:.2f}" for error in errors)])
    report.text("## Summary")
    report.table(head, rows)
    report.text(
        "Errors are |Q_jt - r| in the game's units: means over the points of a 101 x 101 grid within one width of the "
        "summit in both actions (1 for the optimum, 3 for the sub-optimum), or over the whole box; medians over seeds."
    )


def _curves(by_case: Mapping[Case, Mapping[str, Sequence[Climb]]]) -> Figure:
    """One panel a case, one line a method."""
    size = (4.2 * len(by_case), 3.4)
    figure, axes = plt.subplots(1, len(by_case), figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis, (case, methods) in zip(axes[0], by_case.items(), strict=True):
        for k, (method, climbs) in enumerate(methods.items()):
            _curve(axis, method, climbs, f"C{k}")
        for level in (10.0, 0.0):
            axis.axhline(level, color="0.5", linewidth=0.8, linestyle=":")
        axis.set(title=case.title, xlabel="env steps (thousands)", ylim=(-14, 11.5))
        axis.title.set_fontsize(9)
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("return of the deterministic policies")
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), 6), fontsize=8, frameon=False)
    return figure


def _curve(axis: Any, method: str, climbs: Sequence[Climb], colour: str) -> None:
    steps = min((climb.curve[0] for climb in climbs), key=len)
    table = np.array([climb.curve[1][: len(steps)] for climb in climbs])  # [seeds,X]
    mean, half = np.array([mean_interval(column) for column in table.T]).T
    axis.plot(steps / 1000, mean, color=colour, label=method, linewidth=1.4)
    if len(climbs) > 1:
        axis.fill_between(steps / 1000, mean - half, mean + half, color=colour, alpha=0.15, linewidth=0)


def _paths(methods: Mapping[str, Sequence[Climb]]) -> Figure:
    """The reward surface, then one panel a method."""
    count = len(methods) + 1
    width = COLUMNS[count > 2 * COLUMNS[0]]
    height = -(-count // width)
    size = (PANEL * width + 0.9, PANEL * height + 0.3)
    figure, axes = plt.subplots(
        height, width, figsize=size, sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    for axis in axes.flat[count:]:
        axis.set_axis_off()
    shown = _surface(axes.flat[0], SURFACE, "reward")
    for axis, (method, climbs) in zip(axes.flat[1:], methods.items(), strict=False):
        chosen = typical(climbs)
        _surface(axis, chosen.q_joint, f"{method} ({counts(climbs)})")
        axis.scatter(*thinned(chosen.trail).T, s=3.0, color="red", alpha=0.5, linewidths=0, zorder=2)
        for climb in climbs:
            axis.plot(*climb.path.T, color="white", linewidth=2.2 if climb is chosen else 0.7, zorder=3)
            if climb is chosen:
                axis.plot(*climb.path.T, color="black", linewidth=1.1, zorder=4)
                axis.plot(*climb.path[0], "o", color="white", markeredgecolor="black", markersize=5, zorder=5)
                axis.plot(*climb.path[-1], "s", color="white", markeredgecolor="black", markersize=5, zorder=5)
    figure.colorbar(shown, ax=axes, shrink=0.8, label="reward, $Q_{jt}$ (game's units)", ticks=np.arange(-40, 11, 10))
    figure.supxlabel("$u_1$", fontsize=10)
    figure.supylabel("$u_2$", fontsize=10)
    return figure


def _surface(axis: Any, values: np.ndarray, title: str) -> Any:
    """Filled contours of `values [G,G]` (rows u_1), both summits marked."""
    shown = axis.contourf(AXIS, AXIS, values.T, levels=LEVELS, cmap="viridis", extend="both")
    for centre in (NARROW[0], WIDE[0]):
        axis.plot(centre, centre, "+", color="white", markersize=8, markeredgewidth=1.6, zorder=6)
    axis.set_title(title, fontsize=8)
    axis.set(xlim=(LOW, HIGH), ylim=(LOW, HIGH), aspect="equal", xticks=[-10, -5, 0, 5, 10], yticks=[-10, -5, 0, 5, 10])
    axis.tick_params(labelsize=7)
    return shown
