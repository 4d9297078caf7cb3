"""FOP's targets, values and policies, one equation at a time, against formulas written out here."""

import math

import pytest
import torch as th

from cases import GAMMA, LAMBDA, constant, prefers, returns_by_hand, two_episodes
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, make_learner, random_buffer
from value_helpers import Constant

ALPHA = 0.5
FIXED = {"gamma": GAMMA, "td_lambda": LAMBDA, "alpha_mode": "fixed", "alpha_start": ALPHA}


def uniform_learner(space=DISCRETE, **keys):
    """Policies that do not depend on the input: uniform, or the tanh of a normal with mean 0."""
    learner = make_learner(make_config("fop", **FIXED | keys), make_info(space))
    constant(learner.mac.agent, 0.0)
    return learner


def entropies(batch):
    """H of the uniform policies at the three real steps, `[3,N]`."""
    entropy = batch.avail_actions.sum(-1).double().log()  # [B,T+1,N]
    return th.stack((entropy[0, 0], entropy[0, 1], entropy[1, 0]))


def spied(learner):
    """The losses handed to the optimisers by one update, by name; no step is taken."""
    losses = {}
    learner.optimise = lambda name, loss: losses.update({name: loss.item()}) or th.zeros(())
    return losses


def members_at(module, *outputs):
    """Make each member of an ensemble constant."""
    constant(module, 0.0)
    last = [weight for name, weight in module.named_parameters() if name.endswith("bias")][-1]
    with th.no_grad():
        for member, output in zip(last.view(len(outputs), -1), outputs, strict=True):
            member.fill_(output)


def test_eq_11_by_hand():
    """Uniform policies, Q_i^1 = 1 and Q_i^2 = 3: mean over agents and steps of -alpha H_i - 1."""
    batch, learner = two_episodes(DISCRETE), uniform_learner()
    members_at(learner.critic, 1.0, 3.0)
    by_hand = (-ALPHA * entropies(batch) - 1.0).mean().item()
    assert learner.update(batch, 0)["policy_loss"].item() == pytest.approx(by_hand, rel=1e-5)


def test_eq_11_goes_where_q_is_higher():
    """Q_i = 1 for action 2, else 0, no entropy: only that action gains."""
    batch = random_buffer(make_info()).recent(4)
    learner = uniform_learner(alpha_start=1e-9, critic_lr=1e-12, n_critics=1)
    constant(learner.critic, [0.0, 0.0, 1.0, 0.0])
    for _ in range(3):
        learner.update(batch, 0)
    assert prefers(learner, batch, 2)


@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS])
def test_eq_9_looks_at_the_target_networks_at_fresh_actions(space):
    """y of one-step returns, rebuilt from eq. (7) with the target critic's Q_i(u'), lambda'(s',u') and V'(s')."""
    info = make_info(space)
    learner = make_learner(make_config("fop", **FIXED | {"td_lambda": 0.0}), info)
    with th.no_grad():
        for name in ("critic", "mixer"):
            for weight in learner.targets[name].parameters():
                weight.add_(0.1 * th.randn_like(weight))  # unlike the online ones
    batch = random_buffer(info).recent(4)
    inputs, seen = batch.inputs(learner.spec), batch.rows_seen
    policy = learner.mac.policy(learner.mac.unroll(batch), batch.avail_actions)
    shape = batch.obs.shape[:3]
    if space is DISCRETE:
        fresh = policy.sample(th.rand(shape))
        q_all = learner.targets["critic"](inputs, seen)  # [K,B,T+1,N,A]
        q_i = q_all.gather(-1, fresh.expand(len(q_all), *fresh.shape)).squeeze(-1)
        v_i = ALPHA * (q_all / ALPHA).where(batch.avail_actions, -th.inf).logsumexp(-1)
    else:
        fresh = 10.0 * policy.sample(th.rand(*shape, 2))
        q_i = learner.targets["critic"].judge(inputs, seen, None, learner.rng).head(fresh / 10.0)
        v_i = learner.value(inputs, seen).squeeze(-1)
    encoded, log_prob = space.encode(fresh), th.rand(shape) - 2.0
    joint = []
    for k, mixer in enumerate(learner.targets["mixer"].members):
        weights = mixer.lambda_weights(batch.state, encoded)
        advantages = q_i[k] - v_i[min(k, len(v_i) - 1)]
        joint.append((weights * advantages + v_i[min(k, len(v_i) - 1)]).sum(-1, keepdim=True) + mixer.v(batch.state))
    soft = th.stack(joint).amin(0) - ALPHA * log_prob.sum(-1, keepdim=True)
    by_hand = batch.reward + GAMMA * (1 - batch.terminated) * soft[:, 1:]
    targets = learner.td_targets(batch, inputs, fresh, log_prob, 0)
    real = batch.mask > 0
    th.testing.assert_close(targets[real], by_hand[real], rtol=1e-4, atol=1e-5)


