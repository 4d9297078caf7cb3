"""StarCraft II through SMAC's own client, supervised. The only module that imports smac and pysc2.

The game may fail to start, crash, hang, lose its port or answer nonsense. Whatever it does, the episode it did it in
is marked `aborted` (the runner drops and counts it) and the game is started anew; only failure after failure ends
the run. Shape legend: N agents, A actions.
"""

from __future__ import annotations

import os
import sys
import time
from contextvars import ContextVar
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging as absl_logging
from pysc2 import run_configs
from pysc2.lib import sc_process
from pysc2.run_configs import lib as versions
from pysc2.run_configs import platforms
from smac.env import StarCraft2Env

from envs import sc2_install
from envs.multiagentenv import EnvInfo, EnvSpec, MultiAgentEnv, Observation, Transition
from envs.sc2 import describe
from envs.skirmish.flags import Flags, smac_arguments
from envs.skirmish.kernel import NO_OP, STOP
from envs.supervision import GameKeeper, Patience
from utils.console import LOG
from utils.errors import UserError

KEEPER: ContextVar[tuple[GameKeeper, float]] = ContextVar("KEEPER")  # who starts the next game; time limit, seconds


class GameLostError(Exception):
    """The game is gone or not to be trusted any more; the message says why."""


class _Process(sc_process.StarcraftProcess):
    """pysc2's process, started and ended by a keeper."""

    _proc: Any

    def _launch(self, run_config: Any, args: list[str], **_: Any) -> Any:
        self._keeper, _limit = KEEPER.get()
        return self._keeper.start(args, run_config.cwd, run_config.env)

    def _shutdown(self) -> None:
        if self._proc is not None:
            self._keeper.finish()
            self._proc = None


class _Linux(platforms.Linux):
    """How pysc2 starts the game on Linux; takes precedence over its own way while a keeper is set."""

    @classmethod
    def priority(cls) -> int | None:
        """Higher than pysc2's own, which are 1."""
        usual: int | None = super().priority()
        return None if usual is None or KEEPER.get(None) is None else usual + 1

    def start(self, want_rgb: bool = True, **options: Any) -> _Process:
        """Start the build that pysc2 chose."""
        program = sc2_install.builds(Path(self.data_dir))[self.version.build_version]
        _keeper, limit = KEEPER.get()
        return _Process(self, exec_path=str(program), version=self.version, timeout_seconds=int(limit) + 1, **options)


class _Game(StarCraft2Env):
    """SMAC's environment, which reports a lost game in place of starting another and going on."""

    _sc2_proc: Any

    def full_restart(self) -> None:
        """Called by SMAC after any error of the connection or the protocol."""
        raise GameLostError(str(sys.exc_info()[1]))

    def forget(self) -> None:
        """Back to where no game was started yet: the next reset starts one."""
        self._episode_count = 0
        self.max_reward = self.n_enemies * self.reward_death_value + self.reward_win
        self._sc2_proc = None


