"""Save, load and evaluate for every algorithm: the loaded networks act and value exactly as the saved ones."""

import pytest
import torch as th

import run as run_module
from envs import resolve
from helpers import make_config
from utils.configfile import available
from utils.logging import Logger


def make_loop(config, folder):
    """The loop on a small matrix game."""
    folder.mkdir()
    env = run_module.make_vec_env(resolve(config.env, config.env_args), config.runner, config.batch_size_run)
    return run_module.TrainingLoop(config, Logger(folder), folder, env)


@pytest.mark.parametrize("alg", available("algs"))
def test_loaded_networks_equal_saved_ones(alg, tmp_path):
    """All weights, targets and optimiser states; env steps continue; the closest step is found."""
    small = {"t_max": 60, "batch_size_run": 4, "test_nepisode": 4, "buffer_size": 200, "save_model_interval": 20}
    trained = make_loop(make_config(alg, **small), tmp_path / "run")
    trained.train()
    steps = sorted(int(path.name) for path in (tmp_path / "run" / "models").iterdir())
    assert steps[-1] >= 60
    assert len(steps) >= 3
    loaded = make_loop(make_config(alg, seed=9, checkpoint_path=str(tmp_path / "run"), evaluate=True), tmp_path / "new")
    loaded.load(tmp_path / "run")
    assert loaded.t_env == trained.t_env
    for name, value in trained.learner.state_dict().items():
        assert th.equal(value, loaded.learner.state_dict()[name]), name
    assert loaded.learner.n_updates == trained.learner.n_updates
    for name, optimiser in trained.learner.optimisers.items():
        ours, theirs = optimiser.state_dict()["state"], loaded.learner.optimisers[name].state_dict()["state"]
        assert ours.keys() == theirs.keys()
        assert all(th.equal(ours[k][s], theirs[k][s]) for k in ours for s in ours[k])
    loaded.test()
