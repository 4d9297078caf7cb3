"""How a sweep stands: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table

from reproduction.session import folder
from sweeping.pool import COMPLETED, FAILED, RUNNING, WAITING, Job
from utils.console import is_terminal, print_line
from utils.metricsfile import FILE_NAME as METRICS
from utils.timehelper import time_left, time_str

REFRESH_SECONDS = 2.0  # between two looks into the runs' folders
LINE_SECONDS = 30.0  # between two lines where there is no terminal
TAIL_BYTES = 16384  # of a metrics file, enough for its last lines
SHOWN = ("test_battle_won_mean", "test_return_mean")  # results, the first a run has is shown
STATES = (COMPLETED, RUNNING, WAITING, FAILED)


@dataclass
class Row:
    """One algorithm on one map: runs by state, share of env steps done, last test results."""

    counts: dict[str, int]
    share: float
    results: list[float]
    retried: int


class Board:
    """Shows the jobs of a sweep; enter it while the sweep runs.

    Args:
        out: folder of the sweep.
        stream: where to; standard error if None.
    """

    def __init__(self, out: Path, stream: TextIO | None = None) -> None:
        self.out, self._stream = out, stream or sys.stderr
        self._live = Live(console=Console(file=self._stream), auto_refresh=False) if is_terminal(self._stream) else None
        self._begin = monotonic()
        self._next = self._begin
        self._first: float | None = None  # share of the sweep that was done when this command began

    def __enter__(self) -> Board:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, jobs: Sequence[Job], last: bool = False) -> None:
        """Show how the jobs stand, if it is time; the `last` time in any case."""
        if not last and monotonic() < self._next:
            return
        self._next = monotonic() + (REFRESH_SECONDS if self._live is not None else LINE_SECONDS)
        rows = rows_of(jobs, self.out)
        text = self._text(rows)
        if self._live is not None:
            self._live.update(_table(rows, text), refresh=True)
        else:
            print_line(text, self._stream)

    def _text(self, rows: Mapping[tuple[str, str], Row]) -> str:
        """One line: runs by state, share of the work, time left."""
        total = {state: sum(row.counts[state] for row in rows.values()) for state in STATES}
        runs = sum(total.values())
        share = sum(row.share * sum(row.counts.values()) for row in rows.values()) / max(runs, 1)
        self._first = share if self._first is None else self._first
        speed = (share - self._first) / max(monotonic() - self._begin, 1e-9)
        left = time_str(time_left(int(1000 * share), 1000, 1000 * speed))
        parts = [f"{count} {state}" for state, count in total.items() if count]
        return f"{runs} runs: {', '.join(parts)}; {share:.0%} of all env steps, left {left}"


def rows_of(jobs: Sequence[Job], out: Path) -> dict[tuple[str, str], Row]:
    """(algorithm, map) -> how its runs stand."""
    rows: dict[tuple[str, str], Row] = {}
    for job in jobs:
        key = (job.cell.method.name, job.cell.case.name)
        row = rows.setdefault(key, Row(dict.fromkeys(STATES, 0), 0.0, [], 0))
        path = folder(job.cell, out)
        seen = last_values(path / METRICS) if job.attempts or job.state == COMPLETED else {}
        state = RUNNING if job.state == WAITING and _runs(path) else job.state
        row.counts[state] += 1
        row.share += 1.0 if job.state == COMPLETED else min(seen.get("t_env", 0) / job.cell.settings()["t_max"], 1.0)
        row.results += [seen[name] for name in SHOWN if seen.get(name) is not None][:1]
        row.retried += max(job.attempts - 1, 0)
    for row in rows.values():
        row.share /= sum(row.counts.values())
    return rows


def _runs(path: Path) -> bool:
    try:
        return bool(json.loads((path / "run.json").read_text())["status"] == "RUNNING")
    except (OSError, ValueError, KeyError):
        return False


def last_values(path: Path) -> dict[str, Any]:
    """The newest value of every metric near the end of a metrics file that may be growing; empty if there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
            lines = file.read().split(b"\n")[:-1]
    except OSError:
        return {}
    out: dict[str, Any] = {}
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:  # the first piece begins inside a line
            continue
        out |= {} if row.get("header") else row
    return out


def _table(rows: Mapping[tuple[str, str], Row], text: str) -> Table:
    table = Table(title=text, title_justify="left", title_style="")
    for name in ("algorithm", "map", *STATES, "retries", "env steps", "last test"):
        table.add_column(name, justify="left" if name in ("algorithm", "map") else "right")
    for (alg, place), row in sorted(rows.items()):
        counts = [str(row.counts[state] or "") for state in STATES]
        mean = f"{sum(row.results) / len(row.results):.2f}" if row.results else ""
        table.add_row(alg, place, *counts, str(row.retried or ""), f"{row.share:.0%}", mean)
    return table