class StarCraft2(MultiAgentEnv):
    """One StarCraft II.

    The seed of an episode is used where the game takes one: when it is started. Later episodes go on from there.

    Args:
        flags: validated arguments.
        folder: of the game.
    """

    def __init__(self, flags: Flags, folder: Path) -> None:
        self.flags, self.folder = flags, folder
        os.environ["SC2PATH"] = str(folder)  # where pysc2 looks
        if flags.debug:
            absl_logging.set_verbosity(absl_logging.DEBUG)
        self.env_info = describe(flags, folder, version_text(flags))
        self.game = _Game(**smac_arguments(flags))
        check_smac(self.game, self.env_info)
        self.keeper, self.patience = GameKeeper(), Patience(flags.max_restarts)
        self._episodes_of_game = 0  # finished since the game was started
        self._unfinished = self._warned = False
        self._repaired = self._restarts = 0  # since the last finished episode
        self._seen: Observation | None = None

    def reset(self, seed: int) -> Observation:
        """Start an episode, and the game if need be.

        Raises:
            UserError: the game failed too often in a row.
        """
        self._end_game_if_due()
        self._repaired = 0
        while True:
            try:
                self._begin(seed)
                self._seen = self._look()
                return self._seen
            except Exception as error:  # whatever comes out of the client: the battle cannot be used
                self._lost(error)

    def _begin(self, seed: int) -> None:
        if self.keeper.running:
            with self.keeper.limit(self.flags.step_timeout, "starting an episode"):
                self.game.reset()
        else:
            self._launch(seed)
        self._unfinished = True

    def _launch(self, seed: int) -> None:
        self.patience.pause()
        self.game.forget()
        self.game._seed = seed % 2**32
        limit = self.flags.start_timeout
        token = KEEPER.set((self.keeper, limit))
        try:
            with self.keeper.limit(limit, "starting the game"):
                self.game.reset()
        finally:
            KEEPER.reset(token)
        # SMAC adds an enemy twice if the first observation came before all units were there
        points = sum(unit.health_max + unit.shield_max for unit in self.game.enemies.values())
        self.game.max_reward = self.game.n_enemies * self.flags.reward_death_value + self.flags.reward_win + points
        self._episodes_of_game = 0

    def _end_game_if_due(self) -> None:
        """Periodic restart; and SMAC would start a second game if the very first episode was not finished."""
        interval = self.flags.restart_interval
        due = interval > 0 and self._episodes_of_game >= interval
        if self.keeper.running and (due or (self._unfinished and self._episodes_of_game == 0)):
            LOG.info(f"StarCraft II: ended after {self._episodes_of_game} episodes, to be started anew")
            self.close()

    def step(self, actions: np.ndarray) -> Transition:
        """Take the joint action `[N,1]`; unavailable actions are replaced by stop, or no-op for the dead."""
        if self._seen is None:
            raise ValueError("step before reset")
        chosen = self._repair(np.asarray(actions).reshape(-1), self._seen)
        timeouts, loop = self.game.timeouts, self._loop()
        try:
            with self.keeper.limit(self.flags.step_timeout, "a step"):
                reward, ended, info = self.game.step(chosen)
            if self._loop() <= loop:
                raise GameLostError("the game's clock stands still")
            self._seen = self._look()
        except Exception as error:  # see reset
            self._lost(error)
            return Transition(self._seen, 0.0, False, False, {"aborted": True})
        timeout = self.game.timeouts > timeouts
        truncated = timeout and (self.flags.continuing_episode or not self.flags.timeout_terminates)
        counts: dict[str, Any] = {"actions_repaired": self._repaired, "game_restarts": self._restarts}
        if self.flags.continuing_episode:
            counts["episode_limit"] = timeout  # SMAC has the key only where it is true
        if ended:
            self._finish_episode()
        return Transition(self._seen, float(reward), ended and not truncated, truncated, {**info, **counts})

    def _finish_episode(self) -> None:
        self.patience.succeeded()
        self._episodes_of_game += 1
        self._restarts, self._unfinished = 0, False

    def _repair(self, actions: np.ndarray, seen: Observation) -> list[int]:
        """SMAC stops on an unavailable action; it is replaced and counted."""
        avail = np.asarray(seen.avail_actions)
        known = (actions >= 0) & (actions < avail.shape[1])
        legal = known & avail[np.arange(len(actions)), np.where(known, actions, 0)]
        if not (legal.all() or self._warned):
            agent = int(np.flatnonzero(~legal)[0])
            LOG.warning(f"StarCraft II: action {actions[agent]} of agent {agent} is not available; repaired, counted")
            self._warned = True
        self._repaired += int((~legal).sum())
        return [int(action) for action in np.where(legal, actions, np.where(avail[:, NO_OP], NO_OP, STOP))]

    def _look(self) -> Observation:
        obs = np.asarray(self.game.get_obs(), np.float32)
        state = np.asarray(self.game.get_state(), np.float32)
        return Observation(obs, state, np.asarray(self.game.get_avail_actions(), bool))

    def _loop(self) -> int:
        return int(self.game._obs.observation.game_loop)

    def _lost(self, error: Exception) -> None:
        """End the game; warn, or give up after too many failures in a row."""
        reason = self.keeper.overdue or f"{type(error).__name__}: {error}".strip().split("\n")[0]
        if words := self.keeper.last_words():
            reason += f" (it last said: {words})"
        dropped = "its episode is dropped, " if self._unfinished else ""
        self.keeper.kill()  # before anything that would talk to it
        self.close()
        self._restarts += 1
        if not self.patience.failed():
            raise UserError(
                f"StarCraft II failed {self.patience.failures} times without a finished episode in between, at last: "
                f"{reason}; `python src/doctor.py` looks for the cause"
            ) from error
        LOG.warning(f"StarCraft II: {reason}; {dropped}it is started anew")

    def save_replay(self) -> Path:
        """Write the game since its start, all its episodes, as a replay; returns the absolute path and prints it."""
        folder = Path(self.flags.replay_dir or self.folder / "Replays").resolve()
        folder.mkdir(parents=True, exist_ok=True)
        when = f"{time.strftime('%Y-%m-%d-%H-%M-%S')}_{os.getpid()}_{self._episodes_of_game}"
        path = folder / f"{self.flags.replay_prefix or self.flags.map_name}_{when}.SC2Replay"
        with self.keeper.limit(self.flags.step_timeout, "saving a replay"):
            path.write_bytes(self.game._controller.save_replay())
        LOG.info(f"replay: {path}")
        return path

    def close(self) -> None:
        """End the game."""
        process, self.game._sc2_proc = self.game._sc2_proc, None
        if process is not None:
            process.close()
        self.keeper.kill()
        self._unfinished = False


