"""Reading finished and running runs back, from folders or MongoDB: configuration and metrics, grouped for results."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from utils.errors import UserError, nearest
from utils.metricsfile import FILE_NAME, read_metrics

COMPARABLE = ("engine", "engine_version", "data_hash")  # results that differ in these are not comparable
SCHEMES = ("mongodb://", "mongodb+srv://")
# Keys that may differ between runs of one curve: where and how fast they ran, not what was learnt.
MACHINE_KEYS = frozenset(
    (
        *("name", "label", "seed", "env", "env_info", "local_results_path", "checkpoint_path", "load_step", "evaluate"),
        *("runner", "batch_size_run", "worker_timeout", "use_cuda", "torch_threads", "torch_compile"),
        *("t_max", "stop_tests", "stop_metric", "stop_level", "resume", "save_every_minutes"),
        *("save_keep", "save_finished", "test_interval", "log_interval", "save_model", "save_model_interval"),
        *("save_every", "use_tensorboard", "tensorboard_backend", "mongo_url", "mongo_interval", "mongo_checkpoint"),
    )
)
MAP_KEYS = ("env_args.map_name", "env_args.map_file", "env_args.key")


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Args:
        path: its directory, or its address in MongoDB.
        header: the first line of its metrics file.
        rows: the other lines.
        status: Sacred's, "" if it has no run.json.
        config: its complete configuration, empty if it was not recorded.
        meta: Sacred's record (run.json): commit, packages, host, times.
    """

    path: Path
    header: dict[str, Any]
    rows: list[dict[str, Any]]
    status: str
    config: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def alg(self) -> str:
        """Name of the algorithm."""
        return str(self.header.get("alg", "?"))

    @property
    def task(self) -> str:
        """Map, key or payoff, else the environment."""
        return task_of(str(self.header.get("env", "?")), self.header.get("env_args", {}))

    @property
    def seed(self) -> Any:
        """The run's seed."""
        return self.header.get("seed")

    @property
    def start(self) -> str:
        """When it began, as text that sorts; "" if unknown."""
        return str(self.meta.get("start_time", ""))

    @property
    def engine(self) -> str:
        """Engine, version and data hash in one text."""
        return " ".join(str(self.header.get(key, "?")) for key in COMPARABLE)

    @property
    def commit(self) -> str:
        """Commit of the code it ran with, "" if unknown; with "+" if files differed from it."""
        repositories = self.meta.get("experiment", {}).get("repositories", [])
        return "".join(one["commit"][:8] + "+" * bool(one.get("dirty")) for one in repositories[:1])

    def series(self, metric: str) -> tuple[np.ndarray, np.ndarray]:
        """Env steps and values of a metric, `[P]` each; empty if it was never logged."""
        pairs = [(row["t_env"], row[metric]) for row in self.rows if row.get(metric) is not None]
        array = np.array(pairs, np.float64).reshape(-1, 2)
        return array[:, 0], array[:, 1]

    def settings(self) -> dict[str, Any]:
        """Dotted key -> value of what may change what is learnt; the map is not one of them."""
        flat = _flat({key: value for key, value in self.config.items() if key not in MACHINE_KEYS})
        return {key: value for key, value in flat.items() if key not in MAP_KEYS}


def task_of(env: str, args: Mapping[str, Any]) -> str:
    """What is played: a map (a map file's name), key or payoff, else the environment."""
    own = Path(str(args.get("map_file") or "")).stem
    return str(own or args.get("map_name") or args.get("payoff") or args.get("key") or env)


def find_runs(roots: Iterable[Path | str]) -> list[RunRecord]:
    """All runs below the given directories (or the run directories themselves), in order of their paths.

    A root mongodb://HOST/DATABASE stands for all runs there. Runs that have not written anything yet are left out; one
    that lies below several roots is there once.

    Raises:
        UserError: a path does not exist, a file is damaged, or there is no run at all.
    """
    runs: dict[Path, RunRecord] = {}
    roots = list(roots)
    for root in roots:
        for run in _from_server(str(root)) if is_server(root) else _below(Path(root)):
            runs.setdefault(run.path if is_server(root) else run.path.resolve(), run)
    if not runs:
        raise UserError(f"no runs (no {FILE_NAME}) below {', '.join(map(str, roots))}")
    return list(runs.values())


def is_server(root: Path | str) -> bool:
    """Whether a root names a MongoDB server."""
    return str(root).startswith(SCHEMES)