def test_fresh_actions_are_samples_of_the_current_policies():
    """u' of a policy with probabilities .7 and .1: drawn with these frequencies, with their logarithms."""
    info = make_info()
    learner = uniform_learner()
    constant(learner.mac.agent, [0.0, math.log(7.0), 0.0, 0.0])
    seen, td_targets = [], learner.td_targets
    learner.td_targets = lambda *args: seen.append(args) or td_targets(*args)
    batch = random_buffer(info, 60).recent(60)
    batch.avail_actions[:] = True
    for _ in range(5):
        learner.learn(batch, 0)
        constant(learner.mac.agent, [0.0, math.log(7.0), 0.0, 0.0])
    real = batch.mask.squeeze(-1) > 0
    actions = th.stack([fresh[:, :-1][real] for _, _, fresh, _, _ in seen])
    log_probs = th.stack([log_prob[:, :-1][real] for _, _, _, log_prob, _ in seen])
    best = (actions == 1).squeeze(-1)
    assert best.float().mean().item() == pytest.approx(0.7, abs=0.02)
    expected = th.where(best, math.log(0.7), math.log(0.1))
    th.testing.assert_close(log_probs, expected.to(log_probs.dtype), rtol=1e-4, atol=1e-4)


def test_eq_10_by_hand():
    """Uniform policies, Q_i = 1 and 3 of two critics, V_i = 4: errors 4 - (Q_i + alpha H_i), mean over all."""
    batch, learner = two_episodes(DISCRETE), uniform_learner(v_function="network", n_critics=2)
    members_at(learner.critic, 1.0, 3.0)
    constant(learner.value, 4.0)
    losses = spied(learner)
    learner.learn(batch, 0)
    soft = ALPHA * entropies(batch)
    by_hand = ((4.0 - 1.0 - soft).square().mean() + (4.0 - 3.0 - soft).square().mean()) / 2
    assert losses["value"] == pytest.approx(by_hand.item(), rel=1e-5)


def test_v_networks_are_the_baselines():
    """V_i = 2 by network, Q_i = 1, lambda_i = 3, V = 4: Q_jt = 4 + 3 sum_i (1 - 2) + sum_i 2 = 1."""
    batch, learner = two_episodes(DISCRETE), uniform_learner(v_function="network", n_critics=1)
    constant(learner.critic, 1.0)
    constant(learner.value, 2.0)
    mixer = learner.mixer.first
    mixer.lambda_net = Constant(3.0, 3.0, 3.0)
    constant(mixer.v, 4.0)
    assert learner.evaluate_actions(batch)[0][batch.mask > 0].tolist() == pytest.approx([1.0] * 3)


def test_loss_by_hand_for_boxes():
    """Q_i = 0, V_i = 1/2, lambda_i = 3: Q_jt = V - 3 sum_i 1/2 + sum_i 1/2 = V - 3; alpha vanishes. V = 1, V' = 5."""
    learner = uniform_learner(CONTINUOUS, alpha_start=1e-9)
    for critic, mixers, value in (
        (learner.critic, learner.mixer, 1.0),
        (learner.targets["critic"], learner.targets["mixer"], 5.0),
    ):
        constant(critic, 0.0)
        mixers.members[0].lambda_net = Constant(3.0, 3.0, 3.0)
        constant(mixers.members[0].v, value)
    constant(learner.value, 0.5)
    by_hand = [(-2.0 - y) ** 2 for y in returns_by_hand(2.0)]
    loss = learner.update(two_episodes(CONTINUOUS), 0)["loss"].item()
    assert loss == pytest.approx(sum(by_hand) / 3, rel=1e-4)


@pytest.mark.parametrize("reads", [True, False])
def test_the_critic_reads_the_last_action_if_told(reads):
    """`critic_last_action`: another previous action is another Q_i, or not."""
    info = make_info()
    learner = make_learner(make_config("fop", critic_last_action=reads), info)
    batch = random_buffer(info).recent(4)
    q = [learner.critic(batch.inputs(learner.spec), batch.rows_seen)]
    batch.actions[:, 0] = (batch.actions[:, 0] + 1) % 4
    batch.__post_init__()
    q.append(learner.critic(batch.inputs(learner.spec), batch.rows_seen))
    assert th.equal(q[0][:, :, 0], q[1][:, :, 0])
    assert th.equal(q[0][:, :, 1], q[1][:, :, 1]) != reads
