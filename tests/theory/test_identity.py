"""T1 to T6 and T8 of eq. (7): what the factorisation guarantees, and what it does not."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from components.schedules import LinearSchedule
from components.temperature import Temperature
from theory import soft
from theory.measurements import igm_violation_rate

EXACT = 1e-10
many = settings(derandomize=True, deadline=None, max_examples=200)


@dataclass
class Agents:
    """Random individual Q-functions and their generator."""

    rng: np.random.Generator
    q_all: np.ndarray  # [N,A]
    alpha: float
    v_joint: float

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.q_all),) + (self.q_all.shape[1],) * len(self.q_all)  # [N,A,...,A]


@st.composite
def agents(draw: st.DrawFn, lowest_alpha: float = 0.01) -> Agents:
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    size = draw(st.sampled_from([(1, 4), (2, 2), (2, 3), (2, 5), (3, 2), (3, 4), (4, 3)]))
    alpha = draw(st.floats(lowest_alpha, 5.0))
    return Agents(rng, rng.normal(size=size) * draw(st.floats(0.1, 3.0)), alpha, rng.normal())


def soft_values(q_all: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    return np.array([soft.soft_value(q, a) for q, a in zip(q_all, temperatures, strict=True)])


def policies_of(q_all: np.ndarray, temperatures: np.ndarray) -> np.ndarray:
    return np.array([soft.boltzmann(q, a) for q, a in zip(q_all, temperatures, strict=True)])


def assert_igo(joint: np.ndarray, q_all: np.ndarray, temperatures: np.ndarray, alpha: float, v_joint: float) -> None:
    expected = soft.product_policy(policies_of(q_all, temperatures))
    np.testing.assert_allclose(soft.boltzmann(joint, alpha), expected, atol=EXACT)
    scale = 1.0 + np.abs(joint).max()
    assert soft.soft_value(joint.ravel(), alpha) == pytest.approx(v_joint, abs=EXACT * scale)
    assert soft.igm_holds(joint, q_all)
    assert soft.total_correlation(soft.boltzmann(joint, alpha)) == pytest.approx(0.0, abs=1e-9)


@given(agents())
@many
def test_T1_constant_weights_give_IGO_the_joint_value_and_IGM(game: Agents) -> None:
    temperatures = game.rng.uniform(0.1, 5.0, len(game.q_all))
    values = soft_values(game.q_all, temperatures)
    joint = soft.joint_q(game.q_all, values, game.alpha / temperatures, game.v_joint)
    assert_igo(joint, game.q_all, temperatures, game.alpha, game.v_joint)


@given(agents(), st.integers(1, 4))
@many
def test_T2_weights_that_depend_on_the_state_only_keep_all_three(game: Agents, n_states: int) -> None:
    for _ in range(n_states):  # each state has its own weights, values and Q-functions
        weights = np.exp(game.rng.normal(size=len(game.q_all)))
        q_all, v_joint = game.rng.normal(size=game.q_all.shape), game.rng.normal()
        temperatures = game.alpha / weights
        joint = soft.joint_q(q_all, soft_values(q_all, temperatures), weights, v_joint)
        assert_igo(joint, q_all, temperatures, game.alpha, v_joint)


def test_T3_counter_example_with_action_dependent_weights() -> None:
    q_all = np.array([[0.0, -1.0], [0.0, -1.0]])
    values = soft.soft_value(q_all, 1.0)
    np.testing.assert_allclose(q_all - values[:, None], [[-0.3133, -1.3133]] * 2, atol=1e-4)
    weights = np.full((2, 2, 2), 0.1)
    weights[:, 0, 0] = 10.0
    joint = soft.joint_q(q_all, values, weights, 0.0)
    assert joint[0, 0] == pytest.approx(-6.265, abs=1e-3)
    assert joint[1, 1] == pytest.approx(-0.263, abs=1e-3)
    assert not soft.igm_holds(joint, q_all)


def test_T3_violations_are_common_and_vanish_with_the_temperature() -> None:
    rates = [igm_violation_rate(alpha, 1000) for alpha in (2.0, 0.5, 0.1, 0.01)]
    np.testing.assert_allclose(rates, [0.76, 0.37, 0.06, 0.01], atol=0.03)
    assert rates == sorted(rates, reverse=True)
    assert igm_violation_rate(1e-6, 1000) == 0.0


@given(agents())
@many
def test_T4_at_zero_temperature_IGM_holds_for_every_positive_weight(game: Agents) -> None:
    alpha = 1e-6
    values = soft.soft_value(game.q_all, alpha)
    np.testing.assert_allclose(values, game.q_all.max(-1), atol=1e-5)
    weights = np.exp(game.rng.normal(size=game.shape))
    gaps = np.diff(np.sort(game.q_all, axis=-1), axis=-1)[:, -1:]
    if gaps.size and gaps.min() > 1e-3:  # away from ties
        assert soft.igm_holds(soft.joint_q(game.q_all, values, weights, game.v_joint), game.q_all)


@given(agents())
@many
def test_T4_with_the_maximum_as_baseline_IGM_is_exact(game: Agents) -> None:
    weights = np.exp(3.0 * game.rng.normal(size=game.shape))
    joint = soft.joint_q(game.q_all, game.q_all.max(-1), weights, game.v_joint)
    assert soft.igm_holds(joint, game.q_all)
    assert joint.max() == game.v_joint


@given(agents(lowest_alpha=0.5))
@many
def test_T5_any_payoff_is_represented_by_any_individual_q(game: Agents) -> None:
    payoff = game.rng.normal(size=game.shape[1:])
    values = soft.soft_value(game.q_all, game.alpha)
    weights = soft.exact_lambda(payoff, game.q_all, values, payoff.max() + 0.5)
    assert (weights > 0).all()
    joint = soft.joint_q(game.q_all, values, np.stack([weights] * len(game.q_all)), payoff.max() + 0.5)
    np.testing.assert_allclose(joint, payoff, atol=1e-8)


def test_T5_exact_fit_says_nothing_about_the_policies_at_finite_temperature() -> None:
    payoff = np.array([[8.0, -12, -12], [-12, 0, 0], [-12, 0, 0]])
    for favourite in product(range(3), repeat=2):
        q_all = np.zeros((2, 3))
        q_all[[0, 1], favourite] = 1.0
        values = soft.soft_value(q_all, 0.5)
        weights = soft.exact_lambda(payoff, q_all, values, 9.0)
        joint = soft.joint_q(q_all, values, np.stack([weights] * 2), 9.0)
        np.testing.assert_allclose(joint, payoff, atol=1e-9)
        assert soft.igm_holds(joint, q_all) == (favourite == (0, 0))


@given(agents())
@many
def test_T5_at_zero_temperature_an_exact_fit_has_the_optimum_as_greedy_action(game: Agents) -> None:
    best = tuple(int(a) for a in game.q_all.argmax(-1))
    payoff = game.rng.normal(size=game.shape[1:])
    payoff[best] = payoff.max() + 0.1  # where payoff and greedy action agree, positive weights fit exactly
    values = game.q_all.max(-1)
    deficits = soft.joint_q(game.q_all, values, -np.ones(len(values)), 0.0)
    assert deficits[best] == 0.0  # Q_jt = V_jt there, whatever the weights: a fit needs V_jt = P(best) >= P(u)
    off = np.arange(payoff.size) != np.ravel_multi_index(best, payoff.shape)
    weights = np.ones(payoff.size)
    weights[off] = ((payoff[best] - payoff).ravel() / np.where(off, deficits.ravel(), 1.0))[off]
    joint = soft.joint_q(game.q_all, values, np.stack([weights.reshape(payoff.shape)] * len(values)), payoff[best])
    np.testing.assert_allclose(joint, payoff, atol=1e-8)
    assert (weights > 0).all()


@given(agents())
@many
def test_T6_evidence_lower_bound(game: Agents) -> None:
    q, alpha = game.q_all[0], game.alpha
    value, optimal = soft.soft_value(q, alpha), soft.boltzmann(q, alpha)
    other = game.rng.dirichlet(np.ones(len(q)))
    scale = 1.0 + np.abs(q).max()
    assert soft.soft_objective(q, other, alpha) <= value + EXACT * scale
    assert soft.soft_objective(q, optimal, alpha) == pytest.approx(value, abs=EXACT * scale)
    gap = value - soft.soft_objective(q, other, alpha)
    divergence = float((other * (np.log(np.maximum(other, 1e-300)) - (q - value) / alpha)).sum())
    assert gap == pytest.approx(alpha * divergence, abs=1e-8 * scale)


@given(agents(lowest_alpha=0.5))
@many
def test_T8_individual_temperatures(game: Agents) -> None:
    weights = np.exp(0.5 * game.rng.normal(size=len(game.q_all)))
    temperatures = game.alpha / weights
    values, policies = soft_values(game.q_all, temperatures), policies_of(game.q_all, temperatures)
    ones = np.ones(game.shape[1:])
    uneven = np.exp(game.rng.normal(size=game.shape[1:]))
    for i, q in enumerate(game.q_all):
        found = soft.individual_temperature(game.alpha, q, values[i], weights[i] * ones, policies, i)
        assert found == pytest.approx(temperatures[i], rel=1e-6)
        factor = game.rng.uniform(0.1, 10.0)
        once = soft.individual_temperature(game.alpha, q, values[i], uneven, policies, i)
        again = soft.individual_temperature(game.alpha, factor * q, factor * values[i], uneven, policies, i)
        assert again == pytest.approx(once, rel=1e-6)


def test_T8_the_guarded_rule_of_the_learner_agrees_for_constant_weights() -> None:
    temperature = Temperature(LinearSchedule(0.5, 0.5, 0), n_agents=3, from_lambda=True)
    weights, rng = th.tensor([0.5, 1.0, 4.0]), th.Generator().manual_seed(0)
    for _ in range(3000):
        advantages = -th.rand(4, 2, 3, generator=rng)
        temperature.observe_lambda(weights.expand(4, 2, 3), advantages, th.ones(4, 2, 1))
    np.testing.assert_allclose(temperature.individual(0), 0.5 / weights, rtol=1e-4)
