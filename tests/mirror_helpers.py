"""Runs without training and a server in a process of its own, for tests of the mirror in MongoDB."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.database import Database

from utils.metricsfile import MetricsFile, read_metrics

Document = dict[str, Any]
SOURCE = "main.py"
USER, PASSWORD = "trainer", "p@ss/w:rd"  # needs escaping in a URL
ESCAPED = "p%40ss%2Fw%3Ard"


def make_run(base: Path, name: str = "1", seed: int = 1) -> Path:
    """A run's directory as it is when a run has begun."""
    run_dir = base / name
    run_dir.mkdir(parents=True)
    (base / "_sources").mkdir(exist_ok=True)
    (base / "_sources" / "main_0.py").write_text("print('hello')\n")
    record = {
        "command": "main",
        "experiment": {"name": "pymarl", "base_dir": "/src", "sources": [[SOURCE, "_sources/main_0.py"]]},
        "host": {"hostname": "host"},
        "meta": {"options": {"--name": None}, "a.b": {"$c": 2**70}},
        "resources": [],
        "artifacts": [],
        "start_time": f"2026-01-02T03:04:05.{seed:06d}",
        "heartbeat": None,
        "status": "RUNNING",
    }
    write(run_dir / "run.json", record)
    write(run_dir / "config.json", {"seed": seed, "env_args": {"map_name": "3m"}})
    (run_dir / "cout.txt").write_text("begun\n")
    append(run_dir, [{"header": True, "run": name, "seed": seed}])
    return run_dir


def write(path: Path, data: Any) -> None:
    path.write_text(json.dumps(data))


def rows(begin: int, end: int) -> list[Document]:
    """Log entries of steps `begin` to `end`; the second metric is logged every third time."""
    return [
        {"t_env": k, "time": k / 10, "loss": k * 0.5} | ({"win": None if k % 2 else 1.0} if k % 3 == 0 else {})
        for k in range(begin, end)
    ]


def append(run_dir: Path, entries: Sequence[Document]) -> None:
    file = MetricsFile(run_dir / "metrics.jsonl")
    for entry in entries:
        file.append(entry)
    file.close()


def finish(run_dir: Path, status: str = "COMPLETED") -> None:
    record = json.loads((run_dir / "run.json").read_text())
    write(run_dir / "run.json", record | {"status": status, "stop_time": "2026-01-02T04:00:00"})
    series = local_points(run_dir)
    info = {name: [None if math.isnan(value) else value for _, value in points] for name, points in series.items()}
    write(run_dir / "info.json", info)


def local_points(run_dir: Path) -> dict[str, list[tuple[int, float]]]:
    """metric -> (env step, value) in the run's file."""
    series: dict[str, list[tuple[int, float]]] = {}
    path = run_dir / "metrics.jsonl"
    for row in read_metrics(path)[1] if path.exists() else ():
        for name in row.keys() - {"t_env", "time"}:
            series.setdefault(name, []).append((row["t_env"], math.nan if row[name] is None else row[name]))
    return series


def stored_points(database: Database[Document], run_id: int) -> dict[str, list[tuple[int, float]]]:
    """metric -> (env step, value) in the database."""
    series: dict[str, list[tuple[int, float]]] = {}
    for piece in database["metrics"].find({"run_id": run_id}).sort("part", 1):
        assert len(piece["steps"]) == len(piece["values"]) == len(piece["timestamps"]) == piece["count"]
        series.setdefault(piece["metric"], []).extend(zip(piece["steps"], piece["values"], strict=True))
    return series


def same_points(one: dict[str, list[tuple[int, float]]], other: dict[str, list[tuple[int, float]]]) -> bool:
    """Whether all points are equal, NaN to NaN."""
    return one.keys() == other.keys() and all(repr(one[name]) == repr(other[name]) for name in one)


def dump(database: Database[Document]) -> dict[str, list[Document]]:
    """Everything in the database, upload dates left out."""
    names = sorted(database.list_collection_names())
    return {name: [normal(one) for one in database[name].find({}).sort("_id", 1)] for name in names}


def normal(document: Document) -> Document:
    document.pop("uploadDate", None)
    return json.loads(json.dumps(document, default=repr))


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


class ServerProcess:
    """A server that can be killed, paused and started again on the same port and data."""

    def __init__(self, folder: Path, auth: bool = False) -> None:
        self.folder, self.port, self.options = folder, free_port(), list[str]()
        self.address = f"mongodb://127.0.0.1:{self.port}"
        self.start()
        if auth:
            with MongoClient(self.address) as client:
                role = {"role": "readWrite", "db": "sacred"}
                client["admin"].command("createUser", USER, pwd=PASSWORD, roles=[role])
            self.stop()
            self.options = ["--auth"]
            self.address = f"mongodb://{USER}:{ESCAPED}@127.0.0.1:{self.port}"
            self.start()

    @property
    def url(self) -> str:
        return f"{self.address}/sacred" + ("?authSource=admin" if self.options else "")

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        program = Path(sys.executable).with_name("secantusd-py")
        command = [program, "--port", str(self.port), "--storage-path", self.folder, *self.options]
        with (self.folder.parent / f"{self.folder.name}.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        deadline = time.monotonic() + 240
        while True:
            assert self.process.poll() is None, "the server did not start"
            assert time.monotonic() < deadline
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL: as in a crash."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def pause(self) -> None:
        """The server answers nothing but keeps its connections."""
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)

    def client(self) -> MongoClient[Document]:
        return MongoClient(self.url, serverSelectionTimeoutMS=10000)
