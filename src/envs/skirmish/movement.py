"""Movement at game-loop resolution: steering, collisions by separation radius, pushing, sliding along walls.

No unit ever enters a cell it may not stand on, and none moves into another: a step that would do so is turned
aside, given to the friend in the way (pushing), or not taken. Guesses are marked in docs/engine.md.
"""

from __future__ import annotations

from envs.skirmish.kernel import IDLE, NOBODY, kernel, length, uniform
from envs.skirmish.state import World

FREE, WALL = -1, -2  # results of a probe; >= 0 is the unit in the way
DONE, WAIT = 0, 1  # results of an attempt to move
SLACK = 1e-9  # cells of overlap that do not count
COS = (1.0, 0.8660254037844387, 0.5, 0.0, -0.5, -0.8660254037844387)  # of 0, 30, ... 150 degrees
SIN = (0.0, 0.5, 0.8660254037844387, 1.0, 0.8660254037844387, 0.5)
WIDEST = 5  # turns of 30 degrees a detour may take (guess)
GAINING = 2  # turns of 30 degrees that still gain ground
WALKER = 0  # layer of the ground walkers
HALF = 0.5


@kernel
def standable(w: World, k: int, x: float, y: float) -> bool:
    """Whether a unit of kind k may stand with its centre at (x, y): its clearance must be on allowed cells."""
    grid, layer, c = w.passable, w.kinds[k].layer, w.kinds[k].clearance
    if x < c or y < c or x + c >= grid.shape[1] or y + c >= grid.shape[2]:
        return False
    ix, iy = int(x), int(y)
    return (
        grid[layer, int(x - c), iy]
        and grid[layer, int(x + c), iy]
        and grid[layer, ix, int(y - c)]
        and grid[layer, ix, int(y + c)]
    )


@kernel
def gather(w: World, e: int, u: int, reach: float) -> None:
    """Collect in `near` the units that u could touch within `reach` cells, their number in `crowd`."""
    s, kinds = w.units, w.kinds
    k, x, y, count = w.roster[u].kind, s[e, u].x, s[e, u].y, 0
    for v in range(len(w.roster)):
        dx, dy = s[e, v].x - x, s[e, v].y - y
        limit = kinds[k].separation + kinds[w.roster[v].kind].separation + reach
        if dx * dx + dy * dy < limit * limit and v != u and s[e, v].alive and w.pairs[k, w.roster[v].kind].collides:
            s[e, count].near = v
            count += 1
    s[e, u].crowd = count


@kernel
def probe(w: World, e: int, u: int, x: float, y: float) -> int:
    """What keeps u from stepping to (x, y): FREE, WALL, or a unit. Moving apart is always allowed."""
    s, kinds = w.units, w.kinds
    k = w.roster[u].kind
    if not standable(w, k, x, y):
        return WALL
    for i in range(s[e, u].crowd):
        v = s[e, i].near
        dx, dy = s[e, v].x - x, s[e, v].y - y
        square = dx * dx + dy * dy
        limit = kinds[k].separation + kinds[w.roster[v].kind].separation - SLACK
        if square < limit * limit:
            ox, oy = s[e, v].x - s[e, u].x, s[e, v].y - s[e, u].y
            if square < ox * ox + oy * oy:
                return v
    return FREE


@kernel
def commit(w: World, e: int, u: int, x: float, y: float) -> None:
    """Take the step."""
    s = w.units
    s[e, u].vx, s[e, u].vy = x - s[e, u].x, y - s[e, u].y
    s[e, u].x, s[e, u].y = x, y
    s[e, u].stuck = 0


@kernel
def vacant(w: World, e: int, v: int, x: float, y: float) -> bool:
    """Whether unit v could stand at (x, y), everybody else staying."""
    s, kinds = w.units, w.kinds
    k = w.roster[v].kind
    if not standable(w, k, x, y):
        return False
    for o in range(len(w.roster)):
        if o != v and s[e, o].alive and w.pairs[k, w.roster[o].kind].collides:
            dx, dy = s[e, o].x - x, s[e, o].y - y
            limit = kinds[k].separation + kinds[w.roster[o].kind].separation - SLACK
            if dx * dx + dy * dy < limit * limit:
                return False
    return True


