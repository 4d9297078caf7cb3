"""The arrays the kernels work on: structured arrays, so that `w.units[e, u].hp` reads the same here and there.

Shape legend: E environments, U units (agents first, then enemies), N agents, K unit types, L units with a lance,
W x H cells, C = W * H cells numbered x * H + y. Times are game loops, lengths cells, speeds cells per loop.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


def record(**types: str) -> np.dtype:
    """A structured type: names grouped by their type."""
    code = {"words": "u8", "numbers": "f8", "integers": "i8", "flags": "?"}
    return np.dtype([(name, code[kind]) for kind, names in types.items() for name in names.split()], align=True)


KIND = record(
    numbers="""hp_max hp_regen shield_max shield_regen shield_delay armor radius separation clearance speed accel
        priority max_cooldown range scan slop period damage_point backswing delay_low delay_high hit_gap missile_speed
        close_range close_point lance_spacing lance_search lance_step lance_splash lance_main energy_start energy_max
        energy_regen heal_rate heal_cost heal_range heal_scan heal_min_energy blast_radius""",
    integers="layer hits lance_points",
    flags="biological armed melee one_use lance heals bursts",
)
# What the first unit type does to the second: damage of one hit and of its blast, whether it can hit it, is a
# threat to it, and collides with it.
PAIR = record(numbers="damage blast", flags="can_hit threatens collides")
# Who stands in a slot. side: 0 allies, 1 enemies. column: of the type one-hot. lance_slot: -1 without a lance.
# auto: acquires targets and answers attacks by itself.
SLOT = record(numbers="spawn_x spawn_y", integers="kind side column lance_slot", flags="auto")
STANDING = record(numbers="x y x2 y2", integers="code")  # order of a side at the spawn: to a point of a segment
RULES = record(
    numbers="""move_amount extent_x extent_y centre_x centre_y reward_death_value reward_win reward_defeat
        reward_negative_scale reward_divisor delay_scale""",
    integers="n_agents n_enemies n_actions limit loops type_columns",
    flags="""ally_shields enemy_shields healers open_ground obs_all_health obs_own_health obs_last_action
        obs_pathing_grid obs_terrain_height obs_timestep_number obs_instead_of_state state_last_action
        state_timestep_number reward_sparse reward_only_positive reward_shield_fix timeout_truncates heuristic_ai
        heuristic_rest""",
)
# One unit in one battle. windup: loops until the damage point, -1 outside an attack. quiet: loops since the last
# damage. aim: unit an order names; target: acquired by itself; provoker: who hit it; fire: shot at or healed in this
# loop; all -1 for nobody. home: where the target was acquired. pend: hits under way. goal_gap: distance after which
# to stop. veer: present detour in turns of 30 degrees, > 0 left, < 0 right. near, crowd: scratch. counted: death
# already rewarded.
UNIT = record(
    numbers="""x y hp shield energy cooldown windup backswing quiet vx vy order_x order_y home_x home_y pend_time
        goal_x goal_y goal_gap prev_hp prev_shield""",
    integers="order aim target provoker rescan help fire pend_target pend_hits veer stuck near crowd",
    flags="alive going moved counted",
)
# Per agent: last action and target of the heuristic (-1 none); the command in SMAC's form: ability, object, point.
AGENT = record(numbers="to_x to_y", integers="last_action scripted ability object")
LANCE = record(numbers="x y dx dy", integers="time target")  # time: loops since the shot, -1 none
# Per battle: what a step returns. code: 1 won, -1 lost, 0 both dead, -2 running. illegal: first agent with an
# unavailable action, -1 none.
BATTLE = record(
    words="rng",
    numbers="reward",
    integers="steps dead_allies dead_enemies code illegal",
    flags="terminated truncated timeout battle_won",
)

# What a call asks of each environment: phases of engine.step as bits, the seed of a reset, whether it takes part.
CALL = record(words="seed", integers="phases", flags="active")


class World(NamedTuple):
    """One argument for every kernel."""

    kinds: np.ndarray  # [K] KIND
    pairs: np.ndarray  # [K,K] PAIR
    roster: np.ndarray  # [U] SLOT
    standing: np.ndarray  # [2] STANDING
    rules: Any  # RULES, one record
    passable: np.ndarray  # [3,W,H] bool: cells for walkers, cliff walkers, fliers
    height: np.ndarray  # [W,H] float64, 0..1
    waypoint: np.ndarray  # [C,C] int16: where a walker in the first cell heads to reach the second
    nearest: np.ndarray  # [C] int16: the walkable cell nearest to each cell
    units: np.ndarray  # [E,U] UNIT
    agents: np.ndarray  # [E,N] AGENT
    lances: np.ndarray  # [E,L] LANCE
    marks: np.ndarray  # [E,L,2,U] int16: loop in which a sweep's mark hits the unit, -1 none
    envs: np.ndarray  # [E] BATTLE
    obs: np.ndarray  # [E,N,O] float32
    state: np.ndarray  # [E,S] float32
    avail: np.ndarray  # [E,N,A] bool


CHANGING = ("units", "agents", "lances", "marks", "envs", "obs", "state", "avail")
