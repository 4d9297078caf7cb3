"""Means of what is logged."""

import pytest
import torch as th

from utils.statistics import RunningMeans, episode_means


def test_running_means_count_each_metric_by_itself():
    """A metric logged every second time has the mean of its own values; popping empties."""
    means = RunningMeans()
    means.add({"a": 1.0, "b": th.tensor(4.0)})
    means.add({"a": 3.0})
    assert means.pop() == {"a": 2.0, "b": 4.0}
    assert means.pop() == {}


def test_episode_means():
    """PyMARL's names, with the population's spread of returns; a key missing in an episode counts as 0."""
    out = episode_means([{"return": 1.0, "battle_won": 1.0}, {"return": 3.0}], "test_")
    assert out == {
        "test_return_mean": 2.0,
        "test_battle_won_mean": 0.5,
        "test_return_std": pytest.approx(1.0),
        "test_episodes": 2.0,
    }
    assert episode_means([]) == {}


def test_means_go_on_from_their_state() -> None:
    """As when the run is interrupted between two log entries."""
    means, again = RunningMeans(), RunningMeans()
    means.add({"loss": th.tensor(0.1), "norm": 2.0})
    again.add({"other": 1.0})
    again.restore(means.state())
    for one in (means, again):
        one.add({"loss": th.tensor(0.7)})
    assert means.pop() == again.pop()
