"""Scripted teams for judging how hard a map is: random, stop, attack-nearest, focus-fire, kite.

Shape legend: E environments, N agents, M enemies, A actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from envs.skirmish.kernel import EAST, FIRST_TARGET, NO_OP, NORTH, SOUTH, STOP, WEST
from envs.skirmish.simulation import Simulation

Policy = Callable[[Simulation, np.random.Generator], np.ndarray]  # -> actions [E,N]
MOVES = np.array([NORTH, SOUTH, EAST, WEST])
STEPS = np.array([(0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0)])  # of MOVES
DANGER = 3.0  # cells, edge to edge, at which a kiting unit runs from enemies of shorter range
READY = 4.0  # loops of cooldown below which a kiting unit stands and shoots
LOOK_AHEAD = 2.0  # cells at which a fleeing unit judges a move
HOMESICK = 0.1  # gap to the nearest enemy a fleeing unit gives up per cell nearer to the centre of the map
FAR = 1e9


class View(NamedTuple):
    """What the scripts look at."""

    avail: np.ndarray  # [E,N,A] bool
    attack: np.ndarray  # [E,N,M] bool
    offset: np.ndarray  # [E,N,M,2] from agent to enemy
    gap: np.ndarray  # [E,N,M] centre to centre, FAR for the dead
    points: np.ndarray  # [E,M] health + shield


def look(sim: Simulation) -> View:
    """Collect a `View` of all environments."""
    units, n = sim.world.units, sim.world.agents.shape[1]
    place = np.stack([units["x"], units["y"]], -1)  # [E,U,2]
    offset = place[:, None, n:] - place[:, :n, None]
    gap = np.where(units["alive"][:, None, n:], np.hypot(offset[..., 0], offset[..., 1]), FAR)
    points = (units["hp"] + units["shield"])[:, n:]
    return View(sim.world.avail, sim.world.avail[..., FIRST_TARGET:], offset, gap, points)


def random(sim: Simulation, rng: np.random.Generator) -> np.ndarray:
    """Uniform over the available actions."""
    return pick(sim.world.avail, rng)


def pick(avail: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A uniform choice among the true entries of the last axis."""
    rank = rng.random(avail.shape[:-1]) * avail.sum(-1)
    return (avail.cumsum(-1) > rank[..., None]).argmax(-1)


def stop(sim: Simulation, rng: np.random.Generator) -> np.ndarray:
    """Stand still. With `heuristic_ai` on, this is SMAC's attack-nearest."""
    return np.where(sim.world.avail[..., NO_OP], NO_OP, STOP)


def walk(avail: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The available move action best aligned with `direction [E,N,2]`; stop if none, no-op for the dead."""
    score = direction @ STEPS.T  # [E,N,4]
    score = np.where(avail[..., MOVES], score, -FAR)
    best = score.argmax(-1)
    found = score.max(-1) > -FAR
    return np.where(avail[..., NO_OP], NO_OP, np.where(found, MOVES[best], STOP))


def aim(view: View, cost: np.ndarray) -> tuple[np.ndarray, Any]:
    """(attack action on the enemy of least `cost [E,N,M]`, whether there is one to attack)."""
    cost = np.where(view.attack, cost, FAR)
    return FIRST_TARGET + cost.argmin(-1), view.attack.any(-1)


def approach(view: View) -> np.ndarray:
    """Walk towards the nearest enemy."""
    near = view.gap.argmin(-1)[..., None, None]  # [E,N,1,1]
    return walk(view.avail, np.take_along_axis(view.offset, near, 2)[..., 0, :])


def focus(sim: Simulation, rng: np.random.Generator) -> np.ndarray:
    """Everybody attacks the weakest enemy in reach, else walks to the nearest; healers heal."""
    view = look(sim)
    target, found = aim(view, view.points[:, None] + 1e-3 * view.gap)
    return tend(sim, view, np.where(found, target, approach(view)))


def tend(sim: Simulation, view: View, actions: np.ndarray) -> np.ndarray:
    """Replace the healers' actions: heal the worst hurt agent in reach, else follow the fighters' centre."""
    world, n = sim.world, sim.world.agents.shape[1]
    healer = world.kinds["heals"][world.roster["kind"][:n]]  # [N]
    if not healer.any():
        return actions
    units = world.units[:, :n]
    ratio = units["hp"] / world.kinds["hp_max"][world.roster["kind"][:n]]  # [E,N]
    reach = view.attack[..., :n]
    width = reach.shape[-1]
    need = np.where(reach & (ratio[:, None, :width] < 1.0), ratio[:, None, :width], FAR)
    fighting = (units["alive"] & ~healer)[..., None]
    place = np.stack([units["x"], units["y"]], -1)
    centre = (place * fighting).sum(1) / np.maximum(fighting.sum(1), 1)
    heal = np.where(need.min(-1) < FAR, FIRST_TARGET + need.argmin(-1), walk(view.avail, centre[:, None] - place))
    return np.where(healer, heal, actions)


def flee(view: View, threat: np.ndarray, place: np.ndarray, home: np.ndarray) -> np.ndarray:
    """The move action after which the nearest threat `[E,N,M]` is farthest, leaning towards `home [2]`."""
    target = place[:, :, None] + LOOK_AHEAD * STEPS  # [E,N,4,2]
    gap = np.linalg.norm(view.offset[:, :, None] - LOOK_AHEAD * STEPS[:, None], axis=-1)  # [E,N,4,M]
    nearest = np.where(threat[:, :, None], gap, FAR).min(-1)
    score = nearest - HOMESICK * np.linalg.norm(target - home, axis=-1)
    score = np.where(view.avail[..., MOVES], score, -FAR)
    return np.where(score.max(-1) > -FAR, MOVES[score.argmax(-1)], STOP)


def kite(sim: Simulation, rng: np.random.Generator) -> np.ndarray:
    """Focus fire, but run from enemies of shorter range while the weapon recharges."""
    world, n = sim.world, sim.world.agents.shape[1]
    kinds, kind = world.kinds, world.roster["kind"]
    view = look(sim)
    radius, reach = kinds["radius"][kind], kinds["range"][kind]
    gap = view.gap - radius[:n, None] - radius[n:]  # [E,N,M]
    outranged = reach[n:] + 1.0 < reach[:n, None]  # [N,M]
    threat = outranged & (view.gap < FAR)
    run = (threat & (gap < DANGER)).any(-1) & (world.units["cooldown"][:, :n] > READY) & ~view.avail[..., NO_OP]
    place = np.stack([world.units["x"], world.units["y"]], -1)[:, :n]
    home = np.array([world.rules["centre_x"], world.rules["centre_y"]])
    cost = np.where(outranged, view.gap, view.points[:, None] + 1e-3 * view.gap)
    target, found = aim(view, cost)
    fight = tend(sim, view, np.where(found, target, approach(view)))
    return np.where(run, flee(view, threat, place, home), fight)


POLICIES: dict[str, Policy] = {"random": random, "stop": stop, "nearest": stop, "focus": focus, "kite": kite}
FLAGS: dict[str, dict[str, bool]] = {"nearest": {"heuristic_ai": True}}
