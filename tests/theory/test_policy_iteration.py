"""T9 to T11: Lemma 1, Lemma 2 and Theorem 1 where they hold, and where they do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from theory import policy_iteration as pi
from theory import soft
from theory.measurements import NO_DROP, iterate_tasks
from theory.tasks import factored_task, generic_task, local_policies, random_policies

ALPHAS = [0.05, 0.2, 1.0]
M1 = np.array([[8.0, -12, -12], [-12, 0, 0], [-12, 0, 0]])


@given(st.integers(0, 2**31), st.floats(0.01, 3.0), st.floats(0.0, 0.99))
@settings(derandomize=True, deadline=None, max_examples=100)
def test_T9_soft_backups_contract_to_the_value_of_the_policy(seed: int, alpha: float, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    task = generic_task(rng, n_states=4, n_agents=2, n_actions=3, gamma=gamma)
    policy = rng.dirichlet(np.ones(9), size=4)  # any joint policy, not only products
    first, second = rng.normal(size=(2, 4, 9)) * 10
    before = np.abs(first - second).max()
    after = np.abs(pi.soft_backup(task, first, policy, alpha) - pi.soft_backup(task, second, policy, alpha)).max()
    assert after <= gamma * before + 1e-12
    fixed, value = pi.evaluate(task, policy, alpha)
    np.testing.assert_allclose(pi.soft_backup(task, fixed, policy, alpha), fixed, atol=1e-8)
    np.testing.assert_allclose(value, [soft.soft_objective(q, p, alpha) for q, p in zip(fixed, policy, strict=True)])


@given(st.integers(0, 2**31), st.sampled_from([(2, 3), (3, 2)]))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_individual_q_is_the_expectation_over_the_others(seed: int, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(seed)
    n_agents, n_actions = size
    task = generic_task(rng, 2, n_agents, n_actions)
    policies, q = random_policies(rng, task), rng.normal(size=task.reward.shape)
    joint = pi.joint_policy(policies)
    np.testing.assert_allclose(joint[1], soft.product_policy(policies[:, 1]).ravel())
    for i in range(n_agents):
        expected = np.zeros((2, n_actions))
        for index in np.ndindex(*(n_actions,) * n_agents):
            flat = int(np.ravel_multi_index(index, (n_actions,) * n_agents))
            expected[:, index[i]] += q[:, flat] * joint[:, flat] / policies[i][:, index[i]]
        np.testing.assert_allclose(pi.individual_q(q, policies, i), expected, atol=1e-12)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_soft_optimum_solves_its_own_bellman_equation(alpha: float) -> None:
    task = generic_task(np.random.default_rng(0), 4, 2, 3)
    value = pi.soft_optimum(task, alpha)
    q = task.reward + task.gamma * task.transition @ value
    np.testing.assert_allclose(alpha * logsumexp(q / alpha, axis=-1), value, atol=1e-9)


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize(("n_local", "n_agents", "n_actions", "games"), [(2, 2, 3, 100), (3, 2, 2, 70), (2, 3, 2, 30)])
def test_T10_on_factored_tasks_every_sweep_improves_and_the_limit_is_optimal(
    alpha: float, n_local: int, n_agents: int, n_actions: int, games: int
) -> None:
    for seed in range(games):
        rng = np.random.default_rng(seed)
        task = factored_task(rng, n_local, n_agents, n_actions)
        outcome = pi.run(task, local_policies(rng, n_local, n_agents, n_actions), alpha, pi.simultaneous)
        assert outcome.converged
        assert outcome.largest_drop < NO_DROP
        assert abs(outcome.gap) < 1e-8


def test_T10_the_optimal_joint_policy_of_a_factored_task_satisfies_IGO() -> None:
    rng = np.random.default_rng(1)
    task = factored_task(rng, 2, 2, 3)
    np.testing.assert_allclose(task.transition.sum(-1), 1.0)
    q = task.reward + task.gamma * task.transition @ pi.soft_optimum(task, 0.3)
    for state in q:
        assert soft.total_correlation(soft.boltzmann(state.reshape(3, 3), 0.3)) == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("alpha", ALPHAS)
def test_T11_on_generic_tasks_simultaneous_updates_can_lower_the_value(alpha: float) -> None:
    tasks = 25
    together = iterate_tasks("generic", tasks, alpha, pi.simultaneous)
    assert together.lowered >= (tasks // 2 if alpha < 0.5 else 2)
    one_by_one = iterate_tasks("generic", tasks, alpha, pi.sequential)
    assert one_by_one.lowered == one_by_one.cycling == 0
    assert one_by_one.mean_gap > 0.5


@pytest.mark.parametrize("sweep", [pi.simultaneous, pi.sequential])
@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5, 1.0, 2.0])
def test_T11_on_the_papers_own_game_iteration_from_uniform_ends_in_the_suboptimum(
    alpha: float, sweep: pi.Sweep
) -> None:
    outcome = pi.run(pi.one_state_task(M1), np.full((2, 1, 3), 1 / 3), alpha, sweep)
    assert outcome.converged
    assert outcome.largest_drop < NO_DROP  # every sweep improves, towards the wrong end
    assert (outcome.policies[:, 0, 0] < 0.01).all()
    assert outcome.gap > 5.0


def test_T11_the_papers_game_is_solved_only_from_policies_that_already_prefer_A() -> None:
    """E[r|A] = 20 p - 12 exceeds E[r|B] = -12 p where the other plays A with p > 3/8."""
    for alpha, chance, solved in ((0.01, 0.370, False), (0.01, 0.380, True), (0.7, 0.380, True), (1.0, 0.380, False)):
        policies = np.tile([chance, (1 - chance) / 2, (1 - chance) / 2], (2, 1, 1))
        outcome = pi.run(pi.one_state_task(M1), policies, alpha, pi.simultaneous)
        assert (outcome.policies[:, 0, 0] > 0.99).all() == solved
        assert (abs(outcome.gap) < 0.01) == solved
