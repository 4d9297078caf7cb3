"""Files in GridFS with ids that follow from their content: stored twice, or from two places, each is there once."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from bson import ObjectId

if TYPE_CHECKING:
    from pymongo.database import Database

CHUNK_BYTES = 255 * 1024  # GridFS's own
ROUND_BYTES = 8 << 20  # sent in one request


@dataclass(frozen=True)
class StoredFile:
    """A file to be stored.

    Args:
        filename: its name in GridFS.
        content: its bytes.
        owner: the run that alone uses it, "" if runs may share it.
    """

    filename: str
    content: bytes = field(repr=False)
    owner: str = ""

    @property
    def id(self) -> ObjectId:
        """Its id, made of name, owner and content."""
        return object_id(self.filename, self.owner, hashlib.sha256(self.content).hexdigest())


def object_id(*parts: str) -> ObjectId:
    """An id that follows from `parts` (12 bytes of their SHA-256)."""
    return ObjectId(hashlib.sha256("\0".join(parts).encode()).digest()[:12])


def put(database: Database[dict[str, Any]], files: Iterable[StoredFile]) -> list[ObjectId]:
    """Store what is not stored yet and return the ids. A file's entry is written after its chunks."""
    pairs = [(file.id, file) for file in files]
    wanted = dict(pairs)
    present = {entry["_id"] for entry in database["fs.files"].find({"_id": {"$in": list(wanted)}}, {"_id": 1})}
    missing = {id_: file for id_, file in wanted.items() if id_ not in present}
    _insert(database["fs.chunks"], (chunk for id_, file in missing.items() for chunk in _chunks(id_, file)))
    _insert(database["fs.files"], (_entry(id_, file) for id_, file in missing.items()))
    return [id_ for id_, _ in pairs]


def drop_others(database: Database[dict[str, Any]], owner: str, keep: Iterable[ObjectId]) -> None:
    """Remove the files of a run that are none of `keep`: earlier versions."""
    query = {"metadata.owner": owner, "_id": {"$nin": list(keep)}}
    old = [entry["_id"] for entry in database["fs.files"].find(query, {"_id": 1})]
    if old:
        database["fs.files"].delete_many({"_id": {"$in": old}})
        database["fs.chunks"].delete_many({"files_id": {"$in": old}})


def _insert(collection: Any, documents: Iterable[dict[str, Any]]) -> None:
    """Insert what is not there yet; ids follow from contents, so what is there is the same."""
    from pymongo.errors import BulkWriteError

    for group in _groups(documents):
        try:
            collection.insert_many(group, ordered=False)
        except BulkWriteError as error:
            if not only_duplicates(error):
                raise


def only_duplicates(error: Any) -> bool:
    """Tell whether all that failed is that documents existed already (MongoDB's error code 11000)."""
    duplicate = 11000
    details = error.details or {}
    return not details.get("writeConcernErrors") and all(one["code"] == duplicate for one in details["writeErrors"])


def _groups(documents: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Cut into requests of bounded size."""
    group: list[dict[str, Any]] = []
    size = 0
    for document in documents:
        group.append(document)
        size += len(document.get("data", b"")) + 256
        if size >= ROUND_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _chunks(id_: ObjectId, file: StoredFile) -> Iterator[dict[str, Any]]:
    for n, start in enumerate(range(0, len(file.content), CHUNK_BYTES)):
        data = file.content[start : start + CHUNK_BYTES]
        yield {"_id": object_id(str(id_), str(n)), "files_id": id_, "n": n, "data": data}


def _entry(id_: ObjectId, file: StoredFile) -> dict[str, Any]:
    return {
        "_id": id_,
        "filename": file.filename,
        "length": len(file.content),
        "chunkSize": CHUNK_BYTES,
        "uploadDate": datetime.now(timezone.utc),
        "contentType": mimetypes.guess_type(file.filename)[0],
        "metadata": {"owner": file.owner},
    }
