"""Reading finished and running runs back: their headers and metrics, grouped for plots and tables."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError, nearest
from utils.metricsfile import FILE_NAME, read_metrics

COMPARABLE = ("engine", "engine_version", "data_hash")  # results that differ in these are not comparable


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Args:
        path: its directory.
        header: the first line of its metrics file.
        rows: the other lines.
        status: Sacred's, "" if it has no run.json.
    """

    path: Path
    header: dict[str, Any]
    rows: list[dict[str, Any]]
    status: str

    @property
    def alg(self) -> str:
        """Name of the algorithm."""
        return str(self.header.get("alg", "?"))

    @property
    def task(self) -> str:
        """Environment and, where it has one, map."""
        args = self.header.get("env_args", {})
        name = args.get("map_name") or args.get("payoff") or ""
        return str(name) if name else str(self.header.get("env", "?"))

    @property
    def engine(self) -> str:
        """Engine, version and data hash in one text."""
        return " ".join(str(self.header.get(key, "?")) for key in COMPARABLE)

    def series(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Env steps and values of a metric, `[P]` each; empty if it was never logged."""
        pairs = [(row["t_env"], row[metric]) for row in self.rows if row.get(metric) is not None]
        array = np.array(pairs, np.float64).reshape(-1, 2)
        return array[:, 0], array[:, 1]


def find_runs(roots: Iterable[Path | str]) -> list[RunRecord]:
    """All runs below the given directories (or the run directories themselves), in order of their paths.

    Raises:
        UserError: a path does not exist, or there is no run at all.
    """
    files: list[Path] = []
    for root in map(Path, roots):
        if not root.exists():
            raise UserError(f"{str(root)!r} does not exist")
        files += sorted(root.rglob(FILE_NAME), key=lambda path: (len(str(path)), str(path)))
    runs = [_read(path) for path in files]
    if not runs:
        raise UserError(f"no runs (no {FILE_NAME}) below {', '.join(map(str, roots))}")
    return runs


def _read(path: Path) -> RunRecord:
    try:
        header, rows = read_metrics(path)
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    record = path.with_name("run.json")
    status = str(json.loads(record.read_text()).get("status", "")) if record.is_file() else ""
    return RunRecord(path.parent, header, rows, status)


def check_metric(runs: Sequence[RunRecord], metric: str) -> None:
    """Raise `UserError` with the nearest name if no run has logged `metric`."""
    known = sorted({key for run in runs for row in run.rows for key in row} - {"t_env", "time"})
    if metric not in known:
        raise UserError(f"no run has the metric {metric!r}{nearest(metric, known)}; known: {', '.join(known)}")


def check_engines(runs: Sequence[RunRecord], mix: bool) -> None:
    """Raise `UserError` if runs of one task come from different engines, unless told to mix."""
    engines: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        engines[run.task].add(run.engine)
    for task, found in engines.items():
        if len(found) > 1 and not mix:
            raise UserError(
                f"runs of {task} come from different engines ({'; '.join(sorted(found))}): "
                "their results are not comparable; --mix-engines to do it all the same"
            )


def by_task_and_alg(runs: Sequence[RunRecord]) -> dict[str, dict[str, list[RunRecord]]]:
    """task -> algorithm -> runs (seeds)."""
    groups: dict[str, dict[str, list[RunRecord]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        groups[run.task][run.alg].append(run)
    return groups


def first_crossing(run: RunRecord, metric: str, level: float) -> float | None:
    """Env steps at the first value of a metric that is at least `level`; None if there is none."""
    steps, values = run.series(metric)
    reached = np.flatnonzero(values >= level)
    return float(steps[reached[0]]) if len(reached) else None


def on_grid(runs: Sequence[RunRecord], metric: str, points: int = 201) -> tuple[np.ndarray, np.ndarray]:
    """Values of all runs at common env steps: `[P]` and `[runs,P]`, up to the shortest run's last value.

    The value at a step is the newest one logged until then, which is what an observer would have known.
    """
    series = [run.series(metric) for run in runs]
    series = [(steps, values) for steps, values in series if len(steps)]
    grid = np.linspace(0.0, min(steps[-1] for steps, _ in series), points)
    rows = [values[np.maximum(np.searchsorted(steps, grid, side="right") - 1, 0)] for steps, values in series]
    return grid, np.stack(rows)
