"""An embedded re-implementation of SMAC v1: 23 maps, game-loop combat, numba kernels. See docs/engine.md."""

from __future__ import annotations

from typing import Any

from envs.skirmish.env import SingleFromVec, SkirmishVecEnv
from envs.skirmish.scenario import list_maps
from envs.skirmish.smac_api import SkirmishEnv

__all__ = ["SingleFromVec", "SkirmishEnv", "SkirmishVecEnv", "list_maps", "parallel_env"]


def parallel_env(map_name: str = "3s_vs_3z", **arguments: Any) -> Any:
    """A PettingZoo parallel environment; needs the `pettingzoo` package."""
    from envs.skirmish.parallel_api import SkirmishParallelEnv

    return SkirmishParallelEnv(map_name=map_name, **arguments)
