"""Distributions against brute force: masked softmax, inverse-CDF samples, numerical densities, gradients, bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor
from torch.autograd import gradcheck

from modules.distributions import LOG_STD_MAX, LOG_STD_MIN, MaskedCategorical, SquashedNormal

BELOW_ONE = 1.0 - 2.0**-24  # the largest float32 uniform
many = settings(derandomize=True, deadline=None, max_examples=60)
seeds = st.integers(0, 2**31)


def random_policy(seed: int, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    """Logits `[4,3,6]` and availability with at least one action in each row."""
    rng = th.Generator().manual_seed(seed)
    avail = th.rand(4, 3, 6, generator=rng) < 0.5
    avail.scatter_(-1, th.randint(6, (4, 3, 1), generator=rng), True)
    return scale * th.randn(4, 3, 6, generator=rng), avail


# --- MaskedCategorical


@given(seeds, st.sampled_from([0.1, 2.0, 50.0]))
@many
def test_probabilities_are_the_softmax_of_the_available_logits(seed: int, scale: float) -> None:
    logits, avail = random_policy(seed, scale)
    policy = MaskedCategorical(logits, avail)
    for row in np.ndindex(4, 3):
        open_actions = avail[row]
        expected = logits[row][open_actions].double().softmax(-1)
        np.testing.assert_allclose(policy.probs[row][open_actions], expected, atol=1e-6)
        assert (policy.probs[row][~open_actions] == 0.0).all()
        entropy = -(expected * expected.clamp(min=1e-300).log()).sum()
        assert policy.entropy[row] == pytest.approx(float(entropy), abs=1e-5)
        values = logits.cos()
        assert policy.expect(values)[row] == pytest.approx(
            float((expected * values[row][open_actions].double()).sum()), abs=1e-5
        )
        best = int(policy.mode[row])
        assert open_actions[best]
        assert logits[row][best] == logits[row][open_actions].max()
        chosen = int(open_actions.nonzero()[0])
        assert policy.log_prob(th.full((4, 3, 1), chosen))[row] == pytest.approx(
            float(expected[0].log()), rel=1e-5, abs=1e-4
        )


@given(seeds)
@many
def test_samples_occur_in_proportion_and_are_always_available(seed: int) -> None:
    logits, avail = random_policy(seed)
    policy = MaskedCategorical(logits, avail)
    counts, points = th.zeros(4, 3, 6), 2000
    for uniform in (th.arange(points) + 0.5) / points:
        counts.scatter_add_(-1, policy.sample(uniform.expand(4, 3)), th.ones(4, 3, 1))
    np.testing.assert_allclose(counts / points, policy.probs, atol=1.01 / points)
    for edge in (0.0, BELOW_ONE, 1.0):
        assert avail.gather(-1, policy.sample(th.full((4, 3), edge))).all()
        assert avail.gather(-1, policy.sample(th.full((4, 3), edge, dtype=th.float64))).all()


def test_without_a_mask_every_action_counts() -> None:
    logits, _ = random_policy(0)
    np.testing.assert_allclose(MaskedCategorical(logits).probs, logits.softmax(-1), atol=1e-6)


@pytest.mark.parametrize("alpha", [0.01, 1.0, 5.0, 1e4])
def test_entropy_terms_stay_finite_at_any_temperature_and_in_padded_rows(alpha: float) -> None:
    logits = th.tensor([[1.0, 2.0, 9.0], [1.0, 2.0, 3.0]], requires_grad=True)
    avail = th.tensor([[True, True, False], [False, False, False]])  # the second row is padding
    policy = MaskedCategorical(logits, avail)
    objective = policy.expect(alpha * policy.log_probs - th.tensor([0.5, 0.1, 7.0]))
    p = th.tensor([1.0, 2.0]).softmax(-1)
    assert objective[0].item() == pytest.approx(float((p * (alpha * p.log() - th.tensor([0.5, 0.1]))).sum()), rel=1e-5)
    assert objective.isfinite().all()
    assert policy.entropy.isfinite().all()
    (objective[0] + policy.entropy[0]).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 2] == 0.0
    assert (logits.grad[1] == 0.0).all()
    assert policy.sample(th.rand(2)).max() < 3


def test_padded_rows_have_finite_gradients_of_their_own() -> None:
    logits = th.zeros(1, 3, requires_grad=True)
    policy = MaskedCategorical(logits, th.zeros(1, 3, dtype=th.bool))
    (policy.entropy + policy.expect(2.0 * policy.log_probs) + policy.log_probs.sum(-1)).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_gradients_of_the_categorical() -> None:
    logits = th.randn(2, 4, generator=th.Generator().manual_seed(0), dtype=th.float64, requires_grad=True)
    avail = th.tensor([[True, True, False, True], [True, False, False, True]])
    values = th.arange(4.0, dtype=th.float64)

    def outputs(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        policy = MaskedCategorical(x, avail)
        return policy.entropy, policy.expect(3.0 * policy.log_probs - values), policy.log_prob(th.tensor([[1], [3]]))

    assert gradcheck(outputs, (logits,))


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match="differ"):
        MaskedCategorical(th.zeros(2, 3), th.ones(3, dtype=th.bool))


# --- SquashedNormal


def head_of(mean: float, std: float, dtype: th.dtype = th.float64) -> Tensor:
    return th.tensor([mean, math.log(std)], dtype=dtype)


@pytest.mark.parametrize("mean", [-2.0, 0.0, 0.7])
@pytest.mark.parametrize("std", [0.01, 0.1, 1.0, 1.5])
def test_density_integrates_to_one(mean: float, std: float) -> None:
    z = np.linspace(mean - 12 * std, mean + 12 * std, 200_001)
    actions = np.tanh(np.clip(z, -7.2, 7.2))
    density = SquashedNormal(head_of(mean, std)).log_prob(th.as_tensor(actions).unsqueeze(-1)).exp().numpy()
    outside = norm.cdf((-7.2 - mean) / std) + norm.sf((7.2 - mean) / std)
    assert np.trapezoid(density, actions) == pytest.approx(1.0 - outside, abs=2e-4)


@given(st.floats(-3, 3), st.floats(0.05, 3), st.floats(-0.99, 0.99))
@many
def test_density_is_the_slope_of_the_distribution_function(mean: float, std: float, action: float) -> None:
    width = 1e-6
    below, above = (norm.cdf((math.atanh(action + side * width) - mean) / std) for side in (-1, 1))
    density = float(SquashedNormal(head_of(mean, std)).log_prob(th.tensor([action], dtype=th.float64)).exp())
    assert density == pytest.approx((above - below) / (2 * width), rel=1e-3, abs=1e-8)


@given(seeds, st.integers(1, 3))
@many
def test_dimensions_are_independent_and_samples_carry_their_own_log_probability(seed: int, dims: int) -> None:
    rng = th.Generator().manual_seed(seed)
    head = th.randn(5, 2 * dims, generator=rng, dtype=th.float64).clamp(-1.0, 1.0)  # |z| stays below 7
    policy = SquashedNormal(head)
    actions, log_prob = policy.rsample(th.randn(5, dims, generator=rng, dtype=th.float64).clamp(-2.0, 2.0))
    assert log_prob.shape == (5,)
    np.testing.assert_allclose(policy.log_prob(actions.detach()), log_prob, atol=1e-6)
    parts = [SquashedNormal(head[:, [d, dims + d]]).log_prob(actions[:, [d]]) for d in range(dims)]
    np.testing.assert_allclose(sum(parts, start=th.zeros(5)), log_prob, atol=1e-6)
    np.testing.assert_allclose(policy.mode, head[:, :dims].tanh())


@given(st.floats(-2, 2), st.floats(0.05, 2))
@many
def test_samples_are_quantiles(mean: float, std: float) -> None:
    uniform = th.tensor([0.001, 0.25, 0.5, 0.9, 0.999])
    policy = SquashedNormal(head_of(mean, std).expand(5, 2))
    expected = np.tanh(norm.ppf(uniform.double().numpy(), mean, std))
    np.testing.assert_allclose(policy.sample(uniform.unsqueeze(-1))[:, 0], expected, atol=1e-6)
    for edge in (0.0, BELOW_ONE, 1.0):
        sample = policy.sample(th.full((5, 1), edge))
        assert sample.isfinite().all()
        assert (sample.abs() <= 1.0).all()


@pytest.mark.parametrize("z", [-50.0, -10.0, 0.0, 10.0, 50.0])
def test_log_probability_of_samples_is_exact_where_tanh_saturates(z: float) -> None:
    policy = SquashedNormal(head_of(0.5, 1.0, th.float32))
    _, log_prob = policy.rsample(th.tensor([z - 0.5]))
    log_jacobian = 2 * (math.log(2) - abs(z) - math.log1p(math.exp(-2 * abs(z))))  # log(1 - tanh^2 z)
    expected = float(norm.logpdf(z, 0.5, 1.0)) - log_jacobian
    assert float(log_prob) == pytest.approx(expected, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("bound", [-1.0, 1.0])
def test_the_bounds_have_finite_log_probabilities_and_gradients(bound: float) -> None:
    head = head_of(0.2, 0.5, th.float32).requires_grad_()
    action = th.tensor([bound], requires_grad=True)
    SquashedNormal(head).log_prob(action).backward()
    for gradient in (head.grad, action.grad):
        assert gradient is not None
        assert gradient.isfinite().all()


def test_gradients_of_the_squashed_normal() -> None:
    rng = th.Generator().manual_seed(1)
    head = (0.5 * th.randn(3, 4, generator=rng, dtype=th.float64)).requires_grad_()
    actions = th.rand(3, 2, generator=rng, dtype=th.float64) - 0.5
    noise = th.randn(3, 2, generator=rng, dtype=th.float64)
    assert gradcheck(lambda x: SquashedNormal(x).log_prob(actions), (head,))
    assert gradcheck(lambda x: SquashedNormal(x).rsample(noise), (head,))


def test_reparameterised_gradient_is_the_gradient_of_the_expectation() -> None:
    """D/dmean E[a^2] by differentiating samples against finite differences of a quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    chances = th.as_tensor(weights / weights.sum())
    noise = th.as_tensor(nodes).unsqueeze(-1)

    def second_moment(mean: Tensor) -> Tensor:
        head = th.stack((mean, th.tensor(math.log(0.6), dtype=th.float64))).expand(60, 2)
        return (chances * SquashedNormal(head).rsample(noise)[0][:, 0].square()).sum()

    mean = th.tensor(0.4, dtype=th.float64, requires_grad=True)
    (gradient,) = th.autograd.grad(second_moment(mean), mean)
    step = 1e-5
    slope = (second_moment(mean.detach() + step) - second_moment(mean.detach() - step)) / (2 * step)
    assert float(gradient) == pytest.approx(float(slope), rel=1e-6)


def test_standard_deviations_are_bounded() -> None:
    for log_std, bound in ((-50.0, LOG_STD_MIN), (50.0, LOG_STD_MAX)):
        assert float(SquashedNormal(th.tensor([0.0, log_std])).log_std) == bound


def test_some_steps_keep_their_gradient():
    """Also where they were looked at first without one."""
    logits = th.randn(3, 5, 2, 4, requires_grad=True)
    policy = MaskedCategorical(logits).at(slice(-1))
    with th.no_grad():
        assert policy.entropy.shape == (3, 4, 2)
    (grad,) = th.autograd.grad(policy.log_prob(th.zeros(3, 4, 2, 1, dtype=th.int64)).sum(), logits)
    assert (grad[:, :-1] != 0).all()
    assert (grad[:, -1] == 0).all()
