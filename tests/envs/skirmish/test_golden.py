"""SMAC's own numbers over scripted worlds, reproduced by the kernels that training uses. See tests/data/golden."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.skirmish.flags import Flags
from envs.skirmish.inject import begin, inject
from envs.skirmish.kernel import ACCOUNT, OBSERVE, ORDERS
from envs.skirmish.scenario import load_map
from envs.skirmish.simulation import Simulation

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared" / "sc2" / "golden"
FOLDER = SHARED if SHARED.is_dir() else ROOT / "tests" / "data" / "golden"
INDEX = json.loads((FOLDER / "index.json").read_text())
CASES = sorted(path.stem for path in FOLDER.glob("*.npz"))


def flags_of(map_name: str, variant: str) -> Flags:
    """Flags of a variant; a time-out ends as in PyMARL, which the vectors record."""
    given = {**INDEX["defaults"], **INDEX["variants"][variant]}
    return Flags(map_name=map_name, timeout_terminates=True, **given)


def simulate(data: Any, flags: Flags) -> Simulation:
    """A simulation with the recorded terrain in place of the map's."""
    sim = Simulation(flags, n_envs=len(data["length"]), threads=1)
    sim.world.passable[0] = data["pathing"]
    sim.world.height[:] = data["terrain_height"]
    return sim


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    map_name, variant = case.split(".")
    data = np.load(FOLDER / f"{case}.npz")
    flags = flags_of(map_name, variant)
    sim = simulate(data, flags)
    world, n = sim.world, sim.world.agents.shape[1]
    begin(sim, data["units"][:, 0].astype(np.float64), data["start_step"])
    sim.run(OBSERVE)
    check_seen(sim, data, 0, slice(None))
    divisor = data["max_reward"] / flags.reward_scale_rate if flags.reward_scale else 1.0
    assert float(world.rules["reward_divisor"]) == pytest.approx(float(divisor), rel=1e-12)
    for t in range(data["actions"].shape[1]):
        active = t < data["length"]
        actions = np.where(active[:, None], data["actions"][:, t], 0).astype(np.int64)
        sim.step(actions, active, ORDERS)
        check_commands(world.agents[active], data["commands"][active, t], n)
        inject(sim, data["units"][:, t + 1].astype(np.float64))
        sim.step(actions, active, ACCOUNT | OBSERVE)
        check_seen(sim, data, t + 1, active)
        check_step(world.envs[active], data, t, active, flags)
    check_stats(data, world.envs)


def check_seen(sim: Simulation, data: Any, t: int, chosen: Any) -> None:
    np.testing.assert_array_equal(sim.world.avail[chosen], data["avail"][chosen, t].astype(bool))
    np.testing.assert_allclose(sim.world.obs[chosen], data["obs"][chosen, t], rtol=0, atol=1e-6)
    np.testing.assert_allclose(sim.world.state[chosen], data["state"][chosen, t], rtol=0, atol=1e-6)


def check_commands(agents: np.ndarray, expected: np.ndarray, n_agents: int) -> None:
    np.testing.assert_array_equal(agents["ability"], expected[..., 0])
    np.testing.assert_array_equal(agents["object"], expected[..., 1])
    point = np.stack([agents["to_x"], agents["to_y"]], -1).astype(np.float32)
    np.testing.assert_array_equal(point, expected[..., 2:])


def check_step(envs: np.ndarray, data: Any, t: int, active: np.ndarray, flags: Flags) -> None:
    np.testing.assert_allclose(envs["reward"], data["reward"][active, t], rtol=1e-9, atol=1e-12)
    ended = envs["terminated"] | envs["truncated"]
    np.testing.assert_array_equal(ended, data["terminated"][active, t].astype(bool))
    info = data["info"][active, t]
    for column, name in enumerate(("battle_won", "dead_allies", "dead_enemies")):
        np.testing.assert_array_equal(envs[name].astype(int), info[:, column])
    np.testing.assert_array_equal(envs["truncated"].astype(int), info[:, 3])
    assert not (envs["truncated"] & ~np.full(len(envs), flags.continuing_episode)).any()


def check_stats(data: Any, envs: np.ndarray) -> None:
    won, games, timeouts = data["stats"]
    assert (envs["battle_won"].sum(), len(envs), envs["timeout"].sum()) == (won, games, timeouts)


def test_units_match_recorded_maxima() -> None:
    for map_name in {case.split(".")[0] for case in CASES}:
        data = np.load(FOLDER / f"{map_name}.default.npz")
        sim = Simulation(Flags(map_name=map_name), threads=1)
        kinds, roster = sim.world.kinds, sim.world.roster
        names = [INDEX["type_names"][i] for i in data["unit_type"]]
        assert [sorted(load_map(map_name).units("liberty"))[k] for k in roster["kind"]] == names
        np.testing.assert_array_equal(kinds["hp_max"][roster["kind"]], data["health_max"])
        np.testing.assert_array_equal(kinds["shield_max"][roster["kind"]], data["shield_max"])


def test_walkable_grids_equal_the_recorded_pathing() -> None:
    for map_name in {case.split(".")[0] for case in CASES}:
        data = np.load(FOLDER / f"{map_name}.default.npz")
        np.testing.assert_array_equal(load_map(map_name).terrain.walk, data["pathing"])


def test_a_timeout_is_truncated_unless_asked_otherwise() -> None:
    for terminates, expected in ((False, (False, True)), (True, (True, False))):
        sim = Simulation(replace(Flags(map_name="3m"), timeout_terminates=terminates), threads=1)
        sim.reset([0])
        sim.world.envs["steps"] = 59
        sim.step(np.ones((1, 3), np.int64))
        assert (sim.world.envs["terminated"][0], sim.world.envs["truncated"][0]) == expected
