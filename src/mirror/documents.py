"""A run's directory as the document that Sacred's MongoObserver would have written."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import bson

from mirror.files import StoredFile
from utils.checkpoint import FILE_NAME as CHECKPOINT
from utils.metricsfile import FILE_NAME as METRICS

FORMAT = "MongoObserver-0.7.0"  # Sacred's name of the layout
IDENTITY = "mirror.json"
DATES = ("start_time", "stop_time", "heartbeat", "queue_time")
COPIED = ("command", "host", "meta", "result", "status", "fail_trace", "resources")
OWN_FIELDS = ("run.json", "info.json", "cout.txt", METRICS, IDENTITY)  # in the document or in `metrics`, not files
OUTPUT_BYTES = 1 << 20  # of the captured output, the last ones
INFO_BYTES = 4 << 20  # of PyMARL's lists in `info`; longer ones are in `metrics` alone
FILE_BYTES = 256 << 20  # the largest file that is stored
INT64 = 2**63
HALF_WRITTEN = (0.02, 0.1, 0.5)  # seconds between attempts to read a file that is being written


def identity(run_dir: Path) -> str:
    """What tells the run from all others, on every machine: derived from its beginning, then kept in mirror.json.

    It is kept because a run that is resumed has another beginning. A directory that cannot be written to is
    finished, and its beginning does not change any more.
    """
    file = run_dir / IDENTITY
    if file.exists():
        return str(json.loads(file.read_text())["uid"])
    run = _read_whole(run_dir / "run.json")
    with (run_dir / METRICS).open() if (run_dir / METRICS).exists() else open(os.devnull) as opened:
        header = opened.readline()
    beginning = [run["host"].get("hostname"), run["start_time"], run_dir.name, header]
    uid = hashlib.sha256(json.dumps(beginning).encode()).hexdigest()[:24]
    if os.access(run_dir, os.W_OK):
        part = file.with_name(f".{IDENTITY}.{os.getpid()}")
        part.write_text(json.dumps({"uid": uid}))
        os.replace(part, file)
    return uid


def run_fields(run_dir: Path) -> dict[str, Any]:
    """The run's document without ids and references to other collections: `sources` still names local files."""
    run = read_json(run_dir / "run.json")
    dates = {key: datetime.fromisoformat(run[key]) for key in DATES if run.get(key)}
    fields = {key: run[key] for key in COPIED if key in run}
    return {
        **safe(fields),
        "heartbeat": None,
        **dates,
        "format": FORMAT,
        "experiment": safe(run["experiment"]),
        "config": safe(read_json(run_dir / "config.json")),
        "info": _info(run_dir / "info.json"),
        "captured_out": _tail(run_dir / "cout.txt"),
    }


def sources(run_dir: Path) -> tuple[list[str], list[StoredFile]]:
    """Names of the run's source files and their contents; those no longer at hand are left out."""
    experiment = read_json(run_dir / "run.json")["experiment"]
    pairs = [(name, run_dir.parent / stored) for name, stored in experiment["sources"]]
    pairs = [(name, path) for name, path in pairs if path.is_file()]
    base = Path(experiment["base_dir"])
    return [name for name, _ in pairs], [StoredFile(str(base / name), path.read_bytes()) for name, path in pairs]


def artifacts(run_dir: Path, checkpoint: bool) -> list[Path]:
    """The run's own files (configuration, plots, tables) and, if wanted, its last networks."""
    paths = [path for path in sorted(run_dir.iterdir()) if _is_artifact(path)]
    newest = max(run_dir.glob(f"models/*/{CHECKPOINT}"), key=lambda path: int(path.parent.name), default=None)
    return [*paths, newest] if checkpoint and newest is not None else paths


def _is_artifact(path: Path) -> bool:
    visible = path.is_file() and not path.name.startswith(".") and path.name not in OWN_FIELDS
    return visible and path.stat().st_size <= FILE_BYTES


def read_json(path: Path) -> Any:
    """The contents of a file, an empty dictionary if it does not exist.

    Sacred rewrites its files in place at every heartbeat: what is only half there is read again a moment later.
    """
    return _read_whole(path) if path.exists() else {}


def _read_whole(path: Path) -> Any:
    for pause in HALF_WRITTEN:
        try:
            return json.loads(path.read_text())
        except json.JSONDecodeError:
            time.sleep(pause)
    return json.loads(path.read_text())


def safe(value: Any) -> Any:
    """`value` with keys and numbers that every MongoDB stores: no dots, no leading dollar, 64 bits.

    Keys change as in Sacred: "a.b" becomes "a,b", "$a" becomes "@a".
    """
    if isinstance(value, Mapping):
        return {_key(str(key)): safe(one) for key, one in value.items()}
    if isinstance(value, list):
        return [safe(one) for one in value]
    if isinstance(value, int) and not -INT64 <= value < INT64:
        return str(value)
    return value


def _key(key: str) -> str:
    return ("@" + key[1:] if key.startswith("$") else key).replace(".", ",")


def _info(path: Path) -> dict[str, Any]:
    if not path.exists() or path.stat().st_size > INFO_BYTES:
        return {}
    info: dict[str, Any] = safe(read_json(path))
    return info if len(bson.encode(info)) <= INFO_BYTES else {}


def _tail(path: Path) -> str:
    """The last part of the output; the whole, mostly."""
    if not path.exists():
        return ""
    with path.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - OUTPUT_BYTES))
        text = opened.read().decode(errors="replace")
    return text if size <= OUTPUT_BYTES else f"[the first {size - OUTPUT_BYTES} bytes are left out]\n{text}"
