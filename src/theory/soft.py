"""One state, N agents: soft values, Boltzmann policies and the factorisation of the paper's eq. (7), exactly.

Shape legend: N agents, A actions; a joint quantity has N axes of length A, written `[A,...,A]`.
"""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp, xlogy


def soft_value(q: np.ndarray, alpha: float) -> np.ndarray:
    """V = alpha log sum_a exp(Q(a) / alpha) over the last axis (eqs. 5 and 6): `[...,A]` -> `[...]`."""
    value: np.ndarray = alpha * logsumexp(q / alpha, axis=-1)
    return value


def boltzmann(q: np.ndarray, alpha: float) -> np.ndarray:
    """pi = exp((Q - V) / alpha) over all axes together: a joint policy from a joint Q, the same shape."""
    policy: np.ndarray = np.exp(q / alpha - logsumexp(q / alpha))
    return policy


def on_axis(values: np.ndarray, agent: int, n_agents: int) -> np.ndarray:
    """Shape `[A]` of one agent as `[1,..,A,..,1]`, so that it broadcasts against joint quantities."""
    return values.reshape([-1 if i == agent else 1 for i in range(n_agents)])


def joint_q(q_all: np.ndarray, values: np.ndarray, lambda_weights: np.ndarray, v_joint: float) -> np.ndarray:
    """Q_jt(u) = sum_i lambda_i(u) [Q_i(u_i) - V_i] + V_jt, eq. (7) with lambda_i in the place of alpha / alpha_i.

    Args:
        q_all: Q_i, `[N,A]`.
        values: V_i, `[N]`.
        lambda_weights: `[N]` for weights that do not depend on the actions, else `[N,A,...,A]`.
        v_joint: V_jt.
    """
    n_agents = len(q_all)
    terms = (lambda_weights[i] * on_axis(q_all[i] - values[i], i, n_agents) for i in range(n_agents))
    return v_joint + sum(terms, start=np.zeros((q_all.shape[1],) * n_agents))


def product_policy(policies: np.ndarray) -> np.ndarray:
    """pi_jt(u) = prod_i pi_i(u_i), eq. (4): `[N,A]` -> `[A,...,A]`."""
    joint = np.ones((1,) * len(policies))
    for i, policy in enumerate(policies):
        joint = joint * on_axis(policy, i, len(policies))
    return joint


def marginals(joint: np.ndarray) -> np.ndarray:
    """Individual policies of a joint one: `[A,...,A]` -> `[N,A]`."""
    axes = range(joint.ndim)
    return np.array([joint.sum(axis=tuple(j for j in axes if j != i)) for i in axes])


def relative_entropy(p: np.ndarray, q: np.ndarray) -> float:
    """KL(p || q) = sum p log(p / q) in nats, over all axes; q > 0 where p > 0."""
    return float((xlogy(p, p) - xlogy(p, q)).sum())


def total_correlation(joint: np.ndarray) -> float:
    """KL(pi_jt || prod_i of its marginals) in nats: 0 exactly where IGO (eq. 4) can hold."""
    return relative_entropy(joint, product_policy(marginals(joint)))


def soft_objective(q: np.ndarray, policy: np.ndarray, alpha: float) -> float:
    """E_pi[Q - alpha log pi] over all axes."""
    return float((policy * q - alpha * xlogy(policy, policy)).sum())


def greedy(joint: np.ndarray) -> tuple[int, ...]:
    """The best joint action."""
    return tuple(int(a) for a in np.unravel_index(joint.argmax(), joint.shape))


def igm_holds(joint: np.ndarray, q_all: np.ndarray) -> bool:
    """Whether the tuple of greedy individual actions attains the maximum of `joint`."""
    return bool(joint[tuple(q_all.argmax(-1))] >= joint.max())


def individual_temperature(
    alpha: float, q: np.ndarray, value: float, lambda_weight: np.ndarray, policies: np.ndarray, agent: int
) -> float:
    """The paper's rule alpha_i = alpha E_{pi_i}[Q_i - V_i] / E_{pi_jt}[lambda_i (Q_i - V_i)], exactly.

    Undefined (0 / 0) for a deterministic policy whose V_i is its Q_i.

    Args:
        alpha: team temperature.
        q: Q_i of the agent, `[A]`.
        value: V_i.
        lambda_weight: lambda_i(u), `[A,...,A]`.
        policies: of all agents, `[N,A]`.
        agent: i.
    """
    advantages = on_axis(q - value, agent, len(policies))
    weighted = (product_policy(policies) * lambda_weight * advantages).sum()
    return float(alpha * (policies[agent] * (q - value)).sum() / weighted)


def exact_lambda(payoff: np.ndarray, q_all: np.ndarray, values: np.ndarray, v_joint: float) -> np.ndarray:
    """Weights with which eq. (7) gives `payoff` exactly, the same for each agent -> `[A,...,A]`.

    lambda(u) = (V_jt - P(u)) / sum_i [V_i - Q_i(u_i)]: positive for every Q_i where V_jt > max P and V_i > max Q_i.
    With V_i so close to max Q_i that the sum rounds to 0, no finite weight exists in floating point.
    """
    n_agents = len(q_all)
    deficits = joint_q(q_all, values, -np.ones(n_agents), 0.0)
    return (v_joint - payoff) / deficits
