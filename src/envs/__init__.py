"""Registry of environments. Values are "module:function" strings, so nothing heavy is imported here.

The function takes the `env_args` mapping of the configuration, validates it and returns an `EnvSpec`; a bad
value raises `utils.errors.UserError` with a one-line message. An environment of one's own needs no entry: `env` can
be "module:Class" of a `MultiAgentEnv`, whose constructor takes the `env_args` (docs/extending.md).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from importlib import import_module
from typing import Any

from envs.multiagentenv import EnvInfo, EnvSpec, MultiAgentEnv, Observation, Transition, VecEnv
from utils.errors import UserError, nearest

REGISTRY: dict[str, str] = {
    "gymma": "envs.gymma:spec",
    "matrix_game": "envs.matrix_game:spec",
    "mtq": "envs.differential_game:spec",
    "sc2": "envs.sc2:spec",
}

__all__ = ["REGISTRY", "EnvInfo", "EnvSpec", "MultiAgentEnv", "Observation", "Transition", "VecEnv", "resolve"]


def resolve(name: str, env_args: Mapping[str, Any]) -> EnvSpec:
    """Validate `env_args` for the environment `name` and return the recipe to make it.

    Raises:
        UserError: there is no such environment, or its arguments are wrong.
    """
    if ":" in name:
        return _custom(name, env_args)
    if name not in REGISTRY:
        raise UserError(
            f"unknown environment {name!r}{nearest(name, REGISTRY)}; known: {', '.join(REGISTRY)}, or module:Class"
        )
    module, function = REGISTRY[name].split(":")
    spec: EnvSpec = getattr(import_module(module), function)(env_args)
    return spec


def _custom(name: str, env_args: Mapping[str, Any]) -> EnvSpec:
    """The recipe of "module:Class"; the arguments are checked against the constructor's signature."""
    module, _, attribute = name.partition(":")
    try:
        cls = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"env {name!r}: {error}; it must be module:Class of an importable module") from error
    if not (inspect.isclass(cls) and issubclass(cls, MultiAgentEnv)):
        raise UserError(f"env {name!r} must be a class derived from envs.MultiAgentEnv")
    if inspect.isabstract(cls):
        raise UserError(f"env {name!r} lacks {', '.join(sorted(cls.__abstractmethods__))}")
    known = inspect.signature(cls).parameters
    for key in env_args:
        if key not in known:
            raise UserError(f"unknown env_args key {key!r}{nearest(key, known)}; {name} takes: {', '.join(known)}")
    missing = [key for key, one in known.items() if one.default is one.empty and key not in env_args]
    if missing:
        raise UserError(f"env {name!r} needs env_args.{missing[0]}")
    defaults = {key: one.default for key, one in known.items() if one.default is not one.empty}
    return EnvSpec(single=partial(cls, **env_args), engine=attribute, args={**defaults, **env_args})
