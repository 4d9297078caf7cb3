"""What agents and learners see: availability masks, observations, the global state. SMAC v1's contract."""

from __future__ import annotations

from envs.skirmish.kernel import EAST, FIRST_TARGET, NORTH, SHOOT_RANGE, SIGHT_RANGE, SOUTH, STOP, WEST, kernel
from envs.skirmish.orders import distance
from envs.skirmish.state import World

OUTSIDE = 1.0  # value of terrain features off the map
NEAR, FAR = 1, 2  # multiples of move_amount at which the terrain features look


@kernel
def walkable(w: World, x: float, y: float) -> bool:
    """Pathing grid at a point whose coordinates are cut towards zero; False off the map."""
    ix, iy = int(x), int(y)
    grid = w.passable
    return 0 <= ix < grid.shape[1] and 0 <= iy < grid.shape[2] and grid[0, ix, iy]


@kernel
def available(w: World, e: int, a: int) -> None:
    """Fill one agent's mask."""
    s, avail, n = w.units, w.avail[e, a], w.rules.n_agents
    avail[:] = False
    if not s[e, a].alive:
        avail[0] = True
        return
    x, y, half = s[e, a].x, s[e, a].y, 0.5 * w.rules.move_amount
    avail[STOP] = True
    avail[NORTH], avail[SOUTH] = walkable(w, x, y + half), walkable(w, x, y - half)
    avail[EAST], avail[WEST] = walkable(w, x + half, y), walkable(w, x - half, y)
    if w.rules.healers and w.kinds[w.roster[a].kind].heals:
        for v in range(min(n, w.rules.n_enemies)):
            patient = s[e, v].alive and not w.kinds[w.roster[v].kind].heals
            avail[FIRST_TARGET + v] = patient and distance(w, e, a, v) <= SHOOT_RANGE
        return
    for v in range(w.rules.n_enemies):
        avail[FIRST_TARGET + v] = s[e, n + v].alive and distance(w, e, a, n + v) <= SHOOT_RANGE


@kernel
def look_around(w: World, e: int, a: int, row: object, at: int) -> int:
    """Terrain features of the move block: pathing at 8 points, height at these and the own; next free index."""
    rules, grid = w.rules, w.passable
    x, y, m = int(w.units[e, a].x), int(w.units[e, a].y), int(rules.move_amount)
    dx = (0, 0, FAR, -FAR, NEAR, -NEAR, NEAR, -NEAR, 0)
    dy = (FAR, -FAR, 0, 0, NEAR, -NEAR, -NEAR, NEAR, 0)
    for field in range(2):
        if not (rules.obs_terrain_height if field else rules.obs_pathing_grid):
            continue
        for i in range(8 + field):
            px, py = x + dx[i] * m, y + dy[i] * m
            inside = 0 <= px < grid.shape[1] and 0 <= py < grid.shape[2]
            value = OUTSIDE
            if inside:
                value = w.height[px, py] if field else 1.0 * grid[0, px, py]
            row[at] = value  # type: ignore[index]
            at += 1
    return at


@kernel
def vitals(w: World, e: int, v: int, row: object, at: int, shields: bool) -> int:
    """Health ratio and, for a Protoss side, shield ratio; next free index."""
    k = w.roster[v].kind
    row[at] = w.units[e, v].hp / w.kinds[k].hp_max  # type: ignore[index]
    if not shields:
        return at + 1
    if w.kinds[k].shield_max > 0.0:
        row[at + 1] = w.units[e, v].shield / w.kinds[k].shield_max  # type: ignore[index]
    return at + 2


@kernel
def type_bits(w: World, v: int, row: object, at: int) -> int:
    """Unit type one-hot; next free index."""
    if w.rules.type_columns > 0:
        row[at + w.roster[v].column] = 1.0  # type: ignore[index]
    return at + w.rules.type_columns


@kernel
def see(w: World, e: int, a: int, v: int, row: object, at: int, lead: float) -> bool:
    """Fill the row that agent a has of unit v, if alive and within sight; whether it was."""
    s = w.units
    gap = distance(w, e, a, v)
    if not s[e, v].alive or gap >= SIGHT_RANGE:
        return False
    row[at] = lead  # type: ignore[index]
    row[at + 1] = gap / SIGHT_RANGE  # type: ignore[index]
    row[at + 2] = (s[e, v].x - s[e, a].x) / SIGHT_RANGE  # type: ignore[index]
    row[at + 3] = (s[e, v].y - s[e, a].y) / SIGHT_RANGE  # type: ignore[index]
    at += 4
    if w.rules.obs_all_health:
        shields = w.rules.ally_shields if w.roster[v].side == 0 else w.rules.enemy_shields
        at = vitals(w, e, v, row, at, shields)
    type_bits(w, v, row, at)
    return True


