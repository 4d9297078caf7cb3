"""The run's directory: Sacred's FileStorageObserver with files that are whole at any moment."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path
from typing import Any

from sacred.observers import FileStorageObserver
from sacred.serializer import flatten

from utils.errors import UserError

PRIORITY = 100  # before every other observer: the local directory gives the run its id


class RunFolder(FileStorageObserver):
    """Writes `<base>/<id>/` with config.json, run.json, info.json, cout.txt.

    The id is the lowest number above all existing ones for which `mkdir` succeeds, so that runs started together
    never share one. Files are replaced by renaming: a reader never meets half of one.

    Args:
        base: directory of run directories.
        continued: an existing run directory to go on with; run.json keeps its start and lists every continuation.
    """

    def __init__(self, base: Path, continued: Path | None = None) -> None:
        super().__init__(base if continued is None else continued.parent, priority=PRIORITY)
        self.continued = continued
        self._kept: dict[str, Any] = {}  # entries of run.json that a continuation does not change
        self._written_info: Any = None
        self._writing = threading.Lock()

    @property
    def path(self) -> Path:
        """The run's directory."""
        if self.dir is None:
            raise RuntimeError("the run has not started: it has no directory yet")
        return Path(self.dir).resolve()

    def _make_run_dir(self, _id: str | None) -> None:
        if self.continued is None:
            try:
                super()._make_run_dir(_id)
            except FileExistsError:
                self.dir = None  # another process made it a moment ago: nothing of it is this run's to remove
                raise
            return
        self.dir = str(self.continued)
        before = json.loads((self.continued / "run.json").read_text(encoding="utf-8"))
        ended = {"status": before["status"], "heartbeat": before["heartbeat"], "host": before["host"]["hostname"]}
        interruptions = [*before.get("interruptions", []), ended]
        self._kept = {"start_time": before["start_time"], "interruptions": interruptions}

    def save_json(self, obj: Any, filename: str) -> None:
        """Write `obj` to `filename` in the run's directory."""
        if filename == "run.json":
            obj = obj | self._kept
        self._replace(filename, json.dumps(flatten(obj), sort_keys=True, indent=2))

    def heartbeat_event(self, info: Any, captured_out: str, beat_time: Any, result: Any) -> None:
        """Write run.json, and info.json where `info` is another object than the last time."""
        super().heartbeat_event({}, captured_out, beat_time, result)
        self.write_info(info)

    def log_metrics(self, metrics_by_name: Any, info: Any) -> None:
        """Nothing: metrics are in metrics.jsonl; Sacred would rewrite all of them at each heartbeat."""

    def write_info(self, info: Any) -> None:
        """Write info.json. `info` must not change afterwards."""
        if info is not self._written_info:
            self._replace("info.json", json.dumps(info))
            self._written_info = info

    def _replace(self, filename: str, text: str) -> None:
        """Put a whole file in place of the old one. The heartbeat's thread and the main one may both come here."""
        part = self.path / f".{filename}.part"
        with self._writing:
            try:
                part.write_text(text, encoding="utf-8")
                os.replace(part, self.path / filename)
            except OSError as error:
                part.unlink(missing_ok=True)
                raise UserError(f"cannot write {self.path / filename}: {error.strerror}") from error

    def save_file(self, filename: str, target_name: str | None = None) -> None:
        """Copy a file into the run's directory; sources are given relative to the experiment's."""
        source = Path(filename)
        super().save_file(str(source if source.exists() else Path(__file__).parents[1] / source), target_name)

    def discard(self) -> None:
        """Remove the run's directory: the run did not take place. One that is continued stays."""
        if self.dir is not None and self.continued is None:
            shutil.rmtree(self.dir, ignore_errors=True)


def runs_base(results: str) -> Path:
    """Return the directory of the runs, `<results>/sacred`; `UserError` if it cannot be written to."""
    base = Path(results).expanduser() / "sacred"
    existing = next(folder for folder in (base, *base.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"local_results_path: cannot write to {str(existing)!r}")
    return base
