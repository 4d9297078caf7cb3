"""What a run records of a one-step game: values of joint actions and the trail of exploration."""

import json

import numpy as np

import envs
from components.episode_buffer import ReplayBuffer
from helpers import make_config, make_learner
from utils.joint_values import FILE_NAME, MAX_EXPLORED, explored, record_tables


def filled(spec, capacity, count):
    """A buffer after `count` one-step episodes whose agents play k and -k in episode k, in units of 0.001."""
    info = spec.single().env_info
    buffer = ReplayBuffer(info, capacity, seed=0)
    for k in range(count):
        episode = {"obs": np.ones((2, 2, 1)), "state": np.ones((2, 1)), "reward": np.zeros((2, 1))}
        actions = np.array([[[k], [-k]]] * 2, np.float32) / 1000
        buffer.insert(episode | {"actions": actions, "terminated": np.array([[True], [False]])})
    return buffer


def test_the_trail_is_thinned_and_numbered():
    spec = envs.resolve("mtq", {})
    trail = explored(filled(spec, 3 * MAX_EXPLORED, 2 * MAX_EXPLORED + 1))
    assert (trail["first"], trail["every"]) == (0, 3)
    assert trail["actions"][:2] == [[[0.0], [0.0]], [[0.003], [-0.003]]]
    assert explored(filled(spec, 2, 5)) == {
        "first": 3,
        "every": 1,
        "actions": [[[0.003], [-0.003]], [[0.004], [-0.004]]],
    }
    assert explored(filled(spec, 2, 0))["actions"] == []


def test_the_record_holds_the_whole_grid(tmp_path):
    spec = envs.resolve("mtq", {})
    learner = make_learner(make_config("fop", "mtq", critic="mlp", agent="mlp"), spec.single().env_info)
    greedy = np.array([[1.0], [2.0]], np.float32)
    text = record_tables(spec, learner, greedy, filled(spec, 4, 4), tmp_path)
    record = json.loads((tmp_path / FILE_NAME).read_text())
    assert np.array(record["joint_actions"]).shape == (101 * 101, 2, 1)
    assert len(record["q_joint"]) == len(record["utilities"]) == 101 * 101
    assert record["greedy"] == [[1.0], [2.0]]
    assert len(record["explored"]["actions"]) == 4
    shown = f"{record['q_joint'][0] / 0.1:6.1f}"  # at (-10, -10)
    assert shown in text
