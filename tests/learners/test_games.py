"""Games with known answers: what each value-based method converges to on the paper's matrix game (Table 1a)."""

import numpy as np
import pytest

import envs
from components.episode_buffer import ReplayBuffer
from helpers import make_config, make_learner
from utils.joint_values import joint_values

PAYOFF = np.array([[8.0, -12.0, -12.0], [-12.0, 0.0, 0.0], [-12.0, 0.0, 0.0]])


def train_on_uniform_data(alg, updates, seed=0, **overrides):
    """Train on 900 uniformly random joint actions; returns the learnt Q_jt `[3,3]` and Q_i `[2,3]`."""
    spec = envs.resolve("matrix_game", {"payoff": "paper"})
    env = spec.single()
    small = {"agent": "mlp", "optimiser": "adam", "lr": 3e-3, "critic_lr": 3e-3, "batch_size": 64, "hidden_dim": 32}
    config = make_config(alg, "matrix_game", **small | overrides)
    learner = make_learner(config, env.env_info, seed)
    buffer = ReplayBuffer(env.env_info, 900, seed)
    first = env.reset(0)
    for k in range(900):
        joint = np.array([[k % 3], [k // 3 % 3]])
        buffer.insert(
            {
                "obs": np.stack([first.obs] * 2),
                "state": np.stack([first.state] * 2),
                "avail_actions": np.stack([first.avail_actions] * 2),
                "actions": np.stack([joint] * 2).astype(np.uint8),
                "reward": np.full((2, 1), PAYOFF[joint[0, 0], joint[1, 0]], np.float32),
                "terminated": np.ones((2, 1), np.bool_),
            }
        )
    for update in range(updates):
        learner.update(learner.sample(buffer), 10 * update)
    q_tot, utilities = joint_values(spec, learner, spec.joint_actions())
    q_joint = q_tot.reshape(3, 3)
    print(f"{alg}: Q_jt\n{q_joint.round(2)}")  # shown by pytest -s
    table = utilities.reshape(3, 3, 2)
    return q_joint, np.stack([table[:, 0, 0], table[0, :, 1]])


def greedy_payoff(utilities):
    """Payoff of the tuple of individual greedy actions."""
    return PAYOFF[tuple(utilities.argmax(-1))]


def test_vdn_is_the_least_squares_additive_fit():
    """Row mean + column mean - grand mean: -6.22 at (A, A), -4.89, -3.56; greedy payoff 0."""
    q_joint, utilities = train_on_uniform_data("vdn", 500, batch_size=300)
    rows = PAYOFF.mean(1)
    expected = rows[:, None] + PAYOFF.mean(0)[None] - PAYOFF.mean()
    assert expected[0, 0] == pytest.approx(-6.222, abs=1e-3)
    np.testing.assert_allclose(q_joint, expected, atol=0.6)
    assert greedy_payoff(utilities) == 0.0


def test_iql_learns_the_marginal_means():
    """Q_i(a) is the mean payoff over the other's uniform actions: -5.33, -4, -4."""
    _, utilities = train_on_uniform_data("iql", 500, batch_size=300)
    np.testing.assert_allclose(utilities, [[-5.333, -4, -4]] * 2, atol=0.6)


def test_qmix_mostly_ends_in_the_suboptimum():
    """T15: statistical, since the best monotone fit has the right argmax; at least 3 of 4 seeds end in 0."""
    payoffs = [greedy_payoff(train_on_uniform_data("qmix", 400, seed)[1]) for seed in range(4)]
    assert payoffs.count(0.0) >= 3, payoffs


def test_fop_finds_the_optimum_and_the_payoffs():
    """8 at the greedy joint action in each of 3 seeds, and Q_jt within 1 of the payoff: it still swings a little."""
    keys = {"critic": "mlp", "n_critics": 1, "alpha_start": 1.0, "alpha_finish": 0.01, "alpha_anneal_time": 3500}
    for seed in range(3):
        q_joint, utilities = train_on_uniform_data("fop", 450, seed, **keys)
        assert greedy_payoff(utilities) == 8.0
        np.testing.assert_allclose(q_joint, PAYOFF, atol=1.0)
