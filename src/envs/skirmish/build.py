"""From a scenario and flags to the arrays of a `World`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from envs.skirmish import state
from envs.skirmish.data import MOVERS, PLANES, UnitType, Weapon
from envs.skirmish.flags import Flags
from envs.skirmish.kernel import ADVANCE, FIRST_TARGET, HUNT, IDLE, LOOPS_PER_SECOND
from envs.skirmish.pathing import all_visible, nearest_walkable, waypoints
from envs.skirmish.scenario import Ground, Scenario, Standing
from envs.skirmish.spawn import Placed, collide, grids, spawn

PER_LOOP = 1.0 / LOOPS_PER_SECOND
PER_LOOP_2 = PER_LOOP * PER_LOOP
PLAYABLE_MARGIN = 4  # cells by which the playable area is smaller than the map, both sides together
PATHING_POINTS, HEIGHT_POINTS = 8, 9  # terrain features of the move block
Z_BASE, Z_RANGE = 16.0, 32.0  # the API's byte heights as a ratio: (z + 16) / 32


class Sizes(NamedTuple):
    """Lengths of the vectors of a map under some flags."""

    obs: int
    state: int
    actions: int
    ally: int  # of one agent's row in the state
    move: int
    enemy_feats: int
    ally_feats: int
    own_feats: int


def sizes(scenario: Scenario, flags: Flags) -> Sizes:
    """Lengths as SMAC's size formulas give them; with obs_timestep_number, of the vector as it really is."""
    n, m = (sum(group.count for group in groups) for groups in (scenario.allies, scenario.enemies))
    shields = [race == "P" for race in scenario.races]
    actions, bits = FIRST_TARGET + m, scenario.type_columns
    move = 4 + PATHING_POINTS * flags.obs_pathing_grid + HEIGHT_POINTS * flags.obs_terrain_height
    health = [1 + shield if flags.obs_all_health else 0 for shield in shields]
    ally_feats = 4 + bits + health[0] + actions * flags.obs_last_action
    enemy_feats = 4 + bits + health[1]
    own = bits + (1 + shields[0] if flags.sees_own_health else 0) + flags.obs_timestep_number
    obs = move + m * enemy_feats + (n - 1) * ally_feats + own + flags.obs_timestep_number
    ally = 4 + shields[0] + bits
    whole = n * ally + m * (3 + shields[1] + bits) + n * actions * flags.state_last_action
    total = n * obs if flags.obs_instead_of_state else whole + flags.state_timestep_number
    return Sizes(obs, total, actions, ally, move, enemy_feats, ally_feats, own)


def max_reward(scenario: Scenario, flags: Flags) -> float:
    """The undivided return of a flawless win without regeneration."""
    units = scenario.units(flags.balance)
    points = sum(group.count * (units[group.unit].hp + units[group.unit].shield) for group in scenario.enemies)
    count = sum(group.count for group in scenario.enemies)
    return points + count * flags.reward_death_value + flags.reward_win


def _hit(amount: float, bonus: dict[str, float], target: UnitType) -> float:
    return amount + sum(value for attribute, value in bonus.items() if attribute in target.attributes)


def _can_hit(attacker: UnitType, target: UnitType) -> bool:
    return attacker.weapon is not None and any(plane in attacker.weapon.targets for plane in PLANES[target.plane])


def _weapon_columns(units: list[UnitType]) -> dict[str, list[Any]]:
    arms = [unit.weapon or Weapon(damage=0, range=-1, period=0, damage_point=0, backswing=0) for unit in units]
    lances = [arm.lance for arm in arms]
    return {
        "armed": [unit.weapon is not None for unit in units],
        "range": [arm.range for arm in arms],
        "scan": [max(arm.scan, arm.range) for arm in arms],
        "slop": [arm.slop for arm in arms],
        "period": [arm.period * LOOPS_PER_SECOND for arm in arms],
        "damage_point": [arm.damage_point * LOOPS_PER_SECOND for arm in arms],
        "backswing": [arm.backswing * LOOPS_PER_SECOND for arm in arms],
        "delay_low": [arm.random_delay[0] * LOOPS_PER_SECOND for arm in arms],
        "delay_high": [arm.random_delay[1] * LOOPS_PER_SECOND for arm in arms],
        "hits": [arm.hits for arm in arms],
        "hit_gap": [arm.hit_gap * LOOPS_PER_SECOND for arm in arms],
        "melee": [arm.melee for arm in arms],
        "missile_speed": [arm.missile_speed * PER_LOOP for arm in arms],
        "close_range": [arm.close_range for arm in arms],
        "close_point": [arm.close_damage_point * LOOPS_PER_SECOND for arm in arms],
        "one_use": [arm.one_use for arm in arms],
        "lance": [lance is not None for lance in lances],
        "lance_points": [lance.points if lance else 0 for lance in lances],
        "lance_spacing": [lance.spacing if lance else 0 for lance in lances],
        "lance_search": [lance.search_radius if lance else 0 for lance in lances],
        "lance_step": [lance.step * LOOPS_PER_SECOND if lance else 0 for lance in lances],
        "lance_splash": [lance.splash_delay * LOOPS_PER_SECOND if lance else 0 for lance in lances],
        "lance_main": [lance.main_delay * LOOPS_PER_SECOND if lance else 0 for lance in lances],
    }


