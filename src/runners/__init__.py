"""Runners: one episode loop over a vectorised environment; the kinds differ only in how E environments are held."""

from runners.runner import EpisodeStats, Rollout, Runner
from runners.vec_env import REGISTRY, EnvStack, ProcessVecEnv, WorkerError, make_vec_env

__all__ = [
    "REGISTRY",
    "EnvStack",
    "EpisodeStats",
    "ProcessVecEnv",
    "Rollout",
    "Runner",
    "WorkerError",
    "make_vec_env",
]
