"""From a study to finished runs: which are done, which are to be done, doing them, reading them back."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reproduction.display import Display
from reproduction.pool import run_all
from reproduction.records import Records
from reproduction.result import Result, agree, read_result
from reproduction.study import Cell, Study, settings_of
from utils.config import from_merged, merge
from utils.errors import UserError
from utils.folderlock import FolderLock
from utils.resume import checkpoints_in, differences, read_record

__all__ = ["Result", "check", "collect", "execute"]

RUNS, ASIDE, LOG = "runs", "put_aside", "workers.log"
COMPLETED = "COMPLETED"


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


def execute(
    cells: Sequence[Cell], out: Path, jobs: int, display: Display, records: Records | None = None
) -> list[Cell]:
    """Run those `cells` that are neither finished nor recorded; returns those that failed.

    A run that was cut short goes on from its checkpoint if it has one, and begins afresh in an empty folder if not.
    Runs are recorded as they finish.

    Raises:
        UserError: another process works in `out`, or it cannot be written to.
        KeyboardInterrupt: the user asked for a stop.
    """
    unique = {cell.run_id: cell for cell in cells}
    with FolderLock(out, "reproduce.py"):
        finished = {cell.run_id for cell in unique.values() if _keep(cell, out, records)}
        todo = [cell for cell in unique.values() if cell.run_id not in finished]
        for cell in todo:
            if not goes_on(cell, out) and (said := make_room(folder(cell, out), cell.settings())):
                print(said, file=sys.stderr)
        display.start(len(unique), len(unique) - len(todo))
        failed: list[Cell] = []

        def report(number: int, code: int) -> None:
            if code != 0 or not _keep(todo[number], out, records):
                failed.append(todo[number])
            display.advance(len(failed))

        if todo:
            run_all([command(cell, out) for cell in todo], jobs, out / LOG, report)
    return failed


def command(cell: Cell, out: Path) -> list[str]:
    """Arguments of main.py: what a user would type for this one run, plus where it lands; or to go on with it."""
    if goes_on(cell, out):
        return ["with", f"resume={folder(cell, out)}"]
    return ["--file_storage", str(out / RUNS), "--id", cell.run_id, *cell.arguments()]


def folder(cell: Cell, out: Path) -> Path:
    """The run's folder."""
    return out / RUNS / cell.run_id


def is_finished(cell: Cell, out: Path) -> bool:
    """Whether the run is complete and was made with today's settings, as far as it recorded them."""
    return _status(cell, out) == COMPLETED


def goes_on(cell: Cell, out: Path) -> bool:
    """Whether the run was cut short, was begun with today's keys and settings, and has a checkpoint."""
    unfinished = _status(cell, out) not in ("", COMPLETED) and bool(checkpoints_in(folder(cell, out)))
    return unfinished and not begun_otherwise(folder(cell, out), cell.settings())


def begun_otherwise(run_dir: Path, settings: Mapping[str, Any]) -> list[str]:
    """In which keys and values a run differs from `settings`, but for those a resumed run may change."""
    return differences(settings_of(read_record(run_dir, "config.json")), settings)


def make_room(run_dir: Path, settings: Mapping[str, Any]) -> str:
    """For a run that begins afresh: what has checkpoints is put aside, and the line returned that says so; else ""."""
    if not checkpoints_in(run_dir):
        shutil.rmtree(run_dir, ignore_errors=True)
        return ""
    try:
        why = ", ".join(begun_otherwise(run_dir, settings))
    except UserError as error:
        why = str(error)
    aside = run_dir.parents[1] / ASIDE / run_dir.name
    shutil.rmtree(aside, ignore_errors=True)
    aside.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(run_dir, aside)
    return f"{run_dir.name} begins afresh, what it had is in {aside}: {why or 'its run.json is not whole'}"


def _status(cell: Cell, out: Path) -> str:
    """Sacred's status of a run with today's settings; "" if there is none."""
    try:
        recorded = json.loads((folder(cell, out) / "config.json").read_text())
        status = str(json.loads((folder(cell, out) / "run.json").read_text())["status"])
    except (OSError, ValueError, KeyError):
        return ""
    return status if agree(cell.settings(), recorded) else ""


def _keep(cell: Cell, out: Path, records: Records | None) -> bool:
    """Whether the run is finished, here or in the records; one that is finished here is recorded."""
    if not is_finished(cell, out):
        return records is not None and records.find(cell) is not None
    if records is not None:
        path = folder(cell, out)
        records.add(read_result(cell, path), json.loads((path / "config.json").read_text()))
    return True


def collect(study: Study, out: Path, records: Records | None = None) -> list[Result]:
    """Results of the study's finished runs, in the order of its cells; those of this machine come before records."""
    found = []
    for cell in study.cells():
        if is_finished(cell, out):
            found.append(read_result(cell, folder(cell, out)))
        elif records is not None and (recorded := records.find(cell)) is not None:
            found.append(recorded)
    return found
