"""MAAC: losses by hand, the baseline, what attention sees, the games, both action types."""

import pytest
import torch as th

from cases import GAMMA, constant, mean_square, play, prefers, two_episodes
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, make_learner, random_buffer
from utils.errors import UserError

ALPHA = 0.5


def test_discrete_loss_by_hand():
    """Q = 1, Q' = 5, uniform target policies: y_i = 1 + .9 (5 + .5 log n_i), 2 + .9 (5 + .5 log n_i) and 3."""
    learner = make_learner(make_config("maac", gamma=GAMMA, alpha=ALPHA), make_info())
    constant(learner.targets["mac"].agent, 0.0)
    constant(learner.critic.out, 1.0)
    constant(learner.targets["critic"].out, 5.0)
    batch = two_episodes(DISCRETE)
    entropy = batch.avail_actions[0].sum(-1).double().log()[1:]  # of the cut episode, [T,N]
    losses = []
    for agent in range(3):
        first, second = (5 + ALPHA * entropy[t, agent].item() for t in range(2))
        losses.append(mean_square(1.0, [1 + GAMMA * first, 2 + GAMMA * second, 3.0]))
    assert learner.update(batch, 0)["loss"].item() == pytest.approx(sum(losses) / 3, rel=1e-4)


def test_continuous_loss_by_hand():
    """Without temperature the targets are 5.5, 6.5 and 3: (4.5^2 + 5.5^2 + 2^2) / 3."""
    learner = make_learner(make_config("maac", gamma=GAMMA, alpha=0.0), make_info(CONTINUOUS))
    constant(learner.critic.out, 1.0)
    constant(learner.targets["critic"].out, 5.0)
    loss = learner.update(two_episodes(CONTINUOUS), 0)["loss"].item()
    assert loss == pytest.approx(mean_square(1.0, [5.5, 6.5, 3.0]), rel=1e-4)


def test_actor_loss_by_hand():
    """Outputs 2 for every action, Q constant: advantages 0, the loss is .5 (log n)^2 + .1 x 2^2, n available actions.

    -log pi sg(0 - .5 log pi) with pi = 1 / n is .5 (log n)^2 with a plus; mean over three real steps and agents.
    """
    keys = {"gamma": GAMMA, "alpha": ALPHA, "output_penalty": 0.1, "critic_lr": 1e-12}
    learner, batch = make_learner(make_config("maac", **keys), make_info()), two_episodes(DISCRETE)
    constant(learner.mac.agent, 2.0)
    constant(learner.critic.out, 1.0)
    entropy = batch.avail_actions.sum(-1).double().log()  # [B,T+1,N]
    steps = th.stack((entropy[0, 0], entropy[0, 1], entropy[1, 0]))
    by_hand = (ALPHA * steps.square() + 0.1 * 4).mean().item()
    assert learner.update(batch, 0)["policy_loss"].item() == pytest.approx(by_hand, rel=1e-5)


def test_actors_go_where_q_is_higher():
    """Q_i = 1 for the own action 2, else 0: only that action gains."""
    info = make_info()
    batch = random_buffer(info).recent(4)
    learner = make_learner(make_config("maac", alpha=0.0, critic_lr=1e-12, lr=0.01), info)
    constant(learner.mac.agent, 0.0)
    constant(learner.critic.out, [0.0, 0.0, 1.0, 0.0])
    for _ in range(20):
        learner.update(batch, 0)
    assert prefers(learner, batch, 2)


def judged(space, seed=0):
    """A learner, a batch, its inputs and policies."""
    info = make_info(space)
    learner = make_learner(make_config("maac", baseline_samples=16), info, seed)
    batch = random_buffer(info).recent(4)
    policy = learner.mac.policy(learner.mac.unroll(batch)[:, :-1], batch.avail_taken)
    return learner, batch, batch.inputs(learner.spec), policy


