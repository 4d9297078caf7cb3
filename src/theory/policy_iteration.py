"""Factorised soft policy iteration (paper, section 4.2) on finite tasks, without approximation.

All agents see the state. Evaluation solves the soft Bellman equation exactly; improvement is eq. (8) with the
individual Q-function that product policies induce, Q_i(s,u_i) = E_{u_-i ~ pi_-i}[Q_jt(s,u)].

Shape legend: S states, N agents, A actions, P = A^N joint actions (the last agent's action changes fastest).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp, xlogy

TOLERANCE = 1e-9  # change of policies, or relative change of values, below which an iteration has converged
MAX_SWEEPS = 200


@dataclass(frozen=True)
class Task:
    """A finite cooperative task.

    Args:
        reward: r(s,u), `[S,P]`.
        transition: P(s'|s,u), `[S,P,S]`.
        gamma: discount factor, below 1.
        n_agents: N.
    """

    reward: np.ndarray
    transition: np.ndarray
    gamma: float
    n_agents: int

    @property
    def n_states(self) -> int:
        """S."""
        return len(self.reward)

    @property
    def n_actions(self) -> int:
        """A."""
        return round(self.reward.shape[1] ** (1.0 / self.n_agents))


def one_state_task(payoff: np.ndarray) -> Task:
    """A one-step matrix game: `payoff [A,...,A]`, one state, nothing follows."""
    return Task(payoff.reshape(1, -1), np.ones((1, payoff.size, 1)), 0.0, payoff.ndim)


def joint_policy(policies: np.ndarray) -> np.ndarray:
    """prod_i pi_i(u_i|s): `[N,S,A]` -> `[S,P]`."""
    joint = policies[0]
    for policy in policies[1:]:
        joint = (joint[:, :, None] * policy[:, None, :]).reshape(len(joint), -1)
    return joint


def soft_backup(task: Task, q: np.ndarray, policy: np.ndarray, alpha: float) -> np.ndarray:
    """Gamma Q = r + gamma E_{s'}[V(s')], V = E_pi[Q - alpha log pi] (Lemma 1).

    Args:
        task: the task.
        q: Q_jt, `[S,P]`.
        policy: any joint policy, `[S,P]`.
        alpha: team temperature.
    """
    value = (policy * q - alpha * xlogy(policy, policy)).sum(-1)  # [S]
    backed_up: np.ndarray = task.reward + task.gamma * task.transition @ value
    return backed_up


def evaluate(task: Task, policy: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """The soft Q_jt `[S,P]` and V_jt `[S]` of a joint policy `[S,P]`: the fixed point of `soft_backup`."""
    reward = (policy * task.reward - alpha * xlogy(policy, policy)).sum(-1)  # [S]
    chain = (policy[..., None] * task.transition).sum(1)  # [S,S]
    value = np.linalg.solve(np.eye(task.n_states) - task.gamma * chain, reward)
    return task.reward + task.gamma * task.transition @ value, value


def individual_q(q: np.ndarray, policies: np.ndarray, agent: int) -> np.ndarray:
    """E_{u_-i ~ pi_-i}[Q_jt(s,u)]: `[S,P]`, `[N,S,A]` -> `[S,A]`."""
    n_agents, n_states, n_actions = policies.shape
    out = q.reshape(n_states, *(n_actions,) * n_agents)
    for other in reversed([i for i in range(n_agents) if i != agent]):
        shape = [n_states] + [n_actions if i == other else 1 for i in range(out.ndim - 1)]
        out = (out * policies[other].reshape(shape)).sum(other + 1)
    return out


def improved(q: np.ndarray, policies: np.ndarray, agent: int, alpha: float) -> np.ndarray:
    """Eq. (8): pi_i proportional to exp(Q_i / alpha) -> `[S,A]`."""
    scaled = individual_q(q, policies, agent) / alpha
    policy: np.ndarray = np.exp(scaled - logsumexp(scaled, axis=-1, keepdims=True))
    return policy


def simultaneous(task: Task, policies: np.ndarray, alpha: float) -> np.ndarray:
    """All agents improve against the same old policies, as in the paper -> new `[N,S,A]`."""
    q, _ = evaluate(task, joint_policy(policies), alpha)
    return np.array([improved(q, policies, i, alpha) for i in range(task.n_agents)])


def sequential(task: Task, policies: np.ndarray, alpha: float) -> np.ndarray:
    """One agent after the other, each against the newest policies, re-evaluated in between -> new `[N,S,A]`."""
    policies = policies.copy()
    for i in range(task.n_agents):
        q, _ = evaluate(task, joint_policy(policies), alpha)
        policies[i] = improved(q, policies, i, alpha)
    return policies


Sweep = Callable[[Task, np.ndarray, float], np.ndarray]


def iterate(task: Task, policies: np.ndarray, alpha: float, sweep: Sweep) -> Iterator[np.ndarray]:
    """Yield the policies `[N,S,A]` before and after each sweep, until they stop changing (or 200 sweeps)."""
    yield policies
    for _ in range(MAX_SWEEPS):
        new = sweep(task, policies, alpha)
        yield new
        if np.abs(new - policies).max() < TOLERANCE:
            return
        policies = new


@dataclass(frozen=True)
class Outcome:
    """Result of an iteration.

    Args:
        largest_drop: the largest fall of V_jt at any state in any sweep; 0 if there was none.
        gap: max over states of the unconstrained soft optimum's value minus the final one.
        policies: the last policies, `[N,S,A]`.
        converged: whether the policies stopped changing.
    """

    largest_drop: float
    gap: float
    policies: np.ndarray
    converged: bool


def run(task: Task, policies: np.ndarray, alpha: float, sweep: Sweep) -> Outcome:
    """Iterate from `policies [N,S,A]` and compare with `soft_optimum`."""
    visited = list(iterate(task, policies, alpha, sweep))
    values = np.array([evaluate(task, joint_policy(p), alpha)[1] for p in visited])  # [sweeps + 1,S]
    drop = max(0.0, float(-np.diff(values, axis=0).min()))
    gap = float((soft_optimum(task, alpha) - values[-1]).max())
    return Outcome(drop, gap, visited[-1], len(visited) <= MAX_SWEEPS)


def soft_optimum(task: Task, alpha: float) -> np.ndarray:
    """V* `[S]` over all joint policies, factorised or not, by soft policy iteration on the joint policy (eq. 5)."""
    policy = np.full_like(task.reward, 1.0 / task.reward.shape[1])
    q, value = evaluate(task, policy, alpha)
    for _ in range(MAX_SWEEPS):
        old = value
        q, value = evaluate(task, np.exp(q / alpha - logsumexp(q / alpha, axis=-1, keepdims=True)), alpha)
        if np.abs(value - old).max() <= TOLERANCE * (1.0 + np.abs(value).max()):
            return value
    raise ArithmeticError(f"soft policy iteration did not converge in {MAX_SWEEPS} steps")
