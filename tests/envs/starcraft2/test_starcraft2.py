"""The adapter on the double: the same episodes as the embedded engine's, and everything around them."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch as th

import envs
import replay
from envs.multiagentenv import Transition
from envs.skirmish import SkirmishVecEnv
from run import build_learner
from sc2_double.battle import SEED_STRIDE
from sc2_double.install import read_log
from utils import checkpoint
from utils.config import as_dict, build_config
from utils.errors import UserError

pytestmark = [pytest.mark.needs_client, pytest.mark.usefixtures("smac")]

Make = Callable[..., Any]


@pytest.fixture
def make(game: Callable[..., Path]) -> Iterator[Make]:
    """`make(map_name=..., ...)` gives an adapter on the double; it is closed at the end."""
    made = []

    def build(faults: list[dict[str, Any]] | None = None, **args: Any) -> Any:
        folder = game(faults=faults)
        env = envs.resolve("sc2", {"map_name": "3m", "engine": "starcraft2", **args}).single()
        env.double = folder
        made.append(env)
        return env

    yield build
    for env in made:
        env.close()
        pids = [entry["pid"] for entry in read_log(env.double, "launch")]
        assert not any(psutil.pid_exists(pid) for pid in pids)


def stop(env: Any) -> np.ndarray:
    """Everybody stops; the dead do nothing."""
    return np.where(env._seen.avail_actions[:, :1], 0, 1)


def finish(env: Any, choose: Callable[[Any], np.ndarray] = stop) -> Transition:
    """Play an episode to its end."""
    while True:
        out = env.step(choose(env))
        if out.terminated or out.truncated or out.info.get("aborted"):
            return out


def launches(env: Any) -> int:
    return len(read_log(env.double, "launch"))


def test_nothing_is_started_before_the_first_reset(make: Make) -> None:
    env = make()
    assert launches(env) == 0
    assert env.env_info.engine == "starcraft2" and env.env_info.engine_version == "build 75689 (4.10.0)"
    assert len(env.env_info.data_hash) == 16


def test_the_recipe_names_its_runner_and_can_be_sent_to_workers(game: Callable[..., Path]) -> None:
    game()
    spec = pickle.loads(pickle.dumps(envs.resolve("sc2", {"map_name": "3m"})))
    assert (spec.engine, spec.preferred_runner, spec.batched) == ("starcraft2", "parallel", None)
    assert spec.answer_seconds > 6 * 120


@pytest.mark.parametrize(("map_name", "flags"), [("3m", {}), ("2s3z", {"continuing_episode": True})])
def test_episodes_are_those_of_the_embedded_engine(map_name: str, flags: dict[str, Any], make: Make) -> None:
    env, twin = make(map_name=map_name, **flags), SkirmishVecEnv(map_name, **flags)
    facts = ("n_agents", "obs_dim", "state_dim", "episode_limit", "action_space", "unit_dim")
    assert [getattr(env.env_info, f) for f in facts] == [getattr(twin.env_info, f) for f in facts]
    rng = np.random.default_rng(5)
    for episode in range(3):
        seen, twins = env.reset(7 if episode == 0 else 99), twin.reset([7 * SEED_STRIDE + episode])
        ended = False
        while not ended:
            assert [array.dtype for array in seen] == [np.float32, np.float32, np.bool_]
            for mine, other in zip(seen, twins, strict=True):
                np.testing.assert_allclose(mine, other[0], rtol=0, atol=1e-6)
            actions = np.array([[rng.choice(np.flatnonzero(row))] for row in seen.avail_actions])
            seen, reward, terminated, truncated, info = env.step(actions)
            twins, *rest, twin_info = twin.step(actions[None])
            assert reward == pytest.approx(rest[0][0], abs=1e-6)
            assert (terminated, truncated) == (rest[1][0], rest[2][0])
            assert {key: info[key] for key in twin_info} == {key: value[0] for key, value in twin_info.items()}
            ended = terminated or truncated


@pytest.mark.parametrize(
    ("flags", "ends"),
    [({}, (False, True)), ({"timeout_terminates": True}, (True, False))],
)
def test_a_timeout_is_truncated_unless_asked_otherwise(flags: dict[str, Any], ends: Any, make: Make) -> None:
    env = make(map_name="2s_vs_1sc", **flags)
    env.reset(1)
    env.game.episode_limit = 3
    if hasattr(env.game, "sim"):
        env.game.sim.world.rules["limit"] = 3
    out = finish(env)
    assert (out.terminated, out.truncated) == ends and not out.info["battle_won"]


def test_unavailable_actions_are_repaired_and_counted(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    env = make()
    seen = env.reset(1)
    assert not seen.avail_actions[:, 8].any()
    out = env.step(np.array([[8], [0], [-1]]))
    assert out.info["actions_repaired"] == 3
    assert env.step(np.array([[1], [1], [99]])).info["actions_repaired"] == 4
    assert caplog.text.count("is not available") == 1
    finish(env)
    env.reset(2)
    assert env.step(stop(env)).info["actions_repaired"] == 0


def test_the_game_is_restarted_periodically(make: Make) -> None:
    env = make(restart_interval=2)
    for episode in range(5):
        env.reset(episode)
        out = finish(env)
    assert launches(env) == 3 and out.info["game_restarts"] == 0


def test_a_reset_in_the_middle_of_an_episode_leaves_no_second_game(make: Make) -> None:
    env = make()
    env.reset(1)
    env.step(stop(env))
    first = env.keeper.process.pid
    env.reset(2)  # the first episode of a game: SMAC would start another beside it
    assert launches(env) == 2 and not psutil.pid_exists(first)
    finish(env)
    env.reset(3)
    env.step(stop(env))
    env.reset(4)
    assert launches(env) == 2 and finish(env).terminated


def test_enemies_seen_twice_do_not_change_the_scale_of_rewards(make: Make) -> None:
    env = make()
    env.reset(1)  # the double shows the enemies two loops late, so SMAC collects the units more than once
    assert env.game.max_reward == 3 * 10 + 200 + 3 * 45


def test_replays_are_written_and_their_absolute_path_is_told(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO)
    env = make(replay_dir="films", replay_prefix="mine")
    env.reset(1)
    path = env.save_replay()
    assert path.is_absolute() and path.parent == tmp_path / "films" and path.name.startswith("mine_")
    assert path.read_bytes().startswith(b"MPQ") and f"replay: {path}" in caplog.text
    with pytest.raises(ValueError, match="step before reset"):
        make().step(np.ones((3, 1)))


def test_the_default_folder_for_replays_is_the_games(make: Make) -> None:
    env = make()
    env.reset(1)
    assert env.save_replay().parent == env.double.resolve() / "Replays"


def test_a_run_trained_in_the_game_is_replayed_there(
    game: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A crash in the second episode begins the replay anew, for it would lack the first."""
    game(faults=[{"kind": "crash", "battle": 2, "step": 2, "launches": [0]}])
    config = build_config("vdn", "sc2", {"env_args": {"map_name": "3m", "engine": "starcraft2"}, "seed": 1})
    info = envs.resolve(config.env, config.env_args).single().env_info
    learner = build_learner(config, info, th.device("cpu"))
    checkpoint.save(tmp_path / "run" / "models" / "12", {"learner": learner.state(), "t_env": 12})
    (tmp_path / "run" / "config.json").write_text(json.dumps(as_dict(config) | {"env_info": {}}))
    assert replay.main([str(tmp_path / "run"), "--episodes", "2", "--out", str(tmp_path / "films")]) == 0
    (film,) = (tmp_path / "films").glob("3m_*.SC2Replay")
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said[:-1]] == ["episode 1", "episode 1", "episode 2"]
    assert said[-1] == str(film) and b'"battles": 2' in film.read_bytes()


