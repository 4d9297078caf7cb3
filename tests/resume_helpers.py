"""Shared by tests of resuming: training loops on tiny environments, what must be equal at the end, sudden deaths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import envs
import run as run_module
from envs.multiagentenv import EnvSpec
from helpers import CountingEnv, make_config
from run import TrainingLoop
from utils import checkpoint
from utils.logging import Logger
from utils.metricsfile import read_metrics
from utils.seeding import seed_everything

CLOCKS = ("phases", "logger", "machine")  # parts of a checkpoint that tell how long things took, and where
SMALL = {
    **{"t_max": 80, "batch_size_run": 3, "buffer_size": 20, "hidden_dim": 8, "updates_per_episode": 0.7},
    **{"test_interval": 30, "test_nepisode": 4, "log_interval": 18, "save_model_interval": 50, "save_every": 20},
}


class Killed(BaseException):
    """The process ends here: nobody cleans up."""


def make_loop(alg: str, env: str, folder: Path, seed: int, **changes: Any) -> TrainingLoop:
    """A loop on an environment: "counting" or a registered one. `seed` is of the process, not the run's."""
    if alg == "fop_official" and env == "mtq":
        changes["v_function"] = "network"
    if env == "mtq":  # episodes of one step
        changes = {"t_max": 24, "save_every": 6, "log_interval": 5, "test_interval": 10} | changes
    config = make_config(alg, "matrix_game" if env == "counting" else env, **SMALL | changes)
    spec = EnvSpec(CountingEnv) if env == "counting" else envs.resolve(config.env, config.env_args)
    folder.mkdir(exist_ok=True)
    seed_everything(seed)
    vec = run_module.make_vec_env(spec, config.runner, config.batch_size_run, config.worker_timeout)
    return TrainingLoop(config, Logger(folder), folder, vec)


def end_of(loop: TrainingLoop) -> dict[str, str]:
    """Part of what must be equal -> checksum of its bits, at the end of a run."""
    buffer = loop.buffer
    rows = read_metrics(loop.logger.run_dir / "metrics.jsonl")[1]
    parts = {name: part for name, part in loop.everything().items() if name not in CLOCKS} | {
        "buffer": buffer.position(),
        "episodes": buffer.pages(buffer.n_inserted - len(buffer), 10**12)[1],
        "metrics": [{name: value for name, value in row.items() if name != "time"} for row in rows],
    }
    loop.runner.env.close()
    loop.logger.close()
    return {name: checkpoint.digest(part) for name, part in parts.items()}


def killed_at_update(loop: TrainingLoop, number: int) -> None:
    """Train until update `number` would be made."""

    def die(*_: Any) -> None:
        if loop.learner.n_updates == number:
            raise Killed
        return original(*_)

    original, loop.learner.update = loop.learner.update, die  # type: ignore[method-assign]
    with pytest.raises(Killed):
        loop.train()
    loop.runner.env.close()
    loop.logger.close()


def resumed(alg: str, env: str, folder: Path, **changes: Any) -> TrainingLoop:
    """A new process's loop, which goes on from the newest checkpoint in `folder`."""
    loop = make_loop(alg, env, folder, seed=12345, **changes)
    loop.resume()
    return loop
