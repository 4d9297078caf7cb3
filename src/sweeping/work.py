"""What happens in a worker process of the cluster: one run of main.py, in this process, with its last words kept."""

from __future__ import annotations

import contextlib
import io
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reproduction.session import begun_otherwise, make_room
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
        said: what was done before it, "" if nothing.
    """

    code: int
    words: str = ""
    said: str = ""


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

    What an earlier attempt left in `run_dir` is continued from its checkpoint, removed if it has none, and put aside if
    it was begun with other keys than `settings`, which today's version gives the run. A stop of the task is Ctrl-C to
    the run: it saves, records INTERRUPTED and answers with exit code 130.
    """
    if Path(folder).is_dir():  # another machine may not have it
        os.chdir(folder)
    try:
        said = make_ready(Path(run_dir), settings)
    except UserError as error:
        return Answer(BUSY, str(error))
    from main import main  # here: PyTorch is imported in the worker, once for all its runs

    tail = Tail()
    with contextlib.redirect_stderr(tail), contextlib.redirect_stdout(Tail()):
        code = main(list(command))
    return Answer(code, tail.last_line(), said)


def make_ready(run_dir: Path, settings: Mapping[str, Any]) -> str:
    """Leave of an earlier attempt what can be continued; returns what there is to say about the rest.

    Raises:
        UserError: its process does not end within a minute, or its record cannot be read; nothing was changed.
    """
    deadline = time.monotonic() + DYING_SECONDS
    while is_alive(run_dir):
        if time.monotonic() > deadline:
            raise UserError(f"another process still works on {run_dir}")
        time.sleep(POLL_SECONDS)
    continued = bool(checkpoints_in(run_dir)) and not begun_otherwise(run_dir, settings)
    return "" if continued else make_room(run_dir, settings)
