"""What happens in a worker process of the cluster: one run of main.py, in this process, with its last words kept."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduction.session import begun_with
from utils.errors import UserError
from utils.resume import checkpoints_in
from utils.runlock import is_alive

DYING_SECONDS = 60.0  # a run whose machine was lost may live for a moment longer
POLL_SECONDS = 0.5
BUSY = 3  # exit code where the run cannot be begun now: another process works on it, its record cannot be read
KEPT = 4000  # characters of what a run prints on standard error


@dataclass(frozen=True)
class Answer:
    """How a run ended.

    Args:
        code: exit code of main.py.
        words: the last line it printed on standard error, "" if none.
    """

    code: int
    words: str = ""


class Tail(io.TextIOBase):
    """A text stream that remembers its end."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        """Keep the last characters."""
        self.text = (self.text + text)[-KEPT:]
        return len(text)

    def last_line(self) -> str:
        """The last line that is not empty."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def execute(command: Sequence[str], run_dir: str, settings: Mapping[str, Any], folder: str) -> Answer:
    """Do or continue a run: `main.py` with these arguments in `folder`, where the sweep was started.

    What an earlier attempt left in `run_dir` is continued from its checkpoint, or removed if it has none or was begun
    with other keys than `settings`, which today's version gives the run. A stop of the task is Ctrl-C to the run: it
    saves, records INTERRUPTED and answers with exit code 130.
    """
    if Path(folder).is_dir():  # another machine may not have it
        os.chdir(folder)
    try:
        if not make_ready(Path(run_dir), settings):
            return Answer(BUSY, f"another process still works on {run_dir}")
    except UserError as error:  # its config.json cannot be read: nothing is removed
        return Answer(BUSY, str(error))
    from main import main  # here: PyTorch is imported in the worker, once for all its runs

    tail = Tail()
    with contextlib.redirect_stderr(tail), contextlib.redirect_stdout(Tail()):
        code = main(list(command))
    return Answer(code, tail.last_line())


def make_ready(run_dir: Path, settings: Mapping[str, Any]) -> bool:
    """Leave of an earlier attempt what can be continued; False if its process does not end within a minute."""
    deadline = time.monotonic() + DYING_SECONDS
    while is_alive(run_dir):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    if not checkpoints_in(run_dir) or not begun_with(run_dir, settings):
        shutil.rmtree(run_dir, ignore_errors=True)
    return True
