"""A sweep as tasks of a Ray cluster: submitted together, retried where they fail or their machine dies."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reproduction.session import RUNS, folder, is_finished
from reproduction.study import Cell
from sweeping.work import Answer, execute
from utils import raycluster
from utils.interrupt import StopRequest, requested

POLL_SECONDS = 0.5  # between two looks at the cluster and at whether the user wants a stop
STOP_SECONDS = 15.0  # runs that are asked to stop save and end within ten
BAD_INPUT, DIED = 2, -1  # exit codes: of main.py, and of a run whose worker or machine died
WAITING, RUNNING, COMPLETED, FAILED = "waiting", "running", "completed", "failed"


@dataclass
class Job:
    """A run of the sweep.

    Args:
        cell: which.
        state: WAITING (for its turn, or to be retried), COMPLETED or FAILED.
        attempts: how often it was submitted.
        notes: why attempts failed or began afresh, one line each.
    """

    cell: Cell
    state: str = WAITING
    attempts: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Share:
    """What a run takes of a machine while it runs, and how often it is tried again."""

    cpus: float = 1.0
    gpus: float = 0.0
    retries: int = 2


class Pool:
    """Runs jobs on the connected cluster.

    Args:
        jobs: those that are COMPLETED are left alone.
        out: folder of the sweep, which every machine of the cluster sees at this path.
        share: resources and retries.
        watch: called again and again with all jobs, to show them.
    """

    def __init__(self, jobs: Sequence[Job], out: Path, share: Share, watch: Callable[[Sequence[Job]], None]) -> None:
        self.jobs, self.out, self.share, self.watch = jobs, out, share, watch
        self.ray = raycluster.load()
        options = {"num_cpus": share.cpus, "num_gpus": share.gpus, "max_retries": 0, "scheduling_strategy": "SPREAD"}
        self._remote = self.ray.remote(**options)(execute)
        self._pending: dict[Any, Job] = {}

    def run(self) -> None:
        """Until every job is COMPLETED or FAILED.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM; the runs in progress have saved and stopped.
        """
        try:
            with StopRequest(last=True):
                for job in self.jobs:
                    if job.state == WAITING:
                        self._submit(job)
                while self._pending:
                    if requested():
                        raise KeyboardInterrupt
                    ready, _ = self.ray.wait(list(self._pending), timeout=POLL_SECONDS)
                    for reference in ready:
                        self._settle(self._pending.pop(reference), self._answer(reference))
                    self.watch(self.jobs)
        finally:
            self._stop()

    def _submit(self, job: Job) -> None:
        job.attempts += 1
        run_dir, settings = str(folder(job.cell, self.out)), job.cell.settings()
        self._pending[self._remote.remote(arguments(job.cell, self.out), run_dir, settings, os.getcwd())] = job

    def _answer(self, reference: Any) -> Answer:
        """What the task returned; a worker or machine that died is an answer, too."""
        try:
            answer: Answer = self.ray.get(reference)
        except self.ray.exceptions.RayError as error:
            return Answer(DIED, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}")
        return answer

    def _settle(self, job: Job, answer: Answer) -> None:
        job.notes += [answer.said] if answer.said else []
        if is_finished(job.cell, self.out):
            job.state = COMPLETED
            return
        job.notes.append(f"attempt {job.attempts}: exit code {answer.code}, {answer.words or 'nothing said'}")
        if answer.code == BAD_INPUT or job.attempts > self.share.retries:
            job.state = FAILED
        else:
            self._submit(job)

    def _stop(self) -> None:
        """Ask the tasks in progress to stop and wait until they have saved; those that wait never start."""
        for reference in self._pending:
            self.ray.cancel(reference)
        deadline = time.monotonic() + STOP_SECONDS
        left = list(self._pending)
        while left and time.monotonic() < deadline:
            _, left = self.ray.wait(left, num_returns=len(left), timeout=POLL_SECONDS)


def jobs_of(cells: Sequence[Cell], out: Path) -> list[Job]:
    """A job for each run of the sweep; finished runs are COMPLETED."""
    unique = {cell.run_id: cell for cell in cells}
    return [Job(cell, COMPLETED if is_finished(cell, out) else WAITING) for cell in unique.values()]


def arguments(cell: Cell, out: Path) -> list[str]:
    """Arguments of main.py: a new run, or what an earlier attempt left of it continued."""
    return ["--file_storage", str(out / RUNS), "--id", cell.run_id, *cell.arguments(), "resume=auto"]
