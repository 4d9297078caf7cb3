"""The contract finds what is wrong and says it: one broken environment per rule; check_env.py prints and exits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import check_env
from components.action_space import ContinuousActions
from envs.contract import check
from envs.multiagentenv import EnvInfo, EnvSpec, Observation, Transition
from helpers import CountingEnv


class Broken(CountingEnv):
    """CountingEnv with one fault: `fault(observation or transition) -> the wrong one`."""

    seen = staticmethod(lambda o: o)
    stepped = staticmethod(lambda t: t)

    def reset(self, seed):
        return self.seen(super().reset(seed))

    def step(self, actions):
        out = super().step(actions)
        return self.stepped(out._replace(observation=self.seen(out.observation)))


def broken(**parts):
    """Problems of a class with these attributes."""
    info = parts.pop("info", {})
    cls = type("Here", (Broken,), {name: staticmethod(value) for name, value in parts.items()})

    def make():
        env = cls()
        env.env_info = replace(env.env_info, **info)
        return env

    return check(EnvSpec(single=make)).problems


def test_a_correct_environment_has_no_problem():
    report = check(EnvSpec(single=CountingEnv))
    assert report.problems == []
    assert len(report.findings) == 6 and report.info is not None and len(report.trace.transitions) >= 1


FAULTS = {
    "must have shape (2, 3) (env_info), got (2, 2)": {"seen": lambda o: o._replace(obs=o.obs[:, :2])},
    "obs must be float32, got float64": {"seen": lambda o: o._replace(obs=o.obs.astype(np.float64))},
    "state has numbers that are not finite": {"seen": lambda o: o._replace(state=o.state * np.nan)},
    "avail_actions must be bool": {"seen": lambda o: o._replace(avail_actions=o.avail_actions.astype(int))},
    "avail_actions must be an array, got None": {"seen": lambda o: o._replace(avail_actions=None)},
    "has no available action": {"seen": lambda o: o._replace(avail_actions=o.avail_actions & False)},
    "must be an Observation": {"seen": lambda o: tuple(o)},
    "must return a Transition": {"stepped": lambda t: tuple(t)},
    "one finite number for the team, got array": {"stepped": lambda t: t._replace(reward=np.ones(2))},
    "one finite number for the team, got nan": {"stepped": lambda t: t._replace(reward=float("nan"))},
    "terminated must be True or False": {"stepped": lambda t: t._replace(terminated=1.0)},
    "both True": {"stepped": lambda t: t._replace(terminated=True, truncated=True)},
    "info['who'] must be a number": {"stepped": lambda t: t._replace(info={"who": "x"})},
    "not over after episode_limit = 6": {"stepped": lambda t: t._replace(terminated=False, truncated=False)},
    "truncated after 1 steps": {"stepped": lambda t: t._replace(terminated=False, truncated=True)},
    "avail_actions must be None for continuous": {"info": {"action_space": ContinuousActions(1, 0.0, 1.0)}},
    "env_info.n_agents must be an int >= 1, got 0": {"info": {"n_agents": 0}},
    "engine_version must not be empty": {"info": {"engine_version": ""}},
}


@pytest.mark.parametrize("message", FAULTS)
def test_every_fault_is_named(message):
    problems = broken(**FAULTS[message])
    assert any(message in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


def test_randomness_beside_the_seed_is_found():
    """An episode that depends on what was played before, and one that differs between two environments."""
    rng = np.random.default_rng(0)
    noisy = broken(seen=lambda o: o._replace(obs=rng.normal(size=(2, 3)).astype(np.float32)))
    assert any("played again, seed 7 gives another obs at step 0" in problem for problem in noisy)
    late = broken(stepped=lambda t: t._replace(reward=float(rng.normal())))
    assert any("another reward or end at step 0" in problem for problem in late)


def test_exceptions_are_findings_with_their_place():
    problems = check(EnvSpec(single=lambda: CountingEnv(fail_at=1))).problems
    assert any("RuntimeError: the environment broke (" in p and "helpers.py:" in p for p in problems)
    assert any("pickle" in p for p in problems)  # a lambda cannot be sent to a worker


MINE = """
from helpers import CountingEnv
from envs import MultiAgentEnv
class Good(CountingEnv):
    pass
class Bad(CountingEnv):
    def step(self, actions):
        return super().step(actions)._replace(reward="much")
class Unfinished(MultiAgentEnv):
    def reset(self, seed):
        return None
def function():
    return None
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a module of environments, as the current one."""
    (tmp_path / "my_own_envs.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    return tmp_path


def test_check_env_prints_and_exits(here, capsys):
    assert check_env.main(["my_own_envs:Good", "with", "env_args.limit=4"]) == 0
    out = capsys.readouterr().out
    assert "at most 4 steps" in out and out.count("\nok ") == 6 and out.endswith("all checks hold\n")
    assert check_env.main(["my_own_envs:Bad"]) == 1
    out = capsys.readouterr().out
    assert "FAILED  an episode of random actions, seed 7: step 0: the reward must be" in out
    assert out.endswith("1 of 5 checks failed\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["my_own_envs:Missing"], "has no attribute 'Missing'"),
        (["no_such_module:Env"], "No module named 'no_such_module'"),
        (["my_own_envs:function"], "must be a class derived from envs.MultiAgentEnv"),
        (["my_own_envs:Unfinished"], "lacks step"),
        (["sc3"], "did you mean 'sc2'"),
        (["my_own_envs:Good", "with", "env_args.limits=4"], "did you mean 'limit'"),
        (["my_own_envs:Good", "env_args.limit=4"], "write `with` before"),
        (["my_own_envs:Good", "with", "limit=4"], "only env_args.key=value can be set here, got 'limit'"),
        (["my_own_envs:Good", "with", "env_args=4"], "env_args is a mapping"),
    ],
)
def test_bad_input_is_one_line(here, capsys, arguments, message):
    assert check_env.main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.splitlines()) == 1


def test_types_of_the_contract_are_named_tuples():
    """Template and checks rely on `_replace` and on fields by name."""
    assert Observation._fields == ("obs", "state", "avail_actions")
    assert Transition._fields[1:] == ("reward", "terminated", "truncated", "info")
    assert EnvInfo.__dataclass_fields__["unit_dim"].default is None
