"""Which run to continue: `resume=RUN_DIRECTORY`, or `resume=auto` for the newest unfinished one of the same kind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from utils.cli import Request
from utils.config import DERIVED, Config, overlay
from utils.errors import UserError
from utils.runlock import RunLock

AUTO = "auto"
FOLDER = "resume"  # of a run directory: what the run can be resumed from
STOP = ("stop_metric", "stop_level", "stop_tests")  # when a run ends before t_max
FREE = (  # keys a resumed run may change: what is trained and measured stays the same
    *("resume", "label", "local_results_path", "t_max", *STOP),
    *("save_model", "save_model_interval", "save_every", "save_every_minutes", "save_keep", "save_finished"),
    *("use_tensorboard", "tensorboard_backend", "mongo_url", "mongo_interval", "mongo_checkpoint"),
    *("runner", "worker_timeout", "use_cuda", "torch_threads", "torch_compile"),
)


def checkpoints_in(run_dir: Path) -> dict[int, Path]:
    """t_env -> file of the checkpoints a run can be resumed from, oldest first."""
    files = {int(file.stem): file for file in (run_dir / FOLDER).glob("*.th") if file.stem.isdigit()}
    return dict(sorted(files.items()))


class Continued:
    """A run to go on with; its lock is held.

    Args:
        run_dir: its directory.
        config: the configuration it recorded.
        lock: held.
    """

    def __init__(self, run_dir: Path, config: Mapping[str, Any], lock: RunLock) -> None:
        self.run_dir, self.config, self.lock = run_dir, config, lock


def with_recorded(request: Request) -> Request:
    """Put what the run named by resume=RUN_DIRECTORY recorded below the command line.

    All of it where the command line names neither algorithm nor environment, else only the seed.
    """
    run_dir = named_run(request)
    if run_dir is None:
        return request
    recorded = {key: value for key, value in read_record(run_dir, "config.json").items() if key not in DERIVED}
    if {request.alg, request.env, request.overrides.get("learner"), request.overrides.get("env")} != {None}:
        recorded = {key: recorded[key] for key in ("seed",) if key in recorded}
    return replace(request, overrides=overlay(recorded, request.overrides))


def named_run(request: Request) -> Path | None:
    """The directory given by resume=RUN_DIRECTORY, if it was; `UserError` if there is none."""
    given = request.overrides.get("resume", "")
    if request.command != "main" or not isinstance(given, str) or given in ("", AUTO):
        return None
    run_dir = Path(given).expanduser()
    if not run_dir.is_dir():
        raise UserError(f"resume: {given!r} does not exist{_others(run_dir)}")
    if not (run_dir / "config.json").is_file():
        raise UserError(f"resume: {given!r} is not a run directory: it has no config.json{_others(run_dir)}")
    return run_dir


def read_record(run_dir: Path, name: str) -> dict[str, Any]:
    """Read config.json or run.json of a run; `UserError` if it is missing or damaged."""
    path = run_dir / name
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {error}") from error
    if not isinstance(record, dict):
        raise UserError(f"{path} does not hold what a run records")
    return record


def find_run(
    request: Request, config: Config, recorded: Mapping[str, Any], below: Mapping[str, Any], base: Path
) -> Continued | None:
    """The run that `resume` asks for, locked, or None for a new one.

    Args:
        request: the command line.
        config: the validated configuration.
        recorded: what a new run would record of it.
        below: the configuration without the command line.
        base: directory of run directories.
    """
    if request.command != "main" or not config.resume:
        return None
    if flags := [flag for flag in ("--unobserved", "--queue") if request.options[flag]]:
        raise UserError(f"resume needs the run's directory, {flags[0]} leaves it out")
    if config.resume == AUTO:
        any_seed = "seed" not in request.overrides and below["seed"] is None
        return newest_unfinished(base, recorded, any_seed, request.options["--id"])
    if request.options["--id"]:
        raise UserError("--id names a new run, resume=RUN_DIRECTORY goes on with an old one: give one of them")
    return open_run(Path(config.resume).expanduser(), recorded)


def open_run(run_dir: Path, ours: Mapping[str, Any]) -> Continued:
    """The run of `run_dir`, to be continued with the configuration `ours`.

    Raises:
        UserError: it is complete, alive, has no checkpoint or another configuration.
    """
    recorded = read_record(run_dir, "config.json")
    if different := differences(recorded, ours):
        raise UserError(f"resume: {str(run_dir)!r} has another configuration: {', '.join(different)}")
    steps = list(checkpoints_in(run_dir))
    if read_record(run_dir, "run.json").get("status") == "COMPLETED" and (end := _still_ends(recorded, ours, steps)):
        remedy = f"{end} trains on" if steps else "checkpoint_path= starts a new run from its networks"
        raise UserError(f"resume: {str(run_dir)!r} is complete, nothing to resume; {remedy}")
    if not steps:
        raise UserError(
            f"resume: {str(run_dir)!r} has nothing to resume from, no {FOLDER}/<t_env>.th: it was stopped before its "
            "first checkpoint, completed with save_finished=False, or run with save_model=False"
        )
    if _is_past(steps[-1], recorded, ours):
        raise UserError(f"resume: {str(run_dir)!r} has {steps[-1]} env steps already, t_max is {ours['t_max']}")
    try:
        return Continued(run_dir.resolve(), recorded, RunLock(run_dir))
    except BlockingIOError as error:
        raise UserError(f"resume: {str(run_dir)!r} is still alive; stop it first (Ctrl-C, SIGTERM)") from error


def newest_unfinished(base: Path, ours: Mapping[str, Any], any_seed: bool, name: str | None) -> Continued | None:
    """The newest run in `base` of the same configuration that can be continued, or None.

    Args:
        base: directory of run directories.
        ours: the configuration.
        any_seed: the seed may differ, as the command line leaves it open; runs that are alive are passed over then.
        name: only the run of this name, if given.

    Raises:
        UserError: a run of this configuration and seed is alive.
    """
    for run_dir in _unfinished(base, name):
        recorded = read_record(run_dir, "config.json")
        past = _is_past(max(checkpoints_in(run_dir)), recorded, ours)
        if past or differences(recorded, ours, ("seed",) if any_seed else ()):
            continue
        try:
            return Continued(run_dir.resolve(), recorded, RunLock(run_dir))
        except BlockingIOError as error:
            if not any_seed:
                raise UserError(
                    f"resume=auto: {str(run_dir)!r}, a run of this configuration, is still alive"
                ) from error
    return None


def differences(recorded: Mapping[str, Any], ours: Mapping[str, Any], free: tuple[str, ...] = ()) -> list[str]:
    """Keys in which two configurations differ, with both values; those of `FREE` and `free` are left out."""
    left, right = (_flat({k: v for k, v in config.items() if k not in (*FREE, *free)}) for config in (recorded, ours))
    return [
        f"{key} was {left.get(key, 'not there')!r}, is {right.get(key, 'not there')!r}"
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key) or (key in left) != (key in right)
    ]


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys joined by dots, values as JSON gives them back."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = json.loads(json.dumps(value))
    return flat


def _still_ends(recorded: Mapping[str, Any], ours: Mapping[str, Any], steps: list[int]) -> str:
    """What would have to change for a complete run to go on: its t_max or, after an early stop, that; "" if it does."""
    before = recorded.get("stop_tests", 0)
    if before > 0 and steps and steps[-1] < recorded["t_max"]:
        same = all(ours[key] == recorded[key] for key in ("stop_metric", "stop_level"))
        return "stop_tests=0" if same and 0 < ours["stop_tests"] <= before else ""
    return "a larger t_max" if ours["t_max"] <= recorded["t_max"] else ""


def _is_past(t_env: int, recorded: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Whether a run has more steps than it is to have now; its last episodes may go beyond its own t_max."""
    return bool(ours["t_max"] < recorded["t_max"] and t_env > ours["t_max"])


def _unfinished(base: Path, name: str | None) -> list[Path]:
    """Runs in `base` that are not complete and have a checkpoint, newest first."""
    folders = [base / name] if name else list(base.iterdir()) if base.is_dir() else []
    records = {
        folder: read_record(folder, "run.json")
        for folder in folders
        if (folder / "run.json").is_file() and checkpoints_in(folder)
    }
    unfinished = [folder for folder, record in records.items() if record.get("status") != "COMPLETED"]
    return sorted(unfinished, key=lambda folder: str(records[folder].get("start_time")), reverse=True)


def _others(run_dir: Path) -> str:
    """Which directories beside `run_dir` could be resumed, for an error message."""
    beside = sorted(run_dir.parent.iterdir()) if run_dir.parent.is_dir() else []
    names = [str(other) for other in beside if other.is_dir() and checkpoints_in(other)]
    return f"; can be resumed: {', '.join(names[-5:])}" if names else ""
