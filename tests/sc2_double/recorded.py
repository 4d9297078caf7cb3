"""Battles from a golden file (tests/data/golden): the units are where they were recorded, whatever is ordered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from envs.skirmish.inject import inject
from sc2_double.battle import Battle, Command

NOBODY = -1


class Recorded(Battle):
    """Shows the file's battles one after the other, a recorded moment a step. What is ordered is logged.

    Args:
        file: a golden file.
        log: takes an event and its details.
        map_name: the map it was recorded on.
        seed: without effect.
    """

    def __init__(self, file: str, log: Callable[..., None], map_name: str, seed: int) -> None:
        self.data, self.log = dict(np.load(file)), log
        super().__init__(map_name, seed)
        self.sim.world.passable[0] = self.data["pathing"]
        self.sim.world.height[:] = self.data["terrain_height"]

    def _begin(self, agents_first: bool = False) -> None:
        super()._begin(agents_first)
        self.moment = 0
        self._show()

    def _advance(self, loops: int) -> None:
        self.moment += 1
        self._show()

    def _show(self) -> None:
        battles = self.data["units"]
        battle = battles[(self.number - 1) % len(battles)]
        inject(self.sim, battle[None, min(self.moment, len(battle) - 1)].astype(np.float64))

    def order(self, commands: Sequence[Command]) -> list[str]:
        """Log the commands as the file has them: ability, object, point of each agent."""
        rows: list[list[Any]] = [[NOBODY, NOBODY, NOBODY, NOBODY] for _ in range(self.n_agents)]
        for command in commands:
            target = self.slot(command.target) if command.target else NOBODY
            for tag in command.tags:
                rows[self.slot(tag)] = [command.ability, target, *(command.point or (NOBODY, NOBODY))]
        self.log("orders", commands=rows)
        return [""] * len(commands)
