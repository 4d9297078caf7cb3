"""SMAC's own Python interface over the embedded engine, so that code written for SMAC runs on it unchanged."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from envs.skirmish.build import Sizes
from envs.skirmish.flags import embedded, parse_flags
from envs.skirmish.kernel import SHOOT_RANGE, SIGHT_RANGE
from envs.skirmish.render import Painter, write_gif
from envs.skirmish.simulation import Simulation

LOG = logging.getLogger(__name__)
SEED_STRIDE = 1 << 32  # episode k of an environment with seed s plays seed s * SEED_STRIDE + k


class SkirmishEnv:
    """One battle with the methods of SMAC's StarCraft2Env.

    Lists and shapes are SMAC's: `get_obs()` is a list of N float32 vectors of length O, `get_state()` a float32
    vector of length S, `get_avail_actions()` a list of N lists of A zeros and ones. Rendering keeps the frames of
    the episode only after `record = True` or `save_replay` was called once.

    Args:
        map_name: one of the 23 maps.
        seed: of the whole environment; each reset plays the next episode of its sequence.
        flags: the other arguments of `config/envs/sc2.yaml`.
    """

    def __init__(self, map_name: str = "3s_vs_3z", seed: int | None = None, **flags: Any) -> None:
        chosen = {"timeout_terminates": True, **flags, "map_name": map_name}
        self.sim = Simulation(embedded(parse_flags(chosen)), n_envs=1, threads=1)
        self._seed = 0 if seed is None else int(seed)
        self._world, self._rules = self.sim.world, self.sim.world.rules
        self.n_agents, self.n_enemies = int(self._rules["n_agents"]), int(self._rules["n_enemies"])
        self.n_actions, self.episode_limit = self.sim.sizes.actions, self.sim.scenario.limit
        self.n_actions_no_attack = self.n_actions - self.n_enemies
        self.map_name = self.sim.scenario.name
        self.battles_won = self.battles_game = self.timeouts = self.force_restarts = 0
        self.record = False
        self._painter: Painter | None = None
        self._frames: list[Image.Image] = []
        self._episode, self._return = 0, 0.0

    def reset(self) -> tuple[list[np.ndarray], np.ndarray]:
        """Start the next episode; returns `(get_obs(), get_state())`."""
        self.sim.reset([(self._seed * SEED_STRIDE + self._episode) % 2**64])
        self._episode += 1
        self._return, self._frames = 0.0, []
        self._keep_frame()
        return self.get_obs(), self.get_state()

    def step(self, actions: Any) -> tuple[float, bool, dict[str, Any]]:
        """Take one action per agent; returns (reward, terminated, info). A time-out is terminated, as in SMAC.

        Raises:
            ValueError: wrong number of actions, or an unavailable one.
        """
        given = np.asarray([int(action) for action in actions], np.int64)
        if given.shape != (self.n_agents,):
            raise ValueError(f"needs {self.n_agents} actions, got {given.size}")
        self.sim.step(given[None])
        now = self._world.envs[0]
        ended = bool(now["terminated"] or now["truncated"])
        info: dict[str, Any] = {"battle_won": bool(now["battle_won"])}
        info |= {name: int(now[name]) for name in ("dead_allies", "dead_enemies")}
        if now["timeout"] and self.sim.flags.continuing_episode:
            info["episode_limit"] = True
        self._count(ended, now)
        self._return += float(now["reward"])
        self._keep_frame()
        return float(now["reward"]), ended, info

    def _count(self, ended: bool, now: np.void) -> None:
        self.battles_game += ended
        self.battles_won += bool(now["battle_won"])
        self.timeouts += bool(now["timeout"])

    def get_obs(self) -> list[np.ndarray]:
        """Observations of all agents."""
        return [self.get_obs_agent(a) for a in range(self.n_agents)]

    def get_obs_agent(self, agent_id: int) -> np.ndarray:
        """Observation `[O]` of one agent."""
        return self._world.obs[0, agent_id].copy()

    def get_obs_size(self) -> int:
        """O. With obs_timestep_number the real length, which SMAC's own formula misses by one."""
        return self.sim.sizes.obs

    def get_state(self) -> np.ndarray:
        """Global state `[S]`."""
        return self._world.state[0].copy()

    def get_state_size(self) -> int:
        """S."""
        return self.sim.sizes.state

    def get_avail_actions(self) -> list[list[int]]:
        """Availability of all agents' actions."""
        return [self.get_avail_agent_actions(a) for a in range(self.n_agents)]

    def get_avail_agent_actions(self, agent_id: int) -> list[int]:
        """Availability of one agent's A actions, 0 or 1."""
        return [int(free) for free in self._world.avail[0, agent_id]]

    def get_total_actions(self) -> int:
        """A."""
        return self.n_actions

    def get_obs_move_feats_size(self) -> int:
        """Length of the move block of an observation."""
        return self.sim.sizes.move

    def get_obs_enemy_feats_size(self) -> tuple[int, int]:
        """(enemies, features of each) in an observation."""
        return self.n_enemies, self.sim.sizes.enemy_feats

    def get_obs_ally_feats_size(self) -> tuple[int, int]:
        """(other agents, features of each) in an observation."""
        return self.n_agents - 1, self.sim.sizes.ally_feats

    def get_obs_own_feats_size(self) -> int:
        """Own features in an observation."""
        return self.sim.sizes.own_feats

    def get_env_info(self) -> dict[str, Any]:
        """Sizes and names of features, SMAC's keys."""
        sizes: Sizes = self.sim.sizes
        return {
            "state_shape": sizes.state,
            "obs_shape": sizes.obs,
            "n_actions": sizes.actions,
            "n_agents": self.n_agents,
            "episode_limit": self.episode_limit,
            "agent_features": self._features(["health", "energy/cooldown", "rel_x", "rel_y"], "ally_shields"),
            "enemy_features": self._features(["health", "rel_x", "rel_y"], "enemy_shields"),
        }

    def _features(self, names: list[str], shields: str) -> list[str]:
        bits = [f"type_{i}" for i in range(self.sim.scenario.type_columns)]
        return names + (["shield"] if self._rules[shields] else []) + bits

    def get_stats(self) -> dict[str, Any]:
        """Counts of battles; the win rate is 0 before the first has ended."""
        return {
            "battles_won": self.battles_won,
            "battles_game": self.battles_game,
            "battles_draw": self.timeouts,
            "win_rate": self.battles_won / max(self.battles_game, 1),
            "timeouts": self.timeouts,
            "restarts": self.force_restarts,
        }

    def get_unit_types(self) -> list[int]:
        """Unit types that occur, numbered by their one-hot columns of the agents first, then of the enemies."""
        names = dict.fromkeys([*self.sim.scenario.ally_types, *self.sim.scenario.enemy_types])
        return list(range(len(names)))

    def get_visibility_matrix(self) -> np.ndarray:
        """`[N, N + M]` bool: which agent sees which agent and enemy."""
        units = self._world.units[0]
        dx, dy = units["x"][:, None] - units["x"], units["y"][:, None] - units["y"]
        seen = (np.hypot(dx, dy) < SIGHT_RANGE) & units["alive"] & units["alive"][:, None]
        np.fill_diagonal(seen, False)
        return np.asarray(seen[: self.n_agents])

    def unit_sight_range(self, agent_id: int) -> float:
        """Cells; the same for every agent."""
        return SIGHT_RANGE

    def unit_shoot_range(self, agent_id: int) -> float:
        """Cells; the same for every agent."""
        return SHOOT_RANGE

    def render(self, mode: str = "rgb_array") -> np.ndarray:
        """The battle as an RGB image `[height, width, 3]` uint8."""
        if mode not in ("rgb_array", "human"):
            raise ValueError(f"mode must be rgb_array or human, got {mode!r}")
        return np.asarray(self._paint())

    def _paint(self) -> Image.Image:
        self._painter = self._painter or Painter(self.sim)
        return self._painter.frame(self._return)

    def _keep_frame(self) -> None:
        if self.record:
            self._frames.append(self._paint())

    def save_replay(self) -> Path:
        """Write the episode so far as a GIF into `replay_dir`; the first call switches recording on."""
        flags = self.sim.flags
        path = Path(flags.replay_dir) / f"{flags.replay_prefix or self.map_name}_{self._episode:06d}.gif"
        if not self._frames:
            LOG.warning("recording starts with this call; the replay holds one picture")
            self.record = True
            self._keep_frame()
        write_gif(path, self._frames)
        return path

    def seed(self) -> int:
        """The seed of the environment."""
        return self._seed

    def close(self) -> None:
        """Free the engine."""
        self.sim.close()