@kernel
def row_width(w: World, shields: bool) -> int:
    """Length of a row about another unit, without last actions."""
    return 4 + w.rules.type_columns + (1 + shields if w.rules.obs_all_health else 0)


@kernel
def observe_agent(w: World, e: int, a: int) -> None:
    """Fill one agent's observation: move | enemies | allies | own [| 0 | time]. Of a dead agent only the time."""
    rules, row, avail = w.rules, w.obs[e, a], w.avail[e, a]
    row[:] = 0.0
    if rules.obs_timestep_number:
        row[row.shape[0] - 1] = w.envs[e].steps / rules.limit
    if not w.units[e, a].alive:
        return
    for i in range(4):
        row[i] = avail[NORTH + i]
    at = look_around(w, e, a, row, 4)
    width = row_width(w, rules.enemy_shields)
    for v in range(rules.n_enemies):
        see(w, e, a, rules.n_agents + v, row, at, 1.0 * avail[FIRST_TARGET + v])
        at += width
    width = row_width(w, rules.ally_shields)
    for v in range(rules.n_agents):
        if v != a:
            seen = see(w, e, a, v, row, at, 1.0)
            at += width
            if rules.obs_last_action:
                if seen and w.agents[e, v].last_action >= 0:
                    row[at + w.agents[e, v].last_action] = 1.0
                at += rules.n_actions
    if rules.obs_own_health:
        at = vitals(w, e, a, row, at, rules.ally_shields)
    type_bits(w, a, row, at)


@kernel
def place(w: World, e: int, u: int, row: object, at: int) -> None:
    """Position relative to the centre of the map."""
    row[at] = (w.units[e, u].x - w.rules.centre_x) / w.rules.extent_x  # type: ignore[index]
    row[at + 1] = (w.units[e, u].y - w.rules.centre_y) / w.rules.extent_y  # type: ignore[index]


@kernel
def state_unit(w: World, e: int, u: int, row: object, at: int) -> None:
    """One unit's row of the global state."""
    s, k = w.units, w.roster[u].kind
    row[at] = s[e, u].hp / w.kinds[k].hp_max  # type: ignore[index]
    at += 1
    ally = w.roster[u].side == 0
    if ally:
        healer = w.rules.healers and w.kinds[k].heals
        row[at] = (s[e, u].energy if healer else s[e, u].cooldown) / w.kinds[k].max_cooldown  # type: ignore[index]
        at += 1
    place(w, e, u, row, at)
    at += 2
    if w.rules.ally_shields if ally else w.rules.enemy_shields:
        if w.kinds[k].shield_max > 0.0:
            row[at] = s[e, u].shield / w.kinds[k].shield_max  # type: ignore[index]
        at += 1
    type_bits(w, u, row, at)


@kernel
def observe_state(w: World, e: int) -> None:
    """Fill the global state: allies | enemies | last actions [| time], or all observations in a row."""
    rules, row, s = w.rules, w.state[e], w.units
    if rules.obs_instead_of_state:
        width = w.obs.shape[2]
        for i in range(rules.n_agents * width):
            row[i] = w.obs[e, i // width, i % width]
        return
    row[:] = 0.0
    ally, enemy = 4 + rules.type_columns + rules.ally_shields, 3 + rules.type_columns + rules.enemy_shields
    for u in range(len(w.roster)):
        if s[e, u].alive:
            state_unit(w, e, u, row, min(u, rules.n_agents) * ally + max(u - rules.n_agents, 0) * enemy)
    at = rules.n_agents * ally + rules.n_enemies * enemy
    if rules.state_last_action:
        for a in range(rules.n_agents):
            if w.agents[e, a].last_action >= 0:
                row[at + w.agents[e, a].last_action] = 1.0
            at += rules.n_actions
    if rules.state_timestep_number:
        row[at] = w.envs[e].steps / rules.limit


@kernel
def observe(w: World, e: int) -> None:
    """Fill mask, observations and state of environment e."""
    for a in range(w.rules.n_agents):
        available(w, e, a)
        observe_agent(w, e, a)
    observe_state(w, e)