@kernel
def push(w: World, e: int, u: int, v: int, x: float, y: float) -> bool:
    """Make room at (x, y) by moving the idle friend v away from it, if v has somewhere to go."""
    s, kinds = w.units, w.kinds
    resting = s[e, v].order == IDLE and not s[e, v].going and s[e, v].windup < 0.0 and s[e, v].target == NOBODY
    if w.roster[u].side != w.roster[v].side or not resting or kinds[w.roster[v].kind].speed <= 0.0:
        return False
    dx, dy = s[e, v].x - x, s[e, v].y - y
    gap = length(dx, dy)
    if gap <= 0.0:
        return False
    apart = (kinds[w.roster[u].kind].separation + kinds[w.roster[v].kind].separation) / gap
    px, py = x + dx * apart, y + dy * apart
    if not vacant(w, e, v, px, py):
        return False
    s[e, v].x, s[e, v].y = px, py
    return True


@kernel
def try_turns(w: World, e: int, u: int, dx: float, dy: float, first: int, last: int) -> bool:
    """Take the first free step among turns first..last of 30 degrees each; negative turns are to the right."""
    s = w.units
    way = 1 if last >= first else -1
    for i in range(abs(last - first) + 1):
        turn = first + i * way
        c, n = COS[abs(turn)], SIN[abs(turn)] * (1 if turn > 0 else -1)
        x, y = s[e, u].x + dx * c - dy * n, s[e, u].y + dx * n + dy * c
        if probe(w, e, u, x, y) == FREE:
            commit(w, e, u, x, y)
            s[e, u].veer = turn
            return True
    return False


@kernel
def detour(w: World, e: int, u: int, block: int, dx: float, dy: float) -> bool:
    """Walk around a unit, keeping in touch with the crowd: from the last turn, first back by 30 degrees, then out.

    A new detour passes the unit in the way on the side where less of it is.
    """
    s = w.units
    veer = s[e, u].veer
    if veer == 0:
        cross = dx * (s[e, block].y - s[e, u].y) - dy * (s[e, block].x - s[e, u].x)
        veer = -1 if cross > 0.0 else 1
    side = 1 if veer > 0 else -1
    if try_turns(w, e, u, dx, dy, veer - side if abs(veer) > 1 else veer, side * WIDEST):
        return True
    return try_turns(w, e, u, dx, dy, -side, -side * WIDEST)


@kernel
def slide(w: World, e: int, u: int, dx: float, dy: float) -> bool:
    """Go along a wall: the longer component of the step, then the other, then turns that still gain ground.

    Caught at a corner, a unit goes back to the middle of its cell, from where waypoints can be reached.
    """
    s = w.units
    x, y = s[e, u].x, s[e, u].y
    wide, least = abs(dx) >= abs(dy), HALF * HALF * length(dx, dy)
    for first in (True, False):
        along_x = wide if first else not wide
        sx, sy = (dx, 0.0) if along_x else (0.0, dy)
        if abs(sx) + abs(sy) > least and probe(w, e, u, x + sx, y + sy) == FREE:
            commit(w, e, u, x + sx, y + sy)
            return True
    for side in (1, -1):
        if try_turns(w, e, u, dx, dy, side, side * GAINING):
            return True
    return not w.rules.open_ground and recentre(w, e, u, length(dx, dy))


@kernel
def recentre(w: World, e: int, u: int, step: float) -> bool:
    """Take a step towards the middle of the cell the unit stands on."""
    s = w.units
    cx, cy = int(s[e, u].x) + HALF - s[e, u].x, int(s[e, u].y) + HALF - s[e, u].y
    left = length(cx, cy)
    part = min(1.0, step / max(left, SLACK))
    x, y = s[e, u].x + cx * part, s[e, u].y + cy * part
    if left <= SLACK or probe(w, e, u, x, y) != FREE:
        return False
    commit(w, e, u, x, y)
    return True


