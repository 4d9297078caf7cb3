"""Max of Two Quadratics: the printed formula, its geometry, units, more agents, the contract."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import envs
from components.action_space import ContinuousActions
from envs.differential_game import MaxOfTwoQuadratics, MTQArgs, grid_actions, max_of_two_quadratics, outcome
from utils.configfile import CONFIG_DIR
from utils.errors import UserError

FINE_GRID = 801  # points per axis for shares and means
COORDINATE = st.floats(-10, 10)


def printed(u1: float, u2: float) -> float:
    """The formula as printed in the paper, term by term."""
    f1 = 0.8 * (-(((u1 + 5) / 3) ** 2) - ((u2 + 5) / 3) ** 2)
    f2 = 1 * (-(((u1 - 5) / 1) ** 2) - ((u2 - 5) / 1) ** 2) + 10
    return max(f1, f2)


@given(COORDINATE, COORDINATE)
@settings(derandomize=True, deadline=None)
def test_two_agents_are_the_printed_formula(u1: float, u2: float) -> None:
    assert max_of_two_quadratics(np.array([u1, u2])) == pytest.approx(printed(u1, u2), abs=1e-9)


@pytest.mark.parametrize(
    ("joint", "reward"), [((5, 5), 10.0), ((-5, -5), 0.0), ((0, 0), -40 / 9), ((10, 10), -40.0), ((-10, -10), -40 / 9)]
)
def test_oracle_points(joint: tuple[float, float], reward: float) -> None:
    assert max_of_two_quadratics(np.array(joint)) == pytest.approx(reward, abs=1e-12)


def test_geometry_of_the_box() -> None:
    u = grid_actions(FINE_GRID)[..., 0].astype(float)
    r = max_of_two_quadratics(u)
    narrow = 10 - ((u - 5) ** 2).sum(-1)
    assert r.max() == pytest.approx(10.0, abs=1e-9)
    assert r.min() == pytest.approx(-40.0, abs=1e-6)
    assert (narrow >= r - 1e-12).mean() == pytest.approx(0.208, abs=0.002)
    weights = np.ones(FINE_GRID)
    weights[[0, -1]] = 0.5  # trapezoidal rule
    mean = np.average(r, weights=np.outer(weights, weights).ravel())
    assert mean == pytest.approx(-6.900, abs=1e-3)
    diagonal = np.linspace(-10, 10, 20001)
    wins = 10 - 2 * (diagonal - 5) ** 2 > -1.6 * ((diagonal + 5) / 3) ** 2
    assert diagonal[wins.argmax()] == pytest.approx(1.95, abs=0.005)
    assert wins[wins.argmax() :].sum() >= (diagonal > 1.96).sum() - 2  # up to the tie at (10, 10)


def test_best_responses() -> None:
    own = np.linspace(-10, 10, 2001)

    def best(other: float) -> float:
        return float(own[max_of_two_quadratics(np.stack((own, np.full_like(own, other)), -1)).argmax()])

    assert [best(v) for v in (-10, -5, 0)] == pytest.approx([-5, -5, -5])
    assert [best(v) for v in (2, 5, 8)] == pytest.approx([5, 5, 5])
    marginal = {u: max_of_two_quadratics(np.stack((np.full_like(own, u), own), -1)).mean() for u in (4.09, -5.0)}
    assert marginal[4.09] == pytest.approx(-3.53, abs=0.02)
    assert marginal[-5.0] == pytest.approx(-5.19, abs=0.02)


@given(st.integers(1, 9), st.integers(0, 2**31))
@settings(derandomize=True, deadline=None, max_examples=50)
def test_more_agents_keep_section_range_and_symmetry(n_agents: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    u = rng.uniform(-10, 10)
    assert max_of_two_quadratics(np.full(n_agents, u)) == pytest.approx(printed(u, u), abs=1e-9)
    joint = rng.uniform(-10, 10, n_agents)
    r = max_of_two_quadratics(joint)
    assert -40.0 - 1e-9 <= r <= 10.0
    assert max_of_two_quadratics(rng.permutation(joint)) == pytest.approx(r, abs=1e-9)


def test_units_of_reward_and_return() -> None:
    env = envs.resolve("mtq", {}).single()
    first = env.reset(0)
    assert first.avail_actions is None
    assert first.obs.tolist() == [[1.0], [1.0]]
    transition = env.step(np.full((2, 1), 5.0, np.float32))
    assert transition.reward == pytest.approx(1.0)
    assert transition.info["game_return"] == pytest.approx(10.0)
    assert (transition.terminated, transition.truncated) == (True, False)
    assert isinstance(env.env_info.action_space, ContinuousActions)
    assert (env.env_info.action_space.low, env.env_info.action_space.high) == (-10.0, 10.0)
    unscaled = envs.resolve("mtq", {"reward_scale": 1}).single()
    unscaled.reset(0)
    assert unscaled.step(np.zeros((2, 1))).reward == pytest.approx(-40 / 9)


def test_outside_the_box_and_not_a_number() -> None:
    env = MaxOfTwoQuadratics()
    outside, border = (env.rewards(np.full((1, 2, 1), u))[0] for u in (10.5, 10.0))
    assert outside == border
    with pytest.raises(ValueError, match="finite"):
        env.rewards(np.array([[[np.nan], [0.0]]]))


def test_batched_equals_single() -> None:
    spec = pickle.loads(pickle.dumps(envs.resolve("mtq", {"n_agents": 3})))
    single, batched = spec.single(), spec.batched(4)
    actions = np.random.default_rng(0).uniform(-10, 10, (4, 3, 1)).astype(np.float32)
    actions[3] = np.nan  # idle
    batched.reset([0, 1, 2])
    both = batched.step(actions, np.array([True, True, True, False]))
    for k in range(3):
        single.reset(k)
        one = single.step(actions[k])
        assert one.reward == both.reward[k]
        assert one.info["game_return"] == both.info["game_return"][k]
    assert both.terminated.all()


def test_logs_hold_every_agents_action() -> None:
    """Means of u_1 and u_2 over episodes are the learning path; not for games of many agents."""
    batch = envs.resolve("mtq", {"n_agents": 3}).batched
    assert batch is not None
    env = batch(2)
    env.reset([0, 1])
    actions = np.array([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]], np.float32)
    info = env.step(actions, np.ones(2, np.bool_)).info
    assert [info[f"u_{i}"].tolist() for i in (1, 2, 3)] == [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]
    many = MaxOfTwoQuadratics(11)
    many.reset(0)
    assert set(many.step(np.zeros((11, 1), np.float32)).info) == {"game_return"}


@pytest.mark.parametrize(
    ("joint", "expected"),
    [((5, 5), "optimum"), ((5.5, 4.9), "optimum"), ((-5, -5), "suboptimum"), ((0, 0), "other"), ((6.2, 5), "other")],
)
def test_outcome_classes(joint: tuple[float, float], expected: str) -> None:
    assert outcome(np.array(joint)) == expected


def test_tables_are_in_game_units() -> None:
    spec = envs.resolve("mtq", {})
    assert spec.joint_actions is not None
    assert spec.tables is not None
    points = spec.joint_actions()
    assert points.shape == (101 * 101, 2, 1)
    text = spec.tables(0.1 * max_of_two_quadratics(points[..., 0]), 0.1 * points[..., 0])
    assert "10.0 (  10.0)" in text
    assert "Q_1(u): -10: -10.0, -5: -5.0, 0: 0.0, 5: 5.0, 10: 10.0" in text
    assert "Q_2(u): -10: -10.0, -5: -5.0, 0: 0.0, 5: 5.0, 10: 10.0" in text
    four = envs.resolve("mtq", {"n_agents": 4})
    assert four.tables is not None
    assert "all u =     5" in four.tables(np.zeros(101), np.zeros((101, 4)))
    assert envs.resolve("mtq", {"episode_limit": 2}).tables is None


@pytest.mark.parametrize("bad", [{"n_agent": 2}, {"n_agents": 0}, {"reward_scale": 0}, {"reward_scale": "big"}])
def test_errors_are_one_line(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="env_args") as error:
        envs.resolve("mtq", bad)
    assert "\n" not in str(error.value)


def test_yaml_states_the_defaults() -> None:
    layer = yaml.safe_load((CONFIG_DIR / "envs" / "mtq.yaml").read_text())
    assert MTQArgs(**layer["env_args"]) == MTQArgs()
