"""What every environment must do, as checks that can be run: by `python src/check_env.py` and by the tests.

Shape legend: N agents, O observation, S state, A actions, D action dimensions.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Number
from time import perf_counter
from typing import Any

import numpy as np

from components.action_space import DiscreteActions
from envs.multiagentenv import EnvInfo, EnvSpec, MultiAgentEnv, Observation, Transition
from utils.errors import UserError, shown

SEED, OTHER_SEED = 7, 8


class ContractError(Exception):
    """An environment does not keep the contract; the message says where and what was expected."""


def require(holds: bool, message: str) -> None:
    """Raise `ContractError` unless `holds`."""
    if not holds:
        raise ContractError(message)


@dataclass
class Trace:
    """One episode played with random available actions."""

    observations: list[Observation] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def total(self) -> float:
        """Sum of the rewards."""
        return float(sum(t.reward for t in self.transitions))


@dataclass(frozen=True)
class Finding:
    """The result of one check; `problem` is empty if it holds."""

    check: str
    problem: str


@dataclass
class Report:
    """All findings, what the environment says about itself, and the first episode where there was one."""

    findings: list[Finding]
    info: EnvInfo | None = None
    trace: Trace | None = None

    @property
    def problems(self) -> list[str]:
        """One line per broken check."""
        return [f"{one.check}: {one.problem}" for one in self.findings if one.problem]


def check(spec: EnvSpec) -> Report:
    """Run every check on a new environment; one that breaks does not stop those that can still be made.

    Raises:
        UserError: the arguments do not fit this environment.
    """
    report = Report([])

    def attempt(name: str, action: Callable[[], Any]) -> Any:
        try:
            result, problem = action(), ""
        except UserError:
            raise
        except ContractError as error:
            result, problem = None, " ".join(str(error).split())
        except Exception as error:  # the environment's own: a finding, whatever it is
            result, problem = None, " ".join(f"{type(error).__name__}: {error} ({_place(error)})".split())
        report.findings.append(Finding(name, problem))
        return result

    env = attempt("can be made", spec.single)
    if env is None:
        return report
    report.info = attempt("says what it is (env_info)", lambda: checked_info(env))
    if report.info is not None:
        report.trace = attempt(f"an episode of random actions, seed {SEED}", lambda: play(env, SEED))
    if report.trace is not None:
        first = report.trace
        attempt("the same seed gives the same episode, also after another one", lambda: check_repeats(env, spec, first))
    attempt("can be sent to worker processes (pickle)", lambda: pickle.loads(pickle.dumps(spec.single)))
    attempt("can be closed", env.close)
    return report


def _place(error: BaseException) -> str:
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return "?" if frame is None else f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}"


def checked_info(env: MultiAgentEnv) -> EnvInfo:
    """`env.env_info`, if its numbers make sense."""
    info = getattr(env, "env_info", None)
    require(isinstance(info, EnvInfo), f"env_info must be an EnvInfo, got {shown(info)}")
    assert isinstance(info, EnvInfo)
    for name in ("n_agents", "obs_dim", "state_dim", "episode_limit"):
        value = getattr(info, name)
        require(isinstance(value, int) and value >= 1, f"env_info.{name} must be an int >= 1, got {shown(value)}")
    require(bool(info.engine and info.engine_version), "env_info.engine and engine_version must not be empty")
    return info


def play(env: MultiAgentEnv, seed: int) -> Trace:
    """An episode with random available actions drawn from `seed`; every step is checked.

    Raises:
        ContractError: something is not as the contract says; the message names the step.
    """
    info, rng, trace = env.env_info, np.random.default_rng(seed), Trace()
    begin = perf_counter()
    seen = env.reset(seed)
    for t in range(info.episode_limit):
        check_observation(seen, info, f"observation {t}")
        trace.observations.append(copied(seen))
        transition = env.step(random_actions(seen, info, rng))
        check_transition(transition, f"step {t}")
        trace.transitions.append(transition)
        seen = transition.observation
        if transition.terminated or transition.truncated:
            break
    trace.seconds = perf_counter() - begin
    last, steps = trace.transitions[-1], len(trace.transitions)
    check_observation(seen, info, "the final observation")
    trace.observations.append(copied(seen))
    require(
        bool(last.terminated or last.truncated),
        f"not over after episode_limit = {info.episode_limit} steps: set truncated=True there",
    )
    require(
        not last.truncated or steps == info.episode_limit,
        f"truncated after {steps} steps: a time limit is env_info.episode_limit ({info.episode_limit}), other ends are "
        "terminated",
    )
    return trace


def random_actions(seen: Observation, info: EnvInfo, rng: np.random.Generator) -> np.ndarray:
    """Uniform over available actions `[N,1]` int64, or in the box `[N,D]` float32."""
    space = info.action_space
    if isinstance(space, DiscreteActions):
        assert seen.avail_actions is not None
        return np.array([[rng.choice(np.flatnonzero(row))] for row in seen.avail_actions])
    return rng.uniform(space.low, space.high, (info.n_agents, space.dim)).astype(np.float32)


def check_observation(seen: Observation, info: EnvInfo, where: str) -> None:
    """Shapes and types as in env_info, finite numbers, somewhere to go for everyone."""
    require(isinstance(seen, Observation), f"{where} must be an Observation, got {shown(seen)}")
    for name, shape in (("obs", (info.n_agents, info.obs_dim)), ("state", (info.state_dim,))):
        _check_array(getattr(seen, name), shape, np.dtype(np.float32), f"{where}: {name}")
        require(bool(np.isfinite(getattr(seen, name)).all()), f"{where}: {name} has numbers that are not finite")
    space, avail = info.action_space, seen.avail_actions
    if not isinstance(space, DiscreteActions):
        require(avail is None, f"{where}: avail_actions must be None for continuous actions")
        return
    _check_array(avail, (info.n_agents, space.n_actions), np.dtype(np.bool_), f"{where}: avail_actions")
    assert avail is not None
    stuck = np.flatnonzero(~avail.any(-1))
    require(not len(stuck), f"{where}: agent {stuck[:1]} has no available action; leave one that does nothing")


def _check_array(value: Any, shape: tuple[int, ...], dtype: np.dtype[Any], what: str) -> None:
    require(isinstance(value, np.ndarray), f"{what} must be an array, got {shown(value)}")
    require(value.shape == shape, f"{what} must have shape {shape} (env_info), got {value.shape}")
    require(value.dtype == dtype, f"{what} must be {dtype}, got {value.dtype}")


def check_transition(step: Transition, where: str) -> None:
    """A finite team reward, at most one kind of end, numbers in info."""
    require(isinstance(step, Transition), f"{where} must return a Transition, got {shown(step)}")
    require(
        isinstance(step.reward, Number) and math.isfinite(float(step.reward)),  # type: ignore[arg-type]
        f"{where}: the reward must be one finite number for the team, got {shown(step.reward)}",
    )
    for name in ("terminated", "truncated"):
        value = getattr(step, name)
        require(isinstance(value, (bool, np.bool_)), f"{where}: {name} must be True or False, got {shown(value)}")
    require(not (step.terminated and step.truncated), f"{where}: terminated and truncated are both True")
    for key, value in step.info.items():
        require(isinstance(value, (Number, np.bool_)), f"{where}: info[{key!r}] must be a number, got {shown(value)}")


def check_repeats(env: MultiAgentEnv, spec: EnvSpec, first: Trace) -> None:
    """Play another seed, then the first again, here and in a second environment: equal episodes."""
    play(env, OTHER_SEED)
    other = spec.single()
    try:
        for trace, where in ((play(env, SEED), "played again"), (play(other, SEED), "in a second environment")):
            _require_equal(first, trace, where)
    finally:
        other.close()


def _require_equal(first: Trace, again: Trace, where: str) -> None:
    lengths = len(first.transitions), len(again.transitions)
    require(lengths[0] == lengths[1], f"{where}, seed {SEED} gives {lengths[1]} steps instead of {lengths[0]}")
    for t, (a, b) in enumerate(zip(first.observations, again.observations, strict=True)):
        for name in ("obs", "state", "avail_actions"):
            equal = np.array_equal(getattr(a, name), getattr(b, name))
            require(equal, f"{where}, seed {SEED} gives another {name} at step {t}: draw everything from reset's seed")
    for t, (one, two) in enumerate(zip(first.transitions, again.transitions, strict=True)):
        same = (float(one.reward), one.terminated, one.truncated) == (float(two.reward), two.terminated, two.truncated)
        require(
            same, f"{where}, seed {SEED} gives another reward or end at step {t}: draw everything from reset's seed"
        )


def copied(seen: Observation) -> Observation:
    """A copy: an environment may reuse its arrays."""
    avail = None if seen.avail_actions is None else seen.avail_actions.copy()
    return Observation(seen.obs.copy(), seen.state.copy(), avail)