@kernel
def waypoint(w: World, e: int, u: int) -> tuple[float, float, bool]:
    """Where to head now: (x, y, whether it is the goal itself)."""
    s = w.units
    gx, gy = s[e, u].goal_x, s[e, u].goal_y
    if w.rules.open_ground or w.kinds[w.roster[u].kind].layer != WALKER:
        return gx, gy, True
    width, height = w.passable.shape[1], w.passable.shape[2]
    ix, iy = min(max(int(gx), 0), width - 1), min(max(int(gy), 0), height - 1)
    here, there = int(s[e, u].x) * height + int(s[e, u].y), w.nearest[ix * height + iy]
    cell = w.waypoint[here, there]
    if cell < 0 or cell == there or here == there:
        return gx, gy, True
    return cell // height + HALF, cell % height + HALF, False


@kernel
def stride(w: World, e: int, u: int, dx: float, dy: float) -> float:
    """Length of the next step in the unit direction (dx, dy), limited by speed and acceleration."""
    s, k = w.units, w.roster[u].kind
    pace = max(0.0, s[e, u].vx * dx + s[e, u].vy * dy) + w.kinds[k].accel
    return min(pace, w.kinds[k].speed)


@kernel
def attempt(w: World, e: int, u: int, patient: bool) -> int:
    """Move u one loop towards its goal. A patient unit waits if the one in the way is still to move."""
    s = w.units
    gx, gy, final = waypoint(w, e, u)
    dx, dy = gx - s[e, u].x, gy - s[e, u].y
    left = length(dx, dy)
    if left <= 0.0:
        s[e, u].moved = True
        return DONE
    step = min(stride(w, e, u, dx / left, dy / left), left)
    if final:
        step = min(step, s[e, u].goal_gap)
    dx, dy = dx * step / left, dy * step / left
    gather(w, e, u, step)
    x, y = s[e, u].x + dx, s[e, u].y + dy
    block = probe(w, e, u, x, y)
    if block >= 0 and patient and s[e, block].going and not s[e, block].moved:
        return WAIT
    s[e, u].moved = True
    evade(w, e, u, block, dx, dy)
    return DONE


@kernel
def evade(w: World, e: int, u: int, block: int, dx: float, dy: float) -> None:
    """Take the step (dx, dy), or what can be had of it when `block` is in the way."""
    s = w.units
    x, y = s[e, u].x + dx, s[e, u].y + dy
    if block >= 0 and push(w, e, u, block, x, y):
        block = probe(w, e, u, x, y)
    if block == FREE and abs(s[e, u].veer) <= 1:
        commit(w, e, u, x, y)
        s[e, u].veer = 0
        return
    if block == WALL:
        if slide(w, e, u, dx, dy):
            return
    elif detour(w, e, u, block, dx, dy):
        return
    s[e, u].vx, s[e, u].vy = 0.0, 0.0
    s[e, u].stuck += 1


@kernel
def move_all(w: World, e: int) -> None:
    """Move everybody. Coins decide which side and which end goes first; who must wait goes in a second pass."""
    s, n = w.units, len(w.roster)
    upward = uniform(w, e) < HALF
    offset = w.rules.n_agents if uniform(w, e) < HALF else 0
    for u in range(n):
        s[e, u].moved = False
        s[e, u].going = s[e, u].going and s[e, u].alive and w.kinds[w.roster[u].kind].speed > 0.0
        if not s[e, u].going:
            s[e, u].vx, s[e, u].vy = 0.0, 0.0
    for second in range(2):
        for i in range(n):
            u = ((i if upward == (second == 0) else n - 1 - i) + offset) % n
            if s[e, u].going and not s[e, u].moved:
                attempt(w, e, u, second == 0)
