"""What units do in a game loop: the attack cycle, healing, following orders. Effects are in effects.py."""

from __future__ import annotations

from envs.skirmish.kernel import ADVANCE, HEAL, IDLE, MOVE, NOBODY, kernel, length, uniform
from envs.skirmish.orders import cancel_attack
from envs.skirmish.state import World
from envs.skirmish.targeting import REACHED, gap_between, pick_patient, pick_target

ARRIVED = 0.25  # cells from the goal at which an attack-move ends (guess)
CROWDED = 2.5  # cells from the goal at which an attack-move ends if the way is blocked (guess)
PATIENCE = 8  # loops of being blocked before that (guess)
TIMERS_END = 0


@kernel
def tick(w: World, e: int, u: int) -> None:
    """Let one loop pass on the timers of a unit."""
    s = w.units
    s[e, u].cooldown = max(0.0, s[e, u].cooldown - 1.0)
    s[e, u].backswing = max(0.0, s[e, u].backswing - 1.0)
    s[e, u].quiet += 1.0
    s[e, u].rescan = max(TIMERS_END, s[e, u].rescan - 1)
    s[e, u].help = max(TIMERS_END, s[e, u].help - 1)


@kernel
def go(w: World, e: int, u: int, x: float, y: float, gap: float) -> None:
    """Ask for movement towards (x, y), at most `gap` cells."""
    s = w.units
    s[e, u].going = True
    s[e, u].goal_x, s[e, u].goal_y, s[e, u].goal_gap = x, y, gap


@kernel
def begin_attack(w: World, e: int, u: int, gap: float) -> None:
    """Start the attack cycle: the period runs from here, the hits come at the damage point."""
    s, kinds, k = w.units, w.kinds, w.roster[u].kind
    low, high = kinds[k].delay_low, kinds[k].delay_high
    delay = low + (high - low) * uniform(w, e)
    s[e, u].cooldown = kinds[k].period + w.rules.delay_scale * delay
    s[e, u].windup = kinds[k].close_point if gap <= kinds[k].close_range else kinds[k].damage_point


@kernel
def finish_windup(w: World, e: int, u: int, t: int, gap: float) -> None:
    """Fire when the damage point is reached, unless the target has slipped away."""
    s, k = w.units, w.roster[u].kind
    if s[e, u].windup > 0.0:
        return
    s[e, u].windup = -1.0
    if gap <= w.kinds[k].range + w.kinds[k].slop:
        s[e, u].fire = t
        s[e, u].backswing = w.kinds[k].backswing
    else:
        s[e, u].cooldown = 0.0


@kernel
def engage(w: World, e: int, u: int, t: int) -> None:
    """One loop of attacking t: wind up, fire, wait, or chase."""
    s, k = w.units, w.roster[u].kind
    gap = gap_between(w, e, u, t)
    if s[e, u].windup >= 0.0:
        s[e, u].windup = max(0.0, s[e, u].windup - 1.0)
        finish_windup(w, e, u, t, gap)
    elif gap <= w.kinds[k].range + REACHED:
        if s[e, u].cooldown <= 0.0:
            begin_attack(w, e, u, gap)
            finish_windup(w, e, u, t, gap)
    elif s[e, u].backswing <= 0.0:
        go(w, e, u, s[e, t].x, s[e, t].y, gap - w.kinds[k].range)


@kernel
def tend(w: World, e: int, u: int, t: int) -> None:
    """One loop of healing t: follow it, heal it in range while there is energy."""
    s, k = w.units, w.roster[u].kind
    gap = gap_between(w, e, u, t)
    if gap > w.kinds[k].heal_range + REACHED:
        go(w, e, u, s[e, t].x, s[e, t].y, gap - w.kinds[k].heal_range)
    elif s[e, u].energy > 0.0:
        s[e, u].fire = t


@kernel
def travel(w: World, e: int, u: int) -> None:
    """Follow a move or attack-move order, and end it on arrival."""
    s = w.units
    left = length(s[e, u].order_x - s[e, u].x, s[e, u].order_y - s[e, u].y)
    moving = s[e, u].order == MOVE
    blocked = s[e, u].stuck >= PATIENCE and left < CROWDED
    if left < (1e-6 if moving else ARRIVED) or (blocked and not moving):
        s[e, u].order = IDLE
    else:
        go(w, e, u, s[e, u].order_x, s[e, u].order_y, left)


@kernel
def decide(w: World, e: int, u: int) -> None:
    """What unit u does in this loop. Only reads positions and health, so the order of units does not matter."""
    s, k = w.units, w.roster[u].kind
    order = s[e, u].order
    if w.kinds[k].heals:
        t = pick_patient(w, e, u)
        if order == HEAL:
            t = s[e, u].aim
            if not s[e, t].alive:
                s[e, u].order, t = IDLE, NOBODY
        if t != NOBODY and order != MOVE:
            tend(w, e, u, t)
            return
    else:
        t = pick_target(w, e, u)
        if t != NOBODY:
            engage(w, e, u, t)
            return
    cancel_attack(w, e, u)
    if s[e, u].order in (MOVE, ADVANCE):
        travel(w, e, u)
