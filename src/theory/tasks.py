"""Random finite tasks for `policy_iteration`: factored ones, where Theorem 1 holds, and generic ones.

Shape legend: S states, N agents, A actions, P = A^N joint actions.
"""

from __future__ import annotations

import numpy as np

from theory.policy_iteration import Task

REWARD_STD = 2.0  # of the rewards of generic tasks


def generic_task(rng: np.random.Generator, n_states: int, n_agents: int, n_actions: int, gamma: float = 0.9) -> Task:
    """Normal rewards of joint actions, standard deviation 2; transition rows drawn uniformly (Dirichlet)."""
    n_joint = n_actions**n_agents
    reward = REWARD_STD * rng.standard_normal((n_states, n_joint))
    transition = rng.dirichlet(np.ones(n_states), size=(n_states, n_joint))
    return Task(reward, transition, gamma, n_agents)


def factored_task(rng: np.random.Generator, n_local: int, n_agents: int, n_actions: int, gamma: float = 0.9) -> Task:
    """Rewards add up over agents and each agent moves in its own `n_local` states: S = n_local^N.

    r(s,u) = sum_i r_i(s_i,u_i),  P(s'|s,u) = prod_i P_i(s'_i|s_i,u_i).
    """
    reward, transition = np.zeros((1, 1)), np.ones((1, 1, 1))
    for _ in range(n_agents):
        own = generic_task(rng, n_local, 1, n_actions, gamma)
        reward = np.add.outer(reward, own.reward).transpose(0, 2, 1, 3)
        reward = reward.reshape(reward.shape[0] * n_local, -1)
        transition = np.einsum("spt,abc->sapbtc", transition, own.transition)
        states, joint = transition.shape[0] * n_local, transition.shape[2] * n_actions
        transition = transition.reshape(states, joint, states)
    return Task(reward, transition, gamma, n_agents)


def random_policies(rng: np.random.Generator, task: Task) -> np.ndarray:
    """Individual policies that depend on the whole state, rows drawn uniformly, `[N,S,A]`."""
    return rng.dirichlet(np.ones(task.n_actions), size=(task.n_agents, task.n_states))


def local_policies(rng: np.random.Generator, n_local: int, n_agents: int, n_actions: int) -> np.ndarray:
    """Policies for `factored_task` that depend on the agent's own state only, `[N,n_local^N,A]`."""
    own = rng.dirichlet(np.ones(n_actions), size=(n_agents, n_local))
    states = np.indices((n_local,) * n_agents).reshape(n_agents, -1)  # own state of each agent in each state
    return np.array([own[i, states[i]] for i in range(n_agents)])