def _support_columns(units: list[UnitType]) -> dict[str, list[Any]]:
    heals, stores = [unit.heal for unit in units], [unit.energy for unit in units]
    return {
        "energy_start": [store.start if store else 0 for store in stores],
        "energy_max": [store.max if store else 0 for store in stores],
        "energy_regen": [store.regen * PER_LOOP if store else 0 for store in stores],
        "heals": [heal is not None for heal in heals],
        "heal_rate": [heal.rate * PER_LOOP if heal else 0 for heal in heals],
        "heal_cost": [heal.energy_per_hp if heal else 1 for heal in heals],
        "heal_range": [heal.range if heal else 0 for heal in heals],
        "heal_scan": [heal.scan if heal else 0 for heal in heals],
        "heal_min_energy": [heal.min_energy if heal else 0 for heal in heals],
        "bursts": [unit.blast is not None for unit in units],
        "blast_radius": [unit.blast.radius if unit.blast else 0 for unit in units],
    }


def _body_columns(units: list[UnitType]) -> dict[str, list[Any]]:
    return {
        "hp_max": [unit.hp for unit in units],
        "hp_regen": [unit.hp_regen * PER_LOOP for unit in units],
        "shield_max": [unit.shield for unit in units],
        "shield_regen": [unit.shield_regen * PER_LOOP for unit in units],
        "shield_delay": [unit.shield_delay * LOOPS_PER_SECOND for unit in units],
        "armor": [unit.armor for unit in units],
        "radius": [unit.radius for unit in units],
        "separation": [unit.separation_radius for unit in units],
        "clearance": [unit.inner_radius for unit in units],
        "speed": [unit.speed * PER_LOOP for unit in units],
        "accel": [unit.acceleration * PER_LOOP_2 for unit in units],
        "layer": [MOVERS.index(unit.mover) for unit in units],
        "priority": [unit.priority for unit in units],
        "biological": ["Biological" in unit.attributes for unit in units],
        "max_cooldown": [unit.state_max_cooldown for unit in units],
    }


def _pair_tables(units: list[UnitType]) -> dict[str, list[Any]]:
    def table(value: Any) -> list[list[Any]]:
        return [[value(a, b) for b in units] for a in units]

    return {
        "damage": table(lambda a, b: _hit(a.weapon.damage, a.weapon.bonus, b) if a.weapon else 0.0),
        "can_hit": table(_can_hit),
        "threatens": table(lambda a, b: a.always_threatens or _can_hit(a, b)),
        "collides": table(collide),
        "blast": table(lambda a, b: _hit(a.blast.damage, a.blast.bonus, b) if a.blast and b.plane != "air" else 0.0),
    }


