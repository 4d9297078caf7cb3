"""T12 to T15: how far games are from IGO, and the best additive and monotonic fits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from envs.differential_game import HIGH, LOW, max_of_two_quadratics
from envs.payoffs import additive_greedy
from theory import soft
from theory.fits import additive_fit, monotone_fit, monotone_fits, squared_error
from theory.soft import boltzmann, marginals, product_policy, total_correlation

M1 = np.array([[8.0, -12, -12], [-12, 0, 0], [-12, 0, 0]])
PAYOFFS = hnp.arrays(np.float64, (3, 3), elements=st.integers(-12, 12).map(float))


@pytest.mark.parametrize(
    ("alpha", "correlation"), [(0.5, 0.00001), (1, 0.0102), (2, 0.248), (3, 0.500), (5, 0.524), (10, 0.227)]
)
def test_T12_total_correlation_of_the_papers_game(alpha: float, correlation: float) -> None:
    assert total_correlation(boltzmann(M1, alpha)) == pytest.approx(correlation, abs=6e-4 if alpha > 0.5 else 6e-6)


@pytest.mark.parametrize(("alpha", "chance"), [(1, 0.9987), (2, 0.932), (3, 0.779), (5, 0.532), (8, 0.357)])
def test_T12_probability_of_the_optimum(alpha: float, chance: float) -> None:
    assert boltzmann(M1, alpha)[0, 0] == pytest.approx(chance, abs=6e-4)


@given(PAYOFFS, st.floats(0.1, 20))
@settings(derandomize=True, deadline=None)
def test_T12_total_correlation_is_zero_exactly_for_additive_payoffs(payoff: np.ndarray, alpha: float) -> None:
    assert total_correlation(boltzmann(payoff, alpha)) >= -1e-12
    assert total_correlation(boltzmann(additive_fit(payoff), alpha)) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(("alpha", "correlation"), [(0.05, 1.386), (0.2, 1.267)])
def test_T13_several_optima(alpha: float, correlation: float) -> None:
    joint = boltzmann(np.eye(4), alpha)
    assert total_correlation(joint) == pytest.approx(correlation, abs=5e-4)
    independent = product_policy(marginals(joint))
    assert (independent * np.eye(4)).sum() == pytest.approx(0.25)
    if alpha == 0.05:
        assert (joint * np.eye(4)).sum() == pytest.approx(1.0, abs=1e-6)


def test_T14_additive_fit_of_the_papers_game() -> None:
    fit = additive_fit(M1)
    np.testing.assert_allclose(M1.mean(1), [-16 / 3, -4, -4])
    assert M1.mean() == pytest.approx(-4.444, abs=1e-3)
    assert [fit[0, 0], fit[0, 1], fit[1, 1]] == pytest.approx([-6.222, -4.889, -3.556], abs=1e-3)
    assert squared_error(fit, M1) == pytest.approx(455.1, abs=0.05)
    assert M1[soft.greedy(fit)] == M1[additive_greedy(M1)] == 0.0


@given(PAYOFFS, st.integers(0, 2**31))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_T14_no_additive_table_is_closer(payoff: np.ndarray, seed: int) -> None:
    rng, fit = np.random.default_rng(seed), additive_fit(payoff)
    rows, columns = rng.normal(size=(2, 3))
    assert squared_error(fit, payoff) <= squared_error(fit + rows[:, None] + columns, payoff) + 1e-9


def test_T15_best_monotonic_fit_of_the_papers_game() -> None:
    best = monotone_fit(M1)
    expected = np.full((3, 3), -6.0)
    expected[0, 0] = 8.0
    np.testing.assert_allclose(best.fit, expected, atol=1e-9)
    assert best.error == pytest.approx(288.0)
    assert soft.greedy(best.fit) == (0, 0)
    familiar = [fit for fit in monotone_fits(M1) if fit.orders[0][0] == fit.orders[1][0] == 0]  # A lowest for both
    assert [fit.error for fit in familiar] == pytest.approx([320.0] * 4)
    np.testing.assert_allclose(familiar[0].fit, [[-8, -8, -8], [-8, 0, 0], [-8, 0, 0]], atol=1e-9)


@given(PAYOFFS)
@settings(derandomize=True, deadline=None, max_examples=25)
def test_T15_fits_are_monotonic_and_no_worse_than_additive(payoff: np.ndarray) -> None:
    best = monotone_fit(payoff)
    ordered = best.fit[np.ix_(*best.orders)]
    assert (np.diff(ordered, axis=0) >= -1e-9).all()
    assert (np.diff(ordered, axis=1) >= -1e-9).all()
    assert best.error <= squared_error(additive_fit(payoff), payoff) + 1e-9


def test_monotonic_fit_needs_two_agents() -> None:
    with pytest.raises(ValueError, match="two agents"):
        monotone_fit(np.zeros((2, 2, 2)))


# --- Max of Two Quadratics (7.6)


def mtq_table(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Midpoints of a grid over the box and the rewards of all pairs."""
    width = (HIGH - LOW) / points
    axis = LOW + width * (np.arange(points) + 0.5)
    return axis, max_of_two_quadratics(np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1))


@pytest.mark.parametrize(
    ("alpha", "mass"), [(0.1, 0.9995), (0.2, 0.938), (0.3, 0.760), (0.4, 0.600), (0.5, 0.495), (1, 0.312)]
)
def test_mtq_soft_optimum_prefers_the_good_hill_only_below_alpha_of_one_half(alpha: float, mass: float) -> None:
    axis, rewards = mtq_table(1000)
    narrow = 10 - np.add.outer((axis - 5) ** 2, (axis - 5) ** 2)
    joint = boltzmann(0.1 * rewards, alpha)
    assert joint[narrow >= rewards].sum() == pytest.approx(mass, abs=1e-3)


def best_response(others: np.ndarray) -> float:
    """The action with the best mean reward against these actions of the other agent."""
    own = np.linspace(LOW, HIGH, 401)
    pairs = np.stack(np.broadcast_arrays(own[:, None], others[None, :]), axis=-1)
    return float(own[max_of_two_quadratics(pairs).mean(-1).argmax()])


def quantiles(count: int = 2001) -> np.ndarray:
    from scipy.special import ndtri

    return np.asarray(ndtri((np.arange(count) + 0.5) / count))


@pytest.mark.parametrize(("sigma", "expected"), [(0.5, -5.0), (2, -5.0), (4, -5.0), (5, 4.0), (7, 4.0)])
def test_mtq_best_response_to_broad_and_narrow_exploration(sigma: float, expected: float) -> None:
    assert best_response(np.clip(sigma * quantiles(), LOW, HIGH)) == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize(("std", "expected"), [(0.3, -5.0), (0.5, 4.0), (1.0, 4.0)])
def test_mtq_best_response_to_a_squashed_gaussian(std: float, expected: float) -> None:
    assert best_response(10 * np.tanh(std * quantiles())) == pytest.approx(expected, abs=0.5)
