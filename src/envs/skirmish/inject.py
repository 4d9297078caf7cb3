"""Putting a given unit table in place of the physics: how recorded worlds are replayed through the same kernels."""

from __future__ import annotations

import numpy as np

from envs.skirmish.simulation import Simulation

TABLE_COLUMNS = ("present", "x", "y", "health", "shield", "energy", "cooldown")


def inject(sim: Simulation, table: np.ndarray) -> None:
    """Set all environments' units from `table [E,U,7]`, columns as in TABLE_COLUMNS; absent units are dead."""
    units = sim.world.units
    if table.shape != (*units.shape, len(TABLE_COLUMNS)):
        raise ValueError(f"the table must have shape {(*units.shape, len(TABLE_COLUMNS))}, got {table.shape}")
    here = table[..., 0] > 0
    units["alive"] = here
    for column, name in enumerate(("x", "y"), start=1):
        units[name][here] = table[..., column][here]
    units["hp"] = np.where(here, table[..., 3], 0.0)
    for column, name in enumerate(("shield", "energy", "cooldown"), start=4):
        units[name][here] = table[..., column][here]


def begin(sim: Simulation, table: np.ndarray, steps: np.ndarray) -> None:
    """Start an episode on `table` with `steps [E]` already counted."""
    inject(sim, table)
    world = sim.world
    world.agents["last_action"] = -1
    world.agents["scripted"] = -1
    world.units["counted"] = False
    world.units["prev_hp"], world.units["prev_shield"] = world.units["hp"], world.units["shield"]
    world.envs["steps"] = steps
