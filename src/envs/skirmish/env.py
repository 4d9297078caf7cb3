"""The embedded engine behind the harness's environment contracts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from components.action_space import DiscreteActions
from envs.multiagentenv import EnvInfo, MultiAgentEnv, Observation, Transition, VecEnv
from envs.skirmish.engine import ENGINE_VERSION
from envs.skirmish.flags import Flags, embedded, parse_flags
from envs.skirmish.simulation import Simulation


def describe(sim: Simulation) -> EnvInfo:
    """What the harness needs to know of a battle."""
    shared = sim.flags.obs_instead_of_state
    return EnvInfo(
        n_agents=sim.world.agents.shape[1],
        obs_dim=sim.sizes.obs,
        state_dim=sim.sizes.state,
        episode_limit=sim.scenario.limit,
        action_space=DiscreteActions(sim.sizes.actions),
        engine="embedded",
        engine_version=ENGINE_VERSION,
        data_hash=sim.data_hash,
        unit_dim=None if shared else sim.sizes.ally,
    )


class SkirmishVecEnv(VecEnv):
    """E battles stepped in one call.

    Args:
        map_name: one of `list_maps()`.
        n_envs: E.
        seed: first seed used by `reset()` without seeds; each later reset goes on from there.
        threads: see `Simulation`.
        flags: the other arguments of `config/envs/sc2.yaml`.
    """

    def __init__(
        self, map_name: str = "3s_vs_3z", n_envs: int = 1, seed: int = 0, threads: int | None = None, **flags: Any
    ) -> None:
        parsed = embedded(parse_flags({"map_name": map_name, **flags}))
        self.sim = Simulation(parsed, n_envs, threads)
        self.n_envs, self.env_info, self._next_seed = n_envs, describe(self.sim), seed
        self._shape = (n_envs, self.env_info.n_agents, 1)

    @classmethod
    def from_flags(cls, flags: Flags, n_envs: int, threads: int | None = None) -> SkirmishVecEnv:
        """The same from validated flags."""
        given = {name: getattr(flags, name) for name in flags.__dataclass_fields__}
        return cls(n_envs=n_envs, threads=threads, **given)

    def reset(self, seeds: Sequence[int] | None = None) -> Observation:
        """Start episodes: `obs [E,N,O]`, `state [E,S]`, `avail_actions [E,N,A]`, valid until the next call."""
        if seeds is None:
            seeds = range(self._next_seed, self._next_seed + self.n_envs)
            self._next_seed += self.n_envs
        if len(seeds) > self.n_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.n_envs} environments")
        self.sim.reset(seeds)
        world = self.sim.world
        for rows in (world.obs, world.state, world.avail):
            rows[len(seeds) :] = rows[0]  # idle environments repeat the first, so that policies can be fed every row
        return self.observation()

    def reset_some(self, seeds: Sequence[int], chosen: np.ndarray) -> Observation:
        """Start new episodes only where `chosen [E]` is true, environment k with `seeds[k]`."""
        self.sim.reset(seeds, chosen)
        return self.observation()

    def step(self, actions: np.ndarray, active: np.ndarray | None = None) -> Transition:
        """Take `actions [E,N,1]` or `[E,N]` int64 where `active [E]` is true.

        Raises:
            ValueError: wrong shape or an unavailable action.
        """
        actions = np.asarray(actions)
        if actions.shape not in (self._shape, self._shape[:2]):
            raise ValueError(f"actions must have shape {self._shape}, got {actions.shape}")
        flat = np.ascontiguousarray(actions.reshape(self._shape[:2]), np.int64)
        mask = None if active is None else np.ascontiguousarray(active, bool)
        self.sim.step(flat, mask)
        now = self.sim.world.envs
        return Transition(self.observation(), now["reward"], now["terminated"], now["truncated"], self.info())

    def observation(self) -> Observation:
        """The latest observation of all environments."""
        world = self.sim.world
        return Observation(world.obs, world.state, world.avail)

    def info(self) -> Mapping[str, np.ndarray]:
        """SMAC's info keys, `[E]` each; `episode_limit` only under continuing_episode, as there."""
        now = self.sim.world.envs
        info = {name: now[name] for name in ("battle_won", "dead_allies", "dead_enemies")}
        return {**info, "episode_limit": now["timeout"]} if self.sim.flags.continuing_episode else info

    def save_state(self) -> dict[str, np.ndarray]:
        """See `Simulation.save`."""
        return self.sim.save()

    def restore_state(self, saved: dict[str, np.ndarray]) -> Observation:
        """See `Simulation.restore`; returns the observation of the restored state."""
        self.sim.restore(saved)
        return self.observation()

    def close(self) -> None:
        """End the threads."""
        self.sim.close()


class SingleFromVec(MultiAgentEnv):
    """One environment out of a vectorised one of size 1. Arrays are copies."""

    def __init__(self, vec: VecEnv) -> None:
        if vec.n_envs != 1:
            raise ValueError(f"needs a vectorised environment of size 1, got {vec.n_envs}")
        self.vec, self.env_info = vec, vec.env_info
        self._active = np.ones(1, bool)

    def reset(self, seed: int) -> Observation:
        """Start an episode whose randomness is determined by `seed`."""
        return _first(self.vec.reset([seed]))

    def step(self, actions: np.ndarray) -> Transition:
        """Take the joint action `[N,1]`."""
        out = self.vec.step(np.asarray(actions)[None], self._active)
        info = {name: value[0].item() for name, value in out.info.items()}
        flags = bool(out.terminated[0]), bool(out.truncated[0])
        return Transition(_first(out.observation), float(out.reward[0]), *flags, info)

    def close(self) -> None:
        """Close the vectorised environment."""
        self.vec.close()


def _first(seen: Observation) -> Observation:
    avail = None if seen.avail_actions is None else seen.avail_actions[0].copy()
    return Observation(seen.obs[0].copy(), seen.state[0].copy(), avail)
