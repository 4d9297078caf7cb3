"""Reward, end of episode and statistics of a step. SMAC v1's contract, sections 6 to 8 of its description."""

from __future__ import annotations

from envs.skirmish.kernel import BOTH_DEAD, LOST, RUNNING, WON, kernel
from envs.skirmish.state import World

ALLIES, ENEMIES = 0, 1


@kernel
def losses(w: World, e: int, side: int) -> tuple[float, int]:
    """Points of health and shield that a side lost since the last step, and how many of it died."""
    s = w.units
    points, deaths = 0.0, 0
    for u in range(len(w.roster)):
        if w.roster[u].side != side or s[e, u].counted:
            continue
        before = s[e, u].prev_hp + s[e, u].prev_shield
        if s[e, u].alive:
            points += before - s[e, u].hp - s[e, u].shield
        else:
            points += before
            deaths += 1
            s[e, u].counted = True
    return points, deaths


@kernel
def battle_reward(w: World, e: int) -> float:
    """Unscaled reward of the step without the bonus for its end."""
    r = w.rules
    own, own_deaths = losses(w, e, ALLIES)
    foe, foe_deaths = losses(w, e, ENEMIES)
    if r.reward_sparse:
        return 0.0
    gain = foe + r.reward_death_value * foe_deaths
    if not r.reward_only_positive:
        return gain - r.reward_negative_scale * (own + r.reward_death_value * own_deaths)
    return max(gain, 0.0) if r.reward_shield_fix else abs(gain)


@kernel
def count_alive(w: World, e: int, side: int) -> tuple[int, int]:
    """How many units of a side live, and how many of these are healers."""
    alive, healers = 0, 0
    for u in range(len(w.roster)):
        if w.roster[u].side == side and w.units[e, u].alive:
            alive += 1
            healers += w.kinds[w.roster[u].kind].heals
    return alive, healers


@kernel
def outcome(w: World, e: int) -> int:
    """WON, LOST, BOTH_DEAD or RUNNING, and the counts of the dead."""
    r = w.rules
    own, own_healers = count_alive(w, e, ALLIES)
    foe, foe_healers = count_alive(w, e, ENEMIES)
    w.envs[e].dead_allies, w.envs[e].dead_enemies = r.n_agents - own, r.n_enemies - foe
    if (own == 0 and foe > 0) or (r.healers and own == own_healers):
        return LOST
    if (own > 0 and foe == 0) or (r.healers and foe == 1 and foe_healers == 1):
        return WON
    return BOTH_DEAD if own == 0 and foe == 0 else RUNNING


@kernel
def end_bonus(w: World, code: int) -> float:
    """Unscaled reward for the end of the battle."""
    r = w.rules
    if code == WON:
        return 1.0 if r.reward_sparse else r.reward_win
    if code == LOST:
        return -1.0 if r.reward_sparse else r.reward_defeat
    return 0.0


@kernel
def account(w: World, e: int) -> None:
    """Count the step; fill reward, flags and counts of environment e."""
    r, now = w.rules, w.envs[e]
    now.steps += 1
    reward = battle_reward(w, e)
    code = outcome(w, e)
    over = code != RUNNING
    timeout = not over and now.steps >= r.limit
    now.code, now.timeout = code, timeout
    now.battle_won = code == WON
    now.terminated = over or (timeout and not r.timeout_truncates)
    now.truncated = timeout and r.timeout_truncates
    now.reward = (reward + end_bonus(w, code)) / r.reward_divisor
