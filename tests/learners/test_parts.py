"""A batch learnt in parts gives the metrics and the next weights of the batch learnt at once."""

import pytest
import torch as th

import learners.learner
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, make_learner, random_buffer
from utils.configfile import available


def constant_draws(monkeypatch):
    """Random numbers that do not depend on how a batch is divided."""
    monkeypatch.setattr(th, "rand", lambda size, **_: th.full(size, 0.3))


def results(alg, max_rows, monkeypatch, **overrides):
    """Metrics and weights after two updates on seven episodes of unequal lengths."""
    monkeypatch.setattr(learners.learner, "PART_ROWS", max_rows)
    info = make_info(DISCRETE)
    learner = make_learner(make_config(alg, **overrides), info)
    batch = random_buffer(info).recent(7)
    constant_draws(monkeypatch)
    metrics = [learner.update(batch, 0) for _ in range(2)][-1]
    monkeypatch.undo()
    return learner, metrics


SEPARABLE = [alg for alg in available("algs") if make_learner(make_config(alg), make_info(DISCRETE)).separable]


def test_the_large_ones_are_separable():
    """The learners of the paper's StarCraft experiments."""
    assert {"fop", "fop_official", "iql", "vdn", "qmix", "qplex"} <= set(SEPARABLE)


@pytest.mark.parametrize("alg", SEPARABLE)
@pytest.mark.parametrize("max_rows", [1, 40])
def test_parts_add_up(alg, max_rows, monkeypatch):
    """One episode a part, or a few."""
    whole, expected = results(alg, 10**9, monkeypatch)
    divided, metrics = results(alg, max_rows, monkeypatch)
    assert metrics.keys() == expected.keys()
    for name, value in metrics.items():
        th.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-5, msg=name)
    for ours, theirs in zip(divided.parameters(), whole.parameters(), strict=True):
        th.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_learned_temperature_in_parts(monkeypatch):
    """The temperature steps once, on the mean over all parts."""
    whole, _ = results("fop", 10**9, monkeypatch, alpha_mode="auto")
    divided, _ = results("fop", 1, monkeypatch, alpha_mode="auto")
    th.testing.assert_close(divided.temperature.log_alpha, whole.temperature.log_alpha)


def test_fop_is_not_separable_where_weights_are_used_after_their_step():
    """V-networks follow critics that have just moved; lambda temperatures follow mixers."""
    assert not make_learner(make_config("fop"), make_info(CONTINUOUS)).separable
    assert not make_learner(make_config("fop", alpha_individual="lambda"), make_info(DISCRETE)).separable


def test_parts_hold_every_episode_once_at_its_own_length():
    """Longest first, each part cut to its longest episode, time first in memory."""
    batch = random_buffer(make_info(DISCRETE)).recent(7)
    parts = batch.parts(1)
    assert [length for part in parts for length in part.lengths] == batch.lengths
    for k, part in enumerate(parts):
        steps = batch.lengths[k]
        assert part.obs.shape[1] == steps + 1
        assert part.obs.transpose(0, 1).is_contiguous()
        assert th.equal(part.obs[0], batch.obs[k, : steps + 1])
        assert th.equal(part.reward[0], batch.reward[k, :steps])
        assert part.mask.all()
    assert batch.parts(10**9) == [batch]
