"""Small inputs shared by tests: sizes, random episodes, batches, configurations, a toy environment."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch as th

from components.action_space import ActionSpace, ContinuousActions, DiscreteActions
from components.episode_buffer import ReplayBuffer, TrainBatch
from controllers import REGISTRY as CONTROLLERS
from envs.multiagentenv import EnvInfo, MultiAgentEnv, Observation, Transition
from learners import REGISTRY as LEARNERS
from learners import Learner
from utils.config import Config, build_config

DISCRETE = DiscreteActions(4)
CONTINUOUS = ContinuousActions(2, -10.0, 10.0)


def make_info(space: ActionSpace = DISCRETE, limit: int = 8) -> EnvInfo:
    """Three agents, five observation entries, seven state entries."""
    return EnvInfo(3, 5, 7, limit, space, engine="toy", engine_version="1", data_hash="0")


def random_episode(info: EnvInfo, length: int, terminated: bool, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """An episode of `length` transitions as the runner would hand it over."""
    rows, n = length + 1, info.n_agents
    episode: dict[str, np.ndarray] = {
        "obs": rng.normal(size=(rows, n, info.obs_dim)).astype(np.float32),
        "state": rng.normal(size=(rows, info.state_dim)).astype(np.float32),
        "reward": rng.normal(size=(rows, 1)).astype(np.float32),
        "terminated": np.zeros((rows, 1), np.bool_),
    }
    episode["terminated"][length - 1] = terminated
    if isinstance(info.action_space, DiscreteActions):
        avail = rng.random((rows, n, info.action_space.n_actions)) < 0.6
        avail[..., 0] |= ~avail.any(-1)
        episode["avail_actions"] = avail
        episode["actions"] = avail.argmax(-1)[..., None].astype(np.uint8)
    else:
        episode["actions"] = rng.uniform(-9, 9, size=(rows, n, info.action_space.dim)).astype(np.float32)
    return episode


def random_buffer(info: EnvInfo, episodes: int = 12, seed: int = 0) -> ReplayBuffer:
    """A buffer of episodes of random length, some terminated, some truncated."""
    rng = np.random.default_rng(seed)
    buffer = ReplayBuffer(info, capacity=episodes, seed=seed)
    for k in range(episodes):
        buffer.insert(random_episode(info, int(rng.integers(1, info.episode_limit + 1)), k % 2 == 0, rng))
    return buffer


def make_config(alg: str, env: str = "matrix_game", **overrides: Any) -> Config:
    """A small configuration of an algorithm, seed 1."""
    small = {"seed": 1, "batch_size": 4, "hidden_dim": 16, "learning_starts": 0, "torch_threads": 1}
    return build_config(alg, env, small | overrides)


def make_learner(config: Config, info: EnvInfo, seed: int = 0) -> Learner:
    """Controller and learner with weights drawn from `seed`."""
    th.manual_seed(seed)
    mac = CONTROLLERS[LEARNERS[config.learner].mac_class](config, info)
    return LEARNERS[config.learner](config, info, mac)


def pad_batch(batch: TrainBatch, steps: int, fill: float) -> TrainBatch:
    """The same episodes with `steps` more padded steps, and `fill` in every padded float."""

    def longer(x: th.Tensor, value: Any) -> th.Tensor:
        tail = x.new_full((x.shape[0], steps, *x.shape[2:]), value)
        return th.cat((x, tail), dim=1)

    ended = batch.mask == 0
    return dataclasses.replace(
        batch,
        obs=longer(batch.obs, fill),
        state=longer(batch.state, fill),
        avail_actions=None if batch.avail_actions is None else longer(batch.avail_actions, True),
        actions=longer(batch.actions, 0),
        reward=longer(batch.reward.masked_fill(ended, fill), fill),
        terminated=longer(batch.terminated, 0.0),
        mask=longer(batch.mask, 0.0),
    )


class CountingEnv(MultiAgentEnv):
    """Two agents; observations show the step; ends by itself after a random number of steps or is cut.

    Args:
        limit: time limit in steps.
        fail_at: step at which `step` raises, or 0.
        hang_at: step at which `step` sleeps for a minute, or 0.
        die_at: step at which the process ends, or 0.
    """

    def __init__(self, limit: int = 6, fail_at: int = 0, hang_at: int = 0, die_at: int = 0) -> None:
        self.env_info = EnvInfo(2, 3, 4, limit, DiscreteActions(3), engine="counting", engine_version="1")
        self.fail_at, self.hang_at, self.die_at = fail_at, hang_at, die_at
        self.t, self.end, self.rng = 0, 0, np.random.default_rng(0)

    def _observe(self) -> Observation:
        obs = self.rng.normal(size=(2, 3)).astype(np.float32)
        avail = np.ones((2, 3), np.bool_)
        avail[self.t % 2, 2] = False
        return Observation(obs, np.full(4, self.t, np.float32), avail)

    def reset(self, seed: int) -> Observation:
        """Draw the length from the seed; beyond the limit it will be truncated."""
        self.rng = np.random.default_rng(seed)
        self.t, self.end = 0, int(self.rng.integers(1, self.env_info.episode_limit + 3))
        return self._observe()

    def step(self, actions: np.ndarray) -> Transition:
        """Reward 1 for each agent that plays its number; trouble where asked for."""
        self.t += 1
        if self.t == self.fail_at:
            raise RuntimeError("the environment broke")
        if self.t == self.hang_at:
            import time

            time.sleep(60)
        if self.t == self.die_at:
            import sys

            sys.exit(7)
        reward = float((actions[:, 0] == np.arange(2)).sum())
        terminated = self.t >= self.end
        truncated = self.t >= self.env_info.episode_limit and not terminated
        return Transition(self._observe(), reward, terminated, truncated, {"battle_won": float(terminated)})
