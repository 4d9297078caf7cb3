"""An embedded re-implementation of SMAC v1: 23 maps, game-loop combat, numba kernels. See docs/engine.md."""

from envs.skirmish.env import SingleFromVec, SkirmishVecEnv
from envs.skirmish.scenario import list_maps

__all__ = ["SingleFromVec", "SkirmishVecEnv", "list_maps"]
