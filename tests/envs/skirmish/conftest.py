"""Small battles for tests: any units anywhere on open ground, stepped loop by loop, without random delays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from envs.skirmish.flags import Flags
from envs.skirmish.kernel import OBSERVE, ORDERS, PHYSICS
from envs.skirmish.scenario import Group, Scenario, load_map
from envs.skirmish.simulation import Simulation

Place = tuple[str, float, float]


class Duel:
    """One battle whose units stand where they are put; enemies are passive unless `awake`."""

    def __init__(self, allies: list[Place], enemies: list[Place], awake: bool = False, loops: int = 1) -> None:
        base = load_map("3s_vs_3z")
        order = sorted({unit for unit, _, _ in allies})
        allies = sorted(allies, key=lambda place: (order.index(place[0]), place[1], place[2]))
        scenario: Scenario = replace(
            base,
            allies=[Group(unit, 1, [x, y]) for unit, x, y in allies],
            enemies=[Group(unit, 1, [x, y]) for unit, x, y in enemies],
            ally_types=order,
            enemy_types=sorted({unit for unit, _, _ in enemies}),
            enemy_order=replace(base.enemy_order, attack_move=None),
            races=["P", "P"],
        )
        self.sim = Simulation(Flags(step_mul=loops), scenario=scenario, threads=1, delay_scale=0.0)
        self.sim.world.roster["auto"] = awake & (self.sim.world.roster["side"] == 1)
        self.sim.reset([0])
        self.units = self.sim.world.units[0]
        self.n = len(allies)
        for u, (_, x, y) in enumerate([*allies, *enemies]):
            assert (self.units["x"][u], self.units["y"][u]) == (x, y) or awake

    def order(self, *actions: int) -> None:
        """Give one action per agent, without letting time pass."""
        self.sim.run(OBSERVE)
        self.sim.step(np.array([actions], np.int64), phases=ORDERS)

    def loop(self, count: int = 1) -> None:
        """Let game loops pass."""
        for _ in range(count):
            self.sim.run(PHYSICS)

    def until(self, condition: Callable[[], bool], limit: int = 2000) -> int:
        """Loops until `condition` holds."""
        for passed in range(limit):
            if condition():
                return passed
            self.loop()
        raise AssertionError("did not happen")


@pytest.fixture
def duel() -> type[Duel]:
    return Duel
