"""The engine as a whole: determinism, saving, fairness, invariants, reward of a flawless win."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from envs.skirmish import scripts
from envs.skirmish.env import SingleFromVec, SkirmishVecEnv
from envs.skirmish.flags import Flags
from envs.skirmish.kernel import ACCOUNT, PHYSICS
from envs.skirmish.scenario import Group, Standing, load_map, map_names
from envs.skirmish.simulation import Simulation

FUZZ_STEPS = int(os.environ.get("SKIRMISH_FUZZ_STEPS", "40000"))  # env-steps over all maps; 1e6 for the long run
OVERLAP = 1e-6  # cells


def play(map_name: str, seeds: list[int], n_envs: int, threads: int, steps: int = 25) -> list[np.ndarray]:
    """Observations, states and rewards of random play; actions depend on the seed alone."""
    env = SkirmishVecEnv(map_name, n_envs=n_envs, threads=threads)
    seen = env.reset(seeds)
    rngs = [np.random.default_rng(seed) for seed in seeds]
    active, out = np.arange(n_envs) < len(seeds), []
    for _ in range(steps):
        avail = np.asarray(seen.avail_actions)
        joint = np.zeros((n_envs, avail.shape[1], 1), np.int64)
        for e, rng in enumerate(rngs):
            joint[e, :, 0] = scripts.pick(avail[e], rng)
        seen, reward, terminated, truncated, _ = env.step(joint, active)
        active &= ~(terminated | truncated)
        count = len(seeds)
        out += [seen.obs[:count].copy(), seen.state[:count].copy(), np.asarray(reward)[:count].copy()]
    return out


@pytest.mark.parametrize("map_name", ["3m", "MMM2", "2c_vs_64zg"])
def test_an_episode_is_a_function_of_its_seed(map_name: str) -> None:
    seeds = [5, 2**63 + 11, 5, 7]
    whole = play(map_name, seeds, 4, 1)
    for left, right in zip(whole, play(map_name, seeds, 33, 2), strict=True):
        np.testing.assert_array_equal(left, right)
    alone = play(map_name, seeds[3:], 1, 1)
    for left, right in zip(whole, alone, strict=True):
        np.testing.assert_array_equal(left[3], right[0])
        np.testing.assert_array_equal(left[0], left[2])
    assert any((left[0] != left[3]).any() for left in whole)


def test_single_environment_equals_the_vectorised_one() -> None:
    single, vec = (SkirmishVecEnv("2s3z", n_envs=n, threads=1) for n in (1, 3))
    one = SingleFromVec(single)
    first, all_three = one.reset(9), vec.reset([9, 10, 11])
    np.testing.assert_array_equal(first.obs, all_three.obs[0])
    joint = np.ones((3, 5, 1), np.int64)
    alone, batch = one.step(joint[0]), vec.step(joint, np.ones(3, bool))
    np.testing.assert_array_equal(alone.observation.state, batch.observation.state[0])
    assert alone.reward == batch.reward[0] and alone.info["dead_allies"] == 0


@pytest.mark.parametrize("map_name", ["3s_vs_3z", "1c3s5z"])
def test_state_is_saved_and_restored_bit_for_bit(map_name: str) -> None:
    env = SkirmishVecEnv(map_name, n_envs=3, threads=1)
    env.reset([1, 2, 3])
    policy = scripts.POLICIES["focus"]
    rng = np.random.default_rng(0)
    for _ in range(18):
        env.step(policy(env.sim, rng))
    saved = env.save_state()
    first = [env.step(policy(env.sim, rng)).observation.state.copy() for _ in range(12)]
    other = SkirmishVecEnv(map_name, n_envs=3, threads=1)
    other.restore_state(saved)
    second = [other.step(policy(other.sim, rng)).observation.state.copy() for _ in range(12)]
    np.testing.assert_array_equal(first, second)
    with pytest.raises(ValueError, match="another map"):
        SkirmishVecEnv("3m", n_envs=3, threads=1).restore_state(saved)


def test_idle_environments_can_be_fed_to_a_policy() -> None:
    env = SkirmishVecEnv("3m", n_envs=4, threads=1)
    seen = env.reset([1, 2])
    assert np.asarray(seen.avail_actions).any(-1).all()


def mirrored(unit_map: str, n_envs: int) -> Simulation:
    """The enemies of a map against their own mirror image, both attack-moving; places jittered."""
    base = load_map(unit_map)
    allies = [Group(group.unit, group.count, [9.0, 16.0]) for group in base.enemies]
    types = sorted({group.unit for group in allies})
    order = Standing(attack_move=[23.0, 16.0])
    changed = {"allies": allies, "ally_types": types, "allies_acquire": True, "ally_order": order, "type_columns": 0}
    sim = Simulation(Flags(map_name=unit_map), n_envs=n_envs, threads=1, scenario=replace(base, **changed))
    roster, n = sim.world.roster, sim.world.agents.shape[1]
    roster["kind"][n:], roster["spawn_y"][n:] = roster["kind"][:n], roster["spawn_y"][:n]
    roster["spawn_x"][n:] = 32 - roster["spawn_x"][:n]
    sim.reset(range(n_envs))
    rng = np.random.default_rng(7)
    for axis in "xy":
        sim.world.units[axis] += rng.uniform(-0.1, 0.1, sim.world.units.shape)
    return sim


@pytest.mark.parametrize("unit_map", ["3m", "2s3z"])
def test_mirrored_armies_win_half_of_4000_battles(unit_map: str) -> None:
    sim = mirrored(unit_map, 4000)
    active, codes = np.ones(4000, bool), np.full(4000, -2)
    nothing = np.zeros(sim.world.agents.shape[:2], np.int64)
    while active.any():
        sim.step(nothing, active, PHYSICS | ACCOUNT)
        now = sim.world.envs
        done = active & (now["terminated"] | now["truncated"])
        codes[done] = now["code"][done]
        active &= ~done
    decided = codes[np.abs(codes) == 1]
    assert len(decided) > 3600
    assert 0.47 <= (decided == 1).mean() <= 0.53


def check_invariants(sim: Simulation) -> None:
    """Nobody in a wall, nobody in another, nothing NaN, nothing beyond its maximum."""
    world, units = sim.world, sim.world.units
    kinds = world.kinds[world.roster["kind"]]
    assert np.isfinite(world.obs).all() and np.isfinite(world.state).all()
    for name in units.dtype.names or ():
        assert np.isfinite(units[name]).all(), name
    alive = units["alive"]
    x, y = units["x"].astype(int), units["y"].astype(int)
    assert world.passable[np.broadcast_to(kinds["layer"], x.shape), x, y][alive].all()
    assert (units["hp"] <= kinds["hp_max"]).all() and (units["shield"] <= kinds["shield_max"]).all()
    assert (units["hp"][alive] > 0).all() and (units["hp"][~alive] == 0).all()
    both = alive[:, :, None] & alive[:, None] & world.pairs["collides"][world.roster["kind"]][:, world.roster["kind"]]
    both &= ~np.eye(x.shape[1], dtype=bool)
    gap = np.hypot(*(units[axis][:, :, None] - units[axis][:, None] for axis in "xy"))
    touch = kinds["separation"][:, None] + kinds["separation"]
    assert (touch - gap)[both].max(initial=0.0) <= OVERLAP
    assert world.avail.any(-1).all()


@pytest.mark.parametrize("map_name", map_names())
def test_invariants_hold_in_random_play(map_name: str) -> None:
    n_envs, share = 16, FUZZ_STEPS // len(map_names())
    sim = Simulation(Flags(map_name=map_name), n_envs=n_envs, threads=1)
    rng = np.random.default_rng(len(map_name))
    sim.reset(range(n_envs))
    ended = np.zeros(n_envs, bool)
    for step in range(share // n_envs):
        sim.step(scripts.random(sim, rng), ~ended)
        if step % 4 == 0:
            check_invariants(sim)
        ended = sim.world.envs["terminated"] | sim.world.envs["truncated"]
        if ended.any():
            sim.reset(rng.integers(0, 2**63, n_envs), ended)
            ended[:] = False


def test_a_flawless_win_without_regeneration_returns_exactly_20() -> None:
    sim = Simulation(Flags(map_name="8m"), n_envs=8, threads=1)
    sim.world.roster["auto"] = False  # the enemies only walk
    sim.reset(range(8))
    rng, total, active = np.random.default_rng(0), np.zeros(8), np.ones(8, bool)
    while active.any():
        sim.step(scripts.focus(sim, rng), active)
        total[active] += sim.world.envs["reward"][active]
        active &= ~(sim.world.envs["terminated"] | sim.world.envs["truncated"])
    assert sim.world.envs["battle_won"].all() and not sim.world.envs["dead_allies"].any()
    np.testing.assert_allclose(total, 20.0, rtol=0, atol=1e-9)


def test_regeneration_pays_unless_the_fix_is_on() -> None:
    for fix, expected in ((False, 8 * 2 / 16), (True, 0.0)):
        sim = Simulation(Flags(map_name="3s_vs_3z", reward_shield_fix=fix, reward_scale=False), threads=1)
        sim.reset([0])
        sim.world.units["shield"][0, 3] = 20
        sim.step(np.ones((1, 3), np.int64))
        assert sim.world.envs["reward"][0] == pytest.approx(expected)


def test_scripts_order_as_they_should() -> None:
    def wins(policy: str) -> float:
        sim = Simulation(Flags(map_name="3s_vs_3z"), n_envs=32, threads=1)
        sim.reset(range(32))
        rng, active = np.random.default_rng(0), np.ones(32, bool)
        while active.any():
            sim.step(scripts.POLICIES[policy](sim, rng), active)
            active &= ~(sim.world.envs["terminated"] | sim.world.envs["truncated"])
        return float(sim.world.envs["battle_won"].mean())

    assert wins("random") == 0.0
    assert wins("kite") > 0.9
