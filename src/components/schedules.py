"""Schedules as pure functions of the number of environment steps. Nothing is stored, so nothing can be stale."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LinearSchedule:
    """From `start` to `finish` in `duration` env steps, then constant; a duration of 0 is `finish` from the start."""

    start: float
    finish: float
    duration: int

    def value(self, t_env: int) -> float:
        """The value after `t_env` environment steps."""
        if t_env >= self.duration:
            return self.finish
        return self.start + (self.finish - self.start) * t_env / self.duration
