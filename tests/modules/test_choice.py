"""Compiled choices against PyTorch's formulas in double precision, in any memory layout."""

import pytest
import torch as th

from modules.choice import best, soft_cost, taken

LAYOUTS = {"plain": (0, 1, 2, 3), "time first": (1, 0, 2, 3), "agents first": (2, 0, 1, 3)}


def laid_out(x, order):
    """The same numbers with memory in the given order of axes."""
    inverse = [order.index(axis) for axis in range(len(order))]
    return x.permute(*order).contiguous().permute(*inverse)


def inputs(n_actions, order):
    """Numbers `[3,5,2,A]` with equal ones among them, and availability with at least one action a row."""
    th.manual_seed(n_actions)
    values = th.randn(3, 5, 2, n_actions).mul(4).round().div(4)
    avail = th.rand(values.shape) < 0.5
    avail[..., -1] = True
    return laid_out(values, order), laid_out(avail, order)


@pytest.mark.parametrize("n_actions", [1, 2, 9, 70])
@pytest.mark.parametrize("order", LAYOUTS.values(), ids=LAYOUTS)
def test_values_of_chosen_actions_and_their_gradient(n_actions, order):
    """Exact; the gradient is 0 but at the actions; also of an ensemble."""
    values, _ = inputs(n_actions, order)
    actions = th.randint(n_actions, (*values.shape[:-1], 1))
    for x in (values, th.stack((values, 2 * values))):
        chosen = actions.expand(*x.shape[:-1], 1)
        weight, ours, theirs = th.randn(x.shape[:-1]), x.clone().requires_grad_(), x.clone().requires_grad_()
        out, expected = taken(ours, chosen), theirs.gather(-1, chosen).squeeze(-1)
        assert th.equal(out, expected)
        (out * weight).sum().backward()
        (expected * weight).sum().backward()
        assert th.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("steps", [slice(-1), slice(1, None), slice(1, 3), slice(5), slice(0, 4, 2)], ids=str)
@pytest.mark.parametrize("order", LAYOUTS.values(), ids=LAYOUTS)
def test_values_at_some_steps(steps, order):
    """Exact; at the other steps the gradient is 0."""
    values, _ = inputs(9, order)
    ours, theirs = values.clone().requires_grad_(), values.clone().requires_grad_()
    actions = th.randint(9, (*values[:, steps].shape[:-1], 1))
    out, expected = taken(ours, actions, steps), theirs[:, steps].gather(-1, actions).squeeze(-1)
    assert th.equal(out, expected)
    weight = th.randn(out.shape)
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    assert th.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("n_actions", [1, 2, 9, 70])
@pytest.mark.parametrize("order", LAYOUTS.values(), ids=LAYOUTS)
def test_the_best_available_action(n_actions, order):
    """The first of equals, as in double precision; 0 where nothing is available."""
    values, avail = inputs(n_actions, order)
    found = best(values, avail)
    assert th.equal(found, best(values.double(), avail))
    assert avail.gather(-1, found).all()
    assert (best(values, th.zeros_like(avail)) == 0).all()


def test_nan_does_not_lead_out_of_the_row():
    """Nothing is comparable with it."""
    assert best(th.tensor([[1.0, th.nan, th.nan]]), th.tensor([[False, True, True]])).item() in (0, 1, 2)


@pytest.mark.parametrize("n_actions", [1, 2, 9, 70])
@pytest.mark.parametrize("order", LAYOUTS.values(), ids=LAYOUTS)
def test_soft_cost_and_its_gradient(n_actions, order):
    """The formula in double precision to 1e-5; unavailable values may be infinite, NaN is not hidden."""
    values, avail = inputs(n_actions, order)
    logits = laid_out(4 * th.randn(values.shape), order)
    q = th.stack((values, values.flip(-1))).masked_fill(~avail, th.inf)
    alpha, weight, results = th.tensor([0.5, 2.0]), th.randn(values.shape[:-1]), []
    for cast in (th.float32, th.float64):
        x, given = (y.detach().to(cast).requires_grad_() for y in (logits, q))
        out = soft_cost(x.softmax(-1), x.log_softmax(-1), given, avail, alpha.to(cast))
        (out * weight).sum().backward()
        assert given.grad is None
        results.append([out.detach(), x.grad])
    for single, double in zip(*results, strict=True):
        assert single.dtype == th.float32
        th.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-5)
    for k in range(2):
        q[k, 0, 0, 0, -1] = th.nan
        assert soft_cost(logits.softmax(-1), logits.log_softmax(-1), q, avail, alpha)[0, 0, 0].isnan()
        q[k, 0, 0, 0, -1] = 0.0


@pytest.mark.parametrize("steps", [slice(-1), slice(1, None), slice(0, 4, 2)], ids=str)
@pytest.mark.parametrize("order", LAYOUTS.values(), ids=LAYOUTS)
def test_soft_cost_at_some_steps(steps, order):
    """As of a policy at these steps alone; no gradient elsewhere."""
    values, avail = inputs(9, order)
    logits, alpha, results = laid_out(4 * th.randn(values.shape), order), th.tensor([0.5, 2.0]), []
    for some in (steps, None):
        x = logits.clone().requires_grad_()
        policy = [y if some is not None else y[:, steps] for y in (x.softmax(-1), x.log_softmax(-1))]
        q = th.stack((values, values.flip(-1)))[:, :, steps]
        out = soft_cost(*policy, q, avail[:, steps], alpha, some)
        results.append([out, *th.autograd.grad((out * th.arange(out.numel()).view(out.shape)).sum(), x)])
    for one, other in zip(*results, strict=True):
        th.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_shapes_that_do_not_fit_are_refused():
    """Kernels would read beyond the end."""
    values, avail = inputs(4, (1, 0, 2, 3))
    actions, probs = th.zeros(3, 5, 2, 1, dtype=th.int64), values.softmax(-1)
    for some, steps in ((actions[:, :4], None), (actions, slice(1, None)), (actions[..., :1, :], None)):
        with pytest.raises(ValueError, match="does not fit"):
            taken(values, some, steps)
    for q, ok, steps in (
        (values[None, :, 1:], avail, None),
        (values[None], avail[:, 1:], None),
        (values[None], avail, slice(2)),
    ):
        with pytest.raises(ValueError, match="does not fit"):
            soft_cost(probs, probs.log(), q, ok, th.ones(2), steps)


def test_soft_cost_where_a_probability_is_zero():
    """Its logarithm is a constant there, as `mixture_then_masked` makes it; three members, one row."""
    probs = th.tensor([[0.25, 0.75, 0.0]], requires_grad=True)
    q, avail = th.tensor([[[1.0, 2.0, 3.0]], [[0.5, 4.0, 3.0]], [[2.0, 1.0, 5.0]]]), th.ones(1, 3, dtype=th.bool)
    logs = probs.detach().clamp(min=1e-20).log()
    soft_cost(probs, logs, q, avail, th.tensor([2.0])).sum().backward()
    expected = 2.0 * logs - q.amin(0) + th.tensor([[2.0, 2.0, 0.0]])
    th.testing.assert_close(probs.grad, expected)
