"""Rollout workers as Ray actors, on this machine or on others, for one learner. Dead ones are replaced.

An episode's randomness follows from its seed, so a worker that is lost is made again elsewhere: the episode is started
anew and its actions are repeated. If the observation is then what it was (the embedded engine, games), the episode
goes on as if nothing had happened; if not (StarCraft II), it is marked as aborted and the runner drops it.

Shape legend: N agents, D numbers per action.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from envs.multiagentenv import EnvInfo, MultiAgentEnv, Observation, Transition
from runners.vec_env import EnvByEnv, WorkerError
from utils import raycluster
from utils.errors import UserError

REPLACEMENTS = 3  # in a row, of one worker, before the run ends
START_SECONDS = 300.0  # for a worker to be placed and to import what it needs


class Worker:
    """The remote side: one environment."""

    def __init__(self, make: Callable[[], MultiAgentEnv]) -> None:
        self.env = make()

    def info(self) -> EnvInfo:
        """Sizes."""
        return self.env.env_info

    def reset(self, seed: int) -> Observation:
        """Start an episode."""
        return self.env.reset(seed)

    def step(self, actions: np.ndarray) -> Transition:
        """Take the joint action `[N,1|D]`."""
        return self.env.step(actions)

    def repeat(self, seed: int, actions: Sequence[np.ndarray]) -> Observation:
        """Play an episode again up to the last of `actions`; the observation after it."""
        seen = self.env.reset(seed)
        for joint in actions:
            transition = self.env.step(joint)
            seen = transition.observation
            if transition.terminated or transition.truncated:
                break  # another episode than the first time
        return seen

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


class RayVecEnv(EnvByEnv):
    """E environments, each in a Ray actor that takes one CPU of some machine.

    The cluster is the one this process is connected to, or the one named by RAY_ADDRESS, or this machine.

    Args:
        make: picklable; makes one environment, called in the worker.
        n_envs: E.
        timeout: seconds a worker may take to answer a step before it counts as lost.

    Raises:
        UserError: no Ray, or the cluster has too few CPUs for all workers.
    """

    def __init__(self, make: Callable[[], MultiAgentEnv], n_envs: int, timeout: float = 60.0) -> None:
        self.ray = raycluster.load()
        self._ours = raycluster.connect(raycluster.address_of_environment(), n_envs)
        self.timeout, self.replaced = timeout, 0
        self._make = self.ray.put(make)
        self._remote = self.ray.remote(num_cpus=1, scheduling_strategy="SPREAD", max_restarts=0)(Worker)
        self._failures = [0] * n_envs
        self._seeds: list[int] = [0] * n_envs
        self._taken: list[list[np.ndarray]] = [[] for _ in range(n_envs)]
        self._seen: list[Any] = [None] * n_envs  # the newest observation of each
        self.workers: list[Any] = []
        try:
            cpus = self.ray.cluster_resources().get("CPU", 0.0)
            if cpus < n_envs:
                raise UserError(
                    f"runner=ray: {n_envs} workers (batch_size_run) need a CPU each, the cluster has {cpus:g}"
                )
            self.workers = [self._remote.remote(self._make) for _ in range(n_envs)]
            infos = self._answers({k: worker.info.remote() for k, worker in enumerate(self.workers)}, START_SECONDS)
        except BaseException:
            self.close()
            raise
        if broken := [error for error in infos.values() if isinstance(error, Exception)]:
            self.close()
            raise WorkerError(f"environment workers did not start: {broken[0]}") from broken[0]
        super().__init__(infos[0], n_envs)

    def _answers(self, references: dict[int, Any], timeout: float) -> dict[int, Any]:
        """Answers by worker; that of a worker that died or hangs is the exception that says so.

        Raises:
            UserError, WorkerError: an environment raised; doing the same again would raise again.
        """
        errors = self.ray.exceptions
        ready, _ = self.ray.wait(list(references.values()), num_returns=len(references), timeout=timeout)
        answers: dict[int, Any] = {}
        for k, reference in references.items():
            try:
                answers[k] = self.ray.get(reference) if reference in ready else _silent(k, timeout)
            except errors.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, UserError):
                    raise UserError(str(cause)) from error
                raise WorkerError(f"environment worker {k} raised: {error}") from error
            except errors.RayError as error:
                answers[k] = error
        return answers

    def _reset_all(self, seeds: Sequence[int]) -> list[Observation]:
        for k, seed in enumerate(seeds):
            self._seeds[k], self._taken[k] = seed, []
        found = self._answers({k: self.workers[k].reset.remote(seed) for k, seed in enumerate(seeds)}, self.timeout)
        for k, answer in found.items():
            self._seen[k] = self._replace(k, answer) if isinstance(answer, Exception) else answer
            self._failures[k] = 0
        return self._seen[: len(seeds)]

    def _step_all(self, actions: np.ndarray, which: np.ndarray) -> dict[int, Transition]:
        asked = {int(k): self.workers[k].step.remote(actions[k]) for k in which}
        answers = self._answers(asked, self.timeout)
        return {k: self._finished(k, actions[k], answer) for k, answer in answers.items()}

    def _finished(self, k: int, joint: np.ndarray, answer: Any) -> Transition:
        """The transition of worker `k`; a lost worker is replaced and takes the step again."""
        while not isinstance(answer, Transition):
            if not _equal(self._seen[k], self._replace(k, answer)):
                return Transition(self._seen[k], 0.0, False, True, {"aborted": 1.0})  # the runner counts and drops it
            answer = self._answers({k: self.workers[k].step.remote(joint)}, self.timeout)[k]
        self._failures[k] = 0
        self._taken[k].append(joint.copy())
        self._seen[k] = answer.observation
        return answer

    def _replace(self, k: int, reason: Exception) -> Observation:
        """A new worker in place of worker `k`, its episode repeated as far as it was; the observation there."""
        while True:
            self._failures[k] += 1
            if self._failures[k] > REPLACEMENTS:
                raise WorkerError(f"environment worker {k} was lost {REPLACEMENTS + 1} times in a row: {reason}")
            self.replaced += 1
            self.ray.kill(self.workers[k])
            self.workers[k] = self._remote.remote(self._make)
            request = self.workers[k].repeat.remote(self._seeds[k], self._taken[k])
            answer = self._answers({k: request}, START_SECONDS)[k]
            if not isinstance(answer, Exception):
                seen: Observation = answer
                return seen
            reason = answer

    def close(self) -> None:
        """End the workers, and the cluster if it was started for them."""
        for worker in self.workers:
            self.ray.kill(worker)
        self.workers = []
        if self._ours:
            self.ray.shutdown()


def _silent(k: int, seconds: float) -> Exception:
    return TimeoutError(f"environment worker {k} did not answer within {seconds:g} s")


def _equal(left: Observation, right: Observation) -> bool:
    pairs: Iterable[tuple[Any, Any]] = zip(left, right, strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)
