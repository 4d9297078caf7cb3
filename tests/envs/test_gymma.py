"""The adapter for Gymnasium and PettingZoo: ends, agents that leave, rewards, spaces, masks, limits, refusals."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import yaml

import envs
from envs.contract import check
from envs.gymma import GymmaArgs
from helpers import make_config
from runners import EnvStack
from runners_helpers import episodes_of, make_runner
from utils.configfile import CONFIG_DIR
from utils.errors import UserError

pytest.importorskip("pettingzoo")
TOY = "envs_toys:Leaving"


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    """tests/envs/toys.py under an importable name."""
    import importlib.util
    import sys
    from pathlib import Path

    spec = importlib.util.spec_from_file_location("envs_toys", Path(__file__).with_name("toys.py"))
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "envs_toys", module)
    spec.loader.exec_module(module)


def toy(**args):
    """The toy with constructor arguments `kwargs` and others for the adapter."""
    own = {key: args.pop(key) for key in ("cut", "kind", "max_cycles") if key in args}
    return envs.resolve("gymma", {"key": TOY, "kwargs": own, **args}).single()


def play(env, action=0.0):
    """One episode of constant actions (0, or the only available ones); the transitions."""
    seen, out = env.reset(3), []
    while not out or not (out[-1].terminated or out[-1].truncated):
        n, dim = env.env_info.n_agents, env.env_info.action_space.action_dim
        actions = np.full((n, dim), action, np.float32)
        if seen.avail_actions is not None:
            actions = seen.avail_actions.argmax(-1)[:, None]
        out.append(env.step(actions))
        seen = out[-1].observation
    return out


def test_agents_that_leave_early():
    """a leaves after step 2: zeros from step 3 on, only action 0, nothing passed on; the episode ends with b."""
    env = toy()
    steps = play(env)
    assert [s.reward for s in steps] == [11.0, 11.0, 10.0, 10.0]
    assert [(s.terminated, s.truncated) for s in steps] == [(False, False)] * 3 + [(True, False)]
    np.testing.assert_array_equal(steps[1].observation.obs, [[3, 3, 3], [3, 0, 0]])  # padded; a's last observation
    np.testing.assert_array_equal(steps[2].observation.obs, [[0, 0, 0], [4, 0, 0]])
    np.testing.assert_array_equal(steps[0].observation.avail_actions, [[1, 1, 1], [1, 1, 0]])
    np.testing.assert_array_equal(steps[2].observation.avail_actions, [[1, 0, 0], [1, 1, 0]])
    assert env.team.env.taken == [{"a": 5, "b": 0}] * 2 + [{"b": 0}] * 2
    np.testing.assert_array_equal(steps[2].observation.state, [0, 0, 0, 4, 0, 0])


@pytest.mark.parametrize(
    ("args", "steps", "terminated"), [({}, 4, True), ({"cut": True}, 4, False), ({"time_limit": 3}, 3, False)]
)
def test_terminated_is_not_truncated(args, steps, terminated):
    """A true end, a cut by the environment, a cut by us: only the first is terminal."""
    played = play(toy(**args))
    assert len(played) == steps
    assert (played[-1].terminated, played[-1].truncated) == (terminated, not terminated)


def test_rewards_are_summed_or_averaged_and_returns_are_in_the_environment_s_units():
    """Over all agents of the team, whether they are still there or not."""
    assert [s.reward for s in play(toy(reward="mean"))] == [5.5, 5.5, 5.0, 5.0]
    scaled = play(toy(reward_scale=0.1))
    assert [s.reward for s in scaled] == pytest.approx([1.1, 1.1, 1.0, 1.0])
    assert [s.info["game_return"] for s in scaled] == [11.0, 11.0, 10.0, 10.0]
    assert scaled[1].info["food"] == 2.0 and "text" not in scaled[1].info and "return" not in scaled[1].info


def test_boxes_of_different_sizes_and_bounds():
    """-1, 0 and 1 are the low, middle and high end of every dimension; surplus dimensions are ignored."""
    env = toy(kind="box")
    assert env.env_info.action_space.dim == 2
    for action, a, b in ((-1.0, [0, -4], [0]), (0.0, [0.5, 0], [1]), (1.5, [1, 4], [2])):
        env.reset(0)
        env.step(np.full((2, 2), action, np.float32))
        np.testing.assert_allclose(env.team.env.taken[-1]["a"], a)
        np.testing.assert_allclose(env.team.env.taken[-1]["b"], b)
        assert env.team.env.taken[-1]["b"].shape == (1,)


def test_masks_are_taken_over():
    """PettingZoo's dictionaries with action_mask."""
    env = toy(kind="masked")
    np.testing.assert_array_equal(env.reset(0).avail_actions, [[0, 1, 0], [1, 0, 0]])
    assert env.env_info.obs_dim == 3
    play(env)
    assert env.team.env.taken[0] == {"a": 6, "b": 0}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"kind": "mixed"}, "must be all Discrete or all bounded float Box, got Box"),
        ({"kind": "unbounded"}, "all bounded float Box"),
        ({"kind": "multi"}, "MultiDiscrete"),
        ({"kind": "text"}, "cannot be flattened"),
        ({"max_cycles": None}, "no time limit of its own: give env_args.time_limit=STEPS"),
        ({"key": ""}, "names the environment, for example lbforaging"),
        ({"key": "CartPol-v1"}, "did you mean 'CartPole-v1'"),
        ({"key": "no_such_package.thing_v1"}, "cannot import 'no_such_package"),
        ({"key": "no_such_package:Thing-v1"}, "cannot import 'no_such_package"),
        ({"key": "envs_toys"}, "has no parallel_env"),
        ({"key": "json:dumps", "kwargs": {"obj": 1}}, "not a PettingZoo parallel environment"),
        ({"key": "CartPole-v1", "kwargs": {"colour": 1}}, "colour"),
        ({"keys": "CartPole-v1"}, "did you mean 'key'"),
        ({"reward": "max"}, "one of 'sum', 'mean'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(args, message):
    with pytest.raises(UserError) as error:
        toy(**args)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_live_agent_without_an_action_is_an_error(monkeypatch):
    env = toy(kind="masked")
    good = env.team.env._obs
    monkeypatch.setattr(
        env.team.env,
        "_obs",
        lambda agents: {k: {**v, "action_mask": v["action_mask"] * 0} for k, v in good(agents).items()},
    )
    with pytest.raises(ValueError, match="agent 0 has no available action"):
        env.reset(0)


CASES = {
    "CartPole-v1": {},
    "Pendulum-v1": {},
    "lbforaging:Foraging-5x5-2p-1f-coop-v3": {},
    "mpe2.simple_spread_v3": {"reward": "mean"},
    "mpe2.simple_speaker_listener_v4": {"kwargs": {"continuous_actions": True}},
    "gymnasium_robotics.mamujoco_v1": {"kwargs": {"scenario": "Swimmer", "agent_conf": "2x1"}, "time_limit": 20},
    "envs.skirmish:parallel_env": {"kwargs": {"map_name": "3m"}, "reward": "mean"},
}


@pytest.mark.filterwarnings("ignore")  # of the packages
@pytest.mark.parametrize("key", CASES)
def test_real_environments_keep_the_contract(key, tmp_path, monkeypatch):
    """The same checks as check_env.py."""
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings to a file in the current folder
    pytest.importorskip("gymnasium" if key in ("CartPole-v1", "Pendulum-v1") else key.split(":")[0].split(".")[0])
    assert check(envs.resolve("gymma", {"key": key, **CASES[key]})).problems == []


@pytest.mark.filterwarnings("ignore")
def test_lbforaging_time_out_is_truncated_at_its_published_length():
    """It reports its time limit as a true end; 50 steps without eating are cut, not ended. Eating all is an end."""
    pytest.importorskip("lbforaging")
    env = envs.resolve("gymma", {"key": "lbforaging:Foraging-5x5-2p-1f-coop-v3"}).single()
    env.reset(0)
    for _ in range(50):
        last = env.step(np.zeros((2, 1), np.int64))
    assert env.env_info.episode_limit == 50 and (last.terminated, last.truncated) == (False, True)
    env.reset(0)
    env.team.env.unwrapped.field[:] = 0
    assert env.step(np.zeros((2, 1), np.int64)).terminated


@pytest.mark.filterwarnings("ignore")
def test_numbers_agree_with_the_environment_itself():
    """The same seed and actions, once through the adapter, once by hand."""
    module = pytest.importorskip("mpe2.simple_spread_v3")
    spec = pickle.loads(pickle.dumps(envs.resolve("gymma", {"key": "mpe2.simple_spread_v3", "reward": "mean"})))
    env, plain = spec.single(), module.parallel_env()
    seen, (direct, _) = env.reset(5), plain.reset(seed=5)
    for t in range(25):
        np.testing.assert_array_equal(seen.obs, np.stack(list(direct.values())))
        np.testing.assert_array_equal(seen.state, plain.state())
        actions = np.array([[(t + i) % 5] for i in range(3)])
        step = env.step(actions)
        direct, rewards, *_ = plain.step({agent: int(a) for agent, a in zip(plain.agents, actions[:, 0], strict=True)})
        assert step.reward == pytest.approx(sum(rewards.values()) / 3)
        seen = step.observation
    assert step.truncated and not plain.agents


@pytest.mark.parametrize("kind", ["discrete", "box"])
def test_the_runner_plays_it(kind):
    """Two environments at once; ragged episodes of agents that leave are stored."""
    stack = EnvStack(envs.resolve("gymma", {"key": TOY, "kwargs": {"kind": kind}}).single, 2)
    for episode in episodes_of(make_runner(stack), 4, 2):
        assert len(episode["reward"]) == 5 and episode["terminated"][3]


def test_yaml_states_the_defaults():
    layer = yaml.safe_load((CONFIG_DIR / "envs" / "gymma.yaml").read_text())
    assert GymmaArgs(**layer["env_args"]) == GymmaArgs()
    assert make_config("fop", "gymma").env == "gymma"
