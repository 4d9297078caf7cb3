"""What attacks do: hits at once or under way, lances, healing, blasts, deaths, regeneration."""

from __future__ import annotations

from envs.skirmish.kernel import NOBODY, kernel, length
from envs.skirmish.orders import distance
from envs.skirmish.state import World
from envs.skirmish.targeting import gap_between, provoke

MIN_DAMAGE = 0.5  # of a hit on life (Core DamageMinimum)


@kernel
def lose(w: World, e: int, t: int, amount: float) -> None:
    """Take one hit: shields first, the rest on life less armour."""
    s = w.units
    s[e, t].quiet = 0.0
    shield = s[e, t].shield
    if amount <= shield:
        s[e, t].shield = shield - amount
        return
    armor = w.kinds[w.roster[t].kind].armor
    s[e, t].shield = 0.0
    s[e, t].hp -= max(amount - shield - armor, 0.0 if shield > 0.0 else MIN_DAMAGE)


@kernel
def hit(w: World, e: int, u: int, t: int, count: int) -> None:
    """Land `count` hits of u's weapon on t."""
    for _ in range(count):
        lose(w, e, t, w.pairs[w.roster[u].kind, w.roster[t].kind].damage)
    provoke(w, e, t, u)


@kernel
def land(w: World, e: int, u: int) -> None:
    """Advance the hits that u has under way. A missile outlives its shooter, a blow does not."""
    s, k = w.units, w.roster[u].kind
    t = s[e, u].pend_target
    if not s[e, t].alive or (w.kinds[k].melee and not s[e, u].alive):
        s[e, u].pend_hits = 0
        return
    s[e, u].pend_time -= 1.0
    if s[e, u].pend_time <= 0.0:
        hit(w, e, u, t, s[e, u].pend_hits)
        s[e, u].pend_hits = 0


@kernel
def pend(w: World, e: int, u: int, t: int, count: int, time: float) -> None:
    """Send `count` hits that land after `time` loops; what is still under way lands now."""
    s = w.units
    if s[e, u].pend_hits > 0:
        s[e, u].pend_time = 0.0
        land(w, e, u)
    s[e, u].pend_target, s[e, u].pend_hits, s[e, u].pend_time = t, count, time


@kernel
def launch(w: World, e: int, u: int, t: int) -> None:
    """The damage point: hit at once, send a missile, sweep a lance, or explode."""
    kinds, k = w.kinds, w.roster[u].kind
    if kinds[k].one_use:
        w.units[e, u].hp = 0.0
    elif kinds[k].lance:
        start_lance(w, e, u, t)
    elif kinds[k].missile_speed > 0.0 and gap_between(w, e, u, t) > kinds[k].close_range:
        pend(w, e, u, t, kinds[k].hits, distance(w, e, u, t) / kinds[k].missile_speed)
    else:
        hit(w, e, u, t, min(kinds[k].hits, 1))
        if kinds[k].hits > 1:
            pend(w, e, u, t, kinds[k].hits - 1, kinds[k].hit_gap)


@kernel
def start_lance(w: World, e: int, u: int, t: int) -> None:
    """Fix the line of a lance: through the target, across the line of fire."""
    s, slot = w.units, w.roster[u].lance_slot
    dx, dy = s[e, t].x - s[e, u].x, s[e, t].y - s[e, u].y
    norm = length(dx, dy)
    if norm <= 0.0:
        dx, dy, norm = 1.0, 0.0, 1.0
    lance = w.lances[e, slot]
    lance.time, lance.target = 0, t
    lance.x, lance.y, lance.dx, lance.dy = s[e, t].x, s[e, t].y, -dy / norm, dx / norm
    w.marks[e, slot] = NOBODY


@kernel
def mark_point(w: World, e: int, u: int, sweep: int, p: int) -> None:
    """Search one point of a sweep: units touched for the first time are hit after the splash delay."""
    s, kinds, slot = w.units, w.kinds, w.roster[u].lance_slot
    k = w.roster[u].kind
    offset = (p - 0.5 * (kinds[k].lance_points - 1)) * kinds[k].lance_spacing * (1 - 2 * sweep)
    lance, mark = w.lances[e, slot], w.marks[e, slot, sweep]
    px, py = lance.x + offset * lance.dx, lance.y + offset * lance.dy
    for v in range(len(w.roster)):
        enemy = w.roster[v].side != w.roster[u].side and s[e, v].alive and w.pairs[k, w.roster[v].kind].can_hit
        near = length(s[e, v].x - px, s[e, v].y - py) <= kinds[k].lance_search + kinds[w.roster[v].kind].radius
        if enemy and near and mark[v] == NOBODY and v != lance.target:
            mark[v] = lance.time + int(kinds[k].lance_splash)


