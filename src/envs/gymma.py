"""`--env-config=gymma`: Gymnasium and PettingZoo parallel environments, discrete or continuous.

What is mapped, and how (docs/extending.md has examples):

- Observations of any space that Gymnasium can flatten become vectors; shorter ones are padded with zeros.
- Discrete actions: A is the largest agent's number, the others' missing actions are unavailable. Masks are taken over.
- Continuous actions: every dimension is [-1, 1] here and scaled to the environment's bounds; dimensions that only
  other agents have are ignored.
- The state is the environment's own (PettingZoo's `state()`) or else all observations in a row.
- The agents' rewards are summed (or averaged); an agent that has left earns nothing, sees zeros and can only take
  action 0, which is not passed on. The episode goes on until nobody is left.
- A cut by a time limit is `truncated`. If an environment reports both ends at once, it has terminated.

Shape legend: N agents, O observation, S state, A actions, D action dimensions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import import_module
from typing import Annotated, Any, Literal

import numpy as np

from components.action_space import ActionSpace, ContinuousActions, DiscreteActions
from envs.multiagentenv import EnvInfo, EnvSpec, MultiAgentEnv, Observation, Transition
from envs.one_state import DIGEST_CHARS, RETURN_KEY
from envs.teams import Team, View, make_team, version_of
from utils.errors import Range, UserError, typed

SEED_RANGE = 2**32  # what every environment's seeding accepts
RESERVED = frozenset({RETURN_KEY, "aborted", "return", "ep_length"})  # info keys that mean something to the runner


@dataclass(frozen=True)
class GymmaArgs:
    """Arguments, `env_args.*`; meanings in config/envs/gymma.yaml."""

    key: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    time_limit: Annotated[int, Range(0)] = 0
    reward: Literal["sum", "mean"] = "sum"
    reward_scale: Annotated[float, Range(above=0.0)] = 1.0


def spec(env_args: Mapping[str, Any]) -> EnvSpec:
    """Validate `env_args` and return the recipe; whether the environment exists shows when it is made.

    Raises:
        UserError: unknown key, wrong type or range, no `key`.
    """
    args = typed(GymmaArgs, env_args, "env_args key")
    if not args.key:
        raise UserError(
            "env_args.key names the environment, for example lbforaging:Foraging-8x8-2p-2f-coop-v3 (Gymnasium) or "
            "mpe2.simple_spread_v3 (PettingZoo)"
        )
    return EnvSpec(single=partial(GymmaEnv, args), engine="gymma", args=asdict(args))


class DiscreteCodec:
    """Joint actions `[N,1]` to the agents' `Discrete` spaces, and who can do what."""

    def __init__(self, spaces: list[Any]) -> None:
        counts = np.array([int(space.n) for space in spaces])
        self.starts = [int(space.start) for space in spaces]
        self.space: ActionSpace = DiscreteActions(int(counts.max()))
        self.exists = np.arange(counts.max()) < counts[:, None]  # [N,A]

    def to_env(self, actions: np.ndarray) -> list[Any]:
        """One integer per agent."""
        return [int(action) + start for action, start in zip(actions[:, 0], self.starts, strict=True)]

    def available(self, view: View, key: str) -> np.ndarray:
        """`[N,A]` bool: only action 0 for agents that have left."""
        avail = self.exists.copy()
        for i, (seen, mask) in enumerate(zip(view.obs, view.masks, strict=True)):
            if seen is None:
                avail[i] = np.arange(avail.shape[1]) == 0
            elif mask is not None:
                avail[i, : len(mask)] &= mask
        if not avail.any(-1).all():
            raise ValueError(f"{key}: agent {int((~avail.any(-1)).argmax())} has no available action")
        return avail


class ContinuousCodec:
    """Joint actions `[N,D]` in [-1, 1] to the agents' `Box` spaces."""

    def __init__(self, spaces: list[Any]) -> None:
        self.spaces = spaces
        self.space: ActionSpace = ContinuousActions(max(int(np.prod(space.shape)) for space in spaces), -1.0, 1.0)

    def to_env(self, actions: np.ndarray) -> list[Any]:
        """One array per agent, scaled dimension by dimension; outside [-1, 1] (rounding) counts as the border."""
        share = (np.clip(actions, -1.0, 1.0) + 1.0) / 2.0
        out = []
        for space, mine in zip(self.spaces, share, strict=True):
            own = mine[: int(np.prod(space.shape))].reshape(space.shape)
            out.append((space.low + own * (space.high - space.low)).astype(space.dtype))
        return out

    def available(self, view: View, key: str) -> None:
        """Continuous actions are always available."""


