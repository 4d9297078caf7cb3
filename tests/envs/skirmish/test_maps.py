"""Every map: sizes and reward scale of SMAC's table; map files; bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from envs.skirmish import SkirmishVecEnv, list_maps
from envs.skirmish.flags import Flags
from envs.skirmish.scenario import load_map, map_names
from envs.skirmish.simulation import Simulation
from utils.errors import UserError

# map: agents, enemies, limit, obs, state, actions, divisor (smac, section 12 of the contract)
TABLE = {
    "3m": (3, 3, 60, 30, 48, 9, 18.25),
    "8m": (8, 8, 120, 80, 168, 14, 32.0),
    "25m": (25, 25, 150, 250, 950, 31, 78.75),
    "5m_vs_6m": (5, 6, 70, 55, 98, 12, 26.5),
    "8m_vs_9m": (8, 9, 120, 85, 179, 15, 34.75),
    "10m_vs_11m": (10, 11, 150, 105, 243, 17, 40.25),
    "27m_vs_30m": (27, 30, 180, 285, 1170, 36, 92.5),
    "MMM": (10, 10, 150, 160, 290, 16, 50.75),
    "MMM2": (10, 12, 180, 176, 322, 18, 60.25),
    "2s3z": (5, 5, 120, 80, 120, 11, 51.0),
    "3s5z": (8, 8, 150, 128, 216, 14, 75.5),
    "3s5z_vs_3s6z": (8, 9, 170, 136, 230, 15, 83.5),
    "3s_vs_3z": (3, 3, 150, 36, 54, 9, 34.0),
    "3s_vs_4z": (3, 4, 200, 42, 61, 10, 42.0),
    "3s_vs_5z": (3, 5, 250, 48, 68, 11, 50.0),
    "1c3s5z": (9, 9, 180, 162, 270, 15, 93.5),
    "2m_vs_1z": (2, 1, 150, 16, 26, 7, 18.0),
    "corridor": (6, 24, 400, 156, 282, 30, 64.0),
    "6h_vs_8z": (6, 8, 150, 78, 140, 14, 74.0),
    "2s_vs_1sc": (2, 1, 300, 17, 27, 7, 25.5),
    "so_many_baneling": (7, 32, 100, 202, 397, 38, 74.0),
    "bane_vs_bane": (24, 24, 200, 336, 984, 30, 63.0),
    "2c_vs_64zg": (2, 64, 400, 332, 342, 70, 154.0),
}

EXAMPLE = """\
description: 4 marines against 1 zealot
limit: 60
races: [T, P]
terrain: octagon
allies:
  - {unit: marine, count: 4, at: [13, 12]}
enemies:
  - {unit: zealot, count: 1, at: [16, 19]}
