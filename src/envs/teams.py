"""Gymnasium and PettingZoo parallel environments behind one interface: a team of agents with a fixed order.

Both packages are imported when a team is made, never before (requirements-envs.txt).
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from utils.errors import UserError, nearest

GYMNASIUM_ID = re.compile(r"^(?:[\w.]+:)?[\w/-]+-v\d+$")  # PettingZoo's names end in _v0, Gymnasium's in -v0
MASK, SEEN = "action_mask", "observation"  # keys of PettingZoo's observations with masks
REMEDY = "pip install -r requirements-envs.txt"
NUMBER = (bool, int, float, np.bool_, np.integer, np.floating)


@dataclass
class View:
    """What the agents see before they act.

    Args:
        obs: one observation per agent, in the form of its space; None for an agent that has left.
        masks: one array of available actions per agent, or None where all are.
        state: the global state, or None if the environment has none of its own.
        info: name -> number, of the newest step.
    """

    obs: list[Any]
    masks: list[np.ndarray | None]
    state: np.ndarray | None
    info: Mapping[str, float]


@dataclass
class Outcome:
    """What a joint action led to: the next view, a reward per agent `[N]`, and whether the episode is over."""

    view: View
    rewards: np.ndarray
    terminated: bool
    truncated: bool


class GymnasiumTeam:
    """A Gymnasium environment: one agent, or N where observation and action space are `Tuple`s of N.

    A time limit that the environment applies by itself, as a keyword `max_episode_steps` of its registration
    (lbforaging), is raised by one: there it looks like a true end, so the caller must cut the episode first.
    """

    def __init__(self, key: str, kwargs: Mapping[str, Any]) -> None:
        gymnasium = _package("gymnasium")
        spec = _registered(gymnasium, key)
        self.own_limit: int | None = spec.max_episode_steps or spec.kwargs.get("max_episode_steps")
        if "max_episode_steps" in spec.kwargs:
            self.own_limit = int(kwargs.get("max_episode_steps", spec.kwargs["max_episode_steps"]))
            kwargs = {**kwargs, "max_episode_steps": self.own_limit + 1}
        spec.kwargs = {**spec.kwargs, **kwargs}
        self.env = _constructed(lambda: gymnasium.make(spec, disable_env_checker=True), key)
        self.package = str(spec.entry_point).split(".")[0].split(":")[0]
        spaces = gymnasium.spaces
        seen, acts = self.env.observation_space, self.env.action_space
        self.several = isinstance(acts, spaces.Tuple)
        if self.several and not (isinstance(seen, spaces.Tuple) and len(seen) == len(acts)):
            raise UserError(f"env_args.key={key}: {len(acts)} actions need as many observations, the space is {seen}")
        self.obs_spaces: list[Any] = list(seen) if self.several else [seen]
        self.action_spaces: list[Any] = list(acts) if self.several else [acts]

    def reset(self, seed: int) -> View:
        """Start an episode."""
        seen, info = self.env.reset(seed=seed)
        return self._view(seen, info)

    def step(self, actions: Sequence[Any]) -> Outcome:
        """Take one action per agent."""
        taken = tuple(actions) if self.several else actions[0]
        seen, reward, terminated, truncated, info = self.env.step(taken)
        return Outcome(self._view(seen, info), np.asarray(reward, np.float64), bool(terminated), bool(truncated))

    def _view(self, seen: Any, info: Mapping[str, Any]) -> View:
        each = list(seen) if self.several else [seen]
        masks: list[np.ndarray | None] = [None] * len(each)
        if MASK in info:
            masks = list(np.asarray(info[MASK], np.bool_).reshape(len(each), -1))
        return View(each, masks, None, _numbers(info))

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


class ParallelTeam:
    """A PettingZoo parallel environment; the team is `possible_agents`, whether they are still there or not."""

    def __init__(self, key: str, kwargs: Mapping[str, Any]) -> None:
        _package("pettingzoo")
        module, _, function = key.partition(":")
        make = getattr(_imported(module), function or "parallel_env", None)
        if make is None:
            raise UserError(f"env_args.key={key}: module {module} has no {function or 'parallel_env'}")
        self.env = _constructed(lambda: make(**kwargs), key)
        for name in ("possible_agents", "observation_space", "action_space"):
            if not hasattr(self.env, name):
                raise UserError(f"env_args.key={key}: not a PettingZoo parallel environment, it has no {name}")
        self.package = module.split(".")[0]
        self.team: list[str] = list(self.env.possible_agents)
        spaces = [self.env.observation_space(agent) for agent in self.team]
        self.masked = [hasattr(space, "spaces") and MASK in space.spaces for space in spaces]
        self.obs_spaces = [space[SEEN] if masked else space for space, masked in zip(spaces, self.masked, strict=True)]
        self.action_spaces = [self.env.action_space(agent) for agent in self.team]
        self.own_limit = _own_limit(self.env.unwrapped)
        self.has_state = getattr(self.env, "state_space", None) is not None

    def reset(self, seed: int) -> View:
        """Start an episode."""
        return self._view(*self.env.reset(seed=seed))

    def step(self, actions: Sequence[Any]) -> Outcome:
        """Take one action per agent; those of agents that have left are ignored.

        The episode is over when nobody is left. It is truncated if any of those who left last was cut, not ended.
        """
        here = list(self.env.agents)
        chosen = {agent: action for agent, action in zip(self.team, actions, strict=True) if agent in here}
        seen, rewards, terminations, truncations, infos = self.env.step(chosen)
        gained = np.array([rewards.get(agent, 0.0) for agent in self.team], np.float64)
        over = not self.env.agents
        cut = any(truncations.get(agent, False) and not terminations.get(agent, False) for agent in here)
        return Outcome(self._view(seen, infos), gained, over and not cut, over and cut)

    def _view(self, seen: Mapping[str, Any], infos: Mapping[str, Any]) -> View:
        obs: list[Any] = []
        masks: list[np.ndarray | None] = []
        for agent, masked in zip(self.team, self.masked, strict=True):
            one = seen.get(agent)
            mask = one[MASK] if masked and one is not None else infos.get(agent, {}).get(MASK)
            obs.append(one[SEEN] if masked and one is not None else one)
            masks.append(None if mask is None else np.asarray(mask, np.bool_))
        state = np.asarray(self.env.state(), np.float32).ravel() if self.has_state else None
        info: Mapping[str, Any] = next((infos[agent] for agent in self.team if agent in infos), {})
        return View(obs, masks, state, _numbers(info))

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


Team = GymnasiumTeam | ParallelTeam


def make_team(key: str, kwargs: Mapping[str, Any]) -> Team:
    """The environment `key`, see config/envs/gymma.yaml.

    Raises:
        UserError: it does not exist, is not installed or refuses `kwargs`.
    """
    return GymnasiumTeam(key, kwargs) if GYMNASIUM_ID.match(key) else ParallelTeam(key, kwargs)


def version_of(package: str) -> str:
    """Version of an installed package; "local" for modules that belong to none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "local"


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"env=gymma with this env_args.key needs {name}, which is not installed: {REMEDY}") from error


