"""A batch small enough for sums by hand, constant networks, and training on games with one state."""

from __future__ import annotations

import numpy as np
import torch as th

import envs
from components.episode_buffer import ReplayBuffer, TrainBatch
from helpers import make_config, make_info, make_learner, random_episode
from learners import Learner
from runners import Runner, make_vec_env
from utils.timehelper import PhaseTimer

GAMMA, LAMBDA = 0.9, 0.8
# Rewards 1, 2 in an episode that is cut after two steps, 3 in one that terminates after one (and is padded). With
# values V of every next observation: y = 1 + .9 (.2 V + .8 y_1), y_1 = 2 + .9 V; and 3.
REWARDS = ((1.0, 2.0), (3.0,))


def two_episodes(space) -> TrainBatch:
    """One truncated episode of two steps, one terminated of one step, one step of padding."""
    info, rng = make_info(space), np.random.default_rng(0)
    buffer = ReplayBuffer(info, 2, 0)
    for rewards in REWARDS:
        episode = random_episode(info, len(rewards), len(rewards) == 1, rng)
        episode["reward"][: len(rewards), 0] = rewards
        buffer.insert(episode)
    return buffer.recent(2)


def returns_by_hand(next_value: float, gamma: float = GAMMA, lam: float = LAMBDA) -> list[float]:
    """The three TD(lambda) returns when every next observation is worth `next_value`."""
    last = 2.0 + gamma * next_value
    return [1.0 + gamma * ((1.0 - lam) * next_value + lam * last), last, 3.0]


def mean_square(value: float, targets: list[float]) -> float:
    """Mean squared error of a constant."""
    return sum((value - target) ** 2 for target in targets) / len(targets)


@th.no_grad()
def constant(module: th.nn.Module, output: float | list[float]) -> None:
    """Make a network's output constant: every weight 0 but the last bias."""
    for weight in module.parameters():
        weight.zero_()
    last = [weight for name, weight in module.named_parameters() if name.endswith("bias")][-1]
    last.copy_(th.tensor(output).expand(last.shape))


def prefers(learner: Learner, batch: TrainBatch, action: int) -> bool:
    """Whether every policy of a batch, where all actions are available, thinks `action` the most probable."""
    policy = learner.mac.policy(learner.mac.unroll(batch)[:, :-1], batch.avail_taken)
    free = batch.avail_taken.all(-1) & (batch.mask > 0)  # [B,T,N]
    assert free.any()
    return bool((policy.probs[free].argmax(-1) == action).all())


def play(alg: str, env: str, episodes: int, seed: int = 0, **overrides) -> tuple[Learner, float]:
    """Train by the loop's own order (collect, insert, update) on a game; returns the learner and a greedy return."""
    small = {"batch_size_run": 8, "batch_size": 32, "buffer_size": 5000, "agent": "mlp", "hidden_dim": 32}
    config = make_config(alg, env, **small | {"seed": seed} | overrides)
    spec = envs.resolve(config.env, config.env_args)
    vec = make_vec_env(spec, "batched", config.batch_size_run, 10.0)
    learner = make_learner(config, vec.env_info, seed)
    buffer = ReplayBuffer(vec.env_info, config.buffer_size, seed)
    runner = Runner(vec, learner.mac, seed, PhaseTimer())
    due = 0.0
    for first in range(0, episodes, config.batch_size_run):
        rollout = runner.collect(first, config.batch_size_run, first)
        for k in rollout.kept:
            buffer.insert(rollout.batch.episode(k))
        if len(buffer) >= config.batch_size:
            due += config.batch_size_run * config.updates_per_episode
        while due >= 1.0:
            learner.update(learner.sample(buffer), first)
            due -= 1.0
    greedy = runner.collect(0, 1, episodes, test_mode=True, test=True)
    return learner, greedy.stats[0]["return"]
