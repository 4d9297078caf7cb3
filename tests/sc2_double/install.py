"""Puts the double where pysc2 looks for the game: `Versions/Base<build>/SC2_x64` and `Maps/SMAC_Maps/*.SC2Map`."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from envs.skirmish.scenario import map_names

HERE = Path(__file__).resolve().parent
BUILD = 75689  # of 4.10.0
PLAN_FILE, LOG_FILE = "double.json", "double.log"


def install(
    folder: Path, build: int = BUILD, faults: list[dict[str, Any]] | None = None, world: Path | None = None
) -> Path:
    """Make `folder` a StarCraft II of ours. A second call replaces the faults and forgets the log.

    Args:
        folder: where.
        build: its number.
        faults: see faults.py.
        world: a file of recorded battles to show in place of the engine's own, see recorded.py.
    """
    program = folder / "Versions" / f"Base{build}" / "SC2_x64"
    program.parent.mkdir(parents=True, exist_ok=True)
    command = shlex.join([sys.executable, str(HERE / "serve.py")])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    maps = folder / "Maps" / "SMAC_Maps"
    maps.mkdir(parents=True, exist_ok=True)
    for name in map_names():
        (maps / f"{name}.SC2Map").write_text(f"the double's map {name}\n")
    (folder / PLAN_FILE).write_text(json.dumps({"faults": faults or [], "world": str(world or "")}))
    (folder / LOG_FILE).write_text("")
    return folder


def read_log(folder: Path, event: str = "") -> list[dict[str, Any]]:
    """What the double's processes wrote: {"event": "launch" | "fault" | "battle" | ..., "pid": ...}."""
    entries = [json.loads(line) for line in (folder / LOG_FILE).read_text().splitlines()]
    return [entry for entry in entries if event in ("", entry["event"])]
