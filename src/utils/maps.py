"""Another map for a trained team: the run's configuration with it, if its networks fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import envs
from envs.sc2 import list_maps
from utils.config import Config
from utils.errors import UserError


def on_map(trained: Config, name: str) -> Config:
    """A run's configuration with another map.

    Args:
        trained: the run's configuration.
        name: of the map, or a map file (.yaml); "" for the run's own.

    Raises:
        UserError: the environment has no maps, there is none of this name, or the networks do not fit its sizes.
    """
    if not name:
        return trained
    config = _with(trained, name)
    given = _sizes(config)
    try:
        own = _sizes(trained)
    except UserError as error:
        raise UserError(f"--map: the run's own map cannot be compared with others here: {error}") from error
    if given == own:
        return config
    differences = [f"{given[what]} {what}, trained with {own[what]}" for what in own if given[what] != own[what]]
    fitting = [known for known, _ in list_maps() if _sizes(_with(trained, known)) == own]
    raise UserError(
        f"--map {name} does not fit the run's networks: {'; '.join(differences)}; maps that fit: {', '.join(fitting)}"
    )


def is_file(name: str) -> bool:
    """Whether `--map` names a map file."""
    return Path(name).suffix in (".yaml", ".yml")


def _with(config: Config, name: str) -> Config:
    if "map_name" not in config.env_args:
        raise UserError(f"--map: {config.env} has no maps, sc2 has")
    change = {"map_name": name, "map_file": ""}
    if is_file(name):
        change = {"map_file": name}
    return replace(config, env_args={**config.env_args, **change})


def _sizes(config: Config) -> dict[str, int]:
    """What the acting network's shape depends on; the embedded engine's maps have StarCraft II's sizes."""
    info = envs.resolve(config.env, {**config.env_args, "engine": "embedded"}).single().env_info
    return {"agents": info.n_agents, "observation entries": info.obs_dim, "actions": info.action_space.head_dim}