def _imported(name: str) -> Any:
    """The module `name`, also where a package only offers it as an attribute (gymnasium_robotics.mamujoco_v1)."""
    package, _, attribute = name.rpartition(".")
    try:
        return import_module(name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name and package:
            found = getattr(_imported(package), attribute, None)
            if found is not None:
                return found
        raise UserError(f"env_args.key: cannot import {name!r} ({error}); for known ones: {REMEDY}") from error


def _registered(gymnasium: Any, key: str) -> Any:
    module, colon, name = key.rpartition(":")
    if colon:
        _imported(module)
    if name not in gymnasium.registry:
        raise UserError(f"env_args.key: Gymnasium does not know {name!r}{nearest(name, gymnasium.registry)}")
    return copy.deepcopy(gymnasium.spec(name))


def _constructed(make: Any, key: str) -> Any:
    try:
        return make()
    except (TypeError, ValueError, ImportError, NotImplementedError) as error:
        raise UserError(f"env_args.key={key}: {type(error).__name__}: {error}") from error


def _own_limit(env: Any) -> int | None:
    """The time limit of a PettingZoo environment: `max_cycles`, or that of the Gymnasium environment inside."""
    inner = getattr(getattr(env, "single_agent_env", None), "spec", None)
    limit = getattr(env, "max_cycles", None) or getattr(inner, "max_episode_steps", None)
    return None if limit is None else int(limit)


def _numbers(info: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in info.items() if isinstance(value, NUMBER)}
