"""How a step of an episode is stored, how much memory that takes, and whether the machine has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import psutil

from components.action_space import DiscreteActions
from envs.multiagentenv import EnvInfo
from utils.errors import UserError

GIB = 1024**3
MEMORY_SHARE = 0.9  # of the free memory episodes may fill; the rest is for networks and the system


def fields_of(info: EnvInfo, obs_dtype: str = "float32") -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Name -> (shape of one step, storage type). Compact: no one-hots, bool masks, the smallest integers.

    Args:
        info: sizes.
        obs_dtype: of observations and states.
    """
    space = info.action_space
    fields: dict[str, tuple[tuple[int, ...], Any]] = {
        "obs": ((info.n_agents, info.obs_dim), obs_dtype),
        "state": ((info.state_dim,), obs_dtype),
        "actions": ((info.n_agents, space.action_dim), np.float32),
        "reward": ((1,), np.float32),
        "terminated": ((1,), np.bool_),
    }
    if isinstance(space, DiscreteActions):
        fields["avail_actions"] = ((info.n_agents, space.n_actions), np.bool_)
        fields["actions"] = ((info.n_agents, 1), np.min_scalar_type(space.n_actions))
    return {name: (shape, np.dtype(kind)) for name, (shape, kind) in fields.items()}


def rows_of(info: EnvInfo, capacity: int) -> int:
    """Rows of a buffer of `capacity` episodes: each up to the time limit and its last observation; one of padding."""
    return capacity * (info.episode_limit + 1) + 1


def _step_bytes(info: EnvInfo, obs_dtype: str = "float32") -> int:
    return sum(int(np.prod(shape)) * kind.itemsize for shape, kind in fields_of(info, obs_dtype).values())


def _usable() -> float:
    return psutil.virtual_memory().available * MEMORY_SHARE


def check_buffer_fits(info: EnvInfo, capacity: int, obs_dtype: str) -> int:
    """Return the bytes of a full replay buffer; `UserError` if they exceed the free memory."""
    needed, usable = rows_of(info, capacity) * _step_bytes(info, obs_dtype), _usable()
    if needed > usable:
        raise UserError(
            f"buffer_size={capacity} episodes may need {needed / GIB:.1f} GiB, {usable / GIB:.1f} GiB can be used: "
            f"at most buffer_size={int(capacity * usable / needed)}, or buffer_obs_dtype=float16"
        )
    return needed


def check_rollout_fits(info: EnvInfo, n_envs: int) -> None:
    """Raise `UserError` if `n_envs` episodes cannot be collected at a time in the free memory."""
    needed, usable = n_envs * (info.episode_limit + 1) * _step_bytes(info), _usable()
    if needed > usable:
        raise UserError(
            f"batch_size_run={n_envs} environments may need {needed / GIB:.1f} GiB, {usable / GIB:.1f} GiB can be "
            f"used: at most batch_size_run={int(n_envs * usable / needed)}"
        )