def action_codec(spaces: list[Any], key: str) -> DiscreteCodec | ContinuousCodec:
    """The translation of actions.

    Raises:
        UserError: the spaces are not all `Discrete` or all bounded `Box`es of floats.
    """
    kinds = import_module("gymnasium.spaces")
    if all(isinstance(space, kinds.Discrete) for space in spaces):
        return DiscreteCodec(spaces)
    floats = all(isinstance(space, kinds.Box) and np.issubdtype(space.dtype, np.floating) for space in spaces)
    if floats and all(np.isfinite([space.low, space.high]).all() and space.shape != (0,) for space in spaces):
        return ContinuousCodec(spaces)
    shown = "; ".join(sorted({str(space) for space in spaces}))
    raise UserError(f"env_args.key={key}: actions must be all Discrete or all bounded float Box, got {shown}")


class GymmaEnv(MultiAgentEnv):
    """One such environment.

    Args:
        args: which, and how.

    Raises:
        UserError: it cannot be made, or its spaces do not fit.
    """

    def __init__(self, args: GymmaArgs) -> None:
        self.args = args
        self.team: Team = make_team(args.key, args.kwargs)
        self.codec = action_codec(self.team.action_spaces, args.key)
        flatten: Any = import_module("gymnasium.spaces.utils")
        self._flatten = flatten.flatten
        try:
            widths = [int(flatten.flatdim(space)) for space in self.team.obs_spaces]
        except (NotImplementedError, ValueError) as error:
            raise UserError(f"env_args.key={args.key}: observations cannot be flattened: {error}") from error
        self._obs_shape = (len(widths), max(widths))
        self._t = 0
        state = self._observation(self.team.reset(0)).state
        self.env_info = EnvInfo(
            n_agents=len(widths),
            obs_dim=max(widths),
            state_dim=len(state),
            episode_limit=self._time_limit(),
            action_space=self.codec.space,
            engine=self.team.package,
            engine_version=version_of(self.team.package),
            data_hash=hashlib.sha256(json.dumps(asdict(args), sort_keys=True).encode()).hexdigest()[:DIGEST_CHARS],
        )

    def _time_limit(self) -> int:
        own = self.team.own_limit
        limit = min(self.args.time_limit or own or 0, own or self.args.time_limit)
        if limit < 1:
            raise UserError(
                f"env_args.key={self.args.key} has no time limit of its own: give env_args.time_limit=STEPS"
            )
        return limit

    def reset(self, seed: int) -> Observation:
        """Start an episode."""
        self._t = 0
        return self._observation(self.team.reset(seed % SEED_RANGE))

    def step(self, actions: np.ndarray) -> Transition:
        """Take the joint action `[N,1]` or `[N,D]`."""
        outcome = self.team.step(self.codec.to_env(np.asarray(actions)))
        self._t += 1
        gained = float(outcome.rewards.sum())
        if self.args.reward == "mean":
            gained /= len(self.team.action_spaces)
        truncated = outcome.truncated or self._t >= self.env_info.episode_limit
        info = {key: value for key, value in outcome.view.info.items() if key not in RESERVED} | {RETURN_KEY: gained}
        return Transition(
            self._observation(outcome.view),
            gained * self.args.reward_scale,
            outcome.terminated,
            truncated and not outcome.terminated,
            info,
        )

    def _observation(self, view: View) -> Observation:
        obs = np.zeros(self._obs_shape, np.float32)
        for i, (space, seen) in enumerate(zip(self.team.obs_spaces, view.obs, strict=True)):
            if seen is not None:
                flat = np.asarray(self._flatten(space, seen))
                obs[i, : flat.size] = flat
        state = obs.ravel().copy() if view.state is None else view.state
        return Observation(obs, state, self.codec.available(view, self.args.key))

    def close(self) -> None:
        """Close the environment."""
        self.team.close()
