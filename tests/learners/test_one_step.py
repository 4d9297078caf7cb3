"""Batches in which every transition ends its episode: targets are rewards, whether or not target networks are asked."""

import dataclasses

import numpy as np
import pytest

from components.episode_buffer import ReplayBuffer
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, make_learner, random_episode

CASES = [
    (alg, space) for alg in ("fop", "maddpg", "facmac", "masac", "isac", "maac") for space in (DISCRETE, CONTINUOUS)
]


@pytest.mark.parametrize(("alg", "space"), CASES)
def test_targets_of_one_step_episodes_are_the_rewards(alg, space):
    info, rng = make_info(space), np.random.default_rng(0)
    buffer = ReplayBuffer(info, 8, seed=0)
    for _ in range(8):
        buffer.insert(random_episode(info, 1, True, rng))
    batch = buffer.sample(8)
    assert not batch.bootstraps
    for bootstraps in (False, True):  # True asks the target networks and multiplies what they say by 1 - d = 0
        learner = make_learner(make_config(alg, "mtq" if space is CONTINUOUS else "matrix_game"), info)
        metrics = learner.learn(dataclasses.replace(batch, bootstraps=bootstraps), 0)
        assert metrics["target_mean"].item() == pytest.approx(batch.reward.mean().item(), abs=1e-6)


@pytest.mark.parametrize(("length", "terminated"), [(1, False), (2, True)])
def test_other_batches_bootstrap(length, terminated):
    info, rng = make_info(), np.random.default_rng(0)
    buffer = ReplayBuffer(info, 2, seed=0)
    buffer.insert(random_episode(info, 1, True, rng))
    buffer.insert(random_episode(info, length, terminated, rng))
    assert buffer.sample(2).bootstraps
