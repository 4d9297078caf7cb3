"""Registry of environments. Values are "module:function" strings, so nothing heavy is imported here.

The function takes the `env_args` mapping of the configuration, validates it and returns an `EnvSpec`; a bad
value raises `utils.errors.UserError` with a one-line message.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from envs.multiagentenv import EnvInfo, EnvSpec, MultiAgentEnv, Observation, Transition, VecEnv
from utils.errors import UserError, nearest

REGISTRY: dict[str, str] = {
    "matrix_game": "envs.matrix_game:spec",
    "mtq": "envs.differential_game:spec",
    "sc2": "envs.sc2:spec",
}

__all__ = ["REGISTRY", "EnvInfo", "EnvSpec", "MultiAgentEnv", "Observation", "Transition", "VecEnv", "resolve"]


def resolve(name: str, env_args: Mapping[str, Any]) -> EnvSpec:
    """Validate `env_args` for the environment `name` and return the recipe to make it."""
    if name not in REGISTRY:
        raise UserError(f"unknown environment {name!r}{nearest(name, REGISTRY)}; known: {', '.join(REGISTRY)}")
    module, function = REGISTRY[name].split(":")
    spec: EnvSpec = getattr(import_module(module), function)(env_args)
    return spec
