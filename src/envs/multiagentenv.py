"""The environment contract: what the harness asks of every environment, single or vectorised.

Shape legend: E environments, N agents, O observation, S state, A discrete actions, D action dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from components.action_space import ActionSpace


@dataclass(frozen=True)
class EnvInfo:
    """Everything static that networks, buffers and logs need to know of an environment.

    Args:
        n_agents: number of agents, N.
        obs_dim: length of one agent's observation, O.
        state_dim: length of the global state, S.
        episode_limit: steps after which an episode is cut at the latest, T_max.
        action_space: `DiscreteActions(A)` or `ContinuousActions(low, high)`, the same for every agent.
        engine: what simulates the environment, for example "embedded" or "starcraft2".
        engine_version: its version; results of different engines or versions are not comparable.
        data_hash: hash of the data files (units, map, payoff) that the episodes depend on.
        unit_dim: if set, the first N * unit_dim entries of the state are one slice per agent.
    """

    n_agents: int
    obs_dim: int
    state_dim: int
    episode_limit: int
    action_space: ActionSpace
    engine: str
    engine_version: str
    data_hash: str = ""
    unit_dim: int | None = None


class Observation(NamedTuple):
    """What is seen before an action. A vectorised environment adds a leading E to every array."""

    obs: np.ndarray  # [N,O] float32
    state: np.ndarray  # [S] float32
    avail_actions: np.ndarray | None  # [N,A] bool; None for continuous actions


class Transition(NamedTuple):
    """What a step returns. `terminated` and `truncated` (a cut by the time limit) are never both true."""

    observation: Observation
    reward: Any  # float; [E] float64 when vectorised
    terminated: Any  # bool; [E] bool when vectorised
    truncated: Any  # bool; [E] bool when vectorised
    info: Mapping[str, Any]  # name -> number; name -> [E] array when vectorised


class MultiAgentEnv(ABC):
    """One environment. All randomness of an episode follows from the seed given to `reset`."""

    env_info: EnvInfo

    @abstractmethod
    def reset(self, seed: int) -> Observation:
        """Start an episode whose randomness is determined by `seed` alone."""

    @abstractmethod
    def step(self, actions: np.ndarray) -> Transition:
        """Take the joint action `[N,1]` int64 (discrete) or `[N,D]` float32 (continuous)."""

    def close(self) -> None:  # noqa: B027 (nothing to free is the common case)
        """Free what the environment holds. Nothing by default."""


class VecEnv(ABC):
    """E environments that are reset and stepped together; every array has a leading E.

    Episodes start together and end each at its own time. Returned arrays are valid until the next call.
    """

    env_info: EnvInfo
    n_envs: int

    @abstractmethod
    def reset(self, seeds: Sequence[int]) -> Observation:
        """Start episode k in environment k with `seeds[k]`; len(seeds) <= n_envs, the rest stay idle."""

    @abstractmethod
    def step(self, actions: np.ndarray, active: np.ndarray) -> Transition:
        """Step the environments where `active [E]` is true; rows of the others are unspecified.

        Args:
            actions: `[E,N,1]` int64 or `[E,N,D]` float32.
            active: `[E]` bool, environments whose episode has not ended.
        """

    def close(self) -> None:  # noqa: B027 (nothing to free is the common case)
        """Free what the environments hold. Nothing by default."""


@dataclass(frozen=True)
class EnvSpec:
    """How to make an environment, once its arguments are validated: a picklable recipe, nothing is started.

    Args:
        single: makes one `MultiAgentEnv`.
        batched: makes a `VecEnv` of the given size in one process, or None if the environment has none.
        engine: which engine will run, for messages and logs.
        notice: text for the user shown in a box at the start of a run, or "".
        args: the validated arguments, defaults filled in.
        prepare: what need be done only once for all worker processes, such as compiling, or None; called before them.
        preferred_runner: what `runner=auto` uses when the environment cannot be batched.
        answer_seconds: how long one environment may need for an answer, if longer than `worker_timeout`.
        joint_actions: for one-step games: makes all joint actions `[P,N,1|D]` whose values are worth a table.
        tables: turns values of these joint actions into text: `tables(q_tot [P], utilities [P,N])`.
        reproducible: whether the seed given to `reset` determines an episode; a resumed run is exact only then.
    """

    single: Callable[[], MultiAgentEnv]
    batched: Callable[[int], VecEnv] | None = None
    engine: str = ""
    notice: str = ""
    args: Mapping[str, Any] = field(default_factory=dict)
    prepare: Callable[[], None] | None = None
    preferred_runner: str = "episode"
    answer_seconds: float = 0.0
    joint_actions: Callable[[], np.ndarray] | None = None
    tables: Callable[[np.ndarray, np.ndarray], str] | None = None
    reproducible: bool = True
