"""Matrix games: payoffs, the environment contract, single against batched, one-line errors."""

from __future__ import annotations

import itertools
import pickle
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from envs.matrix_game import MatrixGame, MatrixGameArgs, enumerate_joint_actions, individual_values
from envs.payoffs import PRESETS, PayoffArgs, additive_greedy, make_payoff
from utils.configfile import CONFIG_DIR
from utils.errors import UserError

M1 = [[8, -12, -12], [-12, 0, 0], [-12, 0, 0]]
SHAPES = st.sampled_from([(3,), (2, 2), (4, 4), (2, 2, 2), (3, 3, 3), (2,) * 5])


def make(**env_args: Any) -> MatrixGame:
    env = envs.resolve("matrix_game", env_args).single()
    assert isinstance(env, MatrixGame)
    return env


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("paper", M1),
        ("qtran", M1),
        ("qplex", [[8, -12, -12], [-12, 6, 0], [-12, 0, 6]]),
        ("climbing", [[11, -30, 0], [-30, 7, 6], [0, 0, 5]]),
        ("penalty", [[10, 0, -100], [0, 2, 0], [-100, 0, 10]]),
        ("identity4", np.eye(4)),
    ],
)
def test_presets(name: str, expected: Any) -> None:
    np.testing.assert_array_equal(make(payoff=name).payoff, np.array(expected, float))


def test_two_hills_21() -> None:
    payoff = make(payoff="qtran21").payoff
    assert payoff.shape == (21, 21)
    assert payoff[5, 15] == payoff.max() == 10.0
    assert payoff[15, 5] == 5.0
    assert payoff[6, 15] == 9.0
    assert payoff[18, 5] == 4.0
    assert payoff.min() == -10.0
    assert additive_greedy(payoff) != (5, 15)


def test_sizes_and_seeds_of_presets() -> None:
    three = make(payoff="paper", n_agents=3).payoff
    assert three.shape == (3, 3, 3)
    assert three[0, 0, 0] == 8.0
    assert three[0, 1, 2] == three[0, 0, 1] == -12.0
    assert three[1, 2, 2] == 0.0
    assert make(payoff="identity", n_agents=3, n_actions=2).payoff.sum() == 2.0
    assert make(payoff="penalty", penalty_k=-3).payoff[0, 2] == -3.0
    assert make(payoff="random", n_agents=4, n_actions=2).payoff.shape == (2,) * 4
    same, again, other = (make(payoff="random", random_seed=k).payoff for k in (5, 5, 6))
    np.testing.assert_array_equal(same, again)
    assert (same != other).all()


@pytest.mark.parametrize(("n_agents", "n_actions"), [(2, 3), (2, 5), (3, 3), (5, 2)])
def test_random_hard_defeats_the_additive_fit(n_agents: int, n_actions: int) -> None:
    for seed in range(20):
        payoff = PRESETS["random_hard"](PayoffArgs(random_seed=seed, n_agents=n_agents, n_actions=n_actions))
        assert payoff[additive_greedy(payoff)] < payoff.max()


@given(SHAPES, st.integers(0, 2**31))
@settings(derandomize=True, deadline=None, max_examples=40)
def test_every_joint_action_earns_its_payoff(shape: tuple[int, ...], seed: int) -> None:
    payoff = np.random.default_rng(seed).normal(size=shape)
    env = make(payoff=payoff.tolist())
    joint = env.enumerate_joint_actions()
    assert joint.shape == (payoff.size, len(shape), 1)
    assert joint.dtype == np.int64
    for row, expected in zip(joint, itertools.product(*(range(n) for n in shape)), strict=True):
        assert tuple(row[:, 0]) == expected
        env.reset(0)
        transition = env.step(row)
        assert transition.reward == transition.info["game_return"] == payoff[expected]
    np.testing.assert_array_equal(env.rewards(joint), payoff.ravel())


def test_contract() -> None:
    env = make(payoff=M1, episode_limit=2)
    info = env.env_info
    assert (info.n_agents, info.obs_dim, info.state_dim, info.episode_limit) == (2, 1, 1, 2)
    assert (info.engine, info.engine_version) == ("matrix_game", "1")
    first = env.reset(3)
    assert first.obs.tolist() == [[1.0], [1.0]]
    assert first.obs.dtype == first.state.dtype == np.float32
    assert first.state.tolist() == [1.0]
    assert first.avail_actions is not None
    assert first.avail_actions.shape == (2, 3)
    assert first.avail_actions.dtype == np.bool_
    assert first.avail_actions.all()
    steps = [env.step(np.array([[0], [0]])), env.step(np.array([[1], [0]]))]
    assert [s.reward for s in steps] == [8.0, -12.0]
    assert [s.terminated for s in steps] == [False, True]
    assert not any(s.truncated for s in steps)
    assert all(isinstance(s.terminated, bool) and isinstance(s.reward, float) for s in steps)


