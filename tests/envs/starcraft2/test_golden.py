"""SMAC's recorded numbers through the adapter: the double shows recorded worlds, the client reads them.

Three of the files by default; SC2_GOLDEN=all takes every one (some minutes).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import envs
from envs.multiagentenv import Observation
from envs.sc2 import ROOT
from envs.skirmish.kernel import OBSERVE
from sc2_double.install import read_log

pytestmark = [pytest.mark.needs_client, pytest.mark.usefixtures("smac")]

FOLDER = ROOT / "tests" / "data" / "golden"
INDEX = json.loads((FOLDER / "index.json").read_text())
EVERY = sorted(path.stem for path in FOLDER.glob("*.npz"))
HEIGHTS = slice(12, 21)  # entries of an observation, after 4 moves and 8 points of the pathing grid
CASES = EVERY if os.environ.get("SC2_GOLDEN") == "all" else ["2s3z.history", "3m.default", "MMM.signed"]


def set_clock(env: Any, steps: int) -> Observation:
    """Battles were recorded from any step on."""
    if hasattr(env.game, "sim"):
        env.game.sim.world.envs["steps"] = steps
        env.game.sim.run(OBSERVE)
    env.game._episode_steps = steps
    seen: Observation = env._look()
    return seen


def check_seen(seen: Observation, data: Any, battle: int, t: int) -> None:
    np.testing.assert_array_equal(seen.avail_actions, data["avail"][battle, t].astype(bool))
    tolerance = np.full(seen.obs.shape[1], 1e-6)
    if data["terrain_height"].any():  # the game tells heights in bytes, the recorded ones are any numbers
        tolerance[HEIGHTS] += 0.5 / 255
    assert (np.abs(seen.obs - data["obs"][battle, t]) <= tolerance).all()
    np.testing.assert_allclose(seen.state, data["state"][battle, t], rtol=0, atol=1e-6)


def play(env: Any, data: Any, battle: int) -> None:
    env.reset(0)
    env.game._episode_count = env._episodes_of_game = battle + 1  # an unfinished first battle counts as played
    check_seen(set_clock(env, int(data["start_step"][battle])), data, battle, 0)
    for t in range(int(data["length"][battle])):
        out = env.step(data["actions"][battle, t][:, None])
        check_seen(out.observation, data, battle, t + 1)
        assert out.reward == pytest.approx(data["reward"][battle, t], rel=1e-6, abs=1e-9)
        assert (out.terminated or out.truncated) == bool(data["terminated"][battle, t])
        info = data["info"][battle, t]
        assert [out.info[name] for name in ("battle_won", "dead_allies", "dead_enemies")] == info[:3].tolist()
        assert bool(out.info.get("episode_limit", False)) == bool(info[3]) == out.truncated


@pytest.mark.parametrize("case", CASES)
def test_golden_vectors_through_the_adapter(case: str, game: Callable[..., Path]) -> None:
    map_name, variant = case.split(".")
    data = np.load(FOLDER / f"{case}.npz")
    folder = game(world=FOLDER / f"{case}.npz")
    flags = {**INDEX["variants"][variant], "timeout_terminates": True}
    env = envs.resolve("sc2", {"map_name": map_name, "engine": "starcraft2", **flags}).single()
    try:
        for battle in range(len(data["length"])):
            play(env, data, battle)
        assert env.game.max_reward == pytest.approx(float(data["max_reward"]))
    finally:
        env.close()
    sent = [entry["commands"] for entry in read_log(folder, "orders")]
    recorded = [data["commands"][b, t] for b in range(len(data["length"])) for t in range(int(data["length"][b]))]
    np.testing.assert_array_equal(np.array(sent, np.float32), recorded)
