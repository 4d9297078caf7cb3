"""T7 and T18: the two ways to differentiate eq. (7), as architecture and as tabular learners."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch as th
from hypothesis import given, settings
from hypothesis import strategies as st

from modules.mixers.igo import IGOMixer, LiteralIGOMixer
from modules.mixers.mixer import MixerShape
from theory import soft
from theory.fits import additive_fit, monotone_fit, squared_error
from theory.routing import Study, learn

M1 = np.array([[8.0, -12, -12], [-12, 0, 0], [-12, 0, 0]])
BATCH, STEPS, STATE, ACTION = 3, 2, 5, 4


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The tables are tiny: more threads only wait for each other."""
    threads = th.get_num_threads()
    th.set_num_threads(1)
    yield
    th.set_num_threads(threads)


def gradients(
    mixer: IGOMixer, utilities: th.Tensor, baseline: th.Tensor, state: th.Tensor, actions: th.Tensor
) -> tuple[th.Tensor, th.Tensor, th.Tensor | None]:
    """Q_jt, dQ_jt/dQ_i, dQ_jt/dV_i."""
    q, v = utilities.clone().requires_grad_(), baseline.clone().requires_grad_()
    mixer.zero_grad()
    q_joint = mixer(q, state, actions=actions, baseline=v)
    q_joint.sum().backward()
    assert q.grad is not None
    return q_joint.detach(), q.grad, v.grad


@pytest.mark.parametrize("lambda_net", ["heads", "mlp"])
@given(n_agents=st.integers(1, 5), seed=st.integers(0, 2**31))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_T7_same_values_different_gradients(lambda_net: str, n_agents: int, seed: int) -> None:
    th.manual_seed(seed)
    shape = MixerShape(n_agents, STATE, ACTION, lambda_net=lambda_net)
    detached, literal = IGOMixer(shape).double(), LiteralIGOMixer(shape).double()
    literal.load_state_dict(detached.state_dict())
    state, actions = th.randn(BATCH, STEPS, STATE).double(), th.randn(BATCH, STEPS, n_agents, ACTION).double()
    utilities, baseline = th.randn(2, BATCH, STEPS, n_agents).double()
    weights = detached.lambda_weights(state, actions).detach()
    assert (weights > 0).all()

    value, to_q, to_v = gradients(detached, utilities, baseline, state, actions)
    value_literal, to_q_literal, to_v_literal = gradients(literal, utilities, baseline, state, actions)

    # V_jt = V(s) + sum_i V_i in the one, V(s) in the other
    th.testing.assert_close(value, value_literal + baseline.sum(-1, keepdim=True))
    th.testing.assert_close(to_q, th.ones_like(to_q))
    th.testing.assert_close(to_q_literal, weights)
    for gradient in (to_v, to_v_literal):
        assert gradient is None or not gradient.any()
    for one, other in zip(detached.lambda_net.parameters(), literal.lambda_net.parameters(), strict=True):
        th.testing.assert_close(one.grad, other.grad)


@pytest.mark.parametrize("alpha_finish", [0.01, 1.0])
def test_T7_on_the_papers_game_the_routing_decides(alpha_finish: float) -> None:
    """20 tabular runs each; 50 runs of 10,000 updates and all kinds of data: docs/algorithms/fop.md."""
    games = np.repeat(M1[None], 20, axis=0)
    ours = learn(games, Study("detached", alpha_finish=alpha_finish, steps=1000, lr=0.02))
    printed = learn(games, Study("literal", alpha_finish=alpha_finish, steps=1000, lr=0.02))
    assert ours.optimal.all()
    assert np.median(ours.error) < 0.1
    assert not printed.optimal.any()


@given(st.integers(0, 2**31), st.sampled_from([(2, 3), (2, 5), (3, 3)]))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_T18_fop_represents_every_payoff_with_its_optimum_as_greedy_action(seed: int, size: tuple[int, int]) -> None:
    rng, alpha = np.random.default_rng(seed), 0.01
    payoff = rng.normal(size=(size[1],) * size[0])
    q_all = rng.uniform(0.0, 5.0 * alpha, size)
    q_all[range(size[0]), soft.greedy(payoff)] = q_all.max(-1) + alpha
    values = soft.soft_value(q_all, alpha)
    v_joint = float(payoff.max()) + 1e-6
    weights = soft.exact_lambda(payoff, q_all, values, v_joint)
    joint = soft.joint_q(q_all, values, np.stack([weights] * size[0]), v_joint)
    np.testing.assert_allclose(joint, payoff, atol=1e-6)
    assert soft.greedy(payoff) == tuple(q_all.argmax(-1))


def test_T18_additive_and_monotonic_functions_cannot() -> None:
    games = np.random.default_rng(0).normal(size=(60, 3, 3))
    additive = [additive_fit(game) for game in games]
    monotone = [monotone_fit(game).fit for game in games]
    assert min(squared_error(fit, game) for fit, game in zip(additive, games, strict=True)) > 0.01
    inexact = [squared_error(fit, game) > 0.01 for fit, game in zip(monotone, games, strict=True)]
    assert np.mean(inexact) > 0.8
    for fits, share in ((additive, 0.3), (monotone, 0.02)):
        missed = [game[soft.greedy(fit)] < game.max() for fit, game in zip(fits, games, strict=True)]
        assert np.mean(missed) >= share


@pytest.mark.parametrize("routing", ["detached", "qplex"])
def test_T18_direct_regression_fits_most_random_games(routing: str) -> None:
    games = 5.0 * np.random.default_rng(1).normal(size=(40, 3, 3))
    fitted = learn(games, Study(routing, "all", steps=2000, lr=0.04))  # type: ignore[arg-type]
    assert fitted.optimal.mean() >= 0.95
    assert (fitted.error < 0.1).mean() >= 0.8
