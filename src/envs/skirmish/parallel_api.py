"""PettingZoo's parallel API over the embedded engine. Needs the `pettingzoo` package (requirements-envs.txt)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from envs.skirmish.flags import embedded, parse_flags
from envs.skirmish.kernel import NO_OP
from envs.skirmish.render import Painter
from envs.skirmish.simulation import Simulation

spaces: Any = import_module("gymnasium.spaces")
ParallelEnv: Any = import_module("pettingzoo").ParallelEnv
Each = dict[str, Any]  # agent -> its value
BOUND = 1e3  # observations are ratios and relative positions: far smaller


class SkirmishParallelEnv(ParallelEnv):
    """One battle as a PettingZoo parallel environment.

    Agents are `ally_0` .. `ally_{N-1}`. An observation is a dict: `observation` float32 `[O]` and `action_mask`
    int8 `[A]`. All agents share the reward and leave together at the end of the battle; a dead agent stays, its only
    available action is no-op. An unavailable action is replaced by no-op for the dead and stop for the living.

    Args:
        map_name: one of the 23 maps.
        seed: of the first episode if `reset` is given none.
        render_mode: None or "rgb_array".
        flags: the other arguments of `config/envs/sc2.yaml`.
    """

    metadata = {"name": "skirmish_v1", "render_modes": ["rgb_array"], "is_parallelizable": True}  # noqa: RUF012

    def __init__(self, map_name: str = "3s_vs_3z", seed: int = 0, render_mode: str | None = None, **flags: Any) -> None:
        self.sim = Simulation(embedded(parse_flags({**flags, "map_name": map_name})), n_envs=1, threads=1)
        self.render_mode, self.max_cycles = render_mode, self.sim.scenario.limit
        count, sizes = self.sim.world.agents.shape[1], self.sim.sizes
        self.possible_agents = [f"ally_{i}" for i in range(count)]
        self.agents: list[str] = []
        self._next_seed, self._return = seed, 0.0
        box = spaces.Box(-BOUND, BOUND, (sizes.obs,), np.float32)
        mask = spaces.Box(0, 1, (sizes.actions,), np.int8)
        self.observation_spaces = {
            agent: spaces.Dict({"observation": box, "action_mask": mask}) for agent in self.possible_agents
        }
        self.action_spaces = {agent: spaces.Discrete(sizes.actions) for agent in self.possible_agents}
        self.state_space = spaces.Box(-BOUND, BOUND, (sizes.state,), np.float32)
        self._painter: Painter | None = None

    def observation_space(self, agent: str) -> Any:
        """The same object at every call."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """The same object at every call."""
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict | None = None) -> tuple[Each, Each]:
        """Start an episode; without a seed, the next of the sequence."""
        if seed is not None:
            self._next_seed = seed
        self.sim.reset([self._next_seed % 2**64])
        self._next_seed, self._return = self._next_seed + 1, 0.0
        self.agents = list(self.possible_agents)
        return self._observations(), {agent: {} for agent in self.agents}

    def step(self, actions: Each) -> tuple[Each, Each, Each, Each, Each]:
        """Take one action per agent; returns observations, rewards, terminated, truncated, infos."""
        avail = self.sim.world.avail[0]
        joint = np.array([int(actions[agent]) for agent in self.possible_agents], np.int64)
        legal = avail[np.arange(len(joint)), joint]
        joint = np.where(legal, joint, np.where(avail[:, NO_OP], NO_OP, NO_OP + 1))
        self.sim.step(joint[None])
        now = self.sim.world.envs[0]
        self._return += float(now["reward"])
        info = {name: now[name].item() for name in ("battle_won", "dead_allies", "dead_enemies")}
        observations, agents = self._observations(), self.agents
        if now["terminated"] or now["truncated"]:
            self.agents = []
        return (
            observations,
            dict.fromkeys(agents, float(now["reward"])),
            dict.fromkeys(agents, bool(now["terminated"])),
            dict.fromkeys(agents, bool(now["truncated"])),
            {agent: dict(info) for agent in agents},
        )

    def _observations(self) -> Each:
        world = self.sim.world
        return {
            agent: {"observation": world.obs[0, i].copy(), "action_mask": world.avail[0, i].astype(np.int8)}
            for i, agent in enumerate(self.agents)
        }

    def state(self) -> np.ndarray:
        """Global state `[S]`."""
        return self.sim.world.state[0].copy()

    def render(self) -> np.ndarray | None:
        """An RGB image `[height, width, 3]`, or None without a render mode."""
        if self.render_mode is None:
            return None
        self._painter = self._painter or Painter(self.sim)
        return np.asarray(self._painter.frame(self._return))

    def close(self) -> None:
        """Free the engine."""
        self.sim.close()
