"""Metrics as documents of Sacred's collection `metrics`, sent piece by piece, each point exactly once.

A document holds at most `PIECE_POINTS` points of one metric; longer metrics continue in further documents. Each
says up to which byte of metrics.jsonl it is complete (`upto`), and every change is made on condition that `upto` is
still what we know. A request that was carried out although its answer was lost, or that a stalled server carries
out late, therefore changes nothing the second time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mirror.files import object_id, only_duplicates
from utils.logging import RESERVED

if TYPE_CHECKING:
    from bson import ObjectId
    from pymongo.collection import Collection

PIECE_POINTS = 100_000  # of up to 3 * 16 bytes each: 4.8 MB, where a document may have 16
BATCH_BYTES = 4 << 20  # of metrics.jsonl, sent in one request
TAIL_BYTES = 256  # before `offset`, whose hash tells whether the file is still the one that was sent

Point = tuple[int, float, datetime]


class ChangedError(Exception):
    """The documents are not what we know of them: somebody else wrote, or a request did what it seemed not to do."""


@dataclass(frozen=True)
class Piece:
    """What is known of one document: its id, its number within the metric, its points, the bytes it is complete to."""

    id: ObjectId
    part: int = 1
    count: int = 0
    upto: int = 0


class Points:
    """The metrics of one run.

    Args:
        collection: Sacred's `metrics`.
        path: metrics.jsonl.
        run_id: of the run's document.
        uid: of the run.
        start: when the run began.
    """

    def __init__(
        self, collection: Collection[dict[str, Any]], path: Path, run_id: int, uid: str, start: datetime
    ) -> None:
        self.collection, self.path, self.run_id, self.uid, self.start = collection, path, run_id, uid, start
        self.offset, self.rows, self.tail = 0, 0, ""
        self.pieces: dict[str, list[Piece]] = {}

    def load(self, mark: Mapping[str, Any]) -> None:
        """Take over what the server has; `mark` is the last one that was stored with the run."""
        fields = {"metric": 1, "part": 1, "count": 1, "upto": 1}
        self.pieces = {}
        for found in self.collection.find({"run_id": self.run_id}, fields).sort("part", 1):
            piece = Piece(found["_id"], found["part"], found["count"], found["upto"])
            self.pieces.setdefault(found["metric"], []).append(piece)
        self.offset, self.rows, self.tail = mark.get("offset", 0), mark.get("rows", 0), mark.get("tail", "")

    def restart(self) -> None:
        """Remove all points: the file was cut back and continued, as a resumed run does."""
        self.collection.delete_many({"run_id": self.run_id})
        self.offset, self.rows, self.tail, self.pieces = 0, 0, "", {}

    def size(self) -> int:
        """Bytes of the file; 0 if there is none yet."""
        return self.path.stat().st_size if self.path.exists() else 0

    def mark(self) -> dict[str, Any]:
        """How far the file is sent, to be stored with the run after each `send`."""
        return {"offset": self.offset, "rows": self.rows, "tail": self.tail}

    def references(self) -> list[dict[str, str]]:
        """The entries of the run's `info.metrics`."""
        found = [(name, piece) for name, pieces in self.pieces.items() for piece in pieces]
        return [{"name": piece_name(name, piece.part), "id": str(piece.id)} for name, piece in found]

    def send(self) -> bool:
        """Send the next rows; return False if there are none.

        Raises:
            ChangedError: `load` again, then repeat.
        """
        if self.tail != self._hash():
            self.restart()
        rows = list(read_rows(self.path, self.offset, BATCH_BYTES))
        if not rows:
            return False
        changes, pieces = self._changes(rows)
        if changes:
            self._write(changes)
        self.pieces |= pieces
        self.offset = rows[-1][0]
        self.rows += sum("header" not in row for _, row in rows)
        self.tail = self._hash()
        return True

    def _changes(self, rows: list[tuple[int, dict[str, Any]]]) -> tuple[list[Any], dict[str, list[Piece]]]:
        """The requests that add `rows`, and the pieces as they are afterwards."""
        points: dict[str, list[tuple[int, Point]]] = {}
        for end, row in rows:
            for name, value in () if "header" in row else row.items():
                if name not in RESERVED and end > self._upto(name):
                    when = self.start + timedelta(seconds=row["time"])
                    point = (row["t_env"], float("nan") if value is None else value, when)
                    points.setdefault(name, []).append((end, point))
        changes, after = [], {}
        for name, added in points.items():
            after[name] = list(self.pieces.get(name, ()))
            changes += list(self._extend(name, after[name], added))
        return changes, after

    def _upto(self, name: str) -> int:
        return self.pieces[name][-1].upto if name in self.pieces else 0

    def _extend(self, name: str, pieces: list[Piece], added: list[tuple[int, Point]]) -> Iterator[Any]:
        """Requests that add points to the last piece and, when that is full, to new ones; `pieces` is changed."""
        from pymongo import InsertOne, UpdateOne

        while added:
            if not pieces or pieces[-1].count == PIECE_POINTS:
                part = len(pieces) + 1
                pieces.append(Piece(object_id(self.uid, str(self.run_id), name, str(part)), part))
            piece = pieces[-1]
            now, added = added[: PIECE_POINTS - piece.count], added[PIECE_POINTS - piece.count :]
            pieces[-1] = replace(piece, count=piece.count + len(now), upto=now[-1][0])
            steps, values, times = (list(column) for column in zip(*(point for _, point in now), strict=True))
            lists = {"steps": steps, "values": values, "timestamps": times}
            counts = {"count": pieces[-1].count, "upto": pieces[-1].upto}
            if piece.count == 0:
                names = {"run_id": self.run_id, "name": piece_name(name, piece.part), "metric": name}
                yield InsertOne({"_id": piece.id, **names, "part": piece.part, **counts, **lists})
            else:
                push = {key: {"$each": column} for key, column in lists.items()}
                yield UpdateOne({"_id": piece.id, "upto": piece.upto}, {"$push": push, "$set": counts})

    def _write(self, changes: list[Any]) -> None:
        from pymongo.errors import BulkWriteError

        try:
            result = self.collection.bulk_write(changes, ordered=False)
        except BulkWriteError as error:
            if only_duplicates(error):
                raise ChangedError("a document exists already") from error
            raise
        if result.matched_count + result.inserted_count != len(changes):
            raise ChangedError("a document has changed or is gone")

    def _hash(self) -> str:
        """Hash of the bytes before `offset`; "" at the beginning or if the file has become shorter."""
        if self.offset == 0 or self.size() < self.offset:
            return ""
        with self.path.open("rb") as opened:
            opened.seek(max(0, self.offset - TAIL_BYTES))
            return hashlib.sha256(opened.read(min(TAIL_BYTES, self.offset))).hexdigest()[:16]


def piece_name(name: str, part: int) -> str:
    """The name a piece is shown under: viewers keep one document for each name of a run."""
    return name if part == 1 else f"{name} ({part})"


def read_rows(path: Path, offset: int, limit: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Complete lines from `offset` on, at least one and then up to `limit` bytes: the byte after each, its contents."""
    if not path.exists():
        return
    end = offset
    with path.open("rb") as opened:
        opened.seek(offset, os.SEEK_SET)
        for line in opened:
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield end, json.loads(line)
            if end - offset >= limit:
                return
