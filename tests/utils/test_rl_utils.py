"""TD(lambda) returns against hand numbers and a naive loop over single episodes."""

import numpy as np
import pytest
import torch as th

from utils.rl_utils import lambda_returns


def naive(reward, terminated, next_value, gamma, lam):
    """One episode, plain Python, from the definition."""
    out, g = [], None
    for r, d, v in zip(reward[::-1], terminated[::-1], next_value[::-1], strict=True):
        g = v if g is None else g
        g = r + gamma * (1 - d) * ((1 - lam) * v + lam * g)
        out.append(g)
    return out[::-1]


def test_truncated_episode_shorter_than_the_batch():
    """By hand 6.12, 5.86, 5.50; published code gives 29.7, 38.5, 50.9 or -6, -11, -18."""
    reward = th.zeros(1, 6, 1)
    reward[0, :3] = 1.0
    mask = th.zeros(1, 6, 1)
    mask[0, :3] = 1.0
    value = th.full((1, 6, 1), 5.0)
    value[0, 3:] = 1e6
    out = lambda_returns(reward, th.zeros(1, 6, 1), value, mask, 0.9, 0.8)
    np.testing.assert_allclose(out[0, :3, 0], [6.12, 5.86, 5.50], atol=0.005)


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.8, 1.0])
def test_equals_naive_loop_on_ragged_batches(lam):
    """Random lengths, terminated and truncated, 1e6 in the padding."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        lengths = rng.integers(1, 12, size=5)
        steps = int(lengths.max())
        reward, value = rng.normal(size=(2, 5, steps, 1)).astype(np.float32)
        ended, mask = np.zeros((2, 5, steps, 1), np.float32)
        for b, length in enumerate(lengths):
            mask[b, :length] = 1
            ended[b, length - 1] = rng.integers(2)
            reward[b, length:] = value[b, length:] = 1e6
        out = lambda_returns(*map(th.from_numpy, (reward, ended, value, mask)), 0.97, lam)
        for b, length in enumerate(lengths):
            expected = naive(*(x[b, :length, 0].tolist() for x in (reward, ended, value)), 0.97, lam)
            np.testing.assert_allclose(out[b, :length, 0], expected, atol=2e-5)


def test_refuses_silent_broadcast():
    """[B,T,1] with [B,T] must not become [B,B,T]."""
    with pytest.raises(ValueError, match="shapes must agree"):
        lambda_returns(th.zeros(2, 3, 1), th.zeros(2, 3, 1), th.zeros(2, 3), th.ones(2, 3, 1), 0.9, 0.5)
