"""Learning curves: a measure of the tests against env steps, a panel a case and group, and a table of first crossings.

`info.metric` is the measure (of runs' tests), `info.level` what it should reach, `info.range` its least and greatest
value (0 and 1, of win rates, if not given), `info.panels` groups of methods that share a panel; without it all do.
`case.info.about` is shown below the case's heading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reproduction.intervals import mean_interval, shown_mean
from reproduction.report import Report, columns_of, in_cell
from reproduction.result import Result
from reproduction.study import Case, Study
from utils.errors import UserError
from utils.runs import RunRecord, first_crossing, on_grid

PANEL = (6.4, 3.4)  # inches
GRID = 101  # points of a mean curve

WIN_RATES = (0.0, 1.0)
MARGIN = 0.03  # of a panel's height, above and below

Curves = dict[str, list[RunRecord]]  # method -> runs


def render(study: Study, results: Sequence[Result], report: Report) -> None:
    """The figure, then a table for each case and the methods that have no run."""
    metric, level = str(study.file.info["metric"]), float(study.file.info["level"])
    curves = {case: _curves(study, case, results) for case in study.cases}
    report.figure(_figure(study, curves), f"{metric} against env steps: seeds thin, their mean thick")
    report.text(
        "Thin lines are single seeds, thick ones their means up to where the shortest run ends, with Student's 95 % "
        f"interval where there are more than two seeds. The level is {level:g}. A run stopped early by `stop_tests` "
        "was tested once more after its last update: its last value is not selected, where it stopped is."
    )
    for case, groups in curves.items():
        report.text(f"## {case.title}")
        if "about" in case.info:
            report.text(str(case.info["about"]))
        if groups:
            _table(study, case, groups, report, (metric, level))
        waiting = [method.name for method in study.methods_of(case) if method.name not in groups]
        if waiting:
            report.text(f"Not run: {', '.join(waiting)}.")
    for result in results:
        report.row(_line(result, metric, level))


def _curves(study: Study, case: Case, results: Sequence[Result]) -> Curves:
    names = [method.name for method in study.methods_of(case)]
    groups = {name: [_record(result) for result in in_cell(results, name, case.name)] for name in names}
    groups = {name: runs for name, runs in groups.items() if runs}
    engines = sorted({run.engine for runs in groups.values() for run in runs})
    if len(engines) > 1:
        raise UserError(f"{case.title}: runs of different engines ({'; '.join(engines)}) do not compare")
    return groups


def _record(result: Result) -> RunRecord:
    return RunRecord(result.path, dict(result.header), result.rows, "COMPLETED")


def _table(study: Study, case: Case, groups: Curves, report: Report, what: tuple[str, float]) -> None:
    metric, level = what
    engine = next(iter(groups.values()))[0].engine
    report.text(f"Engine: {engine}. Measure: `{metric}`.")
    head = ["method", "runs", f"first test >= {level:g} (env steps, by seed)", "ended at (env steps, by seed)"]
    rows = []
    for name, runs in groups.items():
        crossings = [first_crossing(run, metric, level) for run in runs]
        series = [run.series(metric) for run in runs]
        rows.append(
            [
                name,
                f"{len(runs)} of {study.seeds_of(case)}",
                " ".join(_steps(step) for step in crossings),
                " ".join(_steps(steps[-1]) for steps, _ in series),
                shown_mean([values[-1] for _, values in series]),
                shown_mean([on_grid([run], metric, GRID)[1].mean() for run in runs]),
            ]
        )
    report.table([*head, "last test (mean ± 95 %)", "mean over the run (mean ± 95 %)"], rows)


def _steps(step: float | None) -> str:
    return "-" if step is None else f"{step / 1000:,.0f}k"


def _line(result: Result, metric: str, level: float) -> Mapping[str, object]:
    """The line of one run in the CSV file."""
    run = _record(result)
    steps, values = run.series(metric)
    crossing = first_crossing(run, metric, level)
    return columns_of(result.cell) | {
        "first_crossing": "" if crossing is None else int(crossing),
        "t_end": int(steps[-1]),
        "last": round(float(values[-1]), 4),
        "mean_over_run": round(float(on_grid([run], metric, GRID)[1].mean()), 4),
        "seconds": round(float(result.rows[-1]["time"]), 1),
        "engine": run.engine,
        "commit": result.commit,
    }


def _figure(study: Study, curves: Mapping[Case, Curves]) -> Figure:
    """Cases below each other, groups of methods side by side."""
    info = study.file.info
    panels = info.get("panels") or {"": [method.name for method in study.methods]}
    metric, (low, high) = str(info["metric"]), info.get("range", WIN_RATES)
    space = MARGIN * (high - low)
    size = (PANEL[0] * len(panels), PANEL[1] * len(curves))
    figure, axes = plt.subplots(
        len(curves), len(panels), figsize=size, sharex="row", sharey=True, squeeze=False, layout="constrained"
    )
    for row, (case, groups) in zip(axes, curves.items(), strict=True):
        for axis, (label, names) in zip(row, panels.items(), strict=True):
            axis.axhline(float(info["level"]), color="tab:gray", linewidth=0.8, linestyle=":")
            for colour, name in enumerate(names):
                if name in groups:
                    _draw(axis, f"C{colour}", name, groups[name], (metric, low, high))
            axis.set(title=f"{case.title} {label}".strip(), xlabel="env steps", ylim=(low - space, high + space))
            axis.title.set_fontsize(9)
            axis.locator_params(axis="x", nbins=5)
            axis.grid(alpha=0.3)
            if axis.lines[1:]:
                axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)  # beside the curves
        row[0].set_ylabel(metric)
    return figure


def _draw(axis: Axes, colour: str, name: str, runs: Sequence[RunRecord], what: tuple[str, float, float]) -> None:
    metric, least, greatest = what
    for run in runs:
        axis.plot(*run.series(metric), color=colour, alpha=0.35, linewidth=0.8)
    grid, values = on_grid(runs, metric, GRID)
    axis.plot(grid, values.mean(0), color=colour, linewidth=1.8, label=f"{name} ({len(runs)})")
    half = np.array([mean_interval(column)[1] for column in values.T])
    if len(runs) > 2 and not math.isnan(half[0]):  # noqa: PLR2004  (two seeds give no usable spread)
        low, high = (np.clip(values.mean(0) + sign * half, least, greatest) for sign in (-1, 1))
        axis.fill_between(grid, low, high, color=colour, alpha=0.15, linewidth=0)
