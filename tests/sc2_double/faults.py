"""Troubles of the real game, on schedule.

A fault is a mapping: `kind`, and when: `launches` (numbers of processes from 0; default all), `battle` and `step`
(counted from 1 within a process, step 0 while units appear), `seconds` for a slow start, `content` for
garbage.

| kind | what the double does |
|---|---|
| slow | waits `seconds` before it listens |
| deaf | accepts connections and never says a word |
| clash | finds its port taken by another program and gives up |
| crash | dies in the middle of a step |
| hang | stops answering, ignores SIGTERM, and so does a child process of its own |
| garbage | answers a step with `content`: bytes, text, empty, no_status, or blank (an observation of nothing) |
| drop | closes the connection and stays alive |
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from s2clientprotocol import sc2api_pb2 as sc

from sc2_double.install import LOG_FILE, PLAN_FILE

AT_START = ("slow", "deaf", "clash")
CRASH_CODE = 139  # what a shell reports of a segmentation fault


class Faults:
    """The faults of one process of the double.

    Args:
        folder: of the game.
    """

    def __init__(self, folder: Path) -> None:
        self.log_file = folder / LOG_FILE
        launch = sum('"launch"' in line for line in self.log_file.read_text().splitlines())
        plan = json.loads((folder / PLAN_FILE).read_text())
        self.world = plan["world"]  # a file of recorded battles, or ""
        self.planned = [fault for fault in plan["faults"] if launch in fault.get("launches", [launch])]
        self.log("launch", number=launch)

    def log(self, event: str, **details: Any) -> None:
        """Append a line for the test to read."""
        with self.log_file.open("a") as file:
            file.write(json.dumps({"event": event, "pid": os.getpid(), **details}) + "\n")

    def at_start(self, host: str, port: int) -> None:
        """Be slow, deaf or without a port, if planned."""
        for fault in self.planned:
            if fault["kind"] == "hang":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)  # here: only the main thread may
            if fault["kind"] in AT_START:
                self.log("fault", kind=fault["kind"])
            if fault["kind"] == "slow":
                time.sleep(fault["seconds"])
            if fault["kind"] in ("deaf", "clash"):
                with socket.create_server((host, port)):
                    if fault["kind"] == "deaf":
                        time.sleep(1e6)
                    try:
                        socket.create_server((host, port)).close()
                    except OSError as error:
                        sys.exit(f"cannot listen on {host}:{port}: {error}")

    def in_step(self, battle: int, step: int) -> dict[str, Any] | None:
        """The fault that strikes in this step, if any."""
        for fault in self.planned:
            due = fault["kind"] not in AT_START and (fault["battle"], fault["step"]) == (battle, step)
            if due:
                self.log("fault", kind=fault["kind"], content=fault.get("content", ""))
                return dict(fault)
        return None

    def die(self) -> None:
        """Crash."""
        os._exit(CRASH_CODE)

    def hang(self) -> None:
        """Stop for good, deaf to SIGTERM, together with a child."""
        child = subprocess.Popen(["sleep", "1000000"])
        self.log("child", child=child.pid)
        time.sleep(1e6)


def garbage(content: str) -> bytes | str:
    """A message that is no answer."""
    if content == "text":
        return "Sorry?"
    if content == "no_status":
        return sc.Response(step=sc.ResponseStep()).SerializeToString()
    return {"bytes": b"\xff\xfe\x00garbage", "empty": b""}[content]
