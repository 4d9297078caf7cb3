"""Which updates are recorded and replayed; recording itself needs a GPU: tests/contracts/test_gpu.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch as th

from components.train_batch import TrainBatch
from helpers import make_config, make_info, make_learner, random_buffer
from learners.learner import Metrics
from utils import cuda_graphs
from utils.cuda_graphs import RecordedUpdates, is_recorded, record_updates


class _Replay:
    """In place of a recording: makes the update as usual and counts."""

    made = replayed = 0

    def __init__(self, _: Any, learn: cuda_graphs.Learn, __: TrainBatch, t_env: th.Tensor, ___: Any) -> None:
        self.learn, self.t_env = learn, t_env
        _Replay.made += 1

    def replay(self, batch: TrainBatch) -> Metrics:
        _Replay.replayed += 1
        return self.learn(batch, self.t_env)


@pytest.fixture(autouse=True)
def without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_graphs, "_Recording", _Replay)
    monkeypatch.setattr(th.cuda, "graph_pool_handle", lambda: (0, 0))
    _Replay.made = _Replay.replayed = 0


def test_second_batch_of_a_shape_is_recorded_and_later_ones_replayed() -> None:
    """Lengths 4 and 8 after padding; the numbers are those of usual updates."""
    info = make_info(limit=8)
    plain, recorded = make_learner(make_config("fop"), info), make_learner(make_config("fop"), info)
    assert not is_recorded(recorded)
    record_updates(recorded)
    assert is_recorded(recorded)
    buffer = random_buffer(info, episodes=20)
    buffer.pad_steps = 4
    short = [k for k, rows in enumerate(buffer.episodes) if len(rows) <= 5]
    long = [k for k, rows in enumerate(buffer.episodes) if len(rows) > 5]
    for k in range(6):
        chosen = [short, long][k % 2][k // 2 : k // 2 + 2]
        ours, theirs = (learner.update(buffer.gather(chosen), 1000 * k) for learner in (plain, recorded))
        for name, value in ours.items():
            th.testing.assert_close(theirs[name], value, rtol=1e-6, atol=1e-8)
    learn: Any = recorded.learn
    assert len(learn.seen) == 2
    assert (_Replay.made, _Replay.replayed) == (2, 4)


def test_no_more_than_so_many() -> None:
    learner = make_learner(make_config("qmix"), make_info(limit=8))
    learner.learn = RecordedUpdates(learner, most=1)  # type: ignore[method-assign]
    buffer = random_buffer(learner.env_info, episodes=20)
    buffer.pad_steps = 1
    lengths = {len(rows) - 1: number for number, rows in enumerate(buffer.episodes)}
    for number in 3 * list(lengths.values()):
        learner.update(buffer.gather([number]), 0)
    assert len(lengths) > 2
    assert (_Replay.made, _Replay.replayed) == (1, 2)
