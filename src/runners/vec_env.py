"""Ways to hold E environments: a stack in this process, worker processes, or the environment's own batch.

Shape legend: E environments, N agents, D numbers per action.
"""

from __future__ import annotations

import contextlib
import multiprocessing as mp
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

import numpy as np

from envs.multiagentenv import EnvInfo, EnvSpec, MultiAgentEnv, Observation, Transition, VecEnv
from utils.errors import UserError

POLL_SECONDS = 0.5  # how often a silent worker is checked for being alive
JOIN_SECONDS = 5.0  # how long a worker may take to end before it is killed


class WorkerError(RuntimeError):
    """A worker process raised, died or hung. The message names it."""


def _stack(observations: Sequence[Observation]) -> Observation:
    masks = [o.avail_actions for o in observations if o.avail_actions is not None]
    avail = np.stack(masks) if masks else None
    return Observation(np.stack([o.obs for o in observations]), np.stack([o.state for o in observations]), avail)


class EnvByEnv(VecEnv):
    """Shared by the stack and the workers: keeps the last transition of environments that have ended."""

    def __init__(self, env_info: EnvInfo, n_envs: int) -> None:
        self.env_info, self.n_envs = env_info, n_envs
        self._last: list[Transition] = []

    def reset(self, seeds: Sequence[int]) -> Observation:
        """Start `len(seeds)` episodes; the other environments repeat the first one's observation, inactive."""
        observations = self._reset_all(seeds)
        observations += [observations[0]] * (self.n_envs - len(observations))
        self._last = [Transition(o, 0.0, False, False, {}) for o in observations]
        return _stack(observations)

    def step(self, actions: np.ndarray, active: np.ndarray) -> Transition:
        """Step the active environments; the rest repeat their last transition."""
        for k, transition in self._step_all(actions, np.flatnonzero(active)).items():
            self._last[k] = transition
        keys = sorted({key for transition in self._last for key in transition.info})
        return Transition(
            _stack([t.observation for t in self._last]),
            np.array([t.reward for t in self._last], np.float64),
            np.array([t.terminated for t in self._last], np.bool_),
            np.array([t.truncated for t in self._last], np.bool_),
            {key: np.array([float(t.info.get(key, 0.0)) for t in self._last]) for key in keys},
        )

    def _reset_all(self, seeds: Sequence[int]) -> list[Observation]:
        raise AssertionError("subclass duty")

    def _step_all(self, actions: np.ndarray, which: np.ndarray) -> dict[int, Transition]:
        raise AssertionError("subclass duty")


class EnvStack(EnvByEnv):
    """E environments in this process, stepped one after the other."""

    def __init__(self, make: Callable[[], MultiAgentEnv], n_envs: int) -> None:
        self.envs = [make() for _ in range(n_envs)]
        super().__init__(self.envs[0].env_info, n_envs)

    def _reset_all(self, seeds: Sequence[int]) -> list[Observation]:
        return [env.reset(seed) for env, seed in zip(self.envs, seeds, strict=False)]

    def _step_all(self, actions: np.ndarray, which: np.ndarray) -> dict[int, Transition]:
        return {int(k): self.envs[k].step(actions[k]) for k in which}

    def close(self) -> None:
        """Close every environment."""
        for env in self.envs:
            env.close()


def _leave_to_parent(number: int, frame: FrameType | None) -> None:
    """A handler that does nothing while the parent lives. Unlike SIG_IGN, a game started here does not inherit it."""
    parent = mp.parent_process()
    if parent is not None and not parent.is_alive():
        raise SystemExit(128 + number)


