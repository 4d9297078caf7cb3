"""What the user sees: messages, boxes, a live progress bar on a terminal, plain lines elsewhere.

Messages go through Python's logging, so that Sacred's -l sets what is shown. Everything shown, apart from the
moving bar, is also kept in `cout.txt` of the run.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, TextIO

from utils.timehelper import time_left, time_str

if TYPE_CHECKING:
    from utils.progressbar import LiveBar

LOG = logging.getLogger("harness")
REDRAW_SECONDS = 0.25
WINDOW_SECONDS = 30.0  # speeds and shares are those of this last stretch
FORMAT = logging.Formatter("[%(levelname)s %(asctime)s] %(message)s", "%H:%M:%S")
SHOWN_LAST = {"test_return_mean": "test return", "test_battle_won_mean": "test win rate", "return_mean": "return"}


@dataclass
class Progress:
    """Where a run stands: the numbers of one progress line."""

    t_env: int
    t_max: int
    steps_per_second: float
    updates_per_second: float
    shares: Mapping[str, float] = field(default_factory=dict)
    last: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line of text."""
        left = time_str(time_left(self.t_env, self.t_max, self.steps_per_second))
        head = f"t_env {self.t_env:,} of {self.t_max:,} ({self.t_env / self.t_max:.1%}), left {left}"
        return " | ".join(part for part in (head, *self.details()) if part)

    def details(self) -> tuple[str, str, str]:
        """Speeds, last results and shares of time, each as text."""
        speeds = f"{self.steps_per_second:,.0f} steps/s, {self.updates_per_second:,.1f} updates/s"
        results = ", ".join(f"{text} {self.last[key]:.2f}" for key, text in SHOWN_LAST.items() if key in self.last)
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())
        return speeds, results, shares


class Console(logging.Handler):
    """Shows messages and progress. `end` it when the run is over.

    Args:
        t_max: env steps of the run; 0 if there is no progress to show.
        log_interval: env steps between two plain progress lines.
        stream: where to; standard output if None. Warnings outside a terminal go to standard error.
    """

    def __init__(self, t_max: int = 0, log_interval: int = 10000, stream: TextIO | None = None) -> None:
        super().__init__()
        self.setFormatter(FORMAT)
        self.t_max, self.log_interval = t_max, log_interval
        self._stream = stream or sys.stdout
        self._file: TextIO | None = None
        self._live = is_terminal(self._stream)
        self._bar: LiveBar | None = None
        self._samples: deque[tuple[float, int, int, dict[str, float]]] = deque()
        self._drawn, self._next_line = 0.0, 0
        self._progress: Progress | None = None

    def attach(self, path: Path) -> None:
        """Keep a copy of everything shown from now on in the file `path`."""
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def emit(self, record: logging.LogRecord) -> None:
        """Show a message of Python's logging."""
        self.say(self.format(record), record.levelno)

    def say(self, text: str, level: int = logging.INFO) -> None:
        """Show `text`, above the progress bar where there is one."""
        if self._file is not None:
            self._file.write(text + "\n")
        if self._bar is not None:
            self._bar.say(text)
            return
        print_line(text, sys.stderr if level >= logging.WARNING else self._stream)

    def update(self, t_env: int, updates: int, phases: Mapping[str, float], last: Mapping[str, float]) -> None:
        """Tell how far the run is; cheap enough for every iteration.

        Args:
            t_env: env steps so far.
            updates: updates so far.
            phases: seconds spent so far per phase, as in `PhaseTimer.seconds`.
            last: newest value of each metric.
        """
        now = monotonic()
        if self.t_max == 0 or (now - self._drawn < REDRAW_SECONDS and t_env < min(self._next_line, self.t_max)):
            return
        self._drawn = now
        self._sample(now, t_env, updates, phases)
        self._progress = self._measure(last)
        if t_env >= self._next_line:
            self._next_line = (t_env // self.log_interval + 1) * self.log_interval
            self._line(self._progress)
        if self._live and LOG.isEnabledFor(logging.INFO):
            self._draw(self._progress)

    def end(self, last: Mapping[str, float] | None = None) -> None:
        """Take the bar away, show where the run ended with its `last` metrics, close the copy.

        Messages still work.
        """
        self._live = False
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        if self._progress is not None:
            self._line(replace(self._progress, last=last or self._progress.last))
            self._progress = None
        self.acquire()  # messages may come from other threads
        try:
            if self._file is not None:
                self._file.close()
                self._file = None
        finally:
            self.release()

    def _draw(self, progress: Progress) -> None:
        if self._bar is None:
            from utils.progressbar import LiveBar  # here: rich is only needed on a terminal

            self._bar = LiveBar()
        self._bar.draw(progress)

    def _line(self, progress: Progress) -> None:
        """A progress line; on a terminal only into the copy, the bar shows the rest."""
        if not LOG.isEnabledFor(logging.INFO):
            return
        if not self._live:
            LOG.info(str(progress))
        elif self._file is not None:
            self._file.write(f"{progress}\n")

    def _sample(self, now: float, t_env: int, updates: int, phases: Mapping[str, float]) -> None:
        self._samples.append((now, t_env, updates, dict(phases)))
        while now - self._samples[0][0] > WINDOW_SECONDS and now - self._samples[1][0] >= WINDOW_SECONDS / 2:
            self._samples.popleft()

    def _measure(self, last: Mapping[str, float]) -> Progress:
        (then, t_0, updates_0, phases_0), (now, t_1, updates_1, phases_1) = self._samples[0], self._samples[-1]
        seconds = max(now - then, 1e-9)
        shares = {name: (spent - phases_0.get(name, 0.0)) / seconds for name, spent in phases_1.items()}
        if len(self._samples) == 1:
            seconds, shares = float("inf"), {}
        return Progress(t_1, self.t_max, (t_1 - t_0) / seconds, (updates_1 - updates_0) / seconds, shares, dict(last))


@contextmanager
def show_messages(console: Console) -> Iterator[None]:
    """Route messages and Python's warnings to `console`, from INFO on."""
    warning_log = logging.getLogger("py.warnings")
    LOG.propagate = False
    LOG.setLevel(logging.INFO)
    logging.captureWarnings(True)
    console.addFilter(lambda record: LOG.isEnabledFor(record.levelno))
    for log in (LOG, warning_log):
        log.addHandler(console)
    try:
        yield
    finally:
        console.end()
        LOG.disabled, LOG.propagate = False, True
        logging.captureWarnings(False)
        for log in (LOG, warning_log):
            log.removeHandler(console)


def is_terminal(stream: Any) -> bool:
    """Tell whether a live display can be drawn on `stream`."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def boxed(text: str) -> str:
    """Draw a box around the lines of `text`."""
    lines = text.strip().splitlines()
    width = max(map(len, lines))
    edge = "+" + "=" * (width + 4) + "+"
    return "\n".join([edge, *(f"|  {line.ljust(width)}  |" for line in lines), edge])


def print_line(text: str, stream: TextIO | None = None) -> None:
    """Print to `stream` (standard output). A reader that has gone (a closed pipe or terminal) is no error."""
    stream = stream or sys.stdout
    try:
        print(text, file=stream, flush=True)
    except OSError:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, stream.fileno())
        os.close(sink)
