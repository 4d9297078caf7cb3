"""SMAC's own Python interface and PettingZoo's parallel API over the same engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test
from PIL import Image

from envs.skirmish import SkirmishEnv, parallel_env


def test_a_loop_written_for_smac_runs_unchanged() -> None:
    env = SkirmishEnv(map_name="8m", seed=3)
    info = env.get_env_info()
    assert (info["obs_shape"], info["state_shape"], info["n_actions"], info["n_agents"]) == (80, 168, 14, 8)
    assert info["agent_features"] == ["health", "energy/cooldown", "rel_x", "rel_y"]
    rng = np.random.default_rng(0)
    for _ in range(2):
        obs, state = env.reset()
        assert len(obs) == 8 and obs[0].shape == (80,) and state.shape == (168,)
        terminated, steps = False, 0
        while not terminated:
            actions = []
            for agent in range(info["n_agents"]):
                available = np.nonzero(env.get_avail_agent_actions(agent))[0]
                actions.append(rng.choice(available))
            reward, terminated, step_info = env.step(actions)
            steps += 1
            assert isinstance(reward, float) and set(step_info) == {"battle_won", "dead_allies", "dead_enemies"}
        assert steps <= info["episode_limit"]
    assert env.get_stats()["battles_game"] == 2 and env.get_stats()["restarts"] == 0
    assert env.seed() == 3 and env.get_total_actions() == 14
    env.close()


def test_sizes_of_the_blocks_add_up() -> None:
    env = SkirmishEnv("1c3s5z", obs_last_action=True, obs_pathing_grid=True, obs_terrain_height=True)
    enemies, allies = env.get_obs_enemy_feats_size(), env.get_obs_ally_feats_size()
    parts = env.get_obs_move_feats_size() + int(np.prod(enemies)) + int(np.prod(allies)) + env.get_obs_own_feats_size()
    assert parts == env.get_obs_size() == len(env.reset()[0][0])
    assert env.get_env_info()["enemy_features"] == ["health", "rel_x", "rel_y", "shield", "type_0", "type_1", "type_2"]


def test_episodes_differ_and_seeds_repeat_them() -> None:
    def first_rewards(seed: int) -> list[float]:
        env = SkirmishEnv("3m", seed=seed)
        env.reset()
        out = []
        for _ in range(2):
            rewards = []
            for _ in range(25):
                slots = env.get_avail_actions()
                reward, ended, _ = env.step([max(np.nonzero(slot)[0]) for slot in slots])
                rewards.append(reward)
                if ended:
                    break
            out.append(round(sum(rewards), 6) + 100 * len(rewards))
            env.reset()
        return out

    assert first_rewards(1) == first_rewards(1)
    assert first_rewards(1) != first_rewards(2)


def test_a_timeout_is_terminated_and_marked_only_when_continuing() -> None:
    for continuing in (False, True):
        env = SkirmishEnv("3m", continuing_episode=continuing)
        env.reset()
        env.sim.world.envs["steps"] = 59
        _, terminated, info = env.step([1, 1, 1])
        assert terminated and info.get("episode_limit", False) is continuing
        assert env.get_stats()["timeouts"] == env.get_stats()["battles_draw"] == 1


def test_visibility_is_symmetric_between_agents() -> None:
    env = SkirmishEnv("3m")
    env.reset()
    seen = env.get_visibility_matrix()
    assert seen.shape == (3, 6) and seen.dtype == bool
    np.testing.assert_array_equal(seen[:, :3], ~np.eye(3, dtype=bool))
    assert not seen[:, 3:].any()


def test_wrong_actions_raise() -> None:
    env = SkirmishEnv("3m")
    env.reset()
    with pytest.raises(ValueError, match="needs 3 actions, got 2"):
        env.step([1, 1])
    with pytest.raises(ValueError, match="action 0 of agent 1 is not available"):
        env.step([1, 0, 1])


def test_pictures_and_replays(tmp_path: Path) -> None:
    env = SkirmishEnv("2s3z", replay_dir=str(tmp_path))
    env.record = True
    env.reset()
    for _ in range(3):
        env.step([1] * 5)
    picture = env.render()
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8 and picture.std() > 5
    with Image.open(env.save_replay()) as replay:
        assert getattr(replay, "n_frames", 1) == 4


def test_pettingzoo_accepts_the_wrapper() -> None:
    parallel_api_test(parallel_env(map_name="3m"), num_cycles=200)
    parallel_seed_test(lambda: parallel_env(map_name="3m"), num_cycles=60)


def test_pettingzoo_episode() -> None:
    env = parallel_env("2s3z", render_mode="rgb_array")
    observations, _ = env.reset(seed=4)
    rng, total = np.random.default_rng(0), 0.0
    while env.agents:
        actions = {agent: int(rng.choice(np.flatnonzero(seen["action_mask"]))) for agent, seen in observations.items()}
        observations, rewards, terminated, truncated, infos = env.step(actions)
        assert len(set(rewards.values())) == 1 and set(terminated) == set(truncated) == set(infos)
        total += rewards["ally_0"]
    assert total > 0 and env.state().shape == (120,)
    assert env.render().shape[2] == 3
