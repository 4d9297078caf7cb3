"""Finished runs as compact JSON lines that can be committed: a study goes on from them on another machine.

One file a study, one line a run: its settings, engine, commit and seed, and its tests as columns of numbers. What a
record leaves out (training statistics, checkpoints) stays in the run's folder on the machine that made it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import envs
from reproduction.result import Result, agree
from reproduction.study import NOT_SETTINGS, Cell
from utils.config import DERIVED
from utils.errors import UserError

COLUMNS = ("t_env", "time", "test_return_mean", "test_battle_won_mean", "test_action_value")  # what a record keeps
DIGITS = 5  # significant, of its numbers
KEYS = ("run", "commit", "header", "settings", "values", "rows")  # of a line
HEADER = ("alg", "env", "seed", "versions")  # what a line keeps of the run's header, beside the next
ENGINE = ("engine", "engine_version", "data_hash")  # records of another engine are not taken


class Records:
    """The records in a folder.

    Args:
        folder: of the files `<study>.jsonl`; all are read, new runs are added to that of `study`.
        study: name of the study at hand.

    Raises:
        UserError: a file cannot be read, or a line of it is damaged.
    """

    def __init__(self, folder: Path, study: str) -> None:
        self.file = folder / f"{study}.jsonl"
        self._known: dict[str, dict[str, Any]] = {}
        for path in sorted(folder.glob("*.jsonl")):
            self._known |= _read(path)

    def find(self, cell: Cell) -> Result | None:
        """The recorded run of a cell, if it was made with today's settings and today's engine."""
        record = self._known.get(cell.run_id)
        if record is None or not agree(cell.settings(), record["settings"]):
            return None
        engine = _engine(cell.env, json.dumps(cell.settings()["env_args"]))
        if any(record["header"].get(key) != value for key, value in engine.items()):
            return None
        rows = [dict(zip(record["rows"], values, strict=True)) for values in zip(*record["rows"].values(), strict=True)]
        rows = [{key: value for key, value in row.items() if value is not None} for row in rows]
        header = record["header"] | {"env_args": record["settings"]["env_args"]}
        return Result(cell, self.file, rows, record["values"], record["commit"], header)

    def add(self, result: Result, config: Mapping[str, Any]) -> None:
        """Append a finished run, with its recorded configuration, unless it is there."""
        if self.find(result.cell) is not None:
            return
        rows = [row for row in result.rows if any(key.startswith("test_") for key in row)]
        columns = [key for key in COLUMNS if any(key in row for row in rows)]
        record = {
            "run": result.cell.run_id,
            "commit": result.commit,
            "header": {key: result.header.get(key) for key in (*HEADER, *ENGINE)},
            "settings": {key: value for key, value in config.items() if key not in (*NOT_SETTINGS, *DERIVED)},
            "values": result.values,
            "rows": {key: [_rounded(row.get(key)) for row in rows] for key in columns},
        }
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, sort_keys=True) + "\n")
        self._known[result.cell.run_id] = record


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise UserError(f"--records: cannot read {str(path)!r}: {error}") from error
    records = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            records[record["run"]] = {key: record[key] for key in KEYS}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}, line {number}: not a record; remove the line to run it again") from error
    return records


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


@cache
def _engine(env: str, env_args: str) -> dict[str, str]:
    """What would simulate the environment today; empty for StarCraft II, which may be absent where results are read."""
    spec = envs.resolve(env, json.loads(env_args))
    if spec.engine == "starcraft2":
        return {}
    made = spec.single()
    info = made.env_info
    made.close()
    return {key: getattr(info, key) for key in ENGINE}
