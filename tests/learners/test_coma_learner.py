"""COMA: loss and advantage by hand, the counterfactual baseline, what the critic sees, the matrix game."""

import pytest
import torch as th

from cases import GAMMA, LAMBDA, constant, play, returns_by_hand, two_episodes
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, make_learner, random_buffer
from utils.errors import UserError

HAND = {"gamma": GAMMA, "td_lambda": LAMBDA, "critic_each_step": False}


@pytest.mark.parametrize(("each_step", "expected"), [(False, 21.7955), (True, 23.9091)])
def test_loss_by_hand(each_step, expected):
    """Q_i = 1, Q'_i = 5 everywhere: returns 6.58, 6.5, 3 for every agent, loss (5.58^2 + 5.5^2 + 2^2) / 3 = 21.80.

    Step by step, with a critic that rests: the mean of 5.5^2 and (5.58^2 + 2^2) / 2.
    """
    keys = HAND | {"critic_each_step": each_step, "critic_lr": 1e-12}
    learner = make_learner(make_config("coma", **keys), make_info())
    constant(learner.critic, 1.0)
    constant(learner.targets["critic"], 5.0)
    loss = learner.update(two_episodes(DISCRETE), 0)["loss"].item()
    assert returns_by_hand(5.0) == pytest.approx([6.58, 6.5, 3.0])
    assert loss == pytest.approx(expected, abs=1e-3)


def test_policy_loss_by_hand():
    """Q_i(a) = a and uniform policies: A_i = u_i - mean of the available actions, loss = mean of A_i log n_i."""
    learner = make_learner(make_config("coma", **HAND | {"critic_lr": 1e-12}), make_info())
    constant(learner.mac.agent, 0.0)
    constant(learner.critic, [0.0, 1.0, 2.0, 3.0])
    batch = two_episodes(DISCRETE)
    losses = []
    for b, t in ((0, 0), (0, 1), (1, 0)):
        for agent in range(3):
            available = batch.avail_actions[b, t, agent].nonzero().flatten().double()
            advantage = batch.actions[b, t, agent, 0].item() - available.mean()
            losses.append(advantage * th.tensor(len(available)).double().log())
    policy_loss = learner.update(batch, 0)["policy_loss"].item()
    assert policy_loss == pytest.approx(sum(losses).item() / 9, abs=1e-4)


def test_t20_the_counterfactual_baseline_does_not_bias_the_gradient():
    """E_{u_i ~ pi_i}[A_i] = 0 for every agent and step."""
    info = make_info()
    learner = make_learner(make_config("coma"), info)
    batch = random_buffer(info).recent(4)
    head = learner.mac.unroll(batch)
    inputs = learner.critic_inputs(batch, learner.continued_actions(batch, head, 0.3))
    q = learner.judge(batch, inputs, slice(0, -1), batch.rows_taken)
    policy = learner.mac.policy(head[:, :-1], batch.avail_taken, 0.3)
    mean = policy.expect(q.q_all - q.expected(policy).unsqueeze(-1))
    th.testing.assert_close(mean, th.zeros_like(mean), atol=1e-6, rtol=0)


def test_the_critic_of_an_agent_does_not_see_its_own_action():
    """Changing agent 1's action changes the inputs of the others only (at that step)."""
    info = make_info()
    learner = make_learner(make_config("coma"), info)
    batch = random_buffer(info).recent(4)
    actions = th.cat((batch.actions, batch.actions[:, -1:]), dim=1)
    changed = actions.clone()
    changed[:, 0, 1] = (changed[:, 0, 1] + 1) % 4
    first, second = (learner.critic_inputs(batch, x)[:, 0] for x in (actions, changed))
    assert th.equal(first[:, 1], second[:, 1])
    assert (first[:, [0, 2]] != second[:, [0, 2]]).any(-1).all()


def test_the_last_observation_of_a_cut_episode_gets_a_fresh_available_action():
    """Stored actions where there are any, else a sample of the policy."""
    info = make_info()
    learner = make_learner(make_config("coma"), info)
    batch = random_buffer(info).recent(6)
    actions = learner.continued_actions(batch, learner.mac.unroll(batch), 0.0)
    for b, length in enumerate(batch.lengths):
        assert th.equal(actions[b, :length], batch.actions[b, :length])
        assert batch.avail_actions[b, length].gather(-1, actions[b, length]).all()


def test_data_are_the_newest_episodes():
    """An update takes exactly what was collected since the last one."""
    info = make_info()
    learner = make_learner(make_config("coma", batch_size=5), info)
    buffer = random_buffer(info)
    assert th.equal(learner.sample(buffer).obs, buffer.recent(5).obs)


def test_continuous_actions_are_refused_in_one_line():
    """Says what it needs."""
    with pytest.raises(UserError, match="coma needs discrete actions, matrix_game has continuous ones"):
        make_learner(make_config("coma"), make_info(CONTINUOUS))


def test_coma_ends_in_the_suboptimum_of_the_matrix_game():
    """With broad data (see test_dop_learner.py) A is the worse answer: payoff 0."""
    keys = {"lr": 3e-3, "critic_lr": 3e-3, "batch_size": 8, "updates_per_episode": 0.125, "target_update_interval": 1}
    broad = {"epsilon_start": 0.96, "epsilon_finish": 0.96}
    ends = [play("coma", "matrix_game", 1200, seed, **keys | broad)[1] for seed in range(3)]
    assert ends == [0.0, 0.0, 0.0]