@kernel
def sweep_lance(w: World, e: int, u: int) -> None:
    """One loop of both sweeps of a lance: search the points due, land the hits due."""
    s, kinds, slot = w.units, w.kinds, w.roster[u].lance_slot
    k = w.roster[u].kind
    lance = w.lances[e, slot]
    now, t = lance.time, lance.target
    if now < 0:
        return
    for p in range(kinds[k].lance_points):
        if int(p * kinds[k].lance_step) == now:
            for sweep in range(2):
                mark_point(w, e, u, sweep, p)
    for v in range(len(w.roster)):
        count = (w.marks[e, slot, 0, v] == now) + (w.marks[e, slot, 1, v] == now)
        if count > 0 and s[e, v].alive:
            hit(w, e, u, v, count)
    if now == int(kinds[k].lance_main) and s[e, t].alive:
        hit(w, e, u, t, kinds[k].hits)
    last = int(kinds[k].lance_points * kinds[k].lance_step) + int(kinds[k].lance_splash)
    lance.time = -1 if now >= max(last, int(kinds[k].lance_main)) else now + 1


@kernel
def mend(w: World, e: int, u: int, t: int) -> None:
    """Heal t for one loop, as far as life is missing and energy lasts. The dead stay dead."""
    s, k = w.units, w.roster[u].kind
    if s[e, t].hp <= 0.0:
        return
    missing = w.kinds[w.roster[t].kind].hp_max - s[e, t].hp
    amount = max(0.0, min(w.kinds[k].heal_rate, missing, s[e, u].energy / w.kinds[k].heal_cost))
    s[e, t].hp += amount
    s[e, u].energy = max(0.0, s[e, u].energy - amount * w.kinds[k].heal_cost)


@kernel
def strike(w: World, e: int) -> None:
    """Effects of this loop, for all units at once: hits under way, new shots, lances, then healing."""
    s, n = w.units, len(w.roster)
    for u in range(n):
        if s[e, u].pend_hits > 0:
            land(w, e, u)
    for u in range(n):
        if s[e, u].alive and s[e, u].fire != NOBODY and not w.kinds[w.roster[u].kind].heals:
            launch(w, e, u, s[e, u].fire)
    for u in range(n):
        if w.roster[u].lance_slot >= 0:
            sweep_lance(w, e, u)
    for u in range(n):
        if s[e, u].alive and s[e, u].fire != NOBODY and w.kinds[w.roster[u].kind].heals:
            mend(w, e, u, s[e, u].fire)


@kernel
def burst(w: World, e: int, u: int) -> None:
    """The blast of a dying unit on the enemies whose circle it touches."""
    s = w.units
    for v in range(len(w.roster)):
        amount = w.pairs[w.roster[u].kind, w.roster[v].kind].blast
        reach = w.kinds[w.roster[u].kind].blast_radius + w.kinds[w.roster[v].kind].radius
        exposed = amount > 0.0 and s[e, v].alive and w.roster[v].side != w.roster[u].side
        if exposed and distance(w, e, u, v) <= reach:
            lose(w, e, v, amount)
            provoke(w, e, v, u)


@kernel
def bury(w: World, e: int) -> None:
    """Remove the dead. Their blasts may kill more: rounds of simultaneous deaths until nobody dies."""
    s, n = w.units, len(w.roster)
    again = True
    while again:
        again = False
        for u in range(n):
            s[e, u].moved = s[e, u].alive and s[e, u].hp <= 0.0  # scratch: dies in this round
            if s[e, u].moved:
                s[e, u].alive, s[e, u].hp = False, 0.0
        for u in range(n):
            if s[e, u].moved and w.kinds[w.roster[u].kind].bursts:
                burst(w, e, u)
                again = True


@kernel
def regenerate(w: World, e: int, u: int) -> None:
    """Life always, shields once quiet for long enough, energy always."""
    s, kinds, k = w.units, w.kinds, w.roster[u].kind
    s[e, u].hp = min(kinds[k].hp_max, s[e, u].hp + kinds[k].hp_regen)
    s[e, u].energy = min(kinds[k].energy_max, s[e, u].energy + kinds[k].energy_regen)
    if s[e, u].quiet >= kinds[k].shield_delay:
        s[e, u].shield = min(kinds[k].shield_max, s[e, u].shield + kinds[k].shield_regen)
