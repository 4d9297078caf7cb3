"""Tables: per task and algorithm the last value and the area under the curve, with intervals and significance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.estimates import ESTIMATES, LEVEL, Estimate, compare, estimated
from reproduction.report import markdown_table
from utils.runs import RunRecord, by_task_and_alg, common_end, first_crossing, on_grid

LATEX = {"\\": r"\textbackslash{}", **{c: f"\\{c}" for c in "&%$#_{}"}, "~": r"\textasciitilde{}", "^": r"\^{}"}
ALL = "all tasks"


@dataclass(frozen=True)
class Line:
    """One algorithm on one task.

    Args:
        task: of the runs.
        alg: of the runs.
        seeds: of the runs.
        lengths: env steps of each run.
        last: the last value of each run.
        areas: mean over env steps up to the end that all runs of the task share, of each run.
        final: estimate of `last`.
        area: estimate of `areas`.
        p: of `areas` against the task's best algorithm, Holm-corrected; nan: best itself, or too few runs.
        best: whether the algorithm has the largest area on the task.
        firsts: env steps at which each run first reached the threshold, None if never.
    """

    task: str
    alg: str
    seeds: list[str]
    lengths: list[float]
    last: list[float]
    areas: list[float]
    final: Estimate
    area: Estimate
    p: float
    best: bool
    firsts: list[float | None]

    @property
    def leading(self) -> bool:
        """Whether no other algorithm of the task is significantly better."""
        return self.best or not self.p < LEVEL  # nan: too few runs to say so


def lines_of(
    runs: Sequence[RunRecord], metric: str, threshold: float | None, estimate: str = "mean", split: Sequence[str] = ()
) -> list[Line]:
    """One line per task and algorithm, and for several tasks one per algorithm that has equally many runs of each."""
    out: list[Line] = []
    for task, algs in sorted(by_task_and_alg(runs, split).items()):
        end = common_end([run for members in algs.values() for run in members], metric)
        parts = {alg: _measured(task, alg, algs[alg], (metric, threshold, estimate), end) for alg in sorted(algs)}
        out += _judged(list(parts.values()))
    return out + _over_tasks(out, estimate)


def _measured(
    task: str, alg: str, members: Sequence[RunRecord], how: tuple[str, float | None, str], end: float
) -> Line:
    metric, threshold, estimate = how
    areas = on_grid(members, metric, end=end)[1].mean(1)
    ends = [tuple(axis[-1] for axis in run.series(metric)) for run in members]
    last = np.array([value for _, value in ends])
    return Line(
        task,
        alg,
        [str(run.seed) for run in members],
        [step for step, _ in ends],
        last.tolist(),
        areas.tolist(),
        estimated(last[:, None], estimate),
        estimated(areas[:, None], estimate),
        math.nan,
        False,
        [None if threshold is None else first_crossing(run, metric, threshold) for run in members],
    )


def _judged(lines: list[Line]) -> list[Line]:
    """The lines of one task with the best one marked and the others compared with it."""
    best = max(lines, key=lambda line: float(line.area.value))
    p = compare({line.alg: line.areas for line in lines}, best.alg)
    return [Line(**{**vars(line), "p": p.get(line.alg, math.nan), "best": line is best}) for line in lines]


def _over_tasks(lines: Sequence[Line], estimate: str) -> list[Line]:
    """Algorithms over all tasks, tasks as strata; those without equally many runs of every task are left out."""
    tasks = list(dict.fromkeys(line.task for line in lines))
    if len(tasks) < 2:  # noqa: PLR2004  (one task is in the table already)
        return []
    out = []
    for alg in sorted({line.alg for line in lines}):
        own = [line for line in lines if line.alg == alg]
        if len(own) == len(tasks) and len({len(line.last) for line in own}) == 1:
            last, areas = (np.array([getattr(line, name) for line in own]).T for name in ("last", "areas"))
            found = estimated(last, estimate), estimated(areas, estimate)
            seeds = [f"{len(last)} each"]
            out.append(Line(ALL, alg, seeds, [], [], areas.mean(1).tolist(), *found, math.nan, False, []))
    return _judged(out) if out else []


def cells(lines: Sequence[Line], threshold: float | None, estimate: str) -> tuple[list[str], list[list[str]]]:
    """Head and cells of the table as text."""
    short = {"mean": "mean", "iqm": "IQM"}[estimate]
    head = ["task", "algorithm", "seeds", "env steps (each)", "last (each)", f"last {short}"]
    head += [f"area under curve, {short}", "p"] + ([] if threshold is None else [f"first >= {threshold:g}"])
    rows = []
    for line in lines:
        p = "best" if line.best else "-" if math.isnan(line.p) else f"{line.p:.3f}" if line.p >= 0.001 else "< 0.001"  # noqa: PLR2004
        same = len({_steps(step) for step in line.lengths}) == 1
        rows.append(
            [
                line.task,
                line.alg,
                " ".join(line.seeds),
                " ".join(map(_steps, line.lengths[:1] if same else line.lengths)),
                " ".join(f"{value:.2f}" for value in line.last) if line.lengths else "",
                line.final.shown(3),
                line.area.shown(3),
                p,
                " ".join(map(_steps, line.firsts)),
            ][: len(head)]
        )
    return head, rows


def _steps(step: float | None) -> str:
    return "-" if step is None else f"{step / 1000:,.0f}k"


def legend(estimate: str) -> str:
    """What the columns mean, for below a table."""
    return (
        f"{ESTIMATES[estimate].capitalize()} over seeds with 95 % stratified bootstrap interval. Area under curve: "
        "mean over env steps from 0 to the last step all runs of the task have. p: Welch's t-test of the areas against "
        f"the task's best algorithm, Holm-corrected; below {LEVEL:g} the difference is called significant."
    )


def markdown(lines: Sequence[Line], threshold: float | None, estimate: str = "mean") -> str:
    """The table as Markdown."""
    return markdown_table(*cells(lines, threshold, estimate)) + f"\n\n{legend(estimate)}\n"


def latex(lines: Sequence[Line], threshold: float | None, estimate: str = "mean") -> str:
    """The table as a LaTeX tabular (package booktabs); no algorithm is significantly better than a bold one."""
    head, rows = cells(lines, threshold, estimate)
    chosen = [head.index(name) for name in head if not name.endswith("(each)")]
    out = [f"% {legend(estimate)}", f"\\begin{{tabular}}{{{'l' * len(chosen)}}}", "\\toprule"]
    out += [" & ".join(_tex(head[k]) for k in chosen) + r" \\", "\\midrule"]
    for line, row in zip(lines, rows, strict=True):
        shown = [_tex(row[k]) for k in chosen]
        if line.leading:
            at = [head[k] for k in chosen].index("algorithm")
            shown[at] = f"\\textbf{{{shown[at]}}}"
        out.append(" & ".join(shown) + r" \\")
    return "\n".join([*out, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _tex(text: str) -> str:
    return "".join(LATEX.get(c, c) for c in text).replace(">=", r"$\geq$").replace("<", "$<$")
