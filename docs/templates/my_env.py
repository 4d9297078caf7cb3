"""Template of an environment: two agents on a line of cells, rewarded for standing on the same one."""

from __future__ import annotations

import numpy as np

from components.action_space import DiscreteActions
from envs.multiagentenv import EnvInfo, MultiAgentEnv, Observation, Transition


class MyEnv(MultiAgentEnv):
    """Actions: 0 stay, 1 left, 2 right. `cells` is what env_args.cells sets."""

    def __init__(self, cells: int = 7) -> None:
        self.cells, self.rng, self.at, self.t = cells, np.random.default_rng(0), np.zeros(2, np.int64), 0
        self.env_info = EnvInfo(2, 3, 2, 20, DiscreteActions(3), engine="my_env", engine_version="1")

    def reset(self, seed: int) -> Observation:
        """Everything random is drawn from `seed`."""
        self.rng, self.t = np.random.default_rng(seed), 0
        self.at = self.rng.integers(self.cells, size=2)
        return self._seen()

    def step(self, actions: np.ndarray) -> Transition:
        """`actions [2,1]`."""
        self.at, self.t = self.at + np.array([0, -1, 1])[actions[:, 0]], self.t + 1
        met = bool(self.at[0] == self.at[1])
        late = self.t == self.env_info.episode_limit
        return Transition(self._seen(), 1.0 if met else -0.05, met, late and not met, {"met": met})

    def _seen(self) -> Observation:
        where = self.at / self.cells
        obs = np.array([[where[i], where[1 - i] - where[i], self.t / 20] for i in range(2)], np.float32)
        avail = np.array([[True, at > 0, at < self.cells - 1] for at in self.at])
        return Observation(obs, where.astype(np.float32), avail)
