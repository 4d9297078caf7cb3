"""IQL, VDN, QMIX: losses against sums on paper. Qatten and QPLEX have files of their own."""

import math

import pytest
import torch as th

from value_helpers import ONLINE, TARGET, capture_loss, pair_batch, pair_learner


def updated(alg, **overrides):
    """Metrics and loss of one update on the two episodes, with the utilities of the tables."""
    learner = pair_learner(alg, **overrides)
    learner.mac.unroll = lambda _: ONLINE
    learner.targets["mac"].unroll = lambda _: TARGET
    losses = capture_loss(learner)
    return learner, losses, lambda: learner.update(pair_batch(), 0)


def test_iql_loss_by_hand():
    """Online greedy actions next: (0, 0) worth (3, 1) by the target, at the cut (0, 0) since 5 is unavailable: (2, 4).

    Agent 1: Q = 1, 4, 0 and y = 2.5, 3, 4. Agent 2: Q = 3, 1, 1 and y = 1.5, 4, 4. Six errors.
    """
    _, losses, update = updated("iql")
    metrics = update()
    assert losses == pytest.approx([(1.5**2 + 1 + 4**2 + 1.5**2 + 3**2 + 3**2) / 6])
    assert metrics["target_mean"].item() == pytest.approx((2.5 + 3 + 4 + 1.5 + 4 + 4) / 6)


@pytest.mark.parametrize(("double_q", "first"), [(True, 3.0), (False, 5.0)])
def test_vdn_loss_by_hand(double_q, first):
    """Q_tot = 4, 5, 1; next 4 (8 without double Q), and 6 at the cut, where 9 is unavailable: y = 3 or 5, then 5, 4."""
    _, losses, update = updated("vdn", double_q=double_q)
    metrics = update()
    assert losses == pytest.approx([((4 - first) ** 2 + 0 + 3**2) / 3])
    assert metrics["target_mean"].item() == pytest.approx((first + 5 + 4) / 3)


def test_vdn_loss_with_traces():
    """TD(lambda = 0.5): y_1 = 2 + 6/2 = 5, y_0 = 1 + (4 + 5)/4 = 3.25, and 4 at the end."""
    _, losses, update = updated("vdn", td_lambda=0.5)
    update()
    assert losses == pytest.approx([(0.75**2 + 0 + 3**2) / 3])


def test_qmix_loss_by_hand():
    """Absolute weights of agent 1 (1, 1), of agent 2 (2, 0.5), of the output (1, 1); b = (-10, -1), v = 0.5.

    Q_tot(q) = elu(q_1 + 2 q_2 - 10) + elu(q_1 + q_2 / 2 - 1) + 0.5 at q = (1, 3), (4, 1), (0, 1), next (3, 1), (2, 4).
    """

    def elu(x):
        return x if x > 0 else math.exp(x) - 1.0

    def q_tot(one, two):
        return elu(one + 2 * two - 10) + elu(one + two / 2 - 1) + 0.5

    learner, losses, update = updated("qmix", mixing_embed_dim=2)
    for mixer in (learner.mixer, learner.targets["mixer"]):
        for layer, values in (
            *((mixer.hyper_w1[-1], [1.0, -1.0, 2.0, 0.5]), (mixer.hyper_w2[-1], [-1.0, 1.0])),
            *((mixer.hyper_b1, [-10.0, -1.0]), (mixer.v[-1], [0.5])),
        ):
            th.nn.init.zeros_(layer.weight)
            layer.bias.data = th.tensor(values)
    update()
    errors = (q_tot(1, 3) - 1 - q_tot(3, 1) / 2, q_tot(4, 1) - 2 - q_tot(2, 4) / 2, q_tot(0, 1) - 4)
    assert losses == pytest.approx([sum(error**2 for error in errors) / 3], rel=1e-5)
