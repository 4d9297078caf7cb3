"""How far a study is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TextIO

from utils.console import is_terminal, print_line
from utils.timehelper import time_left, time_str

WIDTH = 30
LINE_SECONDS = 30.0  # between two lines where there is no terminal


class Display:
    """Counts finished runs. `start` it with the totals, `advance` it after each run.

    Args:
        label: of the study.
        stream: where to; standard error if None, so that results can be piped.
    """

    def __init__(self, label: str, stream: TextIO | None = None) -> None:
        self.label = label
        self._stream = stream or sys.stderr
        self._live = is_terminal(self._stream)
        self._total = self._skipped = self._done = self._failed = 0
        self._begin = self._shown = monotonic()

    def start(self, total: int, finished: int) -> None:
        """Show `total` runs, `finished` of which need not be done."""
        self._total, self._skipped, self._begin = total, finished, monotonic()
        self._show(last=True)

    def advance(self, failed: int) -> None:
        """One more run has ended; `failed` of all have not completed."""
        self._done += 1
        self._failed = failed
        self._show(last=self._skipped + self._done == self._total)

    def _show(self, last: bool) -> None:
        if self._live:
            self._stream.write(f"\r{self._text()}\x1b[K" + "\n" * (last and self._done > 0))
            self._stream.flush()
        elif last or monotonic() - self._shown >= LINE_SECONDS:
            self._shown = monotonic()
            print_line(self._text(), self._stream)

    def _text(self) -> str:
        ended = self._skipped + self._done
        seconds = max(monotonic() - self._begin, 1e-9)
        left = time_str(time_left(ended, self._total, self._done / seconds))
        filled = WIDTH * ended // max(self._total, 1)
        parts = [f"{self.label} [{'#' * filled}{'-' * (WIDTH - filled)}] {ended} of {self._total} runs"]
        parts += [f"{self._skipped} from before"] if self._skipped else []
        parts += [f"{self._failed} failed"] if self._failed else []
        return ", ".join([*parts, f"left {left}"])
