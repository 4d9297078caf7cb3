"""From a study to finished runs: which are done, which are to be done, doing them, reading them back."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduction.display import Display
from reproduction.pool import run_all
from reproduction.study import Cell, Study
from utils.config import from_merged, merge
from utils.errors import UserError
from utils.joint_values import FILE_NAME as VALUES
from utils.metricsfile import FILE_NAME as METRICS
from utils.metricsfile import read_metrics

RUNS, LOG, LOCK = "runs", "workers.log", ".lock"
COMPLETED = "COMPLETED"


@dataclass(frozen=True)
class Result:
    """A finished run.

    Args:
        cell: which one.
        path: its folder.
        rows: of metrics.jsonl.
        values: joint_values.json of one-step games, else empty.
        commit: of the code it ran with, "" if unknown; with "+" if files differed from it.
    """

    cell: Cell
    path: Path
    rows: list[dict[str, Any]]
    values: dict[str, Any]
    commit: str

    def last(self, metric: str) -> float:
        """The value of a metric that was logged last."""
        return float(next(row[metric] for row in reversed(self.rows) if row.get(metric) is not None))


def check(study: Study) -> None:
    """Raise `UserError` for the first run of the study whose settings are wrong, before anything is run."""
    seen = set()
    for cell in study.cells():
        key = (cell.method.name, cell.case.name)
        if key not in seen:
            seen.add(key)
            try:
                from_merged(merge(cell.method.alg, cell.env, {**cell.overrides, "seed": 0}))
            except UserError as error:
                raise UserError(f"study {study.name}, {cell.method.name}, {cell.case.name}: {error}") from error


def execute(cells: Sequence[Cell], out: Path, jobs: int, display: Display) -> list[Cell]:
    """Run those `cells` that are not finished; returns those that failed.

    Folders of unfinished runs are removed first, so that a run either is complete or begins afresh.

    Raises:
        UserError: another process works in `out`, or it cannot be written to.
        KeyboardInterrupt: the user asked for a stop.
    """
    unique = {cell.run_id: cell for cell in cells}
    with _locked(out):
        todo = [cell for cell in unique.values() if not is_finished(cell, out)]
        for cell in todo:
            shutil.rmtree(folder(cell, out), ignore_errors=True)
        display.start(len(unique), len(unique) - len(todo))
        failed: list[Cell] = []

        def report(number: int, code: int) -> None:
            if code != 0:
                failed.append(todo[number])
            display.advance(len(failed))

        if todo:
            run_all([command(cell, out) for cell in todo], jobs, out / LOG, report)
    return failed


def command(cell: Cell, out: Path) -> list[str]:
    """Arguments of main.py: what a user would type for this one run, plus where it lands."""
    return ["--file_storage", str(out / RUNS), "--id", cell.run_id, *cell.arguments()]


def folder(cell: Cell, out: Path) -> Path:
    """The run's folder."""
    return out / RUNS / cell.run_id


def is_finished(cell: Cell, out: Path) -> bool:
    """Whether the run is complete and was made with today's settings, as far as it recorded them."""
    try:
        recorded = json.loads((folder(cell, out) / "config.json").read_text())
        status = json.loads((folder(cell, out) / "run.json").read_text())["status"]
    except (OSError, ValueError, KeyError):
        return False
    return status == COMPLETED and _agree(cell.settings(), recorded)


def _agree(wanted: Any, recorded: Any) -> bool:
    """Whether two nested mappings are equal in the keys that both have; keys that came later do not count."""
    if isinstance(wanted, dict) and isinstance(recorded, dict):
        return all(_agree(wanted[key], recorded[key]) for key in wanted.keys() & recorded.keys())
    return bool(wanted == recorded)


def collect(study: Study, out: Path) -> list[Result]:
    """Results of the study's finished runs, in the order of its cells."""
    return [_read(cell, folder(cell, out)) for cell in study.cells() if is_finished(cell, out)]


def _read(cell: Cell, path: Path) -> Result:
    values = json.loads((path / VALUES).read_text()) if (path / VALUES).is_file() else {}
    repositories = json.loads((path / "run.json").read_text())["experiment"].get("repositories", [])
    commit = "".join(one["commit"][:8] + "+" * bool(one.get("dirty")) for one in repositories[:1])
    return Result(cell, path, read_metrics(path / METRICS)[1], values, commit)


class _locked:  # noqa: N801  (used as `with _locked(...)`)
    """Holds `out/.lock`, so that two commands never work on the same runs; freed however the process ends."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def __enter__(self) -> None:
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            self._file = (self.out / LOCK).open("w")
        except OSError as error:
            raise UserError(f"--out: cannot write to {str(self.out)!r}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UserError(
                f"another reproduce.py is working in {str(self.out)!r}; give this one its own --out"
            ) from error

    def __exit__(self, *_: object) -> None:
        self._file.close()
