"""Max of Two Quadratics over many seeds: how often each setting ends at the optimum, one line a setting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from reproduction.intervals import shown_mean, shown_rate, wilson
from reproduction.mtq import OUTCOMES, Climb, Group, counts, grouped
from reproduction.report import Report
from reproduction.session import Result
from reproduction.study import Case, Study

ROW = 0.27  # inches of the figure a setting
COLOURS = {"optimum": "tab:green", "suboptimum": "tab:red", "other": "0.75"}


def render(study: Study, results: Sequence[Result], report: Report) -> None:
    """The figure and one table."""
    groups = grouped(study, results)
    report.figure(
        _figure(groups), "where runs end, in brackets their number; black: Wilson 95 % interval of the optimum"
    )
    head = ["setting", "method", "optimum / sub-optimum / other", "optimum, r > 9 (Wilson 95 %)"]
    head += ["all actions within 0.5 of 5", "final return (mean ± 95 %)", "lowest", "mean alpha at the end"]
    rows = []
    for (case, method), climbs in groups.items():
        for climb in climbs:
            report.row(climb.line() | {"alpha": round(climb.result.last("alpha"), 5)})
        rows.append([case.title, method, *_row(climbs)])
    report.table(head, rows)


def _row(climbs: Sequence[Climb]) -> list[str]:
    trials, returns = len(climbs), [climb.gained for climb in climbs]
    rates = (sum(climb.success for climb in climbs), sum(climb.close for climb in climbs))
    alpha = float(np.mean([climb.result.last("alpha") for climb in climbs]))
    shown = [shown_rate(rate, trials) for rate in rates]
    return [counts(climbs), *shown, shown_mean(returns, 3), f"{min(returns):.2f}", f"{alpha:.3f}"]


def _figure(groups: Group) -> Figure:
    """Stacked shares of the outcomes, one bar a setting."""
    figure, axis = plt.subplots(figsize=(7.4, ROW * len(groups) + 1.1), layout="constrained")
    for k, climbs in enumerate(groups.values()):
        left = 0.0
        for name in OUTCOMES:
            share = sum(climb.outcome == name for climb in climbs) / len(climbs)
            axis.barh(k, share, left=left, height=0.62, color=COLOURS[name], label=name if k == 0 else None)
            left += share
        low, high = wilson(sum(climb.success for climb in climbs), len(climbs))
        axis.plot([low, high], [k, k], color="black", linewidth=1.6)
    axis.set_yticks(range(len(groups)), [_label(*key, len(climbs)) for key, climbs in groups.items()], fontsize=8)
    axis.set(xlim=(0, 1), xlabel="share of runs")
    axis.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure


def _label(case: Case, method: str, trials: int) -> str:
    return f"{method}: {case.title} ({trials})"
