"""The StarCraft multi-agent challenge, `--env-config=sc2`: StarCraft II if installed, else the embedded engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from components.action_space import DiscreteActions
from envs import sc2_install
from envs.multiagentenv import EnvInfo, EnvSpec
from envs.skirmish.build import sizes
from envs.skirmish.env import SingleFromVec, SkirmishVecEnv
from envs.skirmish.flags import Flags, parse_flags
from envs.skirmish.scenario import list_maps, load_map
from utils.errors import UserError

__all__ = ["list_maps", "spec"]

ROOT = Path(__file__).resolve().parents[2]
GAME_FOLDER = ROOT / "3rdparty" / "StarCraftII"
ADAPTER = "envs.starcraft2"

NOTICE = """\
StarCraft II was not found: the EMBEDDED ENGINE runs {map}.
Its observations, actions, rewards and episode rules are SMAC's; its combat is a re-implementation.
Results are NOT StarCraft II results: compare them only with runs on the same engine.
To use StarCraft II: bash install_sc2.sh, or set SC2PATH to its folder. To silence this: env_args.engine=embedded."""


def spec(env_args: Mapping[str, Any]) -> EnvSpec:
    """Validate `env_args` and return the recipe of the environment.

    Raises:
        UserError: unknown or bad argument, unknown map, wrong SC2PATH, or StarCraft II asked for but not usable.
    """
    flags = parse_flags(env_args)
    engine = choose_engine(flags)
    if engine == "starcraft2":
        return _starcraft2(flags)
    settled = replace(flags, engine="embedded")
    return EnvSpec(
        single=partial(_single, settled),
        batched=partial(_batched, settled),
        engine="embedded",
        notice="" if flags.engine == "embedded" else NOTICE.format(map=flags.map_file or flags.map_name),
        args=asdict(settled),
        prepare=partial(_compile, settled),
    )


def choose_engine(flags: Flags) -> str:
    """Settle `engine: auto`: StarCraft II if SC2PATH is set or 3rdparty/StarCraftII exists, else the embedded engine.

    A user's map and other balances exist in the embedded engine only.
    """
    if flags.engine != "auto":
        return flags.engine
    if flags.map_file or flags.balance != "liberty":
        return "embedded"
    path = os.environ.get("SC2PATH")
    if path is None:
        return "starcraft2" if GAME_FOLDER.is_dir() else "embedded"
    _check_game_folder(Path(path))
    return "starcraft2"


def _check_game_folder(path: Path) -> None:
    remedy = "correct it, unset it, or give env_args.engine=embedded"
    if not path.is_dir():
        raise UserError(f"SC2PATH is set to {str(path)!r}, which is not a folder; {remedy}")
    if not (path / "Versions").is_dir():
        raise UserError(f"SC2PATH is set to {str(path)!r}, which has no Versions folder of StarCraft II; {remedy}")


def _starcraft2(flags: Flags) -> EnvSpec:
    if flags.map_file or flags.balance != "liberty" or flags.reward_shield_fix:
        raise UserError("map_file, balance and reward_shield_fix need env_args.engine=embedded")
    trouble = sc2_install.library_trouble()
    if trouble:
        raise UserError(f"StarCraft II: {trouble}; {sc2_install.INSTALL_LIBRARIES}, or env_args.engine=embedded")
    folder = game_folder()
    trouble = sc2_install.game_trouble(folder) or sc2_install.map_trouble(folder, flags.map_name)
    if trouble:
        raise UserError(f"StarCraft II: {trouble}; {sc2_install.INSTALL_GAME}, or env_args.engine=embedded")
    made: EnvSpec = import_module(ADAPTER).spec(flags, folder)
    return replace(made, reproducible=False)  # the game takes its seed at its start, not with every episode


def _compile(flags: Flags) -> None:
    """Compile the engine here and now: eight workers doing it at once would look hung."""
    env = _single(flags)
    env.reset(0)
    env.close()


def game_folder() -> Path:
    """Where StarCraft II is, or would be."""
    return Path(os.environ.get("SC2PATH") or GAME_FOLDER).absolute()


def describe(flags: Flags, folder: Path, version: str) -> EnvInfo:
    """What the harness needs to know of StarCraft II, found without starting it."""
    scenario = load_map(flags.map_name)
    size = sizes(scenario, flags)
    return EnvInfo(
        n_agents=sum(group.count for group in scenario.allies),
        obs_dim=size.obs,
        state_dim=size.state,
        episode_limit=scenario.limit,
        action_space=DiscreteActions(size.actions),
        engine="starcraft2",
        engine_version=version,
        data_hash=sc2_install.map_hash(folder, flags.map_name),
        unit_dim=None if flags.obs_instead_of_state else size.ally,
    )


def _single(flags: Flags) -> SingleFromVec:
    return SingleFromVec(SkirmishVecEnv.from_flags(flags, 1, threads=1))


def _batched(flags: Flags, n_envs: int) -> SkirmishVecEnv:
    return SkirmishVecEnv.from_flags(flags, n_envs)
