"""Tables 1 and 2 of the paper: Q_1, Q_2, Q_jt and the greedy action of the median seed, beside the paper's numbers.

`info.paper.<case>.<method>` of the study may hold the paper's `Q1`, `Q2`, `Qjt` and `greedy` (letters).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from envs.matrix_game import action_name
from reproduction.intervals import shown_mean, shown_rate
from reproduction.payoffs import PAIR, Learnt, beside, median, ours, square
from reproduction.report import Report, in_cell
from reproduction.session import Result
from reproduction.study import Study

PANEL = 2.9  # inches
COLUMNS = 4  # panels in a row
DARK = 0.75  # share of the largest payoff from which numbers are white on the heat map


def render(study: Study, results: Sequence[Result], report: Report) -> None:
    """A summary over seeds, one table for each method and case, one figure of all of them."""
    groups = {
        (method.name, case.title): [Learnt(result) for result in found]
        for case in study.cases
        for method in study.methods_of(case)
        if (found := in_cell(results, method.name, case.name))
    }
    for learnt in groups.values():
        for one in learnt:
            report.row(one.line())
    _summary(groups, report)
    first = next(iter(groups.values()))[0]
    _payoff(first, report)
    for (method, title), learnt in groups.items():
        _one_table(method, title, learnt, _paper(study, learnt[0]), report)
    report.figure(_figure({key: median(learnt) for key, learnt in groups.items()}), "Q_jt of the median seeds")


def _paper(study: Study, one: Learnt) -> Mapping[str, Any] | None:
    cell = one.result.cell
    found: Mapping[str, Any] | None = study.file.info.get("paper", {}).get(cell.case.name, {}).get(cell.method.name)
    return found


def _summary(groups: Mapping[tuple[str, str], list[Learnt]], report: Report) -> None:
    head = ["method", "case", "optimum found (Wilson 95 %)", "greedy payoff (mean ± 95 %)"]
    head += ["largest error of Q_jt: median seed", "worst seed"]
    rows = []
    for (method, title), learnt in groups.items():
        errors = [one.error for one in learnt]
        rate = shown_rate(sum(one.success for one in learnt), len(learnt))
        gained = shown_mean([one.gained for one in learnt])
        rows.append([method, title, rate, gained, f"{median(learnt).error:.3f}", f"{max(errors):.3f}"])
    report.table(head, rows)


def _payoff(one: Learnt, report: Report) -> None:
    letters = [action_name(a) for a in range(one.payoff.shape[0])]
    report.text("## Payoff")
    report.table(
        ["u_1 \\ u_2", *letters], [[a, *(f"{x:g}" for x in row)] for a, row in zip(letters, one.payoff, strict=True)]
    )


def _one_table(method: str, title: str, learnt: list[Learnt], paper: Mapping[str, Any] | None, report: Report) -> None:
    typical = median(learnt)
    report.text(f"## {method}, {title}")
    rows, caption = ours(typical), f"Seed {typical.result.cell.seed}, the median by error."
    if paper is not None:
        greedy = [ord(letter) - ord("A") for letter in paper["greedy"]]
        rows = beside(rows, square(paper["Q1"], paper["Q2"], paper["Qjt"], greedy), "| paper:")
        caption += " Right: the paper's table."
    report.text(caption + " Bold: the greedy actions of the individual policies.")
    report.table(rows[0], rows[1:])


def _figure(typical: Mapping[tuple[str, str], Learnt]) -> Figure:
    """Heat maps: the payoff, then Q_jt of each method and case."""
    first = next(iter(typical.values()))
    panels: list[tuple[str, np.ndarray, tuple[int, ...]]] = [("payoff", first.payoff, ())]
    panels += [(f"{method}, {title}", one.q_joint, one.greedy) for (method, title), one in typical.items()]
    height = -(-len(panels) // COLUMNS)
    width = min(len(panels), COLUMNS)
    figure, axes = plt.subplots(
        height, width, figsize=(PANEL * width, PANEL * height), squeeze=False, layout="constrained"
    )
    limit = float(np.abs(first.payoff).max())
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    for axis, (label, values, greedy) in zip(axes.flat, panels, strict=False):
        _panel(axis, label, values, limit)
        if len(greedy) == PAIR:
            axis.add_patch(plt.Rectangle((greedy[1] - 0.5, greedy[0] - 0.5), 1, 1, fill=False, lw=3, ec="black"))
    return figure


def _panel(axis: Any, label: str, values: np.ndarray, limit: float) -> None:
    letters = [action_name(a) for a in range(len(values))]
    axis.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit)
    for a, b in np.ndindex(values.shape):
        colour = "white" if abs(values[a, b]) > DARK * limit else "black"
        axis.text(b, a, f"{values[a, b] + 0.0:.1f}", ha="center", va="center", fontsize=9, color=colour)
    axis.set_xticks(range(len(letters)), letters)
    axis.set_yticks(range(len(letters)), letters)
    axis.set_title(label, fontsize=9)
