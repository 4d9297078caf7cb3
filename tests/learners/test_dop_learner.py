"""DOP: both targets and the loss by hand, linearity, tree backup, the baseline, the matrix game."""

import itertools

import numpy as np
import pytest
import torch as th

from cases import GAMMA, LAMBDA, constant, mean_square, play, returns_by_hand, two_episodes
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, make_learner, random_buffer
from modules.distributions import MaskedCategorical
from modules.mixers import REGISTRY as MIXERS
from modules.mixers.mixer import MixerShape
from utils.errors import UserError
from utils.rl_utils import lambda_returns, tree_backup


def constant_learner(alg, **keys):
    """Q_tot = 1 and Q'_tot = 5 (by b alone, or by equal Q_i whose weights sum to 1), uniform policies."""
    keys = {"gamma": GAMMA, "td_lambda": LAMBDA, "tree_lambda": 0.5, "critic_each_step": False} | keys
    learner = make_learner(make_config(alg, **keys), make_info())
    constant(learner.mac.agent, 0.0)
    for networks, value in ((learner, 1.0), (learner.targets, 5.0)):
        if alg == "dop":
            constant(networks.mixer.k, 0.0)
            constant(networks.mixer.b, value)
        else:  # half by the values, half by the terms of every action
            constant(networks.critic, value / 2)
    return learner


def off_by_hand(batch):
    """Off-policy targets of `constant_learner` with p the uniform probability of the second joint action.

    delta = 1 + .9 x 5 - 5 = .5, 2 + .9 x 5 - 5 = 1.5, 3 - 5 = -2, so y = 5.5 + .9 x .5 p 1.5, 6.5, 3.
    """
    p = (1.0 / batch.avail_actions[0, 1].sum(-1)).prod().item()
    return [5.5 + 0.9 * 0.5 * p * 1.5, 6.5, 3.0]


@pytest.mark.parametrize("each_step", [False, True])
@pytest.mark.parametrize("alg", ["dop", "dop_official"])
def test_loss_by_hand(alg, each_step):
    """On-policy targets 6.58, 6.5, 3. Step by step, with a critic that rests: the mean of the two steps' losses."""
    batch = two_episodes(DISCRETE)
    off, on = off_by_hand(batch), returns_by_hand(5.0)
    parts = [(0, 2), (1,)] if each_step else [(0, 1, 2)]  # the targets of each optimiser step
    losses = [
        0.25 * mean_square(1.0, [off[k] for k in part]) + 0.75 * mean_square(1.0, [on[k] for k in part])
        for part in parts
    ]
    learner = constant_learner(alg, kappa=0.25, critic_each_step=each_step, critic_lr=1e-12)
    loss, expected = learner.update(batch, 0)["loss"], sum(losses) / len(losses)
    assert loss.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kappa", [0.25, None])
def test_the_two_losses_are_weighted_or_one_mean(kappa):
    """Two replayed steps, targets y_0, y_1 by hand, and a newest one, target 3: errors (y_0 - 1)^2, (y_1 - 1)^2, 4."""
    batch = two_episodes(DISCRETE)
    batch.on_policy = th.tensor([0.0, 1.0]).view(-1, 1, 1)
    first, second = ((y - 1.0) ** 2 for y in off_by_hand(batch)[:2])
    expected = (first + second + 4.0) / 3 if kappa is None else kappa * (first + second) / 2 + (1 - kappa) * 4.0
    loss = constant_learner("dop_official", kappa=kappa).update(batch, 0)["loss"]
    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_policy_loss_by_hand():
    """k = .5, Q = 1, 2, 3, 4, uniform policies: mean of -.5 [Q(u) - mean Q(available)] log pi(u)."""
    info = make_info()
    learner = make_learner(make_config("dop", critic_lr=1e-12), info)
    constant(learner.mac.agent, 0.0)
    constant(learner.mixer.k, 0.5)
    constant(learner.critic, [1.0, 2.0, 3.0, 4.0])
    batch, terms = two_episodes(DISCRETE), []
    for b, t in ((0, 0), (0, 1), (1, 0)):
        for i in range(info.n_agents):
            offered = [a + 1.0 for a in range(4) if batch.avail_actions[b, t, i, a]]
            gap = batch.actions[b, t, i].item() + 1.0 - np.mean(offered)
            terms.append(0.5 * gap * np.log(1.0 / len(offered)))
    assert learner.update(batch, 0)["policy_loss"].item() == pytest.approx(-np.mean(terms), rel=1e-4)


