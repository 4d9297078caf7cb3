"""A finished run of a study, read back from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reproduction.study import Cell
from utils.joint_values import FILE_NAME as VALUES
from utils.metricsfile import FILE_NAME as METRICS
from utils.metricsfile import read_metrics


@dataclass(frozen=True)
class Result:
    """A finished run.

    Args:
        cell: which one.
        path: its folder, or the file of records it was taken from.
        rows: of metrics.jsonl; of a record, the rows of tests.
        values: joint_values.json of one-step games, else empty.
        commit: of the code it ran with, "" if unknown; with "+" if files differed from it.
        header: the first line of metrics.jsonl: engine, seed, ...
    """

    cell: Cell
    path: Path
    rows: list[dict[str, Any]]
    values: dict[str, Any]
    commit: str
    header: Mapping[str, Any] = field(default_factory=dict)

    def last(self, metric: str) -> float:
        """The value of a metric that was logged last."""
        return float(next(row[metric] for row in reversed(self.rows) if row.get(metric) is not None))


def read_result(cell: Cell, path: Path) -> Result:
    """The run in the folder `path`."""
    values = json.loads((path / VALUES).read_text()) if (path / VALUES).is_file() else {}
    repositories = json.loads((path / "run.json").read_text())["experiment"].get("repositories", [])
    commit = "".join(one["commit"][:8] + "+" * bool(one.get("dirty")) for one in repositories[:1])
    header, rows = read_metrics(path / METRICS)
    return Result(cell, path, rows, values, commit, header)


def agree(wanted: Any, recorded: Any) -> bool:
    """Whether two nested mappings are equal in the keys that both have; keys that came later do not count."""
    if isinstance(wanted, Mapping) and isinstance(recorded, Mapping):
        return all(agree(wanted[key], recorded[key]) for key in wanted.keys() & recorded.keys())
    return bool(wanted == recorded)
