"""Networks of a run on disk, and the configuration that built them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils import checkpoint
from utils.config import DERIVED, Config, from_merged, layers
from utils.errors import UserError
from utils.resume import checkpoints_in, read_record


@dataclass(frozen=True)
class Trained:
    """A checkpoint of a run.

    Args:
        run_dir: the run's directory.
        config: its configuration.
        file: the checkpoint.
        state: the learner's state.
        t_env: env steps it was trained for.
    """

    run_dir: Path
    config: Config
    file: Path
    state: Mapping[str, Any]
    t_env: int


def load_trained(path: Path, load_step: int = 0) -> Trained:
    """Read the networks of a run.

    Args:
        path: a run directory, its models folder or a checkpoint.
        load_step: env step, the closest checkpoint is taken; 0: the newest. An unfinished run's checkpoints to
            resume from count as well.

    Raises:
        UserError: there are none, or they are damaged.
    """
    resumable = checkpoints_in(path)
    models = checkpoint.steps_in(path / "models")
    if max(resumable, default=-1) > max(models, default=-1) and load_step == 0:
        file = resumable[max(resumable)]
    else:
        file = checkpoint.find(path, load_step)
    whole = checkpoint.load(file)
    state = whole.get("state", whole)
    run_dir = file.parents[1] if file.parent.name == "resume" else file.resolve().parents[2]
    return Trained(run_dir, recorded_config(run_dir), file, state["learner"], state["t_env"])


def recorded_config(run_dir: Path) -> Config:
    """The configuration of a run; keys that did not exist then have their defaults."""
    if not (run_dir / "config.json").is_file():
        raise UserError(f"{run_dir} has no config.json: a checkpoint must lie in its run directory")
    recorded = {key: value for key, value in read_record(run_dir, "config.json").items() if key not in DERIVED}
    return from_merged(layers(None, None) | recorded | {"checkpoint_path": "", "evaluate": False})
