"""What the learner and buffer benchmarks share: map shapes, learners, episodes played and made up, medians, tables."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch as th

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import envs
from components.action_space import DiscreteActions
from components.episode_buffer import ReplayBuffer, TrainBatch
from envs.multiagentenv import EnvInfo, VecEnv
from learners import Learner
from runners import Runner, make_vec_env
from utils.building import build_learner
from utils.config import build_config
from utils.errors import UserError
from utils.memory import tune_memory
from utils.timehelper import PhaseTimer

tune_memory()  # as a run does

# map -> steps of the longest episode of a batch, to which PyMARL pads the others; shorter than the time limit
STEPS = {"3s_vs_3z": 60, "MMM2": 80, "2c_vs_64zg": 100}
CPU = th.device("cpu")


def map_env(name: str, n_envs: int) -> VecEnv:
    """Environments of the embedded engine, stepped together."""
    spec = envs.resolve("sc2", {"map_name": name, "engine": "embedded"})
    return make_vec_env(spec, "batched", n_envs, 10.0)


def map_info(name: str) -> EnvInfo:
    """Sizes of a map, from the embedded engine."""
    env = map_env(name, 1)
    env.close()
    return env.env_info


def device_of(name: str) -> th.device:
    """`cpu` or `cuda`.

    Raises:
        UserError: there is no GPU.
    """
    if name == "cuda" and not th.cuda.is_available():
        raise UserError("--device cuda: PyTorch sees no GPU here")
    return th.device(name)


def make_learner(alg: str, info: EnvInfo, overrides: dict[str, Any], device: th.device = CPU) -> Learner:
    """Controller and learner of an algorithm, as the training loop makes them."""
    config = build_config(alg, "sc2", {"seed": 1} | overrides)
    th.manual_seed(1)
    return build_learner(config, info, device)


def play(name: str, count: int) -> tuple[EnvInfo, list[dict[str, np.ndarray]]]:
    """About `count` episodes of untrained policies."""
    env = map_env(name, 8)
    runner = Runner(env, make_learner("fop", env.env_info, {}).mac, 1, PhaseTimer())
    episodes: list[dict[str, np.ndarray]] = []
    for first in range(0, count, 8):
        rollout = runner.collect(first, 8, t_env=0)
        episodes += [{key: x.copy() for key, x in rollout.batch.episode(k).items()} for k in rollout.kept]
    env.close()
    return env.env_info, episodes


def played_lengths(name: str, count: int, longest: int) -> list[int]:
    """Steps of `count` played episodes, all scaled by the same number so that the longest has `longest`."""
    steps = [len(episode["reward"]) - 1 for episode in play(name, count)[1][:count]]
    return [max(1, round(longest * length / max(steps))) for length in steps]


def random_episode(info: EnvInfo, length: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Numbers of the right shapes and types; about half of the actions are available, the first always."""
    assert isinstance(info.action_space, DiscreteActions)
    rows, n_agents = length + 1, info.n_agents
    avail = rng.random((rows, n_agents, info.action_space.n_actions)) < 0.5
    avail[..., 0] = True
    taken = (avail * rng.random(avail.shape)).argmax(-1)[..., None]
    terminated = np.zeros((rows, 1), np.bool_)
    terminated[length - 1] = True
    return {
        "obs": rng.uniform(-1, 1, (rows, n_agents, info.obs_dim)).astype(np.float32),
        "state": rng.uniform(-1, 1, (rows, info.state_dim)).astype(np.float32),
        "avail_actions": avail,
        "actions": taken.astype(np.min_scalar_type(info.action_space.n_actions)),
        "reward": rng.normal(size=(rows, 1)).astype(np.float32),
        "terminated": terminated,
    }


def random_batch(
    info: EnvInfo, lengths: Sequence[int], seed: int = 0, device: th.device = CPU, pad_steps: int = 0
) -> TrainBatch:
    """Episodes of the given lengths, on a device, padded as `ReplayBuffer` is told to."""
    rng = np.random.default_rng(seed)
    buffer = ReplayBuffer(info, len(lengths), seed, pad_steps=pad_steps)
    for length in lengths:
        buffer.insert(random_episode(info, length, rng))
    return buffer.recent(len(lengths), device)


def seconds(action: Callable[[], Any]) -> float:
    """Wall time of one call, all work of the GPU included."""
    wait()
    start = time.perf_counter()
    action()
    wait()
    return time.perf_counter() - start


def wait() -> None:
    """Until the GPU, if it was used, has finished."""
    if th.cuda.is_initialized():
        th.cuda.synchronize()


def report(rows: list[dict[str, Any]], as_json: bool) -> None:
    """One Markdown table (or a JSON list) of rows with the same keys; floats to three significant digits."""
    if as_json:
        print(json.dumps(rows))
        return
    cells = [[f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()] for row in rows]
    names = list(rows[0])
    widths = [max(len(name), *(len(row[k]) for row in cells)) for k, name in enumerate(names)]
    print("| " + " | ".join(name.ljust(width) for name, width in zip(names, widths, strict=True)) + " |")
    print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for row in cells:
        print("| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " |")
