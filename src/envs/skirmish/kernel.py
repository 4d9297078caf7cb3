"""How kernels are compiled, the codes they share, and the random numbers of an episode."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

# Orders of a unit.
IDLE, MOVE, ATTACK, HEAL, ADVANCE, HUNT = range(6)
# Actions of an agent.
NO_OP, STOP, NORTH, SOUTH, EAST, WEST, FIRST_TARGET = range(7)
# Abilities as SMAC sends them to the game.
ABILITY_STOP, ABILITY_MOVE, ABILITY_ATTACK, ABILITY_HEAL = 4, 16, 23, 386
# Phases of `engine.step`, combined as bits.
RESET, ORDERS, PHYSICS, ACCOUNT, OBSERVE = 1, 2, 4, 8, 16
# How an episode ended.
WON, LOST, BOTH_DEAD, RUNNING = 1, -1, 0, -2
NOBODY = -1

SIGHT_RANGE = 9.0  # cells, of every agent
SHOOT_RANGE = 6.0  # cells, of every agent
LOOPS_PER_SECOND = 16  # of a Normal game second
RESET_LOOPS = 2  # SMAC steps these after a respawn, before the first observation

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_UNIT = 2.0**-53


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that is only called from other kernels."""
    return njit(_nrt=False, nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


@kernel
def length(x: float, y: float) -> float:
    """Euclidean length; several times faster than math.hypot, whose range is not needed here."""
    return math.sqrt(x * x + y * y)


@kernel
def uniform(w: Any, e: int) -> float:
    """Next number of environment e's stream, uniform in [0, 1): splitmix64."""
    z = w.envs[e].rng + _GOLDEN
    w.envs[e].rng = z
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    z = z ^ (z >> _S31)
    return (z >> _S11) * _UNIT
