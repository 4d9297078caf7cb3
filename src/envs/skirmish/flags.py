"""The arguments of the StarCraft environments: PyMARL's `sc2.yaml` with its defaults, plus a few of our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal

from envs.skirmish.scenario import load_map
from utils.errors import Range, typed

NOT_SMACS = {  # arguments that SMAC's own client does not have
    *("engine", "balance", "map_file", "reward_shield_fix", "timeout_terminates"),
    *("start_timeout", "step_timeout", "max_restarts", "restart_interval"),
}
Difficulty = Literal["1", "2", "3", "4", "5", "6", "7", "8", "9", "A"]


@dataclass(frozen=True)
class Flags:
    """Every argument of `--env-config=sc2`; meanings and units stand in `config/envs/sc2.yaml`."""

    map_name: str = "3s_vs_3z"
    engine: Literal["auto", "starcraft2", "embedded"] = "auto"
    balance: Literal["liberty", "lotv_4_10"] = "liberty"
    map_file: str = ""
    reward_shield_fix: bool = False
    timeout_terminates: bool = False
    continuing_episode: bool = False
    difficulty: Difficulty = "7"
    game_version: str | None = None
    step_mul: Annotated[int, Range(1, 10_000)] = 8
    move_amount: Annotated[float, Range(above=0.0)] = 2.0
    obs_all_health: bool = True
    obs_instead_of_state: bool = False
    obs_last_action: bool = False
    obs_own_health: bool = True
    obs_pathing_grid: bool = False
    obs_terrain_height: bool = False
    obs_timestep_number: bool = False
    state_last_action: bool = True
    state_timestep_number: bool = False
    reward_sparse: bool = False
    reward_only_positive: bool = True
    reward_death_value: float = 10.0
    reward_win: float = 200.0
    reward_defeat: float = 0.0
    reward_negative_scale: float = 0.5
    reward_scale: bool = True
    reward_scale_rate: Annotated[float, Range(above=0.0)] = 20.0
    replay_dir: str = ""
    replay_prefix: str = ""
    heuristic_ai: bool = False
    heuristic_rest: bool = False
    debug: bool = False
    start_timeout: Annotated[float, Range(above=0.0)] = 120.0
    step_timeout: Annotated[float, Range(above=0.0)] = 30.0
    max_restarts: Annotated[int, Range(0)] = 5
    restart_interval: Annotated[int, Range(0)] = 2000

    def __post_init__(self) -> None:
        load_map(self.map_name, self.map_file)  # a UserError names an unknown map or the mistake in a map file

    @property
    def sees_own_health(self) -> bool:
        """SMAC switches the own health on with the others' health."""
        return self.obs_own_health or self.obs_all_health


def parse_flags(env_args: Mapping[str, Any]) -> Flags:
    """Validate `env_args`; a difficulty may be given as a number.

    Raises:
        UserError: unknown key, wrong type, value out of range, unknown map; one line.
    """
    values = dict(env_args)
    if isinstance(values.get("difficulty"), int) and not isinstance(values["difficulty"], bool):
        values["difficulty"] = str(values["difficulty"])
    if isinstance(values.get("map_name"), int):  # Sacred reads a map name such as 25 as a number
        values["map_name"] = str(values["map_name"])
    return typed(Flags, values, "env_args key")


def embedded(flags: Flags) -> Flags:
    """The same arguments with the engine settled."""
    return replace(flags, engine="embedded")


def smac_arguments(flags: Flags) -> dict[str, Any]:
    """The flags as arguments of SMAC's own client."""
    given = {name: value for name, value in asdict(flags).items() if name not in NOT_SMACS}
    if float(flags.move_amount).is_integer():
        given["move_amount"] = int(flags.move_amount)  # SMAC computes indices of grids with it
    return given
