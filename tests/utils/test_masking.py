"""Padding never changes a statistic; wrong ranks are refused."""

import pytest
import torch as th

from utils.masking import masked_mean, valid_mask


def test_valid_mask_counts_transitions_not_observations():
    """Three observations are two transitions, whether the episode terminated or was cut."""
    filled = th.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool().unsqueeze(-1)
    assert valid_mask(filled)[..., 0].tolist() == [[1, 1, 0], [1, 1, 1]]


def test_masked_mean_ignores_nan_and_its_gradient():
    """0 * nan is nan: the mask must select, not multiply."""
    x = th.tensor([[[2.0], [float("nan")]], [[4.0], [6.0]]], requires_grad=True)
    mask = th.tensor([[[1.0], [0.0]], [[1.0], [1.0]]])
    mean = masked_mean(x, mask)
    assert mean.item() == pytest.approx(4.0)
    mean.backward()
    assert x.grad[0, 1, 0].item() == 0.0


def test_masked_mean_over_agents_and_members():
    """[K,B,T,N] averages over all real entries."""
    x = th.arange(2 * 1 * 2 * 3, dtype=th.float32).view(2, 1, 2, 3)
    assert masked_mean(x, th.tensor([[[1.0], [0.0]]])).item() == pytest.approx((0 + 1 + 2 + 6 + 7 + 8) / 6)


def test_rank_mismatch_is_an_error():
    """[B,T] with [B,T,1] would broadcast to [B,B,T]."""
    with pytest.raises(ValueError, match="does not fit"):
        masked_mean(th.zeros(4, 5), th.ones(4, 5, 1))


def test_masked_means_of_several_at_once():
    """Leading axes that are kept: each by itself."""
    x, mask = th.randn(3, 2, 4, 5, 6), (th.rand(4, 5, 1) < 0.6).float()
    for keep in (1, 2):
        found = masked_mean(x, mask, keep)
        assert found.shape == x.shape[:keep]
        expected = [masked_mean(one, mask) for one in x.flatten(0, keep - 1)]
        th.testing.assert_close(found.flatten(), th.stack(expected))
