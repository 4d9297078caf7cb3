"""A client of the game with the parts of StarCraft2Env that the harness uses.

It talks to the game through pysc2 in SMAC's order: launch, observe, collect the units; orders, step, observe; kill
all, step. What the units mean (observations, masks, rewards, ends) the embedded kernels tell, so it proves nothing of
SMAC's own rules: `test_equality.py` does, with the real package.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from absl import flags
from pysc2 import run_configs
from pysc2.lib import protocol
from s2clientprotocol import common_pb2 as common
from s2clientprotocol import debug_pb2 as debug
from s2clientprotocol import sc2api_pb2 as sc

from envs.skirmish.flags import Flags
from envs.skirmish.inject import begin, inject
from envs.skirmish.kernel import ABILITY_MOVE, ACCOUNT, NOBODY, OBSERVE, ORDERS
from envs.skirmish.simulation import Simulation

flags.FLAGS(["standin"])
BROKEN = (protocol.ProtocolError, protocol.ConnectionError)


class StarCraft2Env:
    """See the module."""

    def __init__(self, map_name: str, seed: int | None = None, game_version: str | None = None, **given: Any) -> None:
        self.sim = Simulation(Flags(map_name=map_name, timeout_terminates=True, **given), threads=1)
        rules = self.sim.world.rules
        self.n_agents, self.n_enemies = int(rules["n_agents"]), int(rules["n_enemies"])
        self.reward_death_value, self.reward_win = given["reward_death_value"], given["reward_win"]
        self.max_reward = self.n_enemies * self.reward_death_value + self.reward_win
        self.game_version, self._seed = game_version, seed
        self.timeouts = self._episode_count = 0
        self._sc2_proc: Any = None

    def get_env_info(self) -> dict[str, int]:
        rules = self.sim.world.rules
        return {"n_agents": self.n_agents, "n_actions": int(rules["n_actions"]), "episode_limit": int(rules["limit"])}

    def _launch(self) -> None:
        self._run_config = run_configs.get(version=self.game_version)
        self._sc2_proc = self._run_config.start(want_rgb=False)
        self._controller = self._sc2_proc.controller
        path = f"SMAC_Maps/{self.sim.scenario.name}.SC2Map"
        data = self._run_config.map_data(path)
        request = sc.RequestCreateGame(
            local_map=sc.LocalMap(map_path=path, map_data=data), random_seed=self._seed, realtime=False
        )
        request.player_setup.add(type=sc.Participant)
        request.player_setup.add(type=sc.Computer, race=common.Random, difficulty=sc.VeryHard)
        self._controller.create_game(request)
        options = sc.InterfaceOptions(raw=True)
        self._controller.join_game(sc.RequestJoinGame(race=common.Terran, options=options))

    def full_restart(self) -> None:
        raise NotImplementedError("the harness restarts the game itself")

    def reset(self) -> None:
        if self._episode_count == 0:
            self._launch()
        try:
            if self._episode_count > 0:
                self._controller.debug([debug.DebugCommand(kill_unit=debug.DebugKillUnit(tag=self._tags.tolist()))])
                self._controller.step(2)
            self._collect()
        except BROKEN:
            self.full_restart()
        begin(self.sim, self._table(), np.zeros(1, np.int64))
        self.sim.run(OBSERVE)

    def _collect(self) -> None:
        """Wait for all units; agents in order of type, x, y."""
        while True:
            self._obs = self._controller.observe()
            units = self._obs.observation.raw_data.units
            agents = sorted((u for u in units if u.owner == 1), key=lambda u: (u.unit_type, u.pos.x, u.pos.y))
            enemies = [u for u in units if u.owner == 2]
            if (len(agents), len(enemies)) == (self.n_agents, self.n_enemies):
                break
            self._controller.step(1)
        self.enemies = dict(enumerate(enemies))
        self._tags = np.array([unit.tag for unit in (*agents, *enemies)])

    def _table(self) -> np.ndarray:
        """`[1,U,7]` for `inject`; a unit that is not shown is dead."""
        table = np.zeros((1, len(self._tags), 7))
        slots = {int(tag): slot for slot, tag in enumerate(self._tags)}
        for unit in self._obs.observation.raw_data.units:
            if unit.tag in slots:
                vitals = unit.health, unit.shield, unit.energy, unit.weapon_cooldown
                table[0, slots[unit.tag]] = 1.0, unit.pos.x, unit.pos.y, *vitals
        return table

    def step(self, actions: list[int]) -> tuple[float, bool, dict[str, Any]]:
        given = np.array([actions], np.int64)
        self.sim.step(given, phases=ORDERS)
        try:
            self._controller.actions(self._orders())
            self._controller.step(self.sim.flags.step_mul)
            self._obs = self._controller.observe()
        except BROKEN:
            self.full_restart()
        inject(self.sim, self._table())
        self.sim.step(given, phases=ACCOUNT | OBSERVE)
        now = self.sim.world.envs[0]
        self.timeouts += int(now["timeout"])
        self._episode_count += int(now["terminated"] or now["truncated"])
        info: dict[str, Any] = {name: now[name].item() for name in ("battle_won", "dead_allies", "dead_enemies")}
        if now["timeout"] and self.sim.flags.continuing_episode:
            info["episode_limit"] = True
        return float(now["reward"]), bool(now["terminated"] or now["truncated"]), info

    def _orders(self) -> Any:
        request = sc.RequestAction()
        for agent, tag in zip(self.sim.world.agents[0], self._tags, strict=False):
            if agent["ability"] == NOBODY:
                continue
            command = request.actions.add().action_raw.unit_command
            command.ability_id = int(agent["ability"])
            command.unit_tags.append(int(tag))
            if command.ability_id == ABILITY_MOVE:
                command.target_world_space_pos.x = float(agent["to_x"])
                command.target_world_space_pos.y = float(agent["to_y"])
            elif agent["object"] != NOBODY:
                command.target_unit_tag = int(self._tags[agent["object"]])
        return request

    def get_obs(self) -> list[np.ndarray]:
        return list(self.sim.world.obs[0].copy())

    def get_state(self) -> np.ndarray:
        return self.sim.world.state[0].copy()

    def get_avail_actions(self) -> list[list[int]]:
        return self.sim.world.avail[0].astype(int).tolist()
