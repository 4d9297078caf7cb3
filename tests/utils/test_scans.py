"""The compiled recursion against the formula, and where a gradient is asked for."""

import torch as th

from utils.scans import linear_recursion


def test_recursion_by_hand():
    """G_2 = 3, G_1 = 2 + 0.5 * 3, G_0 = 1 + 2 * 3.5; features are independent of each other."""
    own, carry = th.tensor([[[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]]), th.tensor([[[2.0, 0.0], [0.5, 1.0], [9.0, 9.0]]])
    assert linear_recursion(own, carry).tolist() == [[[8.0, 1.0], [3.5, 5.0], [3.0, 3.0]]]


def test_both_ways_agree_in_both_precisions():
    """With a gradient PyTorch's operations take over."""
    th.manual_seed(0)
    for cast in (th.float32, th.float64):
        own, carry = th.randn(4, 30, 2, dtype=cast), th.rand(4, 30, 2, dtype=cast)
        differentiable = linear_recursion(own.requires_grad_(), carry)
        assert differentiable.requires_grad
        th.testing.assert_close(linear_recursion(own.detach(), carry), differentiable.detach())
