"""Weighted QMIX: weights, the loss against a sum on paper, and the games that tell it from QMIX."""

import pytest
import torch as th

from learners.wqmix_learner import central_weights, optimistic_weights
from value_helpers import ONLINE, TARGET, capture_loss, pair_batch, pair_learner, train_on_every_joint_action


def stubbed(alg, **overrides):
    """Q_tot = Q_1 + Q_2; Q* = 1 + Q_1 + Q_2 of the same table; its target copy of the other table."""
    learner = pair_learner(alg, **overrides)
    learner.mac.unroll = learner.central_agent.unroll = lambda *_: ONLINE
    learner.targets["central_agent"].unroll = lambda *_: TARGET
    learner.mixer.forward = lambda q, _: q.sum(-1, keepdim=True)
    for mixer in (learner.central_mixer, learner.targets["central_mixer"]):
        mixer.forward = lambda q, _: 1.0 + q.sum(-1, keepdim=True)
    return learner, capture_loss(learner)


@pytest.mark.parametrize(
    ("alg", "w_low", "weighted"),
    [
        ("cw_qmix", 0.1, 0.1 * 0.25 + 0.25 + 0.1 * 9),
        ("ow_qmix", 0.1, 0.1 * 0.25 + 0.25 + 9),
        ("cw_qmix", 1.0, 0.25 + 0.25 + 9),
        ("ow_qmix", 1.0, 0.25 + 0.25 + 9),
    ],
)
def test_loss_by_hand(alg, w_low, weighted):
    """Q*'(s,u^) = 4, 5 and, at the cut, 7 (9 is unavailable); 6.5 in episode 1. So y = 3.5, 5.5 and 4.

    Q_tot = 4, 5, 1 and no u is u^. CW: only y = 5.5 exceeds Q*'(s,u^). OW: Q_tot is below y at the last two.
    Q* = 5, 6, 2. With w_low = 1 the loss is QMIX's with targets from Q* (T24).
    """
    learner, losses = stubbed(alg, w_low=w_low)
    metrics = learner.update(pair_batch(), 0)
    central = (1.5**2 + 0.5**2 + 2**2) / 3
    assert metrics["loss"].item() == pytest.approx(weighted / 3)
    assert metrics["central_loss"].item() == pytest.approx(central)
    assert losses == pytest.approx([weighted / 3 + central])


def test_weights():
    """Two values only; the greedy joint action and targets above its value count fully in CW."""
    y, best = th.tensor([1.0, 3.0, 1.0]), th.tensor([2.0, 2.0, 2.0])
    assert central_weights(th.tensor([False, False, True]), y, best, 0.1).tolist() == pytest.approx([0.1, 1, 1])
    assert optimistic_weights(th.tensor([0.0, 3.0, 2.0]), y, 0.1).tolist() == pytest.approx([1, 0.1, 0.1])


def gradients(weight):
    """Of the loss where every joint action has this weight: QMIX's agents and mixer, Q*'s agents and mixer."""
    learner, grads = pair_learner("cw_qmix"), []
    learner.weights = lambda _, q_tot, *__: th.full_like(q_tot, weight)
    modules = (learner.mac, learner.mixer, learner.central_agent, learner.central_mixer)
    weights = [list(module.parameters()) for module in modules]
    learner.optimise = lambda _, loss: (
        grads.extend(th.autograd.grad(loss, own, retain_graph=True) for own in weights) or th.zeros(())
    )
    learner.update(pair_batch(), 0)
    return [th.cat([grad.flatten() for grad in own]) for own in grads]


def test_q_star_gets_no_gradient_from_the_projection():
    """The weights change the projection's loss: that moves QMIX otherwise, and Q* exactly as before."""
    full, low = gradients(1.0), gradients(0.1)
    for one, other in zip(full[:2], low[:2], strict=True):
        assert not th.allclose(one, other)
    for one, other in zip(full[2:], low[2:], strict=True):
        assert one.abs().sum() > 0
        th.testing.assert_close(one, other)


def test_the_online_q_star_enters_neither_targets_nor_weights():
    """Moving it changes its own loss alone."""
    learner = pair_learner("cw_qmix")
    learner.optimise = lambda *_: th.zeros(())
    first = learner.update(pair_batch(), 0)
    for value in learner.central_mixer.parameters():
        value.data += 0.1
    second = learner.update(pair_batch(), 0)
    assert first["central_loss"] != second["central_loss"]
    assert first["loss"] == second["loss"]


@pytest.mark.parametrize("alg", ["cw_qmix", "ow_qmix"])
def test_finds_the_optimum(alg):
    """Uniform data, 3 seeds: payoff 8, where QMIX mostly ends in 0; Q_tot is right where it matters, at (A, A)."""
    for seed in range(3):
        _, q_joint, greedy_payoff = train_on_every_joint_action(alg, 500, seed)
        assert greedy_payoff == 8.0
        assert q_joint[0, 0] == pytest.approx(8.0, abs=1.0)
