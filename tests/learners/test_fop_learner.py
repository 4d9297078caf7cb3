"""FOP's loss against a sum on paper; its switches one by one are in test_fop_switches.py."""

import math

import pytest
import torch as th

from cases import GAMMA, LAMBDA, constant, two_episodes
from helpers import DISCRETE, make_config, make_info, make_learner, random_buffer
from value_helpers import Constant

ALPHA = 0.5


def prepared(alg):
    """Q_i = 0, lambda_i = 3, uniform policies; V(s) = 1, and 5 and 6 of the two target mixers, whose minimum counts."""
    keys = {"gamma": GAMMA, "td_lambda": LAMBDA, "alpha_mode": "fixed", "alpha_start": ALPHA}
    learner = make_learner(make_config(alg, **keys), make_info(DISCRETE))
    constant(learner.mac.agent, 0.0)
    for critic, mixers, values in (
        (learner.critic, learner.mixer, (1.0, 1.0)),
        (learner.targets["critic"], learner.targets["mixer"], (5.0, 6.0)),
    ):
        constant(critic, 0.0)
        for member, value in zip(mixers.members, values, strict=True):
            member.lambda_net = Constant(*[3.0] * make_info(DISCRETE).n_agents)
            constant(member.v, value)
    return learner


def test_loss_by_hand():
    """V_i = alpha log n_i over n_i available actions, so Q_jt = V + (3 - 1) sum_i (0 - V_i) = V - H, H = sum_i log n_i.

    y_1 = 2 + .9 (alpha H_2 + 5 - H_2), y_0 = 1 + .9 alpha H_1 + .9 (.2 (5 - H_1) + .8 y_1), and 3 at the end.
    """
    batch = two_episodes(DISCRETE)
    h = batch.avail_actions.sum(-1).double().log().sum(-1).tolist()  # [B][T+1]
    last = 2 + GAMMA * (ALPHA * h[0][2] + 5 - h[0][2])
    first = 1 + GAMMA * ALPHA * h[0][1] + GAMMA * ((1 - LAMBDA) * (5 - h[0][1]) + LAMBDA * last)
    errors = (1 - h[0][0] - first, 1 - h[0][1] - last, 1 - h[1][0] - 3)
    loss = prepared("fop").update(batch, 0)["loss"].item()
    assert loss == pytest.approx(sum(error**2 for error in errors) / 3, rel=1e-4)


def test_released_loss_by_hand():
    """V_i = alpha log A over all actions: Q_jt = V - N log A. The mean entropy comes after the return, always."""
    batch = two_episodes(DISCRETE)
    m = batch.avail_actions.sum(-1).double().log().mean(-1).tolist()  # [B][T+1]
    shift = make_info(DISCRETE).n_agents * math.log(DISCRETE.n_actions)
    last = 2 + GAMMA * (5 - shift)
    first = 1 + GAMMA * ((1 - LAMBDA) * (5 - shift) + LAMBDA * last)
    targets = (first + ALPHA * m[0][1], last + ALPHA * m[0][2], 3 + ALPHA * m[1][1])
    loss = prepared("fop_official").update(batch, 0)["loss"].item()
    assert loss == pytest.approx(sum((1 - shift - y) ** 2 for y in targets) / 3, rel=1e-4)


def test_recorded_values_are_those_of_the_last_update_s_temperature():
    """A run that ends halfway along the schedule shows Q_jt with the alpha of its last update, also after a restart."""
    config = make_config("fop", alpha_start=1.0, alpha_finish=0.01, alpha_anneal_time=1000, t_max=1000)
    learner, batch = make_learner(config, make_info()), random_buffer(make_info()).recent(4)
    learner.update(batch, 500)
    early, _ = learner.evaluate_actions(batch)
    restored = make_learner(config, make_info(), seed=1)
    restored.restore(learner.state())
    assert th.equal(restored.evaluate_actions(batch)[0], early)
    learner.t_env = 1000
    late, _ = learner.evaluate_actions(batch)
    assert (early - late).abs().max() > 0.01
