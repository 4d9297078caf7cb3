"""From the joint action to unit orders: SMAC's commands, and its scripted heuristic."""

from __future__ import annotations

from envs.skirmish.kernel import (
    ABILITY_ATTACK,
    ABILITY_HEAL,
    ABILITY_MOVE,
    ABILITY_STOP,
    ATTACK,
    EAST,
    FIRST_TARGET,
    HEAL,
    IDLE,
    MOVE,
    NO_OP,
    NOBODY,
    NORTH,
    SOUTH,
    STOP,
    WEST,
    kernel,
    length,
)
from envs.skirmish.state import World


@kernel
def cancel_attack(w: World, e: int, u: int) -> None:
    """Leave an attack. Before its damage point the weapon stays ready; after it only the backswing is cut."""
    s = w.units
    if s[e, u].windup >= 0.0:
        s[e, u].windup = -1.0
        s[e, u].cooldown = 0.0
    s[e, u].backswing = 0.0


@kernel
def give(w: World, e: int, u: int, order: int, aim: int, x: float, y: float) -> None:
    """Replace the order of unit u. Repeating an attack order on the same unit changes nothing."""
    s = w.units
    if order == ATTACK and s[e, u].order == ATTACK and s[e, u].aim == aim:
        return
    cancel_attack(w, e, u)
    s[e, u].order = order
    s[e, u].aim = aim
    s[e, u].order_x = x
    s[e, u].order_y = y
    s[e, u].veer = 0
    s[e, u].stuck = 0


@kernel
def command(w: World, e: int, a: int, action: int) -> tuple[int, int, int, float, float]:
    """What SMAC sends for an action and what the unit makes of it: (ability, order, object, x, y).

    The game refuses what the unit cannot do, such as a Marauder's attack on a flier: its order then stays.
    """
    ability, order, target, x, y = -1, NOBODY, NOBODY, -1.0, -1.0
    if action == STOP:
        ability, order = ABILITY_STOP, IDLE
    elif action >= FIRST_TARGET and w.rules.healers and w.kinds[w.roster[a].kind].heals:
        ability, target = ABILITY_HEAL, action - FIRST_TARGET
        order = HEAL if w.kinds[w.roster[target].kind].biological else NOBODY
    elif action >= FIRST_TARGET:
        ability, target = ABILITY_ATTACK, w.rules.n_agents + action - FIRST_TARGET
        order = ATTACK if w.pairs[w.roster[a].kind, w.roster[target].kind].can_hit else NOBODY
    elif action != NO_OP:
        ability, order = ABILITY_MOVE, MOVE
        far = w.rules.move_amount
        x = w.units[e, a].x + far * ((action == EAST) - (action == WEST))
        y = w.units[e, a].y + far * ((action == NORTH) - (action == SOUTH))
    return ability, order, target, x, y


@kernel
def order_action(w: World, e: int, a: int, action: int) -> None:
    """Carry out one agent's action and keep the command in the form SMAC sends it."""
    ability, order, target, x, y = command(w, e, a, action)
    agent = w.agents[e, a]
    agent.ability, agent.object, agent.to_x, agent.to_y = ability, target, x, y
    if order != NOBODY:
        give(w, e, a, order, target, x, y)


@kernel
def distance(w: World, e: int, u: int, v: int) -> float:
    """Centre to centre, cells."""
    s = w.units
    return length(s[e, u].x - s[e, v].x, s[e, u].y - s[e, v].y)


@kernel
def hurt(w: World, e: int, u: int) -> bool:
    """Alive and below full health."""
    return w.units[e, u].alive and w.units[e, u].hp < w.kinds[w.roster[u].kind].hp_max


@kernel
def script_patient(w: World, e: int, a: int) -> int:
    """SMAC's heuristic for a Medivac: stay with a patient until it is whole or dead, then the nearest hurt one."""
    old = w.agents[e, a].scripted
    if old >= 0 and hurt(w, e, old):
        return old
    best, least = NOBODY, length(w.rules.extent_x, w.rules.extent_y)
    for v in range(w.rules.n_agents):
        if hurt(w, e, v) and not w.kinds[w.roster[v].kind].heals:
            gap = distance(w, e, a, v)
            if gap < least:
                best, least = v, gap
    return best


@kernel
def script_victim(w: World, e: int, a: int) -> int:
    """SMAC's heuristic for a fighter: stay on an enemy until it is dead, then the nearest one."""
    n, old = w.rules.n_agents, w.agents[e, a].scripted
    if old >= 0 and w.units[e, n + old].alive:
        return old
    best, least = NOBODY, length(w.rules.extent_x, w.rules.extent_y)
    for v in range(w.rules.n_enemies):
        if w.units[e, n + v].alive:
            gap = distance(w, e, a, n + v)
            if gap < least:
                best, least = v, gap
    return best


@kernel
def script_walk(w: World, e: int, a: int, t: int) -> int:
    """The move action that goes towards unit t along the longer axis, the other axis if that one is blocked."""
    s, avail = w.units, w.avail
    dx, dy = s[e, t].x - s[e, a].x, s[e, t].y - s[e, a].y
    along_x = EAST if dx > 0 else WEST
    along_y = NORTH if dy > 0 else SOUTH
    first, second = (along_x, along_y) if abs(dx) > abs(dy) else (along_y, along_x)
    if avail[e, a, first]:
        return first
    return second if avail[e, a, second] else STOP


@kernel
def script(w: World, e: int, a: int) -> int:
    """The action of `heuristic_ai`. With `heuristic_rest`, walk until the target is in range."""
    heals = w.rules.healers and w.kinds[w.roster[a].kind].heals
    slot = script_patient(w, e, a) if heals else script_victim(w, e, a)
    w.agents[e, a].scripted = slot
    if slot == NOBODY:
        return NO_OP
    if w.rules.heuristic_rest and not w.avail[e, a, FIRST_TARGET + slot]:
        return script_walk(w, e, a, slot if heals else w.rules.n_agents + slot)
    return FIRST_TARGET + slot


@kernel
def order_all(w: World, e: int, actions: object) -> None:
    """Apply the joint action `[E,N]`; the index of the first agent with an unavailable one goes to `illegal`."""
    w.envs[e].illegal = NOBODY
    for a in range(w.rules.n_agents):
        action = actions[e, a]  # type: ignore[index]
        if action < 0 or action >= w.rules.n_actions or not w.avail[e, a, action]:
            w.envs[e].illegal = a
            return
    for a in range(w.rules.n_agents):
        action = actions[e, a]  # type: ignore[index]
        w.agents[e, a].last_action = action
        if w.rules.heuristic_ai and w.units[e, a].alive:
            action = script(w, e, a)
        order_action(w, e, a, action)
    for u in range(len(w.roster)):
        w.units[e, u].prev_hp = w.units[e, u].hp
        w.units[e, u].prev_shield = w.units[e, u].shield