def test_data_hash_follows_the_payoff() -> None:
    assert make(payoff="paper").env_info.data_hash == make(payoff=M1).env_info.data_hash
    assert make(payoff="qplex").env_info.data_hash != make(payoff="paper").env_info.data_hash
    flat, square = make(payoff=[1, 2, 3, 4]), make(payoff=[[1, 2], [3, 4]])
    assert flat.env_info.data_hash != square.env_info.data_hash


def test_misuse_is_an_error() -> None:
    env = make(payoff=M1)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.zeros((2, 1), int))
    env.reset(0)
    for action in (-1, 3):
        with pytest.raises(ValueError, match="0 to 2"):
            env.step(np.full((2, 1), action))
    env.reset(0)
    with pytest.raises(ValueError, match="shape"):
        env.step(np.zeros(2, int))


def test_batched_equals_single() -> None:
    spec = pickle.loads(pickle.dumps(envs.resolve("matrix_game", {"payoff": "climbing", "episode_limit": 3})))
    rng = np.random.default_rng(0)
    single, batched = spec.single(), spec.batched(5)
    single.reset(0)
    batched.reset([1, 2, 3, 4])  # the fifth stays idle
    active = np.arange(5) < 4
    for t in range(3):
        actions = rng.integers(0, 3, (5, 2, 1))
        actions[4] = 99  # idle rows may hold anything
        both = batched.step(actions, active)
        for k in range(4):
            assert both.reward[k] == spec.single().payoff[tuple(actions[k, :, 0])]
        one = single.step(actions[0])
        assert one.reward == both.reward[0]
        assert one.terminated == bool(both.terminated[0]) == (t == 2)
        assert both.reward.shape == both.terminated.shape == both.truncated.shape == (5,)
        assert both.reward.dtype == np.float64
        assert both.observation.obs.shape == (5, 2, 1)
    with pytest.raises(ValueError, match="seeds"):
        batched.reset(range(6))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"payof": "paper"}, "did you mean 'payoff'"),
        ({"payoff": "papr"}, "did you mean 'paper'"),
        ({"payoff": [[1, 2], [3]]}, "nested lists"),
        ({"payoff": [[1, 2, 3], [4, 5, 6]]}, "same number of actions"),
        ({"payoff": [[1]]}, "at least 2"),
        ({"payoff": []}, "at least 2"),
        ({"payoff": [["a", 1], [2, 3]]}, "numbers"),
        ({"payoff": [[1, float("nan")], [2, 3]]}, "finite"),
        ({"payoff": "random", "n_agents": 40}, "joint actions"),
        ({"payoff": "qplex", "n_agents": 3}, "own size"),
        ({"payoff": M1, "n_actions": 3}, "own size"),
        ({"payoff": "random", "n_actions": 1}, "n_actions"),
        ({"penalty_k": 5}, "penalty_k"),
        ({"episode_limit": 0}, "episode_limit"),
        ({"random_seed": 1.5}, "random_seed"),
    ],
)
def test_errors_are_one_line(bad: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        envs.resolve("matrix_game", bad)
    assert "\n" not in str(error.value)
    assert "env_args" in str(error.value)


def test_tables_show_values_and_the_greedy_action() -> None:
    spec = envs.resolve("matrix_game", {"payoff": "paper"})
    assert spec.joint_actions is not None
    assert spec.tables is not None
    joint = spec.joint_actions()
    q1, q2 = np.array([4.7, -0.1, -0.1]), np.array([3.3, 0.1, 0.2])
    utilities = np.stack((q1[joint[:, 0, 0]], q2[joint[:, 1, 0]]), axis=-1)
    np.testing.assert_array_equal(individual_values((3, 3), utilities), [q1, q2])
    text = spec.tables(make(payoff=M1).payoff.ravel() + 0.25, utilities)
    assert "4.7(A)*" in text
    assert "3.3(A)*" in text
    assert "greedy joint action (A, A): payoff 8.0 of at most 8.0" in text
    assert "|Q_jt - payoff|: 0.25" in text
    assert max(len(line) for line in text.splitlines()) <= 120


def test_tables_only_where_they_help() -> None:
    three = envs.resolve("matrix_game", {"payoff": "paper", "n_agents": 3})
    assert three.tables is not None
    assert "(A, A, A)" in three.tables(np.zeros(27), np.zeros((27, 3)))
    for args in ({"episode_limit": 2}, {"payoff": "random", "n_agents": 9, "n_actions": 4}):
        assert envs.resolve("matrix_game", args).joint_actions is None


def test_yaml_states_the_defaults() -> None:
    layer = yaml.safe_load((CONFIG_DIR / "envs" / "matrix_game.yaml").read_text())
    assert MatrixGameArgs(**layer["env_args"]) == MatrixGameArgs()
    assert envs.resolve("matrix_game", layer["env_args"]).args == layer["env_args"]


def test_joint_actions_index_the_payoff() -> None:
    payoff = make_payoff("random", PayoffArgs(n_agents=3, n_actions=4))
    joint = enumerate_joint_actions(payoff.shape)
    np.testing.assert_array_equal(payoff[tuple(joint[..., 0].T)], payoff.ravel())