# --- what is not there ----------------------------------------------------------------------------------------------


def resolve(**args: Any) -> Any:
    return envs.resolve("sc2", {"map_name": "3m", **args})


def break_map(folder: Path) -> None:
    (folder / "Maps" / "SMAC_Maps" / "3m.SC2Map").unlink()


def break_program(folder: Path) -> None:
    (folder / "Versions" / "Base75689" / "SC2_x64").chmod(0o644)


def remove_program(folder: Path) -> None:
    (folder / "Versions" / "Base75689" / "SC2_x64").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_map, "3m.SC2Map does not exist; bash install_sc2.sh"),
        (break_program, "SC2_x64 may not be executed"),
        (remove_program, "SC2_x64 does not exist"),
    ],
)
def test_a_broken_installation_is_one_line(damage: Any, message: str, game: Callable[..., Path]) -> None:
    damage(game())
    with pytest.raises(UserError) as error:
        resolve()
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_version_that_is_not_installed_is_named_with_those_that_are(game: Callable[..., Path]) -> None:
    game()
    assert resolve(game_version="4.10").engine == "starcraft2"
    with pytest.raises(UserError, match=r"game_version='4.6.2' is not installed in .*; installed: 4.10.0; null takes"):
        resolve(game_version="4.6.2")


def test_another_state_of_smac_is_refused(game: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from smac.env import StarCraft2Env

    game()
    spec = resolve()
    told = StarCraft2Env.get_env_info
    monkeypatch.setattr(StarCraft2Env, "get_env_info", lambda self: {**told(self), "episode_limit": 70})
    with pytest.raises(UserError, match="the installed smac has episode_limit 70 instead of 60"):
        spec.single()