def installed_version(flags: Flags) -> Any:
    """The version that pysc2 will start, with its build number.

    Raises:
        UserError: `game_version` is not installed.
    """
    try:
        return run_configs.get(version=flags.game_version).version
    except (ValueError, sc_process.SC2LaunchError) as error:
        folder = Path(os.environ["SC2PATH"])
        there = [name for name, one in versions.VERSIONS.items() if one.build_version in sc2_install.builds(folder)]
        raise UserError(
            f"env_args.game_version={flags.game_version!r} is not installed in {folder}; "
            f"installed: {', '.join(there) or 'none that pysc2 knows'}; null takes the newest"
        ) from error


def version_text(flags: Flags) -> str:
    """The build that will be started, with the names of its versions."""
    build = installed_version(flags).build_version
    names = [name for name, one in versions.VERSIONS.items() if one.build_version == build]
    return f"build {build}" + (f" ({' or '.join(names)})" if names else "")


def check_smac(game: StarCraft2Env, info: EnvInfo) -> None:
    """Refuse another state of the smac package than the one whose rules are expected.

    Raises:
        UserError: it has other numbers for the map.
    """
    told = game.get_env_info()
    expected = {"n_agents": info.n_agents, "n_actions": info.action_space.enc_dim, "episode_limit": info.episode_limit}
    wrong = [f"{key} {told[key]} instead of {value}" for key, value in expected.items() if told[key] != value]
    if wrong:
        raise UserError(f"the installed smac has {', '.join(wrong)} for this map; {sc2_install.INSTALL_LIBRARIES}")


def spec(flags: Flags, folder: Path) -> EnvSpec:
    """The recipe of the environment; `folder` of the game.

    Raises:
        UserError: the version is not there.
    """
    os.environ["SC2PATH"] = str(folder)
    installed_version(flags)
    settled = replace(flags, engine="starcraft2")
    longest = (flags.max_restarts + 1) * flags.start_timeout + flags.step_timeout
    return EnvSpec(
        single=partial(StarCraft2, settled, folder),
        engine="starcraft2",
        args=asdict(settled),
        preferred_runner="parallel",
        answer_seconds=longest + Patience(flags.max_restarts).total(),
    )