def _worker(pipe: Connection, make: Callable[[], MultiAgentEnv]) -> None:
    """Body of a worker process: answers (command, argument) until told to close or the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent says when to end
    for number in (signal.SIGTERM, signal.SIGHUP):  # so do these, from a cluster or a terminal that closes
        signal.signal(number, _leave_to_parent)
    env = None
    try:
        env = make()
        pipe.send(("ok", env.env_info))
        for command, argument in _commands(pipe):
            pipe.send(("ok", getattr(env, command)(argument)))
    except Exception as error:
        kind = "user error" if isinstance(error, UserError) else "error"
        with contextlib.suppress(ConnectionError):  # the parent may have gone
            pipe.send((kind, f"{error}\n{traceback.format_exc()}"))
    finally:
        if env is not None:
            env.close()


def _commands(pipe: Connection) -> Iterator[tuple[str, Any]]:
    """(command, argument) until told to close or the parent is gone."""
    while True:
        try:
            command, argument = pipe.recv()
        except (EOFError, ConnectionError):
            return  # nobody is left to answer
        if command == "close":
            return
        yield command, argument


class ProcessVecEnv(EnvByEnv):
    """One worker process per environment; for environments that need a core each, such as StarCraft II.

    Args:
        make: picklable; makes one environment, called in the worker.
        n_envs: E.
        timeout: seconds a worker may take to answer before the run ends with a `WorkerError`.
    """

    def __init__(self, make: Callable[[], MultiAgentEnv], n_envs: int, timeout: float = 60.0) -> None:
        context = mp.get_context("spawn")  # forking a process with running threads is not safe
        self.timeout = timeout
        self.pipes: list[Connection] = []
        self.processes: list[Any] = []
        for k in range(n_envs):
            ours, theirs = context.Pipe()
            process = context.Process(target=_worker, args=(theirs, make), name=f"env worker {k}", daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)
        try:
            infos = [self._receive(k) for k in range(n_envs)]
        except BaseException:
            self.close()
            raise
        super().__init__(infos[0], n_envs)

    def _receive(self, k: int) -> Any:
        deadline = time.monotonic() + self.timeout
        while not self.pipes[k].poll(POLL_SECONDS):
            if not self.processes[k].is_alive() and not self.pipes[k].poll(0):
                raise WorkerError(f"environment worker {k} died with exit code {self.processes[k].exitcode}")
            if time.monotonic() > deadline:
                raise WorkerError(f"environment worker {k} did not answer within {self.timeout:g} s")
        try:
            status, answer = self.pipes[k].recv()
        except (EOFError, ConnectionResetError) as error:
            self.processes[k].join(JOIN_SECONDS)
            raise WorkerError(f"environment worker {k} died with exit code {self.processes[k].exitcode}") from error
        if status == "user error":
            raise UserError(answer.splitlines()[0])
        if status == "error":
            raise WorkerError(f"environment worker {k} raised: {answer}")
        return answer

    def _send(self, k: int, command: str, argument: Any) -> None:
        try:
            self.pipes[k].send((command, argument))
        except (BrokenPipeError, ConnectionResetError):
            self._receive(k)  # says how it died
            raise

    def _reset_all(self, seeds: Sequence[int]) -> list[Observation]:
        for k, seed in enumerate(seeds):
            self._send(k, "reset", seed)
        return [self._receive(k) for k in range(len(seeds))]

    def _step_all(self, actions: np.ndarray, which: np.ndarray) -> dict[int, Transition]:
        for k in which:
            self._send(int(k), "step", actions[k])
        return {int(k): self._receive(int(k)) for k in which}

    def close(self) -> None:
        """Ask every worker to end, then kill those that do not; a few seconds, however many hang."""
        for pipe in self.pipes:
            with contextlib.suppress(OSError):
                pipe.send(("close", None))
        deadline = time.monotonic() + JOIN_SECONDS
        try:
            for process in self.processes:
                process.join(max(0.0, deadline - time.monotonic()))
        finally:  # also after Ctrl-C: Python waits for its processes when it ends
            for process in self.processes:
                process.kill()
        for process in self.processes:
            process.join(JOIN_SECONDS)
        for pipe in self.pipes:
            pipe.close()


def _batched(spec: EnvSpec, n_envs: int, timeout: float) -> VecEnv:
    if spec.batched is None:
        raise UserError("runner=batched: this environment cannot be batched; use runner=episode or runner=parallel")
    return spec.batched(n_envs)


def _parallel(spec: EnvSpec, n_envs: int, timeout: float) -> VecEnv:
    if spec.prepare is not None:
        spec.prepare()
    return ProcessVecEnv(spec.single, n_envs, timeout)


def _ray(spec: EnvSpec, n_envs: int, timeout: float) -> VecEnv:
    from runners.ray_env import RayVecEnv  # here: Ray need not be installed for the others

    if spec.prepare is not None:
        spec.prepare()
    return RayVecEnv(spec.single, n_envs, timeout)


REGISTRY: dict[str, Callable[[EnvSpec, int, float], VecEnv]] = {
    "episode": lambda spec, n_envs, timeout: EnvStack(spec.single, n_envs),
    "parallel": _parallel,
    "batched": _batched,
    "ray": _ray,
}


def make_vec_env(spec: EnvSpec, runner: str, n_envs: int, timeout: float = 60.0) -> VecEnv:
    """The E environments for `runner`; "auto" is batched where the environment can, else episode."""
    if runner == "auto":
        runner = "batched" if spec.batched is not None else spec.preferred_runner
    return REGISTRY[runner](spec, n_envs, max(timeout, spec.answer_seconds))
