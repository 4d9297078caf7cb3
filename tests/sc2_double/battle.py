"""A battle as the game's API tells it: unit tags, game loops, commands by tag, triggers of the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from envs.skirmish.data import load_unit
from envs.skirmish.flags import Flags
from envs.skirmish.kernel import (
    ABILITY_ATTACK,
    ABILITY_HEAL,
    ABILITY_MOVE,
    ABILITY_STOP,
    FIRST_TARGET,
    MOVE,
    NO_OP,
    NORTH,
    ORDERS,
    PHYSICS,
    RESET_LOOPS,
    STOP,
)
from envs.skirmish.simulation import Simulation

STOCK = {  # unit types of the game; the maps give agents copies of them under ids of their own
    "baneling": 9,
    "colossus": 4,
    "hydralisk": 107,
    "marauder": 51,
    "marine": 48,
    "medivac": 54,
    "spine_crawler": 98,
    "stalker": 74,
    "zealot": 73,
    "zergling": 105,
}
FIRST_COPY = 1970
SEED_STRIDE = 1 << 32  # as SkirmishEnv: battle k of a game with seed s is episode s * SEED_STRIDE + k
TAG_STRIDE = 1 << 12
AGENTS, ENEMIES = 1, 2  # owners
ROUNDING = 1e-5  # cells; what a coordinate loses as a 32-bit float, doubled


class RefusedError(Exception):
    """The game does not do this; the message says why."""


@dataclass
class Command:
    """What a unit is told: ability, and a tag or a point."""

    ability: int
    tags: list[int]
    target: int = 0
    point: tuple[float, float] | None = None


class Battle:
    """One game on a map, battle after battle: whenever nobody is left, the map creates both sides anew.

    At the start of the game the agents are there at once and the enemies follow after two loops; later both sides
    appear two loops after the last unit has gone. So a battle is first seen whole when it is two loops old.
    """

    def __init__(self, map_name: str, seed: int) -> None:
        self.sim = Simulation(Flags(map_name=map_name, engine="embedded"), threads=1)
        self.seed, self.loop, self.number, self.steps = seed, 0, 0, 0
        world, scenario = self.sim.world, self.sim.scenario
        self.units, self.roster, self.kinds = world.units[0], world.roster, world.kinds
        self.n_agents = int(world.rules["n_agents"])
        names = sorted(scenario.units("liberty"))
        self.names = [names[int(kind)] for kind in self.roster["kind"]]
        self.types = [
            STOCK[name] if side else FIRST_COPY + scenario.ally_types.index(name)
            for name, side in zip(self.names, self.roster["side"], strict=True)
        ]
        self.defaults = {name: load_unit(name, "liberty") for name in names}
        self._begin(agents_first=True)

    def _begin(self, agents_first: bool = False) -> None:
        self.sim.reset([(self.seed * SEED_STRIDE + self.number) % 2**64])
        self.fresh = self.units.copy()
        self.number += 1
        self.steps, self.to_come, self.agents_first = 0, RESET_LOOPS, agents_first

    def tag(self, slot: int) -> int:
        """Of the unit in a slot, different in every battle."""
        return self.number * TAG_STRIDE + slot + 1

    def slot(self, tag: int) -> int:
        """Where the living unit with this tag stands in the engine's arrays."""
        slot = tag - self.number * TAG_STRIDE - 1
        if slot not in self.visible():
            raise RefusedError(f"no unit has the tag {tag}")
        return slot

    def visible(self) -> list[int]:
        """Slots of the living: enemies in order of creation, then the agents, last created first."""
        alive = [int(slot) for slot in np.flatnonzero(self.units["alive"])]
        agents = [slot for slot in reversed(alive) if slot < self.n_agents]
        if self.to_come:
            return agents if self.agents_first else []
        return [slot for slot in alive if slot >= self.n_agents] + agents

    @property
    def next_step(self) -> int:
        """Number of the step to come within the battle, from 1; 0 while its units are being created."""
        return 0 if self.to_come else self.steps + 1

    def step(self, loops: int) -> None:
        """Advance the game."""
        self.steps += not self.to_come
        if not self.units["alive"].any():
            self._begin()
        self.loop += loops
        waited = min(loops, self.to_come)
        self.to_come -= waited
        if loops > waited:
            self._advance(loops - waited)

    def _advance(self, loops: int) -> None:
        self.sim.world.rules["loops"] = loops
        self.sim.run(PHYSICS)

    def order(self, commands: Sequence[Command]) -> list[str]:
        """Give orders; returns what is wrong with each command, "" if nothing."""
        actions = np.full(self.n_agents, NO_OP)
        points: dict[int, tuple[float, float]] = {}
        wrong = []
        for command in commands:
            try:
                for tag in command.tags:
                    slot = self.slot(tag)
                    actions[slot] = self._action(slot, command)
                    points.pop(slot, None)
                    if command.ability == ABILITY_MOVE:
                        points[slot] = self._exact(slot, command.point)
                wrong.append("")
            except RefusedError as error:
                wrong.append(str(error))
        self.sim.world.avail[...] = True  # SMAC's mask is the client's business
        self.sim.step(actions[None], phases=ORDERS)
        for slot, (x, y) in points.items():
            self.units[slot]["order"], self.units[slot]["order_x"], self.units[slot]["order_y"] = MOVE, x, y
        return wrong

    def _action(self, slot: int, command: Command) -> int:
        """The engine's action that gives the order. For a move any; its goal is set afterwards."""
        if slot >= self.n_agents:
            raise RefusedError("the unit belongs to the other player")
        if command.ability == ABILITY_STOP:
            return STOP
        if command.ability == ABILITY_MOVE:
            return NORTH
        heals = bool(self.kinds[self.roster[slot]["kind"]]["heals"])
        if command.ability not in (ABILITY_ATTACK, ABILITY_HEAL) or heals != (command.ability == ABILITY_HEAL):
            raise RefusedError(f"a {self.names[slot]} has no ability {command.ability}")
        target = self.slot(command.target)
        if heals != (target < self.n_agents):
            raise RefusedError("the target is on the wrong side")
        return FIRST_TARGET + target - (0 if heals else self.n_agents)

    def _exact(self, slot: int, point: tuple[float, float] | None) -> tuple[float, float]:
        """The point meant. A client adds to a position that it was told in 32 bits; the engine's has 64."""
        if point is None:
            raise RefusedError("a move needs a point")
        here = [float(self.units[slot][axis]) for axis in ("x", "y")]
        far = [p - float(np.float32(h)) for p, h in zip(point, here, strict=True)]
        meant = [round(d, 3) if abs(d - round(d, 3)) < ROUNDING else d for d in far]
        return here[0] + meant[0], here[1] + meant[1]

    def kill(self, tags: Sequence[int]) -> None:
        """Remove units; tags of the dead are passed over, as by the game."""
        slots = {self.tag(slot): slot for slot in self.visible()}
        for tag in tags:
            if tag in slots:
                self.units[slots[tag]]["alive"], self.units[slots[tag]]["hp"] = False, 0.0

    def create(self, unit_type: int, owner: int, x: float, y: float, quantity: int) -> None:
        """Create units in the places of dead ones of the same type and owner: the engine has no others."""
        alive, sides = self.units["alive"], {AGENTS: 0, ENEMIES: 1}
        free = [
            slot
            for slot, kind in enumerate(self.types)
            if kind == unit_type and self.roster[slot]["side"] == sides.get(owner) and not alive[slot]
        ]
        if len(free) < quantity:
            raise RefusedError(f"room for {len(free)} more units of type {unit_type} of player {owner}")
        for slot in free[:quantity]:
            self.units[slot] = self.fresh[slot]
            self.units[slot]["x"], self.units[slot]["y"] = x, y
