"""QTRAN-base and QTRAN-alt: the losses against sums on paper, gradient routing, and the game of their paper."""

import numpy as np
import pytest
import torch as th

from components.inputs import full
from helpers import make_config, make_info, make_learner, random_buffer
from value_helpers import ONLINE, TARGET, Constant, capture_loss, pair_batch, pair_learner, train_on_every_joint_action


def q_of(actions):
    """Q_jt = 10 [u_1 = 0] + [u_2 = 0] of one-hot actions `[B,T,2,2]` -> `[B,T,1]`."""
    return 10.0 * actions[..., 0, :1] + actions[..., 1, :1]


def counterfactuals(_, __, actions):
    """The same with one agent's action free, `[B,T,2,2]`."""
    first = th.tensor([10.0, 0.0]) + actions[..., 1, :1]
    second = th.tensor([1.0, 0.0]) + 10.0 * actions[..., 0, :1]
    return th.stack((first, second), dim=-2)


def stubbed(alg):
    """Utilities of the tables, V_jt = 0.5, Q_jt as above and one more in the target network."""
    learner = pair_learner(alg, nopt_weight=0.1)
    learner.unroll = lambda agent, _: (ONLINE if agent is learner.mac.agent else TARGET, th.zeros(2, 3, 2, 1))
    learner.joint_q.v = Constant(0.5)
    if alg == "qtran_alt":
        learner.joint_q.counterfactuals = counterfactuals
    else:
        learner.joint_q.forward = lambda _, __, actions: q_of(actions)
    learner.targets["joint_q"].forward = lambda _, __, actions: 1.0 + q_of(actions)
    return learner, capture_loss(learner)


@pytest.mark.parametrize(
    ("alg", "nopt"),
    [
        ("qtran_base", 5.5**2 + 4.5**2 + 0.0),
        ("qtran_alt", (5.5**2 + 5.5**2) / 2 + (4.5**2 + 4.5**2) / 2 + (7.5**2 + 0.5**2) / 2),
    ],
)
def test_loss_by_hand(alg, nopt):
    """Q_jt(u) = 10, 10, 1; y = 1 + 12/2, 2 + 12/2 (bootstrapped through the cut), 4.

    Greedy joint actions (1,1), (0,0), (0,1): Q' = 5, 6, 3.5 against Q_jt = 0, 11, 10, plus 0.5. At the actions taken
    Q' = 4, 5, 1 against 10, 10, 1: errors -5.5, -4.5, +0.5, the last within the constraint of base. alt takes each
    agent's smallest error over its available actions: (-5.5, -5.5 as -9.5 is unavailable), (-4.5, -4.5), (-7.5, 0.5).
    """
    learner, losses = stubbed(alg)
    metrics = learner.update(pair_batch(), 0)
    td, opt = (3**2 + 2**2 + 3**2) / 3, (5.5**2 + 4.5**2 + 6**2) / 3
    assert metrics["td_loss"].item() == pytest.approx(td)
    assert metrics["opt_loss"].item() == pytest.approx(opt)
    assert metrics["nopt_loss"].item() == pytest.approx(nopt / 3)
    assert losses == pytest.approx([td + opt + 0.1 * nopt / 3])


@pytest.mark.parametrize("alg", ["qtran_base", "qtran_alt"])
def test_constraints_do_not_train_the_joint_function(alg):
    """Without L_td nothing would move Q_jt: L_nopt's gradient reaches Q_i and V_jt, not the joint network."""
    learner = make_learner(make_config(alg), make_info())
    batch = random_buffer(learner.env_info).recent(4)
    q_all, hidden = learner.unroll(learner.mac.agent, batch)
    v = learner.joint_q.v(batch.state[:, :-1])
    learner.nopt_error(batch, q_all[:, :-1], hidden[:, :-1], v).square().sum().backward()
    assert all(weight.grad is None for weight in learner.joint_q.q.parameters())
    assert all(weight.grad is None for weight in learner.joint_q.encoder.parameters())
    assert learner.mac.agent.head.weight.grad.abs().sum() > 0
    assert all(weight.grad.abs().sum() > 0 for weight in learner.joint_q.v.parameters())


def test_a_counterfactual_row_does_not_see_its_own_action():
    """Q_jt(., u_-i) depends on the others' actions only; its entry at u_i is the value of the joint action."""
    learner = make_learner(make_config("qtran_alt"), make_info())
    batch = random_buffer(learner.env_info).recent(3)
    hidden = th.randn(*batch.actions.shape[:3], learner.config.hidden_dim)
    state, actions = batch.state[:, :-1], batch.actions_enc
    other = actions.clone()
    other[..., 1, :] = other[..., 1, :].roll(1, -1)
    before, after = (learner.joint_q.counterfactuals(state, hidden, u) for u in (actions, other))
    th.testing.assert_close(before[..., 1, :], after[..., 1, :])
    assert (before[..., 0, :] != after[..., 0, :]).any()
    q_joint = learner.joint_q(state, hidden, actions)
    th.testing.assert_close(q_joint, before.gather(-1, batch.actions).squeeze(-1))


@pytest.mark.parametrize("alg", ["qtran_base", "qtran_alt"])
def test_finds_the_optimum_and_the_payoffs(alg):
    """Uniform data, 3 seeds: payoff 8 by the individual greedy actions, Q_jt fits the table."""
    for seed in range(3):
        table, q_joint, greedy_payoff = train_on_every_joint_action(alg, 600, seed, lr=1e-3)
        assert greedy_payoff == 8.0
        np.testing.assert_allclose(q_joint, table, atol=1.0)


@pytest.mark.parametrize("shared", [True, False])
def test_histories_are_those_of_acting_step_by_step(shared):
    """Utilities and histories of whole episodes, ragged ones too, are what the agents compute one step at a time."""
    learner = make_learner(make_config("qtran_base", share_parameters=shared), make_info())
    batch = random_buffer(learner.env_info).recent(6)
    agent, inputs = learner.mac.agent, full(batch.inputs(learner.mac.spec))
    q_all, histories = learner.unroll(agent, batch)
    assert len(set(batch.lengths)) > 1
    hidden = agent.init_hidden(len(batch.lengths))
    for t in range(inputs.shape[1]):
        q, hidden = agent.step(inputs[:, t], hidden)
        real = th.tensor(batch.lengths) >= t
        th.testing.assert_close(q_all[real, t], q[real])
        th.testing.assert_close(histories[real, t], hidden[real])