@pytest.mark.parametrize("coef", [0.0, 0.01])
def test_entropy_alone_moves_the_actors_where_all_actions_are_worth_the_same(coef):
    """Q_i = 1 everywhere: no advantage, so the actors rest without the entropy, and become more uniform with it."""
    learner = make_learner(
        make_config("dop", critic_lr=1e-12, lr=1e-3, entropy_coef=coef, epsilon_start=0.0), make_info()
    )
    constant(learner.critic, 1.0)
    batch = random_buffer(make_info()).recent(8)
    first, second = (learner.update(batch, 10**9) for _ in range(2))
    assert first["policy_loss"].abs() < 1e-6
    assert (first["actor_grad_norm"] > 1e-5) == (coef > 0.0)
    assert (second["entropy"] > first["entropy"]) == (coef > 0.0)


def test_dueling_values_add_up():
    """Q_i(a) = A_i(a) + V_i, not centred: 1, 2, 3, 4 and V = 10."""
    info = make_info()
    learner = make_learner(make_config("dop", dueling=True), info)
    constant(learner.critic, [1.0, 2.0, 3.0, 4.0, 10.0])
    batch = random_buffer(info).recent(2)
    q = learner.critic.judge(batch.inputs(learner.spec)[:, :-1], batch.rows_taken, batch.avail_taken, learner.rng)
    expected = th.arange(11.0, 15.0) * batch.mask.unsqueeze(-1)  # nothing is computed in the padding
    th.testing.assert_close(q.q_all[0], expected.expand(q.q_all[0].shape))


@pytest.mark.parametrize("each_step", [True, False])
def test_the_critic_steps_forward_in_time(each_step, monkeypatch):
    """One optimiser step per time index, the first first."""
    learner, seen = constant_learner("dop", critic_each_step=each_step), []
    values = learner.values
    monkeypatch.setattr(learner, "values", lambda *args: (seen.append(args[2]), values(*args))[1])
    learner.update(two_episodes(DISCRETE), 0)
    assert seen == ([slice(0, 1), slice(1, 2)] if each_step else [slice(0, 2)])


def test_on_policy_episodes_are_drawn_from_the_newest():
    """`recent_batch_size` different ones of the `recent_pool` newest, in time each of them and none that is older."""
    info = make_info()
    learner = make_learner(make_config("dop", recent_batch_size=2, recent_pool=4), info)
    buffer = random_buffer(info)
    newest = [buffer.rows["reward"][rows][:-1].sum().item() for rows in list(buffer.episodes)[-4:]]
    drawn = []
    for _ in range(40):
        batch = learner.sample(buffer)
        on_policy = batch.on_policy.view(-1) > 0
        sums = (batch.reward * batch.mask)[on_policy].sum((1, 2)).tolist()
        assert on_policy.tolist().count(True) == len(set(sums)) == 2
        drawn += [min(range(4), key=lambda k: abs(newest[k] - one)) for one in sums]
        assert all(min(abs(one - other) for other in newest) < 1e-5 for one in sums)
    assert set(drawn) == {0, 1, 2, 3}


def test_the_pool_must_hold_what_is_drawn():
    with pytest.raises(UserError, match=r"recent_pool \(8 episodes\) must hold recent_batch_size \(16\)"):
        make_config("dop_official", recent_pool=8)


def test_replayed_and_newest_episodes_enter_their_own_losses():
    """Zeros mark replayed, ones newest episodes; the two masks part the real steps."""
    buffer = random_buffer(make_info())
    batch = buffer.sample_with_recent(5, 3, 3)
    off, on = batch.mask_of(on_policy=False), batch.mask_of(on_policy=True)
    assert batch.on_policy.sum() == 3
    assert th.equal(off + on, batch.mask)
    newest = buffer.recent(3)
    assert on.sum() == newest.mask.sum()
    chosen = batch.reward[batch.on_policy[:, 0, 0] > 0]
    assert th.equal(chosen[:, : newest.reward.shape[1]].sum((1, 2)).sort()[0], newest.reward.sum((1, 2)).sort()[0])


