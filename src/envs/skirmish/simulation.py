"""A `World` and the calls into its kernels, over several threads if wanted. All environments of SMAC's kind use it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numba
import numpy as np

from envs.skirmish import engine
from envs.skirmish.build import build_world, sizes
from envs.skirmish.crew import MOST, Crew, new_box
from envs.skirmish.flags import Flags
from envs.skirmish.kernel import ACCOUNT, OBSERVE, ORDERS, PHYSICS, RESET
from envs.skirmish.scenario import Scenario, data_hash, load_map
from envs.skirmish.state import CALL, CHANGING
from utils.timehelper import note_if_slow

STEP = ORDERS | PHYSICS | ACCOUNT | OBSERVE
MIN_SHARE = 16  # environments per thread below which one more does not pay


class Simulation:
    """E battles on one map. Arrays in `world` are overwritten by the next call.

    Results do not depend on the number of threads, see crew.py.

    Args:
        flags: validated arguments.
        n_envs: E.
        threads: at most this many; None takes NUMBA_NUM_THREADS, by default the cores of the process.
        scenario: instead of the map named by the flags.
        delay_scale: 0 switches the random part of weapon periods off.
    """

    def __init__(
        self,
        flags: Flags,
        n_envs: int = 1,
        threads: int | None = None,
        scenario: Scenario | None = None,
        delay_scale: float = 1.0,
    ) -> None:
        if n_envs < 1:
            raise ValueError(f"n_envs must be at least 1, got {n_envs}")
        self.flags, self.n_envs = flags, n_envs
        self.scenario = scenario or load_map(flags.map_name, flags.map_file)
        self.sizes = sizes(self.scenario, flags)
        self.world = build_world(self.scenario, flags, n_envs, delay_scale)
        self.data_hash = data_hash(self.scenario, flags.balance)
        self.threads = max(1, min(threads or numba.config.NUMBA_NUM_THREADS, n_envs // MIN_SHARE, MOST))
        self._calls = np.zeros(n_envs, CALL)
        self._actions = np.zeros((n_envs, self.world.agents.shape[1]), np.int64)
        self._everyone = np.ones(n_envs, bool)
        box = new_box(n_envs, self.threads)
        self._crew = Crew(partial(engine.step, self.world, box, self._calls, self._actions), box, self.threads)

    def _call(self, phases: int, active: np.ndarray) -> None:
        self._calls["phases"], self._calls["active"] = phases, active
        if engine.is_compiled():
            self._crew.run()
            return
        with note_if_slow(engine.COMPILING):
            self._crew.run()

    def reset(self, seeds: Sequence[int] | np.ndarray, active: np.ndarray | None = None) -> None:
        """Start new episodes: environment k with `seeds[k]`, where `active [E]` is true (default: where given)."""
        if active is None:
            active = np.arange(self.n_envs) < len(seeds)
        self._calls["seed"][: len(seeds)] = [int(seed) % 2**64 for seed in seeds]
        self._call(RESET | OBSERVE, active)

    def step(self, actions: np.ndarray, active: np.ndarray | None = None, phases: int = STEP) -> None:
        """Take the joint actions `[E,N]` int64 in the environments where `active [E]` is true.

        Raises:
            ValueError: an unavailable action; nothing happened in that environment.
        """
        active = self._everyone if active is None else active
        self._actions[...] = actions
        self._call(phases, active)
        if phases & ORDERS:
            illegal = self.world.envs["illegal"]
            if (illegal[active] >= 0).any():
                raise ValueError(self._complaint(actions, int(np.flatnonzero(active & (illegal >= 0))[0])))

    def run(self, phases: int) -> None:
        """Run phases that need no actions, in all environments."""
        self._call(phases, self._everyone)

    def _complaint(self, actions: np.ndarray, e: int) -> str:
        agent = int(self.world.envs["illegal"][e])
        allowed = np.flatnonzero(self.world.avail[e, agent]).tolist()
        given = int(actions[e, agent])
        return f"environment {e}: action {given} of agent {agent} is not available; available: {allowed}"

    def save(self) -> dict[str, np.ndarray]:
        """Copies of everything that changes: the state of the battles and the last outputs."""
        return {name: getattr(self.world, name).copy() for name in CHANGING}

    def restore(self, saved: dict[str, np.ndarray]) -> None:
        """Continue from `save`, bit for bit; the map, the flags and n_envs must be the same."""
        arrays = {name: getattr(self.world, name) for name in CHANGING}
        if set(saved) != set(arrays) or any(saved[name].shape != arrays[name].shape for name in arrays):
            raise ValueError("the saved state belongs to another map, other flags or another number of environments")
        for name, array in arrays.items():
            array[...] = saved[name]

    @property
    def bytes_per_env(self) -> int:
        """Memory of one environment's state and outputs."""
        return sum(getattr(self.world, name).nbytes for name in CHANGING) // self.n_envs

    def close(self) -> None:
        """End the helper threads."""
        self._crew.close()