def _from_server(address: str) -> list[RunRecord]:
    from utils.mongoruns import read_server  # here: pymongo is only needed for this

    return read_server(address)


def _below(root: Path) -> list[RunRecord]:
    if not root.exists():
        raise UserError(f"{str(root)!r} does not exist")
    files = sorted(root.rglob(FILE_NAME), key=lambda path: (len(str(path)), str(path)))
    return [run for run in map(_read, files) if run is not None and (run.header or run.rows)]


def _read(path: Path) -> RunRecord | None:
    """The run of a metrics file; None if it has been removed since it was found."""
    try:
        header, rows = read_metrics(path)
        if not all(isinstance(row.get("t_env"), (int, float)) for row in rows):
            raise ValueError("a line has no t_env")
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error}") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    meta = _json(path.with_name("run.json"))
    config = _json(path.with_name("config.json"))
    return RunRecord(path.parent, header, rows, str(meta.get("status", "")), config, meta)


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(data, dict):
            raise ValueError("not a JSON object")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error
    return data


def metrics_of(runs: Iterable[RunRecord]) -> list[str]:
    """Names of all metrics that any run has logged."""
    return sorted({key for run in runs for row in run.rows for key in row} - {"t_env", "time"})


def check_metric(runs: Sequence[RunRecord], metric: str) -> None:
    """Raise `UserError` with the nearest name if no run has logged `metric`."""
    known = metrics_of(runs)
    if metric not in known:
        raise UserError(f"no run has the metric {metric!r}{nearest(metric, known)}; known: {', '.join(known)}")


def check_engines(runs: Sequence[RunRecord], mix: bool) -> None:
    """Raise `UserError` if runs of one task come from different engines, unless told to mix."""
    engines: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        engines[run.task].add(run.engine)
    for task, found in engines.items():
        if len(found) > 1 and not mix:
            raise UserError(
                f"runs of {task} come from different engines ({'; '.join(sorted(found))}): "
                "their results are not comparable; --mix-engines to do it all the same"
            )


def by_task_and_alg(runs: Sequence[RunRecord], split: Sequence[str] = ()) -> dict[str, dict[str, list[RunRecord]]]:
    """task -> algorithm, with the values of the keys `split` behind it -> runs (seeds)."""
    groups: dict[str, dict[str, list[RunRecord]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        flat = _flat(run.config)
        values = ", ".join(f"{key.rpartition('.')[2]}={flat.get(key, '?')}" for key in split)
        groups[run.task][run.alg + (f" ({values})" if values else "")].append(run)
    return groups


def mixed_settings(runs: Sequence[RunRecord], split: Sequence[str] = ()) -> dict[str, list[str]]:
    """Curve -> keys in which its runs differ although they may change what is learnt, `split` left out."""
    out = {}
    for task, algs in by_task_and_alg(runs, split).items():
        for alg, members in algs.items():
            settings = [run.settings() for run in members if run.config]
            keys = sorted(set().union(*settings) - set(split)) if settings else []
            differing = [key for key in keys if len({repr(one.get(key)) for one in settings}) > 1]
            if differing:
                out[f"{alg} on {task}"] = differing
    return out


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in nested.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return out


def first_crossing(run: RunRecord, metric: str, level: float) -> float | None:
    """Env steps at the first value of a metric that is at least `level`; None if there is none."""
    steps, values = run.series(metric)
    reached = np.flatnonzero(values >= level)
    return float(steps[reached[0]]) if len(reached) else None


def on_grid(
    runs: Sequence[RunRecord], metric: str, points: int = 201, end: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Values of all runs at common env steps: `[P]` and `[runs,P]`, up to the shortest run's last value or `end`.

    The value at a step is the newest one logged until then, which is what an observer would have known.
    """
    series = [run.series(metric) for run in runs]
    series = [(steps, values) for steps, values in series if len(steps)]
    grid = np.linspace(0.0, common_end(runs, metric) if end is None else end, points)
    rows = [values[np.maximum(np.searchsorted(steps, grid, side="right") - 1, 0)] for steps, values in series]
    return grid, np.stack(rows)


def common_end(runs: Sequence[RunRecord], metric: str) -> float:
    """Env steps up to which every run has logged `metric`."""
    return float(min(steps[-1] for steps, _ in (run.series(metric) for run in runs) if len(steps)))