enemy_order: {attack_move: [13, 12]}
"""


def test_all_23_maps_are_there() -> None:
    assert map_names() == [name for name, _ in list_maps()]
    assert set(map_names()) == set(TABLE)
    assert all(text for _, text in list_maps())


@pytest.mark.parametrize("name", TABLE)
def test_sizes_and_reward_scale(name: str) -> None:
    env = SkirmishVecEnv(name, n_envs=1, threads=1)
    info, rules = env.env_info, env.sim.world.rules
    found = (info.n_agents, int(rules["n_enemies"]), info.episode_limit, info.obs_dim, info.state_dim)
    assert (*found, info.action_space.n_actions, float(rules["reward_divisor"])) == TABLE[name]
    seen = env.reset([1])
    assert seen.obs.shape == (1, info.n_agents, info.obs_dim) and seen.obs.dtype == np.float32
    assert seen.state.shape == (1, info.state_dim) and seen.state.dtype == np.float32
    assert seen.avail_actions is not None and seen.avail_actions.dtype == bool
    assert len(info.data_hash) == 16


def test_data_hash_tells_maps_and_balances_apart() -> None:
    hashes = [Simulation(Flags(map_name=name), threads=1).data_hash for name in ("3m", "8m", "3s_vs_3z", "3s_vs_4z")]
    hashes.append(Simulation(Flags(map_name="3s_vs_3z", balance="lotv_4_10"), threads=1).data_hash)
    assert len(set(hashes)) == len(hashes)


def test_balance_overrides_only_what_it_lists() -> None:
    old, new = (load_map("2s3z").units(balance)["stalker"] for balance in ("liberty", "lotv_4_10"))
    assert old.weapon is not None and new.weapon is not None
    assert (old.weapon.damage, new.weapon.damage, new.weapon.bonus) == (10, 13, {"Armored": 5})
    assert (old.weapon.range, old.hp) == (new.weapon.range, new.hp)


def test_agents_are_sorted_by_type_then_x_then_y() -> None:
    for name in map_names():
        sim = Simulation(Flags(map_name=name), threads=1)
        n, roster = sim.world.agents.shape[1], sim.world.roster
        keys = list(zip(roster["column"][:n], roster["spawn_x"][:n], roster["spawn_y"][:n], strict=True))
        assert keys == sorted(keys)


def test_the_example_is_the_one_in_the_documentation() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "engine.md"
    assert f"```yaml\n{EXAMPLE}```" in page.read_text(encoding="utf-8")


def write(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


def test_a_map_file_plays(tmp_path: Path) -> None:
    env = SkirmishVecEnv(map_file=write(tmp_path, EXAMPLE), n_envs=2, threads=1)
    assert (env.env_info.n_agents, env.env_info.obs_dim, env.env_info.action_space.n_actions) == (4, 26, 7)
    env.reset([0, 1])
    assert env.step(np.ones((2, 4, 1), np.int64)).reward.shape == (2,)


def test_a_map_file_may_bring_its_own_terrain(tmp_path: Path) -> None:
    rows = ["########", "#......#", "#......#", "#......#", "########"]
    terrain = (
        "terrain:\n  legend:\n    '.': {walk: true, climb: true, z: 8}\n    '#': {walk: false, climb: false, z: 8}\n"
    )
    terrain += "  rows:\n" + "".join(f"    - '{row}'\n" for row in rows)
    text = EXAMPLE.replace("terrain: octagon\n", terrain).replace("[13, 12]", "[3, 2.5]").replace("[16, 19]", "[6, 2]")
    env = SkirmishVecEnv(map_file=write(tmp_path, text), threads=1)
    assert env.sim.world.passable.shape == (3, 8, 5)
    assert env.reset([0]).avail_actions[0].any(-1).all()  # type: ignore[index]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("unit: marine", "unit: marin", "mine.yaml:6: unknown unit 'marin'; did you mean 'marine'?"),
        ("count: 4", "count: 0", "mine.yaml:6: 'count' must be at least 1"),
        ("count: 4", "number: 4", "mine.yaml:6: unknown key of group of allies 'number'"),
        ("at: [13, 12]", "at: [13]", "mine.yaml:6: 'at' must be [x, y]"),
        ("limit: 60", "limit: sixty", "mine.yaml:2: the map 'limit' must be an int"),
        ("limit: 60", "limt: 60", "mine.yaml:2: unknown key of the map 'limt'; did you mean 'limit'?"),
        ("limit: 60\n", "", "the map lacks 'limit'"),
        ("races: [T, P]", "races: [T, X]", "mine.yaml:3: 'races' must be two of T, P, Z"),
        ("terrain: octagon", "terrain: octogon", "mine.yaml:4: unknown terrain 'octogon'; did you mean 'octagon'?"),
        ("attack_move: [13, 12]", "charge: true", "mine.yaml:9: unknown key of enemy_order 'charge'"),
        ("at: [13, 12]", "at: [.nan, 12]", "mine.yaml:6: 'at' must be [x, y]"),
        ("races: [T, P]", "races: [[T], P]", "mine.yaml:3: 'races' must be two of T, P, Z"),
        ("limit: 60", "limit: 60\nally_types: [marine, dragon]", "mine.yaml:3: ally_types must list marine, each once"),
        ("{attack_move: [13, 12]}", "5", "mine.yaml:9: enemy_order must be a mapping such as {attack_move"),
        ("attack_move: [13, 12]", "attack_move_between: [[13, 12]]", "mine.yaml:9: 'attack_move_between' must be two"),
        ("at: [16, 19]", "at: [1, 1]", "mine.yaml:8: zealot at (1, 1) is inside a wall or off the map"),
        ("limit: 60", "limit: [60", "not valid YAML"),
    ],
)
def test_mistakes_in_a_map_file(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = write(tmp_path, EXAMPLE.replace(old, new, 1))
    with pytest.raises(UserError) as error:
        SkirmishVecEnv(map_file=path, threads=1)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_bad_actions_are_refused() -> None:
    env = SkirmishVecEnv("3m", n_envs=2, threads=1)
    env.reset([0, 1])
    with pytest.raises(ValueError, match=r"must have shape \(2, 3, 1\), got \(2, 4, 1\)"):
        env.step(np.ones((2, 4, 1), np.int64))
    for action in (0, 8, 9, -1, 10**12):  # no-op of the living, out of range, no such action
        joint = np.ones((2, 3, 1), np.int64)
        joint[1, 2] = action
        with pytest.raises(ValueError, match=f"environment 1: action {action} of agent 2 is not available; available:"):
            env.step(joint)
    with pytest.raises(ValueError, match="3 seeds for 2 environments"):
        env.reset([1, 2, 3])
    with pytest.raises(UserError, match="unknown map '3n'; did you mean '3m'"):
        SkirmishVecEnv("3n")
