"""One command at a time in a folder of runs."""

from __future__ import annotations

import fcntl
from pathlib import Path

from utils.errors import UserError

FILE_NAME = ".lock"


class FolderLock:
    """Holds `folder/.lock` while entered, so that two commands never work on the same runs; freed however one ends.

    Args:
        folder: made if it does not exist.
        program: which command this is, for the message of the second.
    """

    def __init__(self, folder: Path, program: str) -> None:
        self.folder, self.program = folder, program

    def __enter__(self) -> None:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = (self.folder / FILE_NAME).open("w")
        except OSError as error:
            raise UserError(f"--out: cannot write to {str(self.folder)!r}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UserError(
                f"another {self.program} is working in {str(self.folder)!r}; give this one its own --out"
            ) from error

    def __exit__(self, *_: object) -> None:
        self._file.close()
