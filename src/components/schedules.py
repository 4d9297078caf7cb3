"""Schedules as pure functions of the number of environment steps. Nothing is stored, so nothing can be stale.

In a recorded update (`utils/cuda_graphs.py`) the number of steps is a float64 tensor of one number, which is filled
before every replay; a value that changes is then a float64 tensor, which rounds in products as a Python number does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import torch as th
from torch import Tensor

Steps = int | Tensor  # environment steps so far
Level = float | Tensor  # a schedule's value


def is_zero(level: Level) -> bool:
    """Whether a level is known to be 0 without asking a device."""
    return not isinstance(level, Tensor) and level == 0.0


@dataclass(frozen=True)
class LinearSchedule:
    """From `start` to `finish` in `duration` env steps, then constant; a duration of 0 is `finish` from the start."""

    start: float
    finish: float
    duration: int

    @overload
    def value(self, t_env: int) -> float: ...
    @overload
    def value(self, t_env: Tensor) -> Level: ...
    def value(self, t_env: Steps) -> Level:
        """The value after `t_env` environment steps."""
        if self.duration == 0 or self.start == self.finish:
            return self.finish
        if isinstance(t_env, Tensor):
            moving = self.start + (self.finish - self.start) * t_env / self.duration
            return th.where(t_env >= self.duration, self.finish, moving)
        if t_env >= self.duration:
            return self.finish
        return self.start + (self.finish - self.start) * t_env / self.duration
