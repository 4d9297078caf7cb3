"""Finished runs as compact JSON lines that can be committed: a study goes on from them on another machine.

One file a study, one line a run: its settings, engine, commit and seed, its tests as columns of numbers, and what pages
show of a one-step game's values. What a record leaves out (training statistics, checkpoints) stays in the run's folder
on the machine that made it. Seeds share their settings: these have a line of their own, which runs name by its digest.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import envs
from reproduction.result import Result, agree
from reproduction.study import DIGEST_CHARS, Cell, settings_of
from utils.errors import UserError

COLUMNS = ("t_env", "time", "alpha", "test_return_mean", "test_battle_won_mean", "test_action_value")  # what is kept
ACTION_COLUMNS = re.compile(r"test_u_\d+_mean")  # and each agent's action in tests of games without states
DIGITS = 5  # significant, of its numbers
TRAIL = 400  # explored joint actions of a box that are kept, as many as a page draws
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
        self._digests: set[str] = set()  # of settings that have a line in `file`
        for path in sorted(folder.glob("*.jsonl")):
            runs, settings = _read(path)
            self._known |= runs
            if path == self.file:
                self._digests |= settings.keys()

    def check_writable(self) -> None:
        """Raise `UserError` now if runs could not be recorded when they finish."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--records: cannot make {str(self.file.parent)!r}: {error.strerror}") from error
        target = self.file if self.file.exists() else self.file.parent
        if not os.access(target, os.W_OK):
            raise UserError(f"--records: cannot write {str(target)!r}")

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
        run = result.cell.run_id
        settings = settings_of(config)
        record = {
            "run": run,
            "commit": result.commit,
            "header": {key: result.header.get(key) for key in (*HEADER, *ENGINE)},
            "settings": settings,
            "values": _shown(result.values),
            "rows": _columns(result.rows),
        }
        self._known[run] = record
        digest = sha256(_text(settings).encode()).hexdigest()[:DIGEST_CHARS]
        lines = [] if digest in self._digests else [{"digest": digest, "settings": settings}]
        self._digests.add(digest)
        self._append("".join(_text(line) + "\n" for line in (*lines, record | {"settings": digest})))

    def _append(self, text: str) -> None:
        """All of it or nothing: a torn line would make the file useless."""
        size = self.file.stat().st_size if self.file.exists() else 0
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with self.file.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            if self.file.exists():
                os.truncate(self.file, size)
            raise UserError(f"cannot write {self.file}: {error.strerror}") from error


def _read(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Records by run, settings by digest."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise UserError(f"--records: cannot read {str(path)!r}: {error}") from error
    records: dict[str, dict[str, Any]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            if "digest" in record:
                settings[record["digest"]] = record["settings"]
                continue
            if isinstance(record["settings"], str):  # else of a file from before they had lines of their own
                record["settings"] = settings[record["settings"]]
            records[record["run"]] = {key: record[key] for key in KEYS}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}, line {number}: not a record; remove the line to run it again") from error
    return records, settings


def _text(data: Mapping[str, Any]) -> str:
    return json.dumps(data, sort_keys=True)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[float | None]]:
    """The rows of tests, each with the newest alpha logged until then, as columns."""
    tests, alpha = [], None
    for row in rows:
        alpha = row.get("alpha", alpha)
        if any(key.startswith("test_") for key in row):
            tests.append({**row, "alpha": alpha})
    names = dict.fromkeys(key for row in tests for key in row if key in COLUMNS or ACTION_COLUMNS.fullmatch(key))
    columns = {name: [_rounded(row.get(name)) for row in tests] for name in names}
    return {name: column for name, column in columns.items() if any(value is not None for value in column)}


def _shown(values: Mapping[str, Any]) -> dict[str, Any]:
    """What pages show of joint_values.json: Q_jt, and Q_i of a table, or the thinned exploration of a box."""
    if not values:
        return {}
    kept = {key: values[key] for key in ("q_joint", "greedy")}
    if isinstance(values["greedy"][0][0], int):
        return kept | {"utilities": values["utilities"]}
    return kept | {"explored": {"actions": thinned(values["explored"]["actions"])}}


def thinned(trail: Any) -> Any:
    """Every k-th joint action, at most `TRAIL`, as pages draw them; of those, all."""
    return trail[:: -(-len(trail) // TRAIL) or 1]


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