def _records(kind: np.dtype, columns: dict[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    out = np.zeros(shape, kind)
    if set(columns) != set(kind.names or ()):
        raise AssertionError(f"columns and record differ in {set(columns) ^ set(kind.names or ())}")
    for name, values in columns.items():
        out[name] = values
    return out


def build_kinds(units: list[UnitType]) -> np.ndarray:
    """`[K]` KIND: unit types in engine units, loops and cells per loop."""
    columns = _body_columns(units) | _weapon_columns(units) | _support_columns(units)
    return _records(state.KIND, columns, (len(units),))


def build_roster(scenario: Scenario, units: list[UnitType], placed: list[Placed]) -> np.ndarray:
    """`[U]` SLOT: who stands in each slot."""
    names = [unit.name for unit in units]
    types = (scenario.ally_types, scenario.enemy_types)
    lance = [(arm := units[names.index(p.unit)].weapon) is not None and arm.lance is not None for p in placed]
    columns = {
        "kind": [names.index(p.unit) for p in placed],
        "side": [p.side for p in placed],
        "auto": [p.side == 1 or scenario.allies_acquire for p in placed],
        "column": [types[p.side].index(p.unit) for p in placed],
        "lance_slot": np.where(lance, np.cumsum(lance) - 1, -1),
        "spawn_x": [p.x for p in placed],
        "spawn_y": [p.y for p in placed],
    }
    return _records(state.SLOT, columns, (len(placed),))


def build_terrain(ground: Ground) -> dict[str, np.ndarray]:
    """Grids and, unless every cell sees every other, the waypoint table."""
    passable, waypoint = _passable_and_waypoints(ground.walk.tobytes(), ground.climb.tobytes(), ground.walk.shape)
    height = (ground.height + Z_BASE) / Z_RANGE
    return {"passable": passable, "height": height, "waypoint": waypoint, "nearest": nearest_walkable(ground.walk)}


@lru_cache(maxsize=32)
def _passable_and_waypoints(walk: bytes, climb: bytes, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    cells = [np.frombuffer(grid, bool).reshape(shape) for grid in (walk, climb)]
    passable = grids(Ground(cells[0], cells[1], np.zeros(shape)))
    walkable = passable[0].copy()
    return passable, np.full((1, 1), -1, np.int16) if all_visible(walkable) else waypoints(walkable)


def _standing(order: Standing) -> tuple[float, float, float, float, int]:
    if order.attack_group:
        return 0, 0, 0, 0, HUNT
    if order.attack_move is not None:
        x, y = order.attack_move
        return x, y, x, y, ADVANCE
    if order.attack_move_between is not None:
        (x, y), (x2, y2) = order.attack_move_between
        return x, y, x2, y2, ADVANCE
    return 0, 0, 0, 0, IDLE


def build_rules(scenario: Scenario, flags: Flags, healers: bool, open_ground: bool, delay_scale: float) -> Any:
    """RULES: the map's and the user's choices, one record."""
    n, m = (sum(group.count for group in groups) for groups in (scenario.allies, scenario.enemies))
    width, height = scenario.terrain.walk.shape
    own = {name: getattr(flags, name) for name in state.RULES.names or () if hasattr(flags, name)}
    derived = {
        "n_agents": n,
        "n_enemies": m,
        "n_actions": FIRST_TARGET + m,
        "limit": scenario.limit,
        "loops": flags.step_mul,
        "ally_shields": scenario.races[0] == "P",
        "enemy_shields": scenario.races[1] == "P",
        "type_columns": scenario.type_columns,
        "healers": healers,
        "open_ground": open_ground,
        "extent_x": width - PLAYABLE_MARGIN,
        "extent_y": height - PLAYABLE_MARGIN,
        "centre_x": width / 2,
        "centre_y": height / 2,
        "obs_own_health": flags.sees_own_health,
        "timeout_truncates": flags.continuing_episode or not flags.timeout_terminates,
        "reward_divisor": max_reward(scenario, flags) / flags.reward_scale_rate if flags.reward_scale else 1.0,
        "delay_scale": delay_scale,
    }
    return _records(state.RULES, own | derived, (1,))[0]


def build_world(scenario: Scenario, flags: Flags, n_envs: int, delay_scale: float = 1.0) -> state.World:
    """All arrays of `n_envs` environments; nothing is started."""
    types = scenario.units(flags.balance)
    placed = spawn(scenario, flags.balance)
    roster = build_roster(scenario, list(types.values()), placed)
    healers = any(p.side == 0 and types[p.unit].heal is not None for p in placed)
    terrain = build_terrain(scenario.terrain)
    rules = build_rules(scenario, flags, healers, terrain["waypoint"].shape[0] == 1, delay_scale)
    size, count, n = sizes(scenario, flags), len(placed), int(rules["n_agents"])
    lances = int(roster["lance_slot"].max()) + 1
    return state.World(
        kinds=build_kinds(list(types.values())),
        pairs=_records(state.PAIR, _pair_tables(list(types.values())), (len(types), len(types))),
        roster=roster,
        standing=np.array([_standing(scenario.ally_order), _standing(scenario.enemy_order)], state.STANDING),
        rules=rules,
        units=np.zeros((n_envs, count), state.UNIT),
        agents=np.zeros((n_envs, n), state.AGENT),
        lances=np.zeros((n_envs, max(lances, 1)), state.LANCE),
        marks=np.full((n_envs, max(lances, 1), 2, count if lances else 1), -1, np.int16),
        envs=np.zeros(n_envs, state.BATTLE),
        obs=np.zeros((n_envs, n, size.obs), np.float32),
        state=np.zeros((n_envs, size.state), np.float32),
        avail=np.zeros((n_envs, n, size.actions), bool),
        **terrain,
    )
