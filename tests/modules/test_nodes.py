"""A node where a gradient is asked for, the same result without one elsewhere."""

import pytest
import torch as th

from modules.nodes import node


class _Twice(th.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x)
        ctx.set_materialize_grads(False)
        ctx.wanted = ctx.needs_input_grad
        return 2 * x + y

    @staticmethod
    def backward(ctx, grad):
        return 2 * grad, grad


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("enabled", [False, True])
def test_a_node_only_where_a_gradient_is_asked_for(first, second, enabled):
    x, y = th.randn(3, requires_grad=first), th.randn(3, requires_grad=second)
    with th.set_grad_enabled(enabled):
        out = node(_Twice, x, y)
    assert th.equal(out, 2 * x + y)
    assert out.requires_grad == (enabled and (first or second))
    if out.requires_grad:
        out.sum().backward()
        assert (x.grad is None, y.grad is None) == (not first, not second)