@pytest.mark.parametrize("name", ["dop", "dop_normalised"])
def test_t19_linearity(name):
    """E_{u ~ prod pi_i} Q_tot(u) = Q_tot of the expected utilities, by enumeration of joint actions."""
    th.manual_seed(0)
    mixer = MIXERS[name](MixerShape(3, 4, 2, 8))
    tables, probs, state = th.randn(3, 2), th.softmax(th.randn(3, 2), -1), th.randn(1, 1, 4)
    total = 0.0
    for joint in itertools.product(range(2), repeat=3):
        q = th.stack([tables[i, a] for i, a in enumerate(joint)]).view(1, 1, 3)
        total += np.prod([probs[i, a].item() for i, a in enumerate(joint)]) * mixer(q, state).item()
    assert mixer((probs * tables).sum(-1).view(1, 1, 3), state).item() == pytest.approx(total, abs=1e-5)
    if name == "dop_normalised":
        assert mixer.weights(state).sum().item() == pytest.approx(1.0)


def test_t19_tree_backup():
    """n = 1 is one-step expected SARSA; a certain policy with decay gamma gives n-step returns; ends stop it."""
    rng = th.Generator().manual_seed(0)
    reward, taken, expected = (th.randn(2, 6, 1, generator=rng) for _ in range(3))
    mask, ended = th.ones(2, 6, 1), th.zeros(2, 6, 1)
    mask[1, 4:] = 0.0
    ended[1, 3] = 1.0
    target = reward + GAMMA * (1 - ended) * expected
    one = tree_backup(taken, target - taken, th.rand(2, 6, 1, generator=rng), mask, 0.5, 1)
    th.testing.assert_close(one, target)
    certain = th.ones(2, 6, 1)  # then E_pi Q_{t+1} is Q(u_{t+1})
    expected[:, :-1] = taken[:, 1:]
    target = reward + GAMMA * (1 - ended) * expected
    both = tree_backup(taken, target - taken, certain, mask, GAMMA, 3)
    for b, length in ((0, 6), (1, 4)):
        for t in range(length):
            n = min(3, length - t)
            tail = 0.0 if ended[b, t + n - 1] else expected[b, t + n - 1].item()
            by_hand = sum(GAMMA**j * reward[b, t + j].item() for j in range(n)) + GAMMA**n * tail
            assert both[b, t].item() == pytest.approx(by_hand, abs=1e-5)
    full = tree_backup(taken, target - taken, certain, mask, GAMMA, 6)
    whole = lambda_returns(reward, ended, expected, mask, GAMMA, 1.0)
    th.testing.assert_close((full * mask), whole * mask)


def test_t20_the_baseline_does_not_bias_the_gradient():
    """E_{u_i ~ pi_i}[k_i (Q_i(u_i) - E Q_i)] = 0 for every agent and step."""
    info = make_info()
    learner = make_learner(make_config("dop"), info)
    batch = random_buffer(info).recent(4)
    inputs = batch.inputs(learner.spec)[:, :-1]
    q = learner.critic.judge(inputs, batch.rows_taken, batch.avail_taken, learner.rng)
    policy = learner.mac.policy(learner.mac.unroll(batch)[:, :-1], batch.avail_taken, 0.3)
    assert isinstance(policy, MaskedCategorical)
    advantages = q.q_all - q.expected(policy).unsqueeze(-1)
    th.testing.assert_close(policy.expect(advantages), th.zeros(1, *batch.mask.shape[:2], 3), atol=1e-6, rtol=0)


def test_one_line_names_what_is_supported():
    """Continuous actions are refused; dop_det takes them."""
    with pytest.raises(UserError, match="dop needs discrete actions, matrix_game has continuous ones"):
        make_learner(make_config("dop"), make_info(CONTINUOUS))
    make_learner(make_config("dop_det"), make_info(CONTINUOUS))


def test_dop_ends_in_the_suboptimum_of_the_matrix_game():
    """Payoff 0 where data are broad: A pays only against partners that play it with probability above 3/8.

    E[r | A] - E[r | B] = (20 p - 12) - (-12 p) > 0 needs p > .375, so a share of random actions above .9375 leaves no
    equilibrium but the sub-optimum; with less, policies that start at A can stay there.
    """
    keys = {"lr": 1e-3, "critic_lr": 3e-3, "critic_hidden_dim": 32, "target_update_interval": 1}
    ends = [
        play("dop", "matrix_game", 1200, seed, epsilon_start=0.96, epsilon_finish=0.96, **keys)[1] for seed in range(3)
    ]
    assert ends == [0.0, 0.0, 0.0]
