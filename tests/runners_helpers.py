"""Shared by tests of runners: a runner with random weights, the episodes it stores, their equality."""

import numpy as np
import torch as th

from controllers import REGISTRY as CONTROLLERS
from helpers import make_config
from runners import Runner
from utils.timehelper import PhaseTimer


def make_runner(env, mac_name="soft_mac", **overrides):
    """A runner with random weights; exploration is on."""
    config = make_config("fop" if mac_name == "soft_mac" else "vdn", **overrides)
    th.manual_seed(0)
    return Runner(env, CONTROLLERS[mac_name](config, env.env_info), seed=5, timer=PhaseTimer())


def episodes_of(runner, total, per_call):
    """Episodes 0 .. total - 1, collected `per_call` at a time."""
    out = []
    for first in range(0, total, per_call):
        rollout = runner.collect(first, per_call, t_env=0)
        out += [{k: v.copy() for k, v in rollout.batch.episode(e).items()} for e in rollout.kept]
    return out


def assert_equal_episodes(left, right):
    """Every field of every episode is equal, bit for bit."""
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys()
        for name in a:
            rows = slice(None, -1) if name in ("actions", "reward", "terminated") else slice(None)
            np.testing.assert_array_equal(a[name][rows], b[name][rows], err_msg=name)
