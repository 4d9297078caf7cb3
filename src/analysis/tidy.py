"""Tidy files: one line per run, env step and metric, as CSV or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.runs import RunRecord

COLUMNS = (
    *("run", "status", "commit", "env", "task", "alg", "seed", "engine", "engine_version", "data_hash", "env_args"),
    *("t_env", "time", "metric", "value"),
)
SUFFIXES = (".csv", ".parquet")


def lines(runs: Iterable[RunRecord], metrics: Sequence[str] = ()) -> Iterator[dict[str, Any]]:
    """Lines with the keys `COLUMNS`, of the given metrics or of all; values that were not finite are None."""
    for run in runs:
        header = run.header
        first = {
            "run": str(run.path),
            "status": run.status,
            "commit": run.commit,
            "env": str(header.get("env", "")),
            "task": run.task,
            "alg": run.alg,
            "seed": run.seed,
            **{key: str(header.get(key, "")) for key in ("engine", "engine_version", "data_hash")},
            "env_args": json.dumps(header.get("env_args", {}), sort_keys=True),
        }
        for row in run.rows:
            for name, value in row.items():
                if name not in ("t_env", "time") and (not metrics or name in metrics):
                    yield {**first, "t_env": row["t_env"], "time": row.get("time"), "metric": name, "value": value}


def write(runs: Sequence[RunRecord], path: Path, metrics: Sequence[str] = ()) -> int:
    """Write the file, whole or not at all; returns the number of lines.

    Raises:
        UserError: another suffix than .csv and .parquet, or pyarrow is missing for the latter.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"--out must end in {' or '.join(SUFFIXES)}, got {str(path)!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    count = (_write_csv if path.suffix == ".csv" else _write_parquet)(lines(runs, metrics), part)
    part.replace(path)
    return count


def _write_csv(rows: Iterable[dict[str, Any]], path: Path) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
            count += 1
    return count


def _write_parquet(rows: Iterable[dict[str, Any]], path: Path) -> int:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise UserError("Parquet needs pyarrow: pip install pyarrow (or give --out FILE.csv)") from error
    kinds = {"seed": pa.int64(), "t_env": pa.int64(), "time": pa.float64(), "value": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    table = pa.Table.from_pylist(list(rows), schema)
    parquet.write_table(table, path)
    return int(table.num_rows)
