"""Networks of a run on disk, and the configuration that built them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from utils import checkpoint
from utils.config import DERIVED, Config, from_merged, layers
from utils.errors import UserError
from utils.resume import checkpoints_in, read_record

if TYPE_CHECKING:
    from controllers.basic_controller import BasicMAC
    from envs.multiagentenv import EnvInfo


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
    step = checkpoint.closest({**resumable, **models}, load_step) if resumable else None
    file = resumable[step] if step is not None and step not in models else checkpoint.find(path, load_step)
    whole = checkpoint.load(file)
    state = whole.get("state", whole)
    run_dir = file.parents[1] if file.parent.name == "resume" else file.resolve().parents[2]
    return Trained(run_dir, recorded_config(run_dir), file, state["learner"], state["t_env"])


def trained_mac(trained: Trained, config: Config, info: EnvInfo) -> BasicMAC:
    """The checkpoint's controller, on the CPU whatever it was trained on.

    Args:
        trained: the checkpoint.
        config: the run's, as changed for acting.
        info: sizes of the environment, the same as in training.
    """
    import torch as th  # here: those who only ask for --help need not wait for it

    from utils.building import build_learner

    mac: BasicMAC = build_learner(config, info, th.device("cpu")).mac
    weights = trained.state["networks"].items()
    mac.load_state_dict({name.removeprefix("mac."): one for name, one in weights if name.startswith("mac.")})
    return mac


def recorded_config(run_dir: Path) -> Config:
    """The configuration of a run, to act with; keys that did not exist then have their defaults."""
    if not (run_dir / "config.json").is_file():
        raise UserError(f"{run_dir} has no config.json: a checkpoint must lie in its run directory")
    recorded = {key: value for key, value in read_record(run_dir, "config.json").items() if key not in DERIVED}
    acting = {"checkpoint_path": "", "evaluate": False, "torch_compile": "none"}
    return from_merged(layers(None, None) | recorded | acting)