def test_t20_discrete_baseline_is_exact():
    """E_{u_i ~ pi_i}[Q_i(u) - b_i] = 0 for every agent and step, the others' actions fixed."""
    learner, batch, inputs, policy = judged(DISCRETE)
    q, _ = learner.judge(batch, inputs, batch.actions_enc)
    mean = policy.expect(q.q_all - q.expected(policy).unsqueeze(-1))
    th.testing.assert_close(mean, th.zeros_like(mean), atol=1e-6, rtol=0)


@th.no_grad()
def test_t20_continuous_baseline_is_unbiased():
    """The mean advantage over many own actions vanishes beside the spread of Q_i."""
    learner, batch, inputs, policy = judged(CONTINUOUS)
    q, _ = learner.judge(batch, inputs, batch.actions_enc)
    rng = th.Generator().manual_seed(0)
    draws = []
    for _ in range(300):
        mine = batch.action_space.decode(policy.sample(th.rand(policy.mean.shape, generator=rng)))
        draws.append((q.taken(mine) - q.expected(policy, 4))[0, 0, 0])
    draws = th.stack(draws)  # [300,N]
    error = draws.std(0) / len(draws) ** 0.5
    assert (draws.mean(0).abs() < 4 * error).all()


@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS])
def test_an_agent_attends_to_the_others_only(space):
    """Q_i(., u_-i) does not change with the own entry of the joint action, it does with the others'."""
    learner, batch, inputs, _ = judged(space)
    changed = batch.actions_enc.clone()
    changed[:, :, 1] = 1.0 - changed[:, :, 1]
    first, second = (
        learner.judge(batch, inputs, x)[0].taken(batch.actions)[0, 0, 0] for x in (batch.actions_enc, changed)
    )
    assert first[1] == second[1]
    assert (first[[0, 2]] != second[[0, 2]]).all()


def test_attention_penalty_sums_heads_and_averages_the_others():
    """By a loop over agents, heads and others: mean over the six pairs of agents, sum over the four heads."""
    learner, _, _, _ = judged(DISCRETE)
    critic = learner.critic
    own, pair = th.randn(1, 3, 128), th.randn(1, 3, 128)
    _, squared = critic.attend(own, pair)
    query, key = critic.query(own)[0].view(3, 4, 32), critic.key(pair)[0].view(3, 4, 32)
    by_hand = [(query[i, p] @ key[j, p]).item() ** 2 for i in range(3) for j in range(3) if i != j for p in range(4)]
    assert squared.item() == pytest.approx(sum(by_hand) / 6, rel=1e-4)


@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS])
def test_agents_with_parameters_of_their_own(space):
    """Same shapes; one set of encoders for each agent."""
    learner = make_learner(make_config("maac", share_parameters=False), make_info(space))
    assert len(learner.critic.own.weight) == 3
    assert learner.update(random_buffer(make_info(space)).recent(4), 0)["loss"].isfinite()


def test_heads_that_do_not_divide_the_hidden_units_are_refused():
    """One line with what is allowed."""
    with pytest.raises(UserError, match="attention_heads=3 must divide critic_hidden_dim=8: 1, 2, 4, 8"):
        make_learner(make_config("maac", attention_heads=3, critic_hidden_dim=8), make_info())


FAST = {"lr": 3e-3, "critic_lr": 3e-3, "critic_hidden_dim": 32, "target_tau": 1.0, "updates_per_episode": 0.25}


def test_maac_mostly_ends_in_the_suboptimum_of_the_matrix_game():
    """Uniform data; at least 3 of 4 seeds end in 0.

    Not all: the gradient is taken at fresh actions of the policies themselves, so A is the better answer as soon as
    both play it with probability above 3/8, and policies drift while the critic is new.
    """
    keys = FAST | {"epsilon_start": 1.0, "epsilon_finish": 1.0}
    ends = [play("maac", "matrix_game", 800, seed, **keys)[1] for seed in range(4)]
    assert ends.count(0.0) >= 3, ends


def test_maac_ends_in_the_suboptimum_of_mtq():
    """From the origin on its own data: the left hill."""
    _, end = play("maac", "mtq", 3200, 0, **FAST)
    assert abs(end) < 1.5, end
