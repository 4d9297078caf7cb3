"""Brings the documents of one run in line with its directory, however often it is called, cut off or repeated.

What was sent is not remembered here but read from the server, so the directory itself is the spool: nothing else has
to be kept for a server that is away, and nothing is doubled when it comes back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError

from mirror import documents, files
from mirror.files import StoredFile
from mirror.points import ChangedError, Points
from utils.metricsfile import FILE_NAME as METRICS

if TYPE_CHECKING:
    from pymongo.database import Database

ATTEMPTS = 5  # at sending while others write the same documents
INDEXES = (  # the last two are GridFS's own
    ("runs", IndexModel([("mirror.uid", 1)], unique=True, sparse=True)),
    ("metrics", IndexModel([("run_id", 1)])),
    ("fs.files", IndexModel([("filename", 1), ("uploadDate", 1)])),
    ("fs.chunks", IndexModel([("files_id", 1), ("n", 1)], unique=True)),
)


class RunSync:
    """One run and its documents.

    Args:
        database: Sacred's.
        run_dir: the run's directory.
        checkpoint: whether its last networks are stored, too.
    """

    def __init__(self, database: Database[dict[str, Any]], run_dir: Path, checkpoint: bool = False) -> None:
        self.database, self.run_dir, self.checkpoint = database, run_dir.resolve(), checkpoint
        self.run_id: int | None = None
        self.points: Points | None = None
        self._sent: dict[str, Any] = {}  # fields of the document as the server has them
        self._uid = ""
        self._sources: list[list[Any]] | None = None
        self._artifacts: tuple[list[Any], list[dict[str, Any]]] = ([], [])

    def sync(self) -> None:
        """Send what the server does not have yet.

        Raises:
            PyMongoError: the server is away or refuses; what was known of it is forgotten. Call again.
        """
        for attempt in range(ATTEMPTS):
            try:
                return self._sync()
            except ChangedError:
                self.forget()
                if attempt == ATTEMPTS - 1:
                    raise
            except BaseException:
                self.forget()
                raise

    def look_up(self) -> tuple[bool, int]:
        """Whether the run is on the server, and how many of its log entries are."""
        self._uid = documents.identity(self.run_dir)
        found = self._find()
        return found is not None, found["mirror"].get("rows", 0) if found else 0

    def forget(self) -> None:
        """Read everything from the server again, the next time."""
        self.points, self._sent = None, {}
        self._sources, self._artifacts = None, ([], [])

    def _sync(self) -> None:
        points = self.points or self._open()
        fields = documents.run_fields(self.run_dir)  # before the metrics: a status never comes before its results
        sources = self._store_sources()
        artifacts = self._store_artifacts(points.run_id, fields.get("status") != "RUNNING")
        size = points.size()  # the run may write as fast as this sends
        while points.send():
            self._set({"mirror": self._mirror(points)})
            if points.offset >= size:
                break
        fields["experiment"]["sources"] = sources
        fields["artifacts"] = artifacts
        fields["info"]["metrics"] = points.references()
        self._set(fields | {"mirror": self._mirror(points)})

    def _open(self) -> Points:
        """Find the run's document or make it; take over what is stored."""
        for name, index in INDEXES:
            self.database[name].create_indexes([index])
        self._uid = documents.identity(self.run_dir)
        fields = documents.run_fields(self.run_dir)
        found = self._find() or self._make(fields)
        self.run_id = int(found["_id"])
        points = Points(self.database["metrics"], self.run_dir / METRICS, self.run_id, self._uid, fields["start_time"])
        points.load(found["mirror"])
        self.points = points
        return points

    def _find(self) -> dict[str, Any] | None:
        return self.database["runs"].find_one({"mirror.uid": self._uid}, {"mirror": 1})

    def _make(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Insert the run under the lowest number above all others, as Sacred does."""
        runs = self.database["runs"]
        fields["experiment"]["sources"] = []
        entry = fields | {"artifacts": [], "resources": [], "mirror": {"uid": self._uid}}
        while True:
            newest = runs.find_one({"_id": {"$type": "number"}}, {"_id": 1}, sort=[("_id", -1)])
            entry["_id"] = int(newest["_id"]) + 1 if newest else 1
            try:
                runs.insert_one(entry)
                return entry
            except DuplicateKeyError:  # the number is taken; or an earlier insertion had come through after all
                if found := self._find():
                    return found

    def _store_sources(self) -> list[list[Any]]:
        """Store the source files, shared between runs; return Sacred's pairs of name and id."""
        if self._sources is None:
            names, found = documents.sources(self.run_dir)
            self._sources = [[name, id_] for name, id_ in zip(names, files.put(self.database, found), strict=True)]
        return self._sources

    def _store_artifacts(self, run_id: int, finished: bool) -> list[dict[str, Any]]:
        """Store the run's own files where they changed; return Sacred's entries of name and id."""
        paths = documents.artifacts(self.run_dir, self.checkpoint and finished)
        state = [(path, path.stat().st_mtime_ns, path.stat().st_size) for path in paths]
        if state != self._artifacts[0]:
            names = [str(path.relative_to(self.run_dir)) for path in paths]
            prefix = f"artifact://runs/{run_id}/"
            pairs = zip(names, paths, strict=True)
            ids = files.put(
                self.database, [StoredFile(prefix + name, path.read_bytes(), self._uid) for name, path in pairs]
            )
            files.drop_others(self.database, self._uid, ids)
            self._artifacts = (state, [{"name": name, "file_id": id_} for name, id_ in zip(names, ids, strict=True)])
        return self._artifacts[1]

    def _mirror(self, points: Points) -> dict[str, Any]:
        place = {"uid": self._uid, "directory": str(self.run_dir), "local_id": self.run_dir.name}
        return place | points.mark()

    def _set(self, fields: dict[str, Any]) -> None:
        """Set the fields of the document that differ from what was sent."""
        changed = {key: value for key, value in fields.items() if key not in self._sent or self._sent[key] != value}
        if not changed:
            return
        query = {"_id": self.run_id, "mirror.uid": self._uid}
        if self.database["runs"].update_one(query, {"$set": changed}).matched_count == 0:
            raise ChangedError("the run's document is gone")
        self._sent |= changed
