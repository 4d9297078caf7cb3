"""Tells whether the process of a run is alive: it holds a lock that the system takes back when the process ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from utils.errors import UserError
from utils.metricsfile import FILE_NAME


class RunLock:
    """Holds the lock of a run's metrics file, a file that is never replaced, until it is released or the process ends.

    Args:
        run_dir: the run's directory.

    Raises:
        BlockingIOError: another process holds it: the run is alive.
        UserError: the file system cannot lock files.
    """

    def __init__(self, run_dir: Path) -> None:
        path = run_dir / FILE_NAME
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise
        except OSError as error:
            self.release()
            raise UserError(
                f"cannot lock {path}: {error.strerror}; put the results where files can be locked"
            ) from error

    def release(self) -> None:
        """Let others have the lock."""
        os.close(self._descriptor)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def is_alive(run_dir: Path) -> bool:
    """Tell whether a process is working on the run."""
    if not (run_dir / FILE_NAME).exists():
        return False
    try:
        RunLock(run_dir).release()
    except BlockingIOError:
        return True
    return False
