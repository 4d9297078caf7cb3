"""After a sweep: whether every run is there, complete and exactly once."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from reproduction.session import RUNS, folder, is_finished
from reproduction.study import Cell
from utils.metricsfile import FILE_NAME as METRICS
from utils.metricsfile import read_metrics


def problems(cells: Sequence[Cell], out: Path) -> list[str]:
    """One line for each run that is missing, incomplete, there twice, or has a line twice."""
    found = [f"{cell.run_id}: not complete" for cell in cells if not is_finished(cell, out)]
    recorded = Counter(_identity(path.parent) for path in (out / RUNS).glob(f"*/{METRICS}"))
    wanted = {folder(cell, out).name: cell for cell in cells}
    for path in sorted((out / RUNS).glob(f"*/{METRICS}")):
        if path.parent.name in wanted:
            found += [f"{path.parent.name}: {text}" for text in repeated_lines(path)]
            if recorded[_identity(path.parent)] > 1:
                found.append(f"{path.parent.name}: the same algorithm, arguments and seed in another folder, too")
    return found


def repeated_lines(path: Path) -> list[str]:
    """What shows that two processes wrote a metrics file, or one wrote a stretch twice.

    The last statistics of training may come twice at the last step, those of tests may not.
    """
    rows = read_metrics(path)[1]
    out = ["a second header"] if any(row.get("header") for row in rows) else []
    steps = [row["t_env"] for row in rows if "t_env" in row]
    out += [f"env step {late} comes after {early}" for early, late in pairwise(steps) if late < early]
    tests = Counter(row["t_env"] for row in rows if any(name.startswith("test_") for name in row))
    return out + [f"the test at env step {step} is there twice" for step, count in tests.items() if count > 1]


def _identity(run_dir: Path) -> str:
    try:
        config = json.loads((run_dir / "config.json").read_text())
    except (OSError, ValueError):
        return str(run_dir)
    return json.dumps({key: value for key, value in config.items() if key not in ("label", "resume")}, sort_keys=True)


def resumed(out: Path) -> int:
    """How many times a run was continued from its checkpoint."""
    records = (json.loads(path.read_text()) for path in (out / RUNS).glob("*/run.json"))
    return sum(len(record.get("interruptions", [])) for record in records)
