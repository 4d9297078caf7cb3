"""One logger per run: metrics to `metrics.jsonl`, Sacred and TensorBoard; messages to the console."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from utils.console import LOG, Console, boxed
from utils.errors import UserError
from utils.metricsfile import FILE_NAME, MetricsFile, read_metrics
from utils.tensorboard import clear_events, make_writer

PUBLISH_SECONDS = 5.0  # between two updates of Sacred's info, at least
PUBLISH_SHARE = 0.02  # and at most this share of the time is spent on them
RESERVED = ("t_env", "time", "header")

Series = dict[str, list[Any]]


class Logger:
    """Logs the metrics and messages of one run. The only place where a metric becomes a `float`.

    Args:
        run_dir: the run's directory, which must exist.
        header: what identifies the run, the first line of `metrics.jsonl`.
        console: where messages and progress go; a plain one if None.
        publish: called now and then with all series so far (`name` and `name_T`, as in PyMARL), for Sacred's info.
            It gets a fresh dictionary each time, which it may keep.
        tensorboard: a value of the key `tensorboard_backend`, or "" for no event files.
    """

    def __init__(
        self,
        run_dir: Path | str,
        header: Mapping[str, Any] | None = None,
        console: Console | None = None,
        publish: Callable[[Series], None] | None = None,
        tensorboard: str = "",
    ) -> None:
        self.run_dir = Path(run_dir)
        self.console = console or Console()
        self.last: dict[str, float] = {}
        self._header = dict(header or {})
        self._file = MetricsFile(self.run_dir / FILE_NAME)
        self._tensorboard = tensorboard
        self._writer = make_writer(tensorboard, self.run_dir / "tb_logs") if tensorboard else None
        self._series: Series = {}
        self._publish = publish
        self._publish_at = 0.0
        self._start = monotonic()
        self._warned: set[str] = set()

    @property
    def elapsed(self) -> float:
        """Seconds since the start of the run, those before a resume included."""
        return monotonic() - self._start

    def header(self, facts: Mapping[str, Any]) -> None:
        """Add `facts` to the first line of `metrics.jsonl`, which is written now. Call it before the first `log`."""
        self._header |= facts
        self._begin()

    def log(self, t_env: int, metrics: Mapping[str, Any]) -> None:
        """Record `metrics` (numbers or one-element arrays) at `t_env` env steps, at once and for good."""
        numbers = {name: float(value) for name, value in metrics.items()}
        if clash := [name for name in numbers if name in RESERVED]:
            raise ValueError(f"metric names {clash} are reserved")
        self._begin()
        values = {name: _finite(value) for name, value in numbers.items()}
        self._file.append({"t_env": int(t_env), "time": round(self.elapsed, 3), **values})
        self._remember(int(t_env), numbers)
        for name, value in numbers.items():
            if not math.isfinite(value) and name not in self._warned:
                self._warned.add(name)
                self.warning(f"{name} is {value} at t_env {t_env}: written as null; told once")
        if monotonic() >= self._publish_at:
            self.publish()

    def publish(self) -> None:
        """Hand all series so far to Sacred's info. `log` does so now and then, `close` at the end."""
        if self._publish is None:
            return
        begin = monotonic()
        self._publish({name: list(values) for name, values in self._series.items()})
        spent = monotonic() - begin
        self._publish_at = begin + max(PUBLISH_SECONDS, spent / PUBLISH_SHARE)

    def progress(
        self, t_env: int, updates: int, phases: Mapping[str, float], last: Mapping[str, float] | None = None
    ) -> None:
        """Show how far the run is, with the newest metrics (those logged last, if not given); see `Console.update`."""
        self.console.update(t_env, updates, phases, self.last if last is None else last)

    def info(self, text: str) -> None:
        """Show a message."""
        LOG.info(text)

    def warning(self, text: str) -> None:
        """Show a message that is also seen with -l WARNING."""
        LOG.warning(text)

    def notice(self, text: str) -> None:
        """Show `text`, which may have several lines, in a box that cannot be missed."""
        LOG.warning("\n" + boxed(text))

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold for the log to continue exactly; forces the file to the disk."""
        self._file.sync()
        return {"size": self._file.size, "elapsed": self.elapsed, "warned": sorted(self._warned)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`: lines logged after it are dropped, the rest is read back from the file.

        TensorBoard's event files are written anew from it.

        Raises:
            UserError: the file was shortened or damaged since.
        """
        if self._file.size < state["size"]:
            lost = state["size"] - self._file.size
            raise UserError(f"{self._file.path} was changed: the checkpoint needs {lost} bytes more than it has")
        self._file.truncate(state["size"])
        self._start = monotonic() - state["elapsed"]
        self._warned = set(state["warned"])
        self._series, self.last = {}, {}
        if self._writer is not None:
            self._writer.close()
            clear_events(self.run_dir / "tb_logs")
            self._writer = make_writer(self._tensorboard, self.run_dir / "tb_logs")
        for row in read_metrics(self._file.path)[1]:
            numbers = {name: math.nan if v is None else v for name, v in row.items() if name not in RESERVED}
            self._remember(row["t_env"], numbers)
        self.publish()

    def close(self) -> None:
        """Publish the rest and close the files. Messages and progress still work."""
        self.publish()
        if self._writer is not None:
            self._writer.close()
        self._file.close()

    def _begin(self) -> None:
        if self._file.size == 0:
            self._file.append({"header": True, **self._header})

    def _remember(self, t_env: int, numbers: Mapping[str, float]) -> None:
        self.last |= numbers
        for name, value in numbers.items():
            self._series.setdefault(name, []).append(_finite(value))
            self._series.setdefault(f"{name}_T", []).append(t_env)
            if self._writer is not None:
                self._writer.add(name, value, t_env)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
