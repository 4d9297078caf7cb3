"""Qatten: the loss against a sum on paper, unit slices, and its limit on the matrix game."""

from dataclasses import replace

import pytest
import torch as th

from helpers import make_config, make_info, make_learner, random_buffer
from modules.mixers.mixer import MixerShape
from modules.mixers.qatten import UnitAttention
from value_helpers import ONLINE, TARGET, Constant, capture_loss, pair_batch, pair_learner, train_on_every_joint_action


def test_loss_by_hand():
    """Weights (2, 1), c = 0.5, so Q_tot = 2 Q_1 + Q_2 + 0.5, and the penalty 1e-3 x 4 heads x 3^2.

    Online: 5.5, 9.5, 1.5. Next, at the online greedy actions: 7.5 and, at the cut, 8.5; y = 4.75, 6.25 and 4.
    """
    learner = pair_learner("qatten")
    learner.mac.unroll = lambda _: ONLINE
    learner.targets["mac"].unroll = lambda _: TARGET
    for mixer in (learner.mixer, learner.targets["mixer"]):
        mixer.c = Constant(0.5)
        mixer.attention.forward = lambda state: th.tensor([2.0, 1.0]).expand(*state.shape[:-1], 2)
        mixer.attention.logits = lambda state: th.full((*state.shape[:-1], 4, 2), 3.0)
    losses = capture_loss(learner)
    metrics = learner.update(pair_batch(), 0)
    by_hand = (0.75**2 + 3.25**2 + 2.5**2) / 3
    assert metrics["loss"].item() == pytest.approx(by_hand)
    assert losses == pytest.approx([by_hand + 0.036])


def test_attention_looks_at_unit_slices_or_at_observations():
    """With unit_dim the first N unit_dim entries of the state are the slices, else the observations put in front."""
    info = replace(make_info(), unit_dim=2)
    for given, dim, width in ((info, 2, 7), (make_info(), 5, 7 + 3 * 5)):
        learner = make_learner(make_config("qatten"), given)
        batch = random_buffer(given).recent(2)
        state = learner.mixer_state(batch)
        assert learner.mixer.attention.key.in_features == dim
        assert state.shape[-1] == width
        slices = state[..., : 3 * dim].unflatten(-1, (3, dim))
        expected = batch.obs if given.unit_dim is None else batch.state[..., :6].unflatten(-1, (3, 2))
        assert th.equal(slices, expected)


def test_heads_weigh_the_same_without_their_weights():
    """Each of 4 softmax heads adds 1 over the agents; with weights |MLP(s)| the sum is another one at every state."""
    info = make_info()
    state = th.randn(2, 3, info.state_dim)
    plain, weighted = (
        UnitAttention(MixerShape(info.n_agents, info.state_dim, 4, weighted_heads=on))(state).sum(-1)
        for on in (False, True)
    )
    th.testing.assert_close(plain, th.full((2, 3), 4.0))
    assert weighted.std() > 1e-3


def test_mostly_ends_in_the_suboptimum():
    """Additive for a given state: at least 3 of 4 seeds end in payoff 0 (statistical, as for QMIX)."""
    payoffs = [train_on_every_joint_action("qatten", 300, seed)[2] for seed in range(4)]
    assert payoffs.count(0.0) >= 3, payoffs
