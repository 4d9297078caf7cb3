"""The game's API, request by request: from messages to a `Battle` and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from s2clientprotocol import common_pb2 as common
from s2clientprotocol import data_pb2 as data
from s2clientprotocol import error_pb2 as errors
from s2clientprotocol import raw_pb2 as raw
from s2clientprotocol import sc2api_pb2 as sc

from envs.skirmish.build import PLAYABLE_MARGIN
from envs.skirmish.data import MOVERS
from envs.skirmish.kernel import ABILITY_ATTACK, ABILITY_HEAL, ABILITY_MOVE, ABILITY_STOP
from envs.skirmish.scenario import map_names
from sc2_double.battle import AGENTS, ENEMIES, STOCK, Battle, Command, RefusedError

RACES = {"T": common.Terran, "P": common.Protoss, "Z": common.Zerg}
ABILITIES = {ABILITY_STOP: "stop", ABILITY_MOVE: "move", ABILITY_ATTACK: "attack", ABILITY_HEAL: "heal"}
PLAYERS = (sc.Participant, sc.Computer)
PLAYING = (sc.in_game,)
ALLOWED: dict[str, tuple[int, ...]] = {  # statuses in which the game takes a request; the rest it takes always
    "create_game": (sc.launched, sc.in_game, sc.ended),
    "join_game": (sc.init_game,),
    "restart_game": (sc.in_game, sc.ended),
    "leave_game": (sc.in_game, sc.ended),
    **dict.fromkeys(("game_info", "data", "observation", "action", "step", "debug", "save_replay"), PLAYING),
}


class Game:
    """Answers requests. `battle` is the game that is played, None before the first is created.

    Args:
        build: the game's build number.
        begin: makes a battle from the map's name and a seed.
    """

    def __init__(self, build: int, begin: Callable[[str, int], Battle] = Battle) -> None:
        self.build, self.begin = build, begin
        self.status: int = sc.launched
        self.battle: Battle | None = None
        self.created: sc.RequestCreateGame | None = None

    def answer(self, request: sc.Request) -> sc.Response:
        """The response; a request that the game refuses gets the reason in `error`."""
        name = request.WhichOneof("request") or ""
        response = sc.Response(id=request.id)
        handler: Callable[[Any, Any], None] | None = getattr(self, f"_{name}", None)
        try:
            if handler is None:
                raise RefusedError(f"the double does not know the request {name!r}")
            if self.status not in ALLOWED.get(name, (self.status,)):
                raise RefusedError(f"{name} in status {sc.Status.Name(self.status)}")
            getattr(response, name).SetInParent()
            handler(getattr(request, name), getattr(response, name))
        except RefusedError as error:
            response.error.append(str(error))
        response.status = self.status
        return response

    @property
    def playing(self) -> Battle:
        """The battle of a game that is on."""
        if self.battle is None:
            raise RefusedError("no game is on")
        return self.battle

    def _ping(self, _: Any, out: sc.ResponsePing) -> None:
        out.game_version, out.base_build, out.data_build = f"4.10.0.{self.build}", self.build, self.build

    def _available_maps(self, _: Any, out: sc.ResponseAvailableMaps) -> None:
        out.local_map_paths.extend(f"SMAC_Maps/{name}.SC2Map" for name in map_names())

    def _create_game(self, given: sc.RequestCreateGame, out: sc.ResponseCreateGame) -> None:
        kinds = [player.type for player in given.player_setup]
        if Path(given.local_map.map_path).stem not in map_names():
            out.error, out.error_details = out.InvalidMapPath, given.local_map.map_path
        elif not given.local_map.map_data.startswith(b"the double's map"):
            out.error, out.error_details = out.InvalidMapData, "not a map of the double"
        elif tuple(kinds) != PLAYERS:
            out.error, out.error_details = out.InvalidPlayerSetup, "needs one participant and one computer"
        else:
            self.created, self.status = given, sc.init_game

    def _join_game(self, given: sc.RequestJoinGame, out: sc.ResponseJoinGame) -> None:
        if not given.options.raw:
            out.error, out.error_details = out.MissingOptions, "the double has the raw interface only"
            return
        self._start()
        out.player_id = AGENTS

    def _start(self) -> None:
        if self.created is None:
            raise RefusedError("no game was created")
        self.battle = self.begin(Path(self.created.local_map.map_path).stem, self.created.random_seed)
        self.status = sc.in_game

    def _restart_game(self, _: Any, out: sc.ResponseRestartGame) -> None:
        self._start()
        out.need_hard_reset = False

    def _leave_game(self, _: Any, __: Any) -> None:
        self.battle, self.status = None, sc.launched

    def _game_info(self, _: Any, out: sc.ResponseGameInfo) -> None:
        battle = self.playing
        out.map_name = battle.sim.scenario.name
        out.local_map_path = f"SMAC_Maps/{out.map_name}.SC2Map"
        out.options.raw = True
        for player, (race, kind) in enumerate(zip(battle.sim.scenario.races, PLAYERS, strict=True), start=1):
            out.player_info.add(player_id=player, type=kind, race_requested=RACES[race], race_actual=RACES[race])
        describe_map(battle, out.start_raw)

    def _data(self, wanted: sc.RequestData, out: sc.ResponseData) -> None:
        battle = self.playing
        for ability, name in ABILITIES.items() if wanted.ability_id else ():
            out.abilities.add(ability_id=ability, link_name=name, friendly_name=name.title(), available=True)
        for unit_type, name in sorted(set(zip(battle.types, battle.names, strict=True))) if wanted.unit_type_id else ():
            describe_type(battle, unit_type, name, out.units.add())

    def _observation(self, _: Any, out: sc.ResponseObservation) -> None:
        battle, seen = self.playing, out.observation
        seen.game_loop = battle.loop
        seen.player_common.player_id = AGENTS
        seen.raw_data.SetInParent()
        for slot in battle.visible():
            describe_unit(battle, slot, seen.raw_data.units.add())

    def _step(self, given: sc.RequestStep, out: sc.ResponseStep) -> None:
        self.playing.step(given.count or 1)
        out.simulation_loop = self.playing.loop

    def _action(self, given: sc.RequestAction, out: sc.ResponseAction) -> None:
        commands = []
        for action in given.actions:
            told = action.action_raw.unit_command
            at = told.target_world_space_pos
            point = (at.x, at.y) if told.HasField("target_world_space_pos") else None
            commands.append(Command(told.ability_id, list(told.unit_tags), told.target_unit_tag, point))
        wrong = self.playing.order(commands)
        out.result.extend(errors.Error if reason else errors.Success for reason in wrong)

    def _debug(self, given: sc.RequestDebug, _: Any) -> None:
        for command in given.debug:
            kind = command.WhichOneof("command")
            if kind == "kill_unit":
                self.playing.kill(list(command.kill_unit.tag))
            elif kind == "create_unit":
                new = command.create_unit
                self.playing.create(new.unit_type, new.owner, new.pos.x, new.pos.y, new.quantity or 1)
            else:
                raise RefusedError(f"the double does not know the debug command {kind!r}")

    def _save_replay(self, _: Any, out: sc.ResponseSaveReplay) -> None:
        battle = self.playing
        told = {"map": battle.sim.scenario.name, "seed": battle.seed, "battles": battle.number, "loops": battle.loop}
        out.data = b"MPQ\x1b" + json.dumps(told).encode()


def describe_map(battle: Battle, out: raw.StartRaw) -> None:
    """Sizes and grids: one bit a cell row by row from the south, heights a byte a cell row by row from the north."""
    world = battle.sim.world
    width, height = world.height.shape
    out.map_size.x, out.map_size.y = width, height
    margin = PLAYABLE_MARGIN // 2
    out.playable_area.p0.x = out.playable_area.p0.y = margin
    out.playable_area.p1.x, out.playable_area.p1.y = width - margin, height - margin
    heights = np.rint(world.height.T[::-1] * 255).astype(np.uint8)
    for image, bits, content in (
        (out.pathing_grid, 1, np.packbits(world.passable[0].T, axis=1)),
        (out.terrain_height, 8, heights),
    ):
        image.bits_per_pixel, image.data = bits, content.tobytes()
        image.size.x, image.size.y = width, height


def describe_type(battle: Battle, unit_type: int, name: str, out: data.UnitTypeData) -> None:
    """A unit type's entry in the game's data; agents' copies are named as the maps name them."""
    unit = battle.defaults[name]
    out.unit_id, out.name = unit_type, name.title() if unit_type in STOCK.values() else f"RL_{name.title()}"
    out.race, out.armor, out.movement_speed, out.available = RACES[unit.race], unit.armor, unit.speed, True
    if unit.weapon is not None:
        arm = unit.weapon
        out.weapons.add(damage=arm.damage, attacks=arm.hits, range=max(arm.range, 0.0), speed=arm.period)


def describe_unit(battle: Battle, slot: int, out: raw.Unit) -> None:
    """A unit as the raw interface shows it."""
    unit, kind = battle.units[slot], battle.kinds[battle.roster[slot]["kind"]]
    enemy = bool(battle.roster[slot]["side"])
    out.display_type, out.alliance = raw.Visible, raw.Enemy if enemy else raw.Self
    out.tag, out.unit_type, out.owner = battle.tag(slot), battle.types[slot], ENEMIES if enemy else AGENTS
    out.pos.x, out.pos.y = float(unit["x"]), float(unit["y"])
    out.radius, out.build_progress = float(kind["radius"]), 1.0
    out.is_flying = MOVERS[int(kind["layer"])] == "air"
    out.health, out.health_max = float(unit["hp"]), float(kind["hp_max"])
    out.shield, out.shield_max = float(unit["shield"]), float(kind["shield_max"])
    out.energy, out.energy_max = float(unit["energy"]), float(kind["energy_max"])
    out.weapon_cooldown = float(unit["cooldown"])
