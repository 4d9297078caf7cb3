"""Builds the parts from the registries and runs ONE loop. No algorithm or environment name appears here.

test -> collect -> insert -> update while updates are due -> log -> checkpoint, until t_max environment steps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch as th

import envs
from components.episode_buffer import ReplayBuffer
from envs.multiagentenv import VecEnv
from runners import EpisodeStats, Runner, WorkerError, make_vec_env
from utils import checkpoint
from utils.building import build_learner, choose_device
from utils.config import Config
from utils.cuda_graphs import is_recorded
from utils.earlystop import EarlyStop
from utils.errors import UserError
from utils.interrupt import Stopped, stop_if_requested
from utils.joint_values import record_tables
from utils.logging import Logger
from utils.machine import facts_of, inexact
from utils.memory import tune_memory
from utils.seeding import derive_seed, rng_state, seed_everything, set_rng_state
from utils.snapshots import Snapshots
from utils.statistics import RunningMeans, episode_means
from utils.timehelper import PhaseTimer


def run(config: Config, logger: Logger, run_dir: Path, resumed: bool = False) -> None:
    """Train (or, with `evaluate=True`, test) as configured. Ctrl-C saves a checkpoint and is raised again.

    Args:
        config: the run's configuration.
        logger: where results go.
        run_dir: the run's directory.
        resumed: go on from the newest checkpoint in `run_dir/resume`.
    """
    tune_memory()
    seed_everything(config.seed)
    if config.torch_threads > 0:
        th.set_num_threads(config.torch_threads)
    spec = envs.resolve(config.env, config.env_args)
    if spec.notice:
        logger.notice(spec.notice)
    env = make_vec_env(spec, config.runner, config.batch_size_run, config.worker_timeout)
    try:
        loop = TrainingLoop(config, logger, run_dir, env)
        if resumed:
            loop.resume(spec.reproducible)
        elif config.checkpoint_path:
            loop.load(Path(config.checkpoint_path))
        if config.evaluate:
            loop.test()
        else:
            loop.train()
        if spec.joint_actions is not None and spec.tables is not None:  # one-step games: what was learnt
            logger.info(record_tables(spec, loop.learner, loop.greedy_actions(), loop.buffer, run_dir))
    finally:
        env.close()


class TrainingLoop:
    """The loop's parts and counters.

    Args:
        config: the run's configuration.
        logger: where results go.
        run_dir: networks are written to `run_dir/models/<t_env>`, what the run can be resumed from to `run_dir/resume`.
        env: E environments.
    """

    def __init__(self, config: Config, logger: Logger, run_dir: Path, env: VecEnv) -> None:
        self.config, self.logger, self.models_dir = config, logger, run_dir / "models"
        info = env.env_info
        self.n_envs = env.n_envs
        self.learner = build_learner(config, info, choose_device(config, logger))
        pad_steps = self.learner.padded_to if is_recorded(self.learner) else 0
        seed = derive_seed(config.seed, "replay")
        self.buffer = ReplayBuffer(info, config.buffer_size, seed, config.buffer_obs_dtype, pad_steps)
        logger.info(self.buffer.describe())
        self.timer = PhaseTimer()
        self.runner = Runner(env, self.learner.mac, config.seed, self.timer)
        self.t_env = 0
        self.episode = 0  # training episodes collected, aborted ones included
        self.test_episode = 0
        self.updates_due = 0.0
        self.n_aborted = 0
        self.next_due = {"log": config.log_interval, "test": 0, "save": config.save_model_interval, "snapshot": 0}
        self.intervals = {"save": config.save_model_interval, "snapshot": config.save_every}  # free in a resume
        self.early_stop = EarlyStop(config.stop_metric, config.stop_level, config.stop_tests)
        self.episode_stats: list[EpisodeStats] = []
        self.training_stats = RunningMeans()
        self.snapshots = Snapshots(run_dir, config.save_keep)
        self.snapshot_at = 0.0  # on the monotonic clock, seconds

    def train(self) -> None:
        """Until `t_max` env steps or the early stop; a last test and checkpoint at the end.

        Before every `stop_if_requested` all is as if the run had just been resumed from a checkpoint written there,
        so that stopping and going on is no different from not having stopped.
        """
        try:
            while not self._iterate():
                self._when_due("test", self.config.test_interval, self.test)
                self._collect()
        except Stopped:
            self.snapshot()
            self.save()
            raise
        except (KeyboardInterrupt, UserError, WorkerError):  # within an update, or the environment gave up:
            # a resumed run goes on from the checkpoint before
            self.save()
            raise
        self.snapshot()  # what follows is repeated if it does not come to its end
        self.log_training()
        self.test()
        self._show_progress()
        self.save()

    def _iterate(self) -> bool:
        """What follows the collection of episodes, or a resume; tells whether the run is at its end."""
        self._update()
        self._when_due("log", self.config.log_interval, self.log_training)
        self._when_due("save", self.config.save_model_interval, self.save)
        self._snapshot_if_due()
        self._show_progress()
        stop_if_requested()
        return self.t_env >= self.config.t_max or self.early_stop.reached

    def _when_due(self, what: str, interval: int, action: Callable[[], None]) -> None:
        if self.t_env >= self.next_due[what]:
            action()
            self.next_due[what] = (self.t_env // interval + 1) * interval

    def _collect(self) -> None:
        try:
            rollout = self.runner.collect(self.episode, self.n_envs, self.t_env)
        except KeyboardInterrupt as error:  # a slow environment; the loop is as it was before the episodes
            raise Stopped from error
        for k in rollout.kept:
            self.buffer.insert(rollout.batch.episode(k))
        self.episode += self.n_envs
        self.t_env += rollout.n_steps
        self.n_aborted += rollout.n_aborted
        self.episode_stats += rollout.stats
        self.updates_due += len(rollout.kept) * self.config.updates_per_episode

    def _update(self) -> None:
        """As many updates as the published ratio asks for, whatever the number of environments."""
        if len(self.buffer) < max(self.config.batch_size, self.config.learning_starts):
            self.updates_due = 0.0
            return
        with self.timer("learn"):
            while self.updates_due >= 1.0:
                stop_if_requested()
                batch = self.learner.sample(self.buffer)
                self.training_stats.add(self.learner.update(batch, self.t_env))
                self.updates_due -= 1.0

    def log_training(self) -> None:
        """Statistics of training episodes and updates since the last time."""
        with self.timer("log"):
            self._log_training()

    def _log_training(self) -> None:
        metrics = episode_means(self.episode_stats) | self.training_stats.pop()
        self.episode_stats = []
        metrics["epsilon"] = self.learner.mac.epsilon(self.t_env)
        metrics["episode"] = float(self.episode)
        metrics["updates"] = float(self.learner.n_updates)
        if self.n_aborted:
            metrics["episodes_aborted"] = float(self.n_aborted)
        self.logger.log(self.t_env, metrics)

    def test(self) -> None:
        """Play `test_nepisode` test episodes and log their means with the prefix `test_`."""
        stats: list[EpisodeStats] = []
        episode, aborted = self.test_episode, 0
        with self.timer("test"):
            while len(stats) < self.config.test_nepisode:
                stop_if_requested()
                count = min(self.n_envs, self.config.test_nepisode - len(stats))
                try:
                    rollout = self.runner.collect(episode, count, self.t_env, self.config.test_greedy, test=True)
                except KeyboardInterrupt as error:  # a resumed run begins the test again
                    raise Stopped from error
                episode, aborted = episode + count, aborted + rollout.n_aborted
                stats += rollout.stats
        metrics = episode_means(stats, "test_")
        self.test_episode, self.n_aborted = episode, self.n_aborted + aborted
        self.early_stop.add(metrics)
        self.logger.log(self.t_env, metrics)

    def greedy_actions(self) -> np.ndarray:
        """The first greedy joint action of a test episode, `[N,1|D]`."""
        actions: np.ndarray = self.runner.collect(0, 1, self.t_env, test_mode=True, test=True).batch.data["actions"]
        return actions[0, 0].copy()

    def _show_progress(self) -> None:
        with self.timer("log"):
            self.logger.progress(self.t_env, self.learner.n_updates, self.timer.seconds)

    def save(self) -> None:
        """Write a checkpoint, if the run keeps any."""
        if self.config.save_model:
            path = checkpoint.save(self.models_dir / str(self.t_env), self.state())
            self.logger.info(f"checkpoint: {path.resolve()}")

    def load(self, path: Path) -> None:
        """Networks, targets, optimisers and env steps from a checkpoint; everything else starts anew."""
        state = checkpoint.load(checkpoint.find(path, self.config.load_step))
        self.learner.restore(state["learner"])
        self.t_env = state["t_env"]
        for what in self.next_due:
            self.next_due[what] += self.t_env
        self.logger.info(f"loaded {path} at {self.t_env} env steps")

    def state(self) -> dict[str, Any]:
        """What a checkpoint of the networks holds."""
        return {
            "learner": self.learner.state(),
            "t_env": self.t_env,
            "episode": self.episode,
            "test_episode": self.test_episode,
            "tests_in_a_row": self.early_stop.in_a_row,
            "stop_rule": self.early_stop.rule,
        }

    def _snapshot_if_due(self) -> None:
        by_steps = self.config.save_every > 0 and self.t_env >= self.next_due["snapshot"]
        by_time = self.config.save_every_minutes > 0.0 and monotonic() >= self.snapshot_at
        if by_steps or by_time:
            self.snapshot()

    def snapshot(self) -> None:
        """Write what the run can be resumed from, if it keeps any checkpoint."""
        if not self.config.save_model:
            return
        if self.config.save_every > 0:
            self.next_due["snapshot"] = (self.t_env // self.config.save_every + 1) * self.config.save_every
        with self.timer("save"):
            self.snapshots.save(self.t_env, self.everything(), self.buffer)
        self.snapshot_at = monotonic() + 60.0 * self.config.save_every_minutes

    def everything(self) -> dict[str, Any]:
        """All that the rest of the run depends on, beside the replay buffer."""
        return self.state() | {
            "updates_due": self.updates_due,
            "n_aborted": self.n_aborted,
            "next_due": self.next_due,
            "intervals": self.intervals,
            "episode_stats": self.episode_stats,
            "training_stats": self.training_stats.state(),
            "phases": self.timer.seconds,
            "logger": self.logger.state(),
            "rng": rng_state(),
            "machine": facts_of(self.learner.device),
        }

    def resume(self, reproducible: bool = True) -> None:
        """Go on from the newest whole checkpoint of this run directory.

        Args:
            reproducible: whether seeds determine the environment's episodes.

        Raises:
            CheckpointError: there is none, or another version of the program wrote it.
        """
        state, problems = self.snapshots.load(self.buffer)
        for problem in problems:
            self.logger.warning(f"{problem}; the checkpoint before it is used")
        self._restore(state)
        self.logger.info(f"resumed at {self.t_env} env steps, {self.learner.n_updates} updates")
        for reason in inexact(state["machine"], facts_of(self.learner.device), reproducible):
            self.logger.warning(f"the run goes on, but not bit for bit as without the interruption: {reason}")

    def _restore(self, state: dict[str, Any]) -> None:
        self.learner.restore(state["learner"])
        for name in ("t_env", "episode", "test_episode", "updates_due", "n_aborted", "episode_stats"):
            setattr(self, name, state[name])
        self.early_stop.restore(state["tests_in_a_row"], state.get("stop_rule"))  # older checkpoints have no rule
        self.next_due |= state["next_due"]
        for what, interval in self.intervals.items():
            if 0 < interval < state.get("intervals", self.intervals)[what]:
                self.next_due[what] = min(self.next_due[what], (self.t_env // interval + 1) * interval)
        self.training_stats.restore(state["training_stats"])
        self.timer.seconds |= state["phases"]
        checkpoint.drop_after(self.models_dir, self.t_env)
        self.logger.restore(state["logger"])
        set_rng_state(state["rng"])
