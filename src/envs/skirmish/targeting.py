"""Whom a unit attacks: orders, acquisition, answers to attacks, the leash. Guesses are marked in docs/engine.md."""

from __future__ import annotations

import math

from envs.skirmish.kernel import ADVANCE, ATTACK, HUNT, IDLE, NOBODY, kernel, length
from envs.skirmish.orders import cancel_attack, distance, hurt
from envs.skirmish.state import World

LEASH = 21.0  # cells from where the target was acquired (Core AcquireLeashRadius)
RESCAN = 8  # loops between looks for a nearer target while chasing (guess)
HELP_RADIUS = 4.0  # cells (Core CallForHelpRadius)
HELP_PERIOD = 32  # loops (Core CallForHelpPeriod, 2 s)
REACHED = 1e-6  # cells: closer than this to weapon range is in range, or rounding would keep a unit walking for ever
FAR = 1e9


@kernel
def gap_between(w: World, e: int, u: int, v: int) -> float:
    """Edge to edge, cells: what weapon ranges are measured in."""
    return distance(w, e, u, v) - w.kinds[w.roster[u].kind].radius - w.kinds[w.roster[v].kind].radius


@kernel
def acquire(w: World, e: int, u: int) -> int:
    """Best target in scan range: highest priority, then threats, then nearest; NOBODY if there is none."""
    s, kinds = w.units, w.kinds
    k = w.roster[u].kind
    reach = kinds[k].scan if kinds[k].speed > 0.0 else kinds[k].range
    first, last = (w.rules.n_agents, len(w.roster)) if w.roster[u].side == 0 else (0, w.rules.n_agents)
    best, best_rank, best_gap = NOBODY, -FAR, FAR
    for v in range(first, last):
        kv = w.roster[v].kind
        if not s[e, v].alive or not w.pairs[k, kv].can_hit:
            continue
        dx, dy = s[e, u].x - s[e, v].x, s[e, u].y - s[e, v].y
        limit = reach + kinds[k].radius + kinds[kv].radius + REACHED
        square = dx * dx + dy * dy
        if square > limit * limit:
            continue
        gap = math.sqrt(square) - kinds[kv].radius
        rank = 2.0 * kinds[kv].priority + w.pairs[kv, k].threatens
        if rank > best_rank or (rank == best_rank and gap < best_gap):
            best, best_rank, best_gap = v, rank, gap
    return best


@kernel
def nearest_foe(w: World, e: int, u: int) -> int:
    """The nearest living enemy of u that it can hit, at any distance."""
    best, least = NOBODY, FAR
    for v in range(len(w.roster)):
        foe = w.roster[v].side != w.roster[u].side and w.units[e, v].alive
        if foe and w.pairs[w.roster[u].kind, w.roster[v].kind].can_hit:
            gap = gap_between(w, e, u, v)
            if gap < least:
                best, least = v, gap
    return best


@kernel
def answer(w: World, e: int, u: int) -> int:
    """The unit that provoked u, if it still lives and can be hit."""
    p = w.units[e, u].provoker
    if p >= 0 and w.units[e, p].alive and w.pairs[w.roster[u].kind, w.roster[p].kind].can_hit:
        return p
    return NOBODY


@kernel
def keeps(w: World, e: int, u: int, t: int) -> bool:
    """Whether an acquired target is still worth following: alive and within the leash."""
    s = w.units
    if t < 0 or not s[e, t].alive:
        return False
    return length(s[e, u].x - s[e, u].home_x, s[e, u].y - s[e, u].home_y) <= LEASH


@kernel
def hold_target(w: World, e: int, u: int, t: int) -> None:
    """Remember an acquired target and where it was acquired."""
    s = w.units
    if t != s[e, u].target:
        cancel_attack(w, e, u)
    s[e, u].target = t
    s[e, u].home_x, s[e, u].home_y = s[e, u].x, s[e, u].y
    s[e, u].rescan = RESCAN


@kernel
def auto_target(w: World, e: int, u: int) -> int:
    """Target of a unit that acquires by itself."""
    s = w.units
    old = s[e, u].target
    if not keeps(w, e, u, old):
        t = acquire(w, e, u)
        if t == NOBODY:
            t = answer(w, e, u)
        if t != NOBODY or old != NOBODY:
            hold_target(w, e, u, t)
    elif s[e, u].windup < 0.0 and s[e, u].rescan <= 0:
        if gap_between(w, e, u, old) > w.kinds[w.roster[u].kind].range + REACHED:
            t = acquire(w, e, u)
            if t != NOBODY and t != old:
                hold_target(w, e, u, t)
        s[e, u].rescan = RESCAN
    s[e, u].provoker = NOBODY
    return s[e, u].target


@kernel
def ordered_target(w: World, e: int, u: int) -> int:
    """Target of an attack order. When it dies, an ATTACK ends, a HUNT takes the nearest."""
    s = w.units
    t = s[e, u].aim
    if t >= 0 and s[e, t].alive:
        return t
    cancel_attack(w, e, u)
    t = nearest_foe(w, e, u) if s[e, u].order == HUNT else NOBODY
    s[e, u].aim = t
    if t == NOBODY:
        s[e, u].order = IDLE
    return t


@kernel
def pick_target(w: World, e: int, u: int) -> int:
    """The unit that u attacks in this loop, NOBODY if none."""
    if not w.kinds[w.roster[u].kind].armed:
        return NOBODY
    order = w.units[e, u].order
    if order in (ATTACK, HUNT):
        return ordered_target(w, e, u)
    if w.roster[u].auto and order in (IDLE, ADVANCE):
        return auto_target(w, e, u)
    return NOBODY


@kernel
def pick_patient(w: World, e: int, u: int) -> int:
    """The unit a stock healer heals by itself: it keeps the last one, then takes the nearest hurt friend."""
    s, k = w.units, w.roster[u].kind
    if not w.roster[u].auto:
        return NOBODY
    old = s[e, u].target
    if old >= 0 and hurt(w, e, old) and s[e, u].energy > 0.0:
        return old
    best, least = NOBODY, w.kinds[k].heal_scan
    if s[e, u].energy >= w.kinds[k].heal_min_energy:
        for v in range(len(w.roster)):
            same = w.roster[v].side == w.roster[u].side and v != u
            if same and w.kinds[w.roster[v].kind].biological and hurt(w, e, v):
                gap = gap_between(w, e, u, v)
                if gap <= least:
                    best, least = v, gap
    s[e, u].target = best
    return best


@kernel
def provoke(w: World, e: int, u: int, by: int) -> None:
    """Unit u, hit by `by`, answers and calls idle friends nearby for help."""
    s = w.units
    if not w.roster[u].auto:
        return
    if s[e, u].target == NOBODY:
        s[e, u].provoker = by
    if s[e, u].help > 0:
        return
    s[e, u].help = HELP_PERIOD
    for v in range(len(w.roster)):
        free = w.roster[v].side == w.roster[u].side and w.roster[v].auto and s[e, v].alive
        if free and s[e, v].target == NOBODY and distance(w, e, u, v) <= HELP_RADIUS:
            s[e, v].provoker = by
