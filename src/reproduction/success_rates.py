"""How often each method finds the optimum: one table a case, with intervals, and one figure.

`info.tables: true` adds the Q_jt tables of the median seeds of two-agent games. `case.info.about` is shown below the
case's heading.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from reproduction.intervals import shown_mean, shown_rate, wilson
from reproduction.payoffs import PAIR, Learnt, median, ours
from reproduction.report import Report, in_cell
from reproduction.session import Result
from reproduction.study import Case, Study

ROW = 0.24  # inches of the figure a method
PANEL = 3.0  # inches of the figure a case
SIDE_BY_SIDE = 4  # cases in a row of the figure, so that it stays readable on a page

Groups = dict[str, list[Learnt]]  # method -> runs


def render(study: Study, results: Sequence[Result], report: Report) -> None:
    """The figure, then a table for each case."""
    by_case = {case: _groups(study, case, results) for case in study.cases}
    by_case = {case: groups for case, groups in by_case.items() if groups}
    report.figure(_figure(by_case), "share of runs whose greedy joint action is optimal, with Wilson 95 % intervals")
    for case, groups in by_case.items():
        report.text(f"## {case.title}")
        if "about" in case.info:
            report.text(str(case.info["about"]))
        _table(groups, report)
        if study.file.info.get("tables"):
            _tables(case, groups, report)


def _groups(study: Study, case: Case, results: Sequence[Result]) -> Groups:
    names = [method.name for method in study.methods_of(case)]
    found = {name: [Learnt(result) for result in in_cell(results, name, case.name)] for name in names}
    return {name: learnt for name, learnt in found.items() if learnt}


def _table(groups: Groups, report: Report) -> None:
    head = ["method", "optimum found (Wilson 95 %)", "greedy payoff (mean ± 95 %)", "share of the best payoff"]
    head += ["largest error of Q_jt: median seed", "worst seed"]
    rows = []
    for name, learnt in groups.items():
        for one in learnt:
            report.row(one.line())
        rate = shown_rate(sum(one.success for one in learnt), len(learnt))
        shares = [one.gained / one.payoff.max() for one in learnt]
        gained, worst = shown_mean([one.gained for one in learnt]), max(one.error for one in learnt)
        rows.append([name, rate, gained, shown_mean(shares), f"{median(learnt).error:.3f}", f"{worst:.3f}"])
    report.table(head, rows)


def _tables(case: Case, groups: Groups, report: Report) -> None:
    """Q_1, Q_2, Q_jt of the median seed of each method."""
    for name, learnt in groups.items():
        typical = median(learnt)
        if typical.payoff.ndim == PAIR:
            rows = ours(typical)
            report.text(f"{name}, {case.title}, seed {typical.result.cell.seed} (median by error):")
            report.table(rows[0], rows[1:])


def _figure(by_case: Mapping[Case, Groups]) -> Figure:
    """One panel a case, at most four side by side: a dot and an interval for each method."""
    names = list(dict.fromkeys(name for groups in by_case.values() for name in groups))
    n_rows = -(-len(by_case) // SIDE_BY_SIDE)
    n_columns = -(-len(by_case) // n_rows)
    size = (PANEL * n_columns + 1.0, (ROW * len(names) + 1.2) * n_rows)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=size, sharey=True, squeeze=False, layout="constrained")
    for axis in axes.flat[len(by_case) :]:
        axis.remove()
    for axis, (case, groups) in zip(axes.flat, by_case.items(), strict=False):
        for name, learnt in groups.items():
            wins, trials = sum(one.success for one in learnt), len(learnt)
            low, high = wilson(wins, trials)
            y = len(names) - 1 - names.index(name)
            axis.plot([low, high], [y, y], color="tab:gray", linewidth=1.5)
            axis.plot(wins / trials, y, "o", color="tab:blue" if name.startswith("FOP") else "tab:red", markersize=5)
        axis.set(title=case.title, xlim=(-0.03, 1.03), xlabel="share of runs at the optimum")
        axis.title.set_fontsize(9)
        axis.grid(axis="x", alpha=0.3)
    for axis in axes[:, 0]:
        axis.set_yticks(range(len(names)), list(reversed(names)), fontsize=8)
    return figure
