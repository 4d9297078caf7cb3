"""Runs out of MongoDB, in the form Sacred's MongoObserver gives them (collections `runs` and `metrics`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from math import isnan
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from mirror.server import check_escaped
from utils.errors import UserError
from utils.runs import RunRecord

DATABASE = "sacred"  # if the address names none
TIMEOUT_MS = 5000  # for a server that does not answer


def read_server(address: str) -> list[RunRecord]:
    """All runs of the database `mongodb://HOST[:PORT]/DATABASE`, in order of their start.

    Raises:
        UserError: the server does not answer, refuses, or the address is wrong. The message holds no password.
    """
    check_escaped(address, "the address of the runs")
    place = without_password(address)
    try:
        client: MongoClient[dict[str, Any]] = MongoClient(
            address, serverSelectionTimeoutMS=TIMEOUT_MS, connectTimeoutMS=TIMEOUT_MS
        )
        with client:
            database = client.get_default_database(DATABASE)
            documents = list(database["runs"].find({}, {"captured_out": 0, "info": 0}).sort("start_time", 1))
            points = defaultdict(list)
            for document in database["metrics"].find():
                points[document["run_id"]].append(document)
    except (PyMongoError, ValueError) as error:
        reason = str(error).splitlines()[0].split(", Timeout:")[0]
        raise UserError(f"cannot read runs from {place}: {reason}") from error
    return [record(document, points[document["_id"]], f"{place}#{document['_id']}") for document in documents]


def without_password(address: str) -> str:
    """The address as it may be shown."""
    parts = urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def record(document: Mapping[str, Any], metrics: Iterable[Mapping[str, Any]], where: str) -> RunRecord:
    """One run from its document in `runs` and its documents in `metrics` (several pieces of one metric may exist)."""
    config = dict(document.get("config", {}))
    facts = config.get("env_info", {})
    header = {
        "run": document["_id"],
        "alg": config.get("name", "?"),
        "env": config.get("env", "?"),
        "env_args": config.get("env_args", {}),
        "seed": config.get("seed"),
        **{key: facts[key] for key in ("engine", "engine_version", "data_hash") if key in facts},
    }
    start = document.get("start_time")
    meta = {
        "experiment": document.get("experiment", {}),
        "host": document.get("host", {}),
        "start_time": str(start or ""),
    }
    return RunRecord(Path(where), header, rows(metrics, start), str(document.get("status", "")), config, meta)


def rows(metrics: Iterable[Mapping[str, Any]], start: datetime | None) -> list[dict[str, Any]]:
    """Lines as in metrics.jsonl: all metrics of one env step in one, in order of the steps."""
    by_step: dict[int, dict[str, Any]] = {}
    for piece in metrics:
        for step, value, when in zip(piece["steps"], piece["values"], piece["timestamps"], strict=False):
            seconds = (when - start).total_seconds() if start is not None and isinstance(when, datetime) else 0.0
            row = by_step.setdefault(int(step), {"t_env": int(step), "time": seconds})
            name = piece.get("metric", piece["name"])  # long metrics continue in "NAME (2)", ...
            row[str(name)] = None if isinstance(value, float) and isnan(value) else value
    return [by_step[step] for step in sorted(by_step)]
