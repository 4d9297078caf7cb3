"""The episode loop, once, for training and testing and for every kind of vectorised environment.

Episode number k draws everything random (environment, exploration, policy samples) from seeds that depend on the
run's seed and on k only. So the same weights give the same episode k whatever E and whichever runner.

Shape legend: E environments, T steps, N agents, A actions, D action dimensions, H hidden.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch as th

from components.episode_buffer import EpisodeBatch
from controllers.basic_controller import ActInputs, BasicMAC
from envs.multiagentenv import Observation, Transition, VecEnv
from utils.seeding import derive_seed
from utils.timehelper import PhaseTimer

EpisodeStats = dict[str, float]
RETURN_KEY = "game_return"  # info key: the reward in the game's own units, where it differs from the learner's


@dataclass
class Rollout:
    """Finished episodes: `batch.episode(k)` for k in `kept`, and their statistics in the same order.

    `n_steps` counts environment steps, those of aborted episodes too; `n_aborted` episodes were dropped.
    """

    batch: EpisodeBatch
    kept: list[int]
    stats: list[EpisodeStats]
    n_steps: int
    n_aborted: int


@dataclass
class _Progress:
    """Bookkeeping of E running episodes."""

    active: np.ndarray  # [E] bool
    returns: np.ndarray  # [E]
    final_info: list[dict[str, Any]] = field(default_factory=list)


class Runner:
    """Plays episodes with the controller, on the host: a step of small networks is over before a GPU is asked.

    Args:
        env: E environments.
        mac: the controller, wherever it learns.
        seed: the run's seed.
        timer: where time goes ("env", "act").
    """

    def __init__(self, env: VecEnv, mac: BasicMAC, seed: int, timer: PhaseTimer) -> None:
        self.env, self.learnt, self.seed, self.timer = env, mac, seed, timer
        here = next(mac.parameters()).device.type == "cpu"
        self.mac = mac if here else copy.deepcopy(mac).cpu()
        self.info = env.env_info
        self.batch = EpisodeBatch(env.env_info, env.n_envs)

    @th.inference_mode()
    def collect(
        self, first_episode: int, count: int, t_env: int, test_mode: bool = False, test: bool = False
    ) -> Rollout:
        """Play episodes `first_episode .. first_episode + count - 1` (count <= E) to their ends.

        Args:
            first_episode: number of the first episode, within training or within testing.
            count: how many, at most E.
            t_env: env steps so far, for epsilon.
            test_mode: greedy; otherwise actions are explored or sampled as in training.
            test: a test episode: its own seeds, no epsilon.
        """
        split = "test" if test else "train"
        seeds = [derive_seed(self.seed, split, first_episode + k) for k in range(count)]
        noise = self._draw_noise(seeds)  # [T,E,N,noise_dim]
        epsilon = 0.0 if test else self.mac.epsilon(t_env)
        n_envs = self.env.n_envs
        progress = _Progress(np.arange(n_envs) < count, np.zeros(n_envs), [{} for _ in range(n_envs)])
        if self.mac is not self.learnt:
            with self.timer("act"):
                self.mac.load_state_dict(self.learnt.state_dict())
        hidden = self.mac.init_hidden(n_envs)
        last_actions = th.zeros(n_envs, self.info.n_agents, self.info.action_space.enc_dim)
        with self.timer("env"):
            observation = self.env.reset(seeds)
        t = 0
        while progress.active.any():
            self._write_observation(t, observation)
            with self.timer("act"):
                act = self._act_inputs(t, last_actions, noise)
                actions, hidden = self.mac.select_actions(act, hidden, epsilon, test_mode)
                last_actions = self.info.action_space.encode(actions)
                taken = actions.numpy()
            with self.timer("env"):
                transition = self.env.step(taken, progress.active)
            self._write_transition(t, taken, transition, progress)
            observation = transition.observation
            t += 1
        self._write_observation(t, observation)
        return self._finish(count, progress)

    def _draw_noise(self, seeds: list[int]) -> th.Tensor:
        shape = (self.info.episode_limit, self.info.n_agents, self.info.action_space.noise_dim)
        noise = np.zeros((shape[0], self.env.n_envs, *shape[1:]), np.float32)
        for k, seed in enumerate(seeds):
            rng = np.random.Generator(np.random.SFC64(derive_seed(seed, "act")))
            noise[:, k] = rng.random(shape, dtype=np.float32)
        return th.from_numpy(noise)

    def _act_inputs(self, t: int, last_actions: th.Tensor, noise: th.Tensor) -> ActInputs:
        data = self.batch.data
        return ActInputs(
            obs=th.from_numpy(data["obs"][t]),
            state=th.from_numpy(data["state"][t]),
            avail=th.from_numpy(data["avail_actions"][t]) if "avail_actions" in data else None,
            last_actions=last_actions,
            noise=noise[t],
        )

    def _write_observation(self, t: int, observation: Observation) -> None:
        data = self.batch.data
        data["obs"][t] = observation.obs
        data["state"][t] = observation.state
        if observation.avail_actions is not None:
            data["avail_actions"][t] = observation.avail_actions

    def _write_transition(self, t: int, taken: np.ndarray, transition: Transition, progress: _Progress) -> None:
        data = self.batch.data
        data["actions"][t] = taken
        data["reward"][t, :, 0] = transition.reward
        data["terminated"][t, :, 0] = transition.terminated
        gained = transition.info.get(RETURN_KEY, transition.reward)
        progress.returns += np.where(progress.active, gained, 0.0)
        aborted = np.asarray(transition.info.get("aborted", False), np.bool_)
        ended = progress.active & (transition.terminated | transition.truncated | aborted)
        self.batch.length[ended] = t + 1
        for k in np.flatnonzero(ended):
            progress.final_info[k] = {key: np.asarray(value)[k] for key, value in transition.info.items()}
        progress.active = progress.active & ~ended

    def _finish(self, count: int, progress: _Progress) -> Rollout:
        infos = progress.final_info[:count]
        kept = [k for k in range(count) if not infos[k].pop("aborted", False)]
        stats = []
        for k in kept:
            extra = {key: float(value) for key, value in infos[k].items() if key != RETURN_KEY}
            stats.append({"return": float(progress.returns[k]), "ep_length": float(self.batch.length[k]), **extra})
        return Rollout(self.batch, kept, stats, int(self.batch.length[:count].sum()), count - len(kept))
