"""Where units stand when a battle begins. The maps create each group at one point; the lattice is a guess.

A group fills a square lattice of ceil(sqrt(n)) columns around its point, the northern row first, from west to east,
as tight as separation radii allow. A group created where another already stands is moved west until it fits
(first frames of published replays show this for MMM). A place on a wall is replaced by the nearest free one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from envs.skirmish.data import MOVERS, UnitType
from envs.skirmish.scenario import Ground, Group, ReadGroup, Scenario
from utils.errors import UserError

SHIFT = 0.05  # cells by which a block is moved while it does not fit
REACH = 40.0  # cells searched for a free place
TOUCH = 1e-6  # cells of overlap that do not count


@dataclass(frozen=True)
class Placed:
    """A unit on its spawn point."""

    unit: str
    side: int
    x: float
    y: float


def grids(ground: Ground) -> np.ndarray:
    """`[3,W,H]` bool: cells for walkers, cliff walkers, fliers. Fliers stay off the outer 2 cells if walkers do."""
    air = np.zeros_like(ground.walk)
    cells = np.argwhere(ground.climb)
    border = min(2, int(cells.min()), *(side - 1 - int(m) for side, m in zip(air.shape, cells.max(0), strict=True)))
    air[border : air.shape[0] - border, border : air.shape[1] - border] = True
    return np.stack([ground.walk, ground.climb, air])


def stands(grid: np.ndarray, x: float, y: float, clearance: float) -> bool:
    """Whether a unit with this clearance may stand at (x, y)."""
    points = ((x - clearance, y), (x + clearance, y), (x, y - clearance), (x, y + clearance))
    return all(0 <= px < grid.shape[0] and 0 <= py < grid.shape[1] and grid[int(px), int(py)] for px, py in points)


def collide(a: UnitType, b: UnitType) -> bool:
    """Walkers collide with walkers, fliers with fliers, cliff walkers with cliff walkers and structures."""
    movers = {a.mover, b.mover}
    if movers == {"ground", "cliff"}:
        return 0.0 in (a.speed, b.speed)
    return len(movers) == 1


class Spawner:
    """Places groups one after the other."""

    def __init__(self, ground: Ground, units: dict[str, UnitType]) -> None:
        self.grids, self.units = grids(ground), units
        self.placed: list[Placed] = []

    def fits(self, unit: UnitType, x: float, y: float) -> bool:
        """Whether the place is on allowed ground and free."""
        return self.on_ground(unit, x, y) and self.free(unit, x, y)

    def on_ground(self, unit: UnitType, x: float, y: float) -> bool:
        """Whether the ground allows it."""
        return stands(self.grids[MOVERS.index(unit.mover)], x, y, unit.inner_radius)

    def free(self, unit: UnitType, x: float, y: float) -> bool:
        """Whether nobody stands there."""
        for other in self.placed:
            kind = self.units[other.unit]
            apart = unit.separation_radius + kind.separation_radius - TOUCH
            if collide(unit, kind) and math.hypot(other.x - x, other.y - y) < apart:
                return False
        return True

    def add(self, group: Group, side: int) -> None:
        """Place one group.

        Raises:
            UserError: its point is inside a wall, or there is no room.
        """
        unit, source = self.units[group.unit], group.source if isinstance(group, ReadGroup) else ""
        x, y = float(group.at[0]), float(group.at[1])
        if not stands(self.grids[MOVERS.index(unit.mover)], x, y, 0.0):
            raise UserError(f"{source}{group.unit} at ({x:g}, {y:g}) is inside a wall or off the map")
        block = lattice(group.count, 2 * unit.separation_radius)
        while not all(self.free(unit, x + dx, y + dy) for dx, dy in block) and x > group.at[0] - REACH:
            x -= SHIFT
        for dx, dy in block:
            px, py = self.nearest(unit, x + dx, y + dy, source)
            self.placed.append(Placed(group.unit, side, px, py))

    def nearest(self, unit: UnitType, x: float, y: float, source: str = "") -> tuple[float, float]:
        """The place itself if it fits, else the nearest on rings around it. `source` is for the error message."""
        step, turns = 0.5 * unit.separation_radius, 24
        for ring in range(int(REACH / step)):
            for i in range(turns if ring else 1):
                angle = 2 * math.pi * i / turns
                px, py = x + ring * step * math.cos(angle), y + ring * step * math.sin(angle)
                if self.fits(unit, px, py):
                    return px, py
        raise UserError(f"{source}no room for all units around ({x:g}, {y:g})")


def lattice(count: int, pitch: float) -> list[tuple[float, float]]:
    """Offsets of a square lattice, northern row first, west to east."""
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    return [((i % columns - (columns - 1) / 2) * pitch, ((rows - 1) / 2 - i // columns) * pitch) for i in range(count)]


def spawn(scenario: Scenario, balance: str) -> list[Placed]:
    """Units in the order of the environment: agents by type, x, y; enemies in order of creation."""
    spawner = Spawner(scenario.terrain, scenario.units(balance))
    for side, groups in enumerate((scenario.allies, scenario.enemies)):
        for group in groups:
            spawner.add(group, side)
    allies = [p for p in spawner.placed if p.side == 0]
    allies.sort(key=lambda p: (scenario.ally_types.index(p.unit), p.x, p.y))
    return allies + [p for p in spawner.placed if p.side == 1]
