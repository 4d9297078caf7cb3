"""`metrics.jsonl`: one JSON object a line, append-only, complete to the last line whatever ends the process.

The first line describes the run (`"header": true`), every other one is `{"t_env": int, "time": seconds since the
start, metric: number, ...}`. A value that is not finite is written as null.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.errors import UserError

FILE_NAME = "metrics.jsonl"


class MetricsFile:
    """Appends lines, each handed to the operating system by one call before `append` returns."""

    def __init__(self, path: Path) -> None:
        """Open or make the file; the torn last line of an old one is dropped."""
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.size = self._last_newline()
        os.ftruncate(self._descriptor, self.size)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one line; `row` must hold plain JSON values, no NaN. `UserError` if the disk is full or gone."""
        data = memoryview((json.dumps(row, allow_nan=False) + "\n").encode())
        self.size += len(data)
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            raise UserError(f"cannot write {self.path}: {error.strerror}") from error

    def sync(self) -> None:
        """Force what is written so far to the disk, so that it survives a power failure."""
        os.fsync(self._descriptor)

    def truncate(self, size: int) -> None:
        """Drop everything past `size` bytes, the size at a checkpoint."""
        self.size = min(size, self.size)
        os.ftruncate(self._descriptor, self.size)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _last_newline(self) -> int:
        end = os.fstat(self._descriptor).st_size
        while end > 0:
            start = max(0, end - 65536)
            found = os.pread(self._descriptor, end - start, start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
        return 0


def read_metrics(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the header and the rows of a metrics file; a torn last line is left out.

    Raises:
        UserError: a line is damaged.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise UserError(f"{path}, line {number} is damaged: {error}") from error
    header = rows.pop(0) if rows and rows[0].get("header") else {}
    return header, rows
