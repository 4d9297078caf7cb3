"""Schedules and temperatures as functions of env steps."""

import pytest
import torch as th

from components.action_space import ContinuousActions, DiscreteActions
from components.schedules import LinearSchedule
from components.temperature import target_entropy


@pytest.mark.parametrize(("t_env", "value"), [(0, 1.0), (25, 0.525), (50, 0.05), (10**9, 0.05)])
def test_linear(t_env, value):
    """Halfway is the mean of both ends; constant afterwards."""
    assert LinearSchedule(1.0, 0.05, 50).value(t_env) == pytest.approx(value)


@pytest.mark.parametrize("schedule", [LinearSchedule(1.0, 0.05, 50_000), LinearSchedule(0.05, 0.3, 0)])
def test_the_same_of_a_tensor(schedule):
    """Where the number of steps is a tensor, the value is one with the same bits."""
    for t_env in (0, 1, 333, 49_999, 50_000, 10**9):
        level = schedule.value(th.tensor(t_env, dtype=th.float64))
        assert isinstance(level, th.Tensor) == (schedule.duration > 0)  # what never changes needs no tensor
        assert float(level) == schedule.value(t_env)


def test_no_duration_is_the_final_value():
    """Also at step 0."""
    assert LinearSchedule(1.0, 0.3, 0).value(0) == 0.3


def test_target_entropy():
    """Discrete: scale x log of the number of available actions; a box: -scale x D."""
    avail = th.tensor([[[[True, True, False], [True, False, False]]]])
    like = th.zeros(1, 1, 2)
    expected = 0.5 * th.tensor([2.0, 1.0]).log()
    th.testing.assert_close(target_entropy(DiscreteActions(3), avail, like, 0.5)[0, 0], expected)
    th.testing.assert_close(target_entropy(ContinuousActions(2, -1, 1), None, like, 1.0)[0, 0], th.tensor([-2.0, -2.0]))
