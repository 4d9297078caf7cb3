"""The compiled single-precision kernels against PyTorch's formulas in double precision, in any memory layout."""

import pytest
import torch as th

from modules.categorical import (
    inverse_cdf,
    masked_expectation,
    masked_softmax,
    mixture_then_masked,
    soft_maximum,
)

LAYOUTS = {"plain": (0, 1, 2, 3), "time first": (1, 0, 2, 3), "agents first": (2, 0, 1, 3)}


def laid_out(x, order):
    """The same numbers with memory in the given order of axes."""
    inverse = [order.index(axis) for axis in range(len(order))]
    return x.permute(*order).contiguous().permute(*inverse)


def inputs(n_actions, order, scale=3.0):
    """Logits `[3,5,2,A]` that span 100 orders of magnitude, and availability with at least one action a row."""
    th.manual_seed(n_actions)
    logits = scale * th.randn(3, 5, 2, n_actions)
    logits[0, 0] += 1000.0
    logits[0, 1, :, 0] -= 300.0
    avail = th.rand(logits.shape) < 0.5
    avail[..., -1] = True
    return laid_out(logits, order), laid_out(avail, order)


@pytest.mark.parametrize("n_actions", [1, 2, 9, 70, 600])
@pytest.mark.parametrize("order", LAYOUTS.values(), ids=LAYOUTS)
def test_softmax_and_its_gradient(n_actions, order):
    """Values to 2e-6, gradients of both outputs together to 1e-5, zero where unavailable."""
    logits, avail = inputs(n_actions, order)
    weights = [th.randn(logits.shape) for _ in range(2)]
    results = []
    for cast in (th.float32, th.float64):
        x = logits.detach().to(cast).requires_grad_()
        logs, probs = masked_softmax(x, avail)
        ((logs * weights[0]).masked_fill(~avail, 0.0) + probs * weights[1]).sum().backward()
        results.append((logs.masked_fill(~avail, 0.0).detach(), probs.detach(), x.grad))
    for single, double in zip(*results, strict=True):
        assert single.dtype == th.float32
        assert (single - double).abs().max() < 2e-6 * max(1.0, double.abs().max().item(), n_actions)
    assert (results[0][1][~avail] == 0.0).all()
    assert (results[0][2][~avail] == 0.0).all()


@pytest.mark.parametrize("order", LAYOUTS.values(), ids=LAYOUTS)
def test_expectation_and_its_gradient(order):
    """Unavailable values may be infinite; broadcasting over an ensemble axis sums its gradients."""
    logits, avail = inputs(9, order)
    values = th.randn(2, *logits.shape).masked_fill(~avail, float("inf"))
    results = []
    for cast in (th.float32, th.float64):
        p, v = (x.detach().to(cast).requires_grad_() for x in (logits, values))
        out = masked_expectation(p, v, avail)
        (out * th.arange(1.0, 3.0).view(2, 1, 1, 1)).sum().backward()
        results.append((out.detach(), p.grad, v.grad))
    for single, double in zip(*results, strict=True):
        th.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("n_actions", [1, 9, 70, 600])
@pytest.mark.parametrize("order", LAYOUTS.values(), ids=LAYOUTS)
def test_soft_maximum(n_actions, order):
    """alpha log sum exp(q / alpha) with a temperature per agent, ensemble axis in front."""
    logits, avail = inputs(n_actions, order, scale=1.0)
    values, alpha = th.stack((logits, 0.1 * logits)), th.tensor([0.03, 2.0])
    expected = soft_maximum(values.double(), avail, alpha.double())
    found = soft_maximum(values, avail, alpha)
    assert found.dtype == th.float32
    th.testing.assert_close(found.double(), expected, rtol=3e-6, atol=3e-6)
    with_gradient = values.clone().requires_grad_()
    th.testing.assert_close(soft_maximum(with_gradient, avail, alpha).detach(), found, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("order", LAYOUTS.values(), ids=LAYOUTS)
def test_inverse_cdf_equals_the_cumulative_sum(order):
    """The same index as PyTorch's, from the same numbers."""
    logits, avail = inputs(9, order)
    probs = masked_softmax(logits, avail)[1]
    for uniform in (th.rand(3, 5, 2), th.zeros(3, 5, 2), th.full((3, 5, 2), 1.0 - 2.0**-24)):
        found = inverse_cdf(probs, uniform)
        assert th.equal(found, inverse_cdf(probs.double(), uniform))
        assert avail.gather(-1, found).all()


def test_not_a_number_stays_one():
    """A diverged network is seen, not hidden."""
    logits = th.zeros(2, 9)
    logits[0, 3] = float("nan")
    avail = th.ones(2, 9, dtype=th.bool)
    assert masked_softmax(logits, avail)[1][0].isnan().all()
    assert masked_softmax(logits, avail)[1][1].isfinite().all()
    assert soft_maximum(logits, avail, th.ones(())).isnan().tolist() == [True, False]


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_mixture_then_masked(layout, epsilon):
    """Values and gradients, rows with nothing available and hopeless actions included."""
    th.manual_seed(0)
    logits, avail = laid_out(4 * th.randn(4, 7, 3, 9), LAYOUTS[layout]), th.rand(4, 7, 3, 9) < 0.6
    logits[1, 2, 0, 3], avail[0, 0, 0] = -200.0, False
    results = []
    for cast in (th.float32, th.float64):
        x = logits.to(cast).requires_grad_()
        log_probs, probs = mixture_then_masked(x, avail, epsilon)
        assert not probs[~avail].any()
        factor = th.sin(th.arange(probs.numel(), dtype=cast)).view(probs.shape)
        loss = (factor * probs).sum() + (factor.cos() * log_probs.clamp(min=-20.0)).masked_fill(~avail, 0.0).sum()
        results.append([log_probs.clamp(min=-20.0), probs, th.autograd.grad(loss, x)[0]])
    for single, double in zip(*results, strict=True):
        assert (single - double).abs().max() < 2e-6 * max(1.0, double.abs().max().item())
    assert results[0][1].sum(-1)[avail.any(-1)].sub(1.0).abs().max() < 1e-6


@pytest.mark.parametrize("which", ["logarithms", "probabilities"])
def test_gradient_of_one_result_of_a_mixture(which):
    """The other one's is none."""
    th.manual_seed(0)
    logits, avail, results = th.randn(50, 9), th.rand(50, 9) < 0.7, []
    factor = th.sin(th.arange(450.0)).view(50, 9)
    for cast in (th.float32, th.float64):
        x = logits.to(cast).requires_grad_()
        log_probs, probs = mixture_then_masked(x, avail, 0.2)
        out = log_probs.masked_fill(~avail, 0.0) if which == "logarithms" else probs
        results.append(th.autograd.grad((factor.to(cast) * out).sum(), x)[0])
    th.testing.assert_close(results[0].double(), results[1], rtol=1e-5, atol=1e-6)


def test_no_rows():
    """An empty batch gives empty results."""
    values, avail = th.randn(2, 0, 3, 9), th.ones(0, 3, 9, dtype=th.bool)
    assert soft_maximum(values, avail, th.ones(3)).shape == (2, 0, 3)
