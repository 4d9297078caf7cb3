"""Games with one state: every agent sees a constant and the reward depends on the joint action alone.

A game writes `rewards`; the single and the vectorised environment both follow from it.

Shape legend: E environments, N agents, A discrete actions, D action dimensions.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from components.action_space import ActionSpace, DiscreteActions
from envs.multiagentenv import EnvInfo, MultiAgentEnv, Observation, Transition, VecEnv

RETURN_KEY = "game_return"  # info key: the reward in the game's own units
DIGEST_CHARS = 16  # characters of the sha256 kept as data_hash


def digest(numbers: np.ndarray) -> str:
    """Hash of an array's shape and float64 values, the same on every machine."""
    data = np.ascontiguousarray(numbers, dtype="<f8")
    return hashlib.sha256(repr(data.shape).encode() + data.tobytes()).hexdigest()[:DIGEST_CHARS]


def one_state_info(
    game: str, version: str, n_agents: int, action_space: ActionSpace, episode_limit: int, numbers: np.ndarray
) -> EnvInfo:
    """`EnvInfo` with an observation and a state of length 1; `numbers` are what the rewards depend on."""
    return EnvInfo(
        n_agents=n_agents,
        obs_dim=1,
        state_dim=1,
        episode_limit=episode_limit,
        action_space=action_space,
        engine=game,
        engine_version=version,
        data_hash=digest(numbers),
    )


class OneStateGame(MultiAgentEnv):
    """One game of `episode_limit` identical steps; it ends by termination, never by truncation.

    `info["game_return"]` is the reward in the game's own units, `reward` is that times `reward_scale`.
    """

    def __init__(self, env_info: EnvInfo, reward_scale: float = 1.0) -> None:
        self.env_info, self.reward_scale = env_info, reward_scale
        self._batch = OneStateVecGame(self, 1)

    @abstractmethod
    def rewards(self, actions: np.ndarray) -> np.ndarray:
        """Rewards in the game's own units: joint actions `[E,N,1]` int or `[E,N,D]` float -> `[E]` float64.

        Raises:
            ValueError: an action that does not exist.
        """

    def details(self, actions: np.ndarray) -> dict[str, np.ndarray]:
        """Further numbers `[E]` to log of the joint actions `[E,N,1]` or `[E,N,D]`; none by default."""
        return {}

    def reset(self, seed: int) -> Observation:
        """Start an episode; nothing is random, so `seed` changes nothing."""
        return _first(self._batch.reset([seed]))

    def step(self, actions: np.ndarray) -> Transition:
        """Take the joint action `[N,1]` or `[N,D]`.

        Raises:
            RuntimeError: the episode has not started or has ended.
            ValueError: an action that does not exist.
        """
        t = self._batch.step(np.asarray(actions)[None], np.ones(1, np.bool_))
        info = {key: float(value[0]) for key, value in t.info.items()}
        return Transition(_first(t.observation), float(t.reward[0]), bool(t.terminated[0]), False, info)


class OneStateVecGame(VecEnv):
    """E copies of a `OneStateGame`, stepped in one call."""

    def __init__(self, game: OneStateGame, n_envs: int) -> None:
        self.game, self.env_info, self.n_envs = game, game.env_info, n_envs
        self._t = game.env_info.episode_limit  # steps taken: no episode yet

    def reset(self, seeds: Sequence[int]) -> Observation:
        """Start `len(seeds)` episodes; nothing is random."""
        if len(seeds) > self.n_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.n_envs} environments")
        self._t = 0
        return self._observation()

    def step(self, actions: np.ndarray, active: np.ndarray) -> Transition:
        """Step the active environments, `[E,N,1]` or `[E,N,D]`; idle rows have reward 0.

        Raises:
            RuntimeError: the episodes have not started or have ended.
            ValueError: an action that does not exist, or the wrong shape.
        """
        if self._t >= self.env_info.episode_limit:
            raise RuntimeError("no episode is running: call reset")
        expected = (self.n_envs, self.env_info.n_agents, self.env_info.action_space.action_dim)
        if actions.shape != expected:
            raise ValueError(f"joint actions must have shape {expected}, got {actions.shape}")
        gained = np.zeros(self.n_envs, np.float64)
        gained[active] = self.game.rewards(actions[active])
        self._t += 1
        ended = np.full(self.n_envs, self._t == self.env_info.episode_limit)
        never = np.zeros(self.n_envs, np.bool_)
        info = {RETURN_KEY: gained} | self.game.details(actions)
        return Transition(self._observation(), gained * self.game.reward_scale, ended, never, info)

    def _observation(self) -> Observation:
        n_envs, n_agents, space = self.n_envs, self.env_info.n_agents, self.env_info.action_space
        avail = None
        if isinstance(space, DiscreteActions):
            avail = np.ones((n_envs, n_agents, space.n_actions), np.bool_)
        return Observation(np.ones((n_envs, n_agents, 1), np.float32), np.ones((n_envs, 1), np.float32), avail)


def _first(batch: Observation) -> Observation:
    avail = None if batch.avail_actions is None else batch.avail_actions[0]
    return Observation(batch.obs[0], batch.state[0], avail)
