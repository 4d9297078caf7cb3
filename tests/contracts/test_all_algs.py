"""Every algorithm on every environment it supports: three iterations of the real loop, finite and deterministic."""

import json
import math

import pytest
import torch as th

import envs
import run as run_module
from controllers import REGISTRY as CONTROLLERS
from envs.contract import check
from helpers import make_config
from learners import REGISTRY as LEARNERS
from utils.configfile import available
from utils.errors import UserError
from utils.logging import Logger

ALGS = list(available("algs"))
ENVS = {"matrix_game": {}, "mtq": {}, "sc2": {"engine": "embedded", "map_name": "3m"}}


def supported(alg, env):
    """Whether the algorithm's controller takes the environment's kind of actions."""
    kind = envs.resolve(env, ENVS[env]).single().env_info.action_space.kind
    return kind in CONTROLLERS[LEARNERS[make_config(alg).learner].mac_class].action_kinds


def train(alg, env, folder, **overrides):
    """Three iterations of the loop; returns the logged rows and the final weights."""
    small = {"t_max": 1000, "batch_size_run": 4, "test_nepisode": 4, "save_model": False, "buffer_size": 50}
    small["updates_per_episode"] = 0.5
    extra = {"v_function": "network"} if alg == "fop_official" and env == "mtq" else {}
    config = make_config(alg, env, env_args=ENVS[env], **small | extra | overrides)
    folder.mkdir()
    logger = Logger(folder)
    spec = envs.resolve(config.env, config.env_args)
    vec_env = run_module.make_vec_env(spec, config.runner, config.batch_size_run)
    th.manual_seed(config.seed)
    loop = run_module.TrainingLoop(config, logger, folder, vec_env)
    loop.test()
    for _ in range(3):
        loop._collect()
        loop._update()
    loop.log_training()
    vec_env.close()
    logger.close()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return rows, loop.learner


@pytest.mark.parametrize("env", ENVS)
@pytest.mark.parametrize("alg", ALGS)
def test_three_iterations_finite_moving_and_repeatable(alg, env, tmp_path):
    """Finite metrics; the agent's weights moved; the same seed gives bit-equal weights, another seed does not."""
    if not supported(alg, env):
        with pytest.raises(UserError, match="actions"):
            train(alg, env, tmp_path / "refused")
        return
    rows, learner = train(alg, env, tmp_path / "a")
    numbers = {k: v for row in rows for k, v in row.items() if isinstance(v, float)}
    assert {"return_mean", "test_return_mean", "ep_length_mean"} <= numbers.keys()
    assert all(v is not None and math.isfinite(v) for v in numbers.values())
    assert learner.n_updates >= 2
    again = train(alg, env, tmp_path / "b")[1].state_dict()
    other = train(alg, env, tmp_path / "c", seed=2)[1].state_dict()
    for name, value in learner.state_dict().items():
        assert th.equal(value, again[name]), name
    assert any(not th.equal(value, other[name]) for name, value in learner.state_dict().items())


@pytest.mark.parametrize("env", ENVS)
def test_environment_contract(env):
    """Shapes are EnvInfo's, the same seed gives the same episode, something is always available, one kind of end."""
    assert check(envs.resolve(env, ENVS[env])).problems == []
