"""Every difference between FOP's paper and its released code (docs/algorithms/fop.md) computed by hand."""

import math

import pytest
import torch as th

from components.action_space import DiscreteActions
from components.episode_buffer import TrainBatch
from components.inputs import full
from components.schedules import LinearSchedule
from components.temperature import AutoTemperature, Temperature
from controllers.basic_controller import ActInputs
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, make_learner, random_buffer
from modules.critics import DiscreteQ
from utils.errors import UserError

ALPHA = 0.5


def one_step(n_agents=3, n_actions=6, reward=1.0, terminated=1.0, steps=1):
    """Episodes of `steps` equal transitions with everything available, the last one ending as asked."""
    info = make_info(DiscreteActions(n_actions))
    shape = (1, steps + 1, n_agents)
    ended = th.zeros(1, steps, 1)
    ended[:, -1] = terminated
    return info, TrainBatch(
        obs=th.zeros(*shape, info.obs_dim),
        state=th.zeros(1, steps + 1, info.state_dim),
        avail_actions=th.ones(*shape, n_actions, dtype=th.bool),
        actions=th.zeros(1, steps, n_agents, 1, dtype=th.long),
        reward=th.full((1, steps, 1), reward),
        terminated=ended,
        mask=th.ones(1, steps, 1),
        action_space=info.action_space,
        lengths=[steps],
    )


def targets_of(info, batch, **overrides):
    """Targets of FOP with zero target values and a uniform policy, alpha fixed at 0.5, gamma 0.9."""
    config = make_config("fop", gamma=0.9, alpha_mode="fixed", alpha_start=ALPHA, **overrides)
    learner = make_learner(config, info)
    learner.targets["mixer"].forward = lambda utilities, *_, **__: th.zeros(*utilities.shape[:-1], 1)
    inputs = batch.inputs(learner.spec)
    log_prob = th.full(inputs.shape[:3], -math.log(6))
    fresh = th.zeros(*inputs.shape[:3], 1, dtype=th.long)
    return learner.td_targets(batch, inputs, fresh, log_prob, 0)[0, :, 0]


def test_f2_terminal_entropy():
    """3 agents, uniform over 6 actions, alpha .5, r_T = 1: 1.000 is right, the released code says 1.896."""
    info, batch = one_step()
    assert targets_of(info, batch).tolist() == pytest.approx([1.0])
    released = {"entropy_sum": False, "entropy_in_return": False, "terminal_entropy": True}
    assert targets_of(info, batch, **released).tolist() == pytest.approx([1.0 + ALPHA * math.log(6)])
    assert 1.0 + ALPHA * math.log(6) == pytest.approx(1.896, abs=5e-4)


def test_f1_entropy_is_summed_over_agents_and_discounted():
    """A cut step: r + gamma alpha sum_i H_i = 1 + .9 x .5 x 3 log 6; with the mean a third of the bonus."""
    info, batch = one_step(terminated=0.0)
    bonus = ALPHA * math.log(6)
    assert targets_of(info, batch).tolist() == pytest.approx([1 + 0.9 * 3 * bonus])
    assert targets_of(info, batch, entropy_sum=False).tolist() == pytest.approx([1 + 0.9 * bonus])
    assert targets_of(info, batch, entropy_in_return=False).tolist() == pytest.approx([1 + 3 * bonus])


def test_f3_every_later_entropy_enters_the_lambda_return():
    """Two steps, lambda = 1, terminal: y_0 = r + gamma (alpha 3 log 6 + r), y_1 = r."""
    info, batch = one_step(steps=2)
    bonus = 3 * ALPHA * math.log(6)
    assert targets_of(info, batch, td_lambda=1.0).tolist() == pytest.approx([1 + 0.9 * (bonus + 1), 1.0])
    assert targets_of(info, batch, td_lambda=0.0).tolist() == pytest.approx([1 + 0.9 * bonus, 1.0])


def test_f5_soft_value_counts_available_actions_only():
    """Available Q = 1 and 3, an unavailable Q = 9, alpha -> 0: 3, not 9; and the figures of its bias."""
    avail = th.tensor([[[[True, True, False]]]])
    q = DiscreteQ(th.tensor([[[[[1.0, 3.0, 9.0]]]]]), avail)
    assert q.soft_value(th.tensor([0.01])).item() == pytest.approx(3.0, abs=1e-5)
    for n_actions, n_available, bias in ((70, 6, 1.23), (18, 6, 0.55), (9, 6, 0.20)):
        mask = (th.arange(n_actions) < n_available).view(1, 1, 1, -1)
        equal = th.zeros(1, 1, 1, 1, n_actions)
        right = DiscreteQ(equal, mask).soft_value(th.tensor([ALPHA]))
        wrong = DiscreteQ(equal, th.ones_like(mask)).soft_value(th.tensor([ALPHA]))
        assert (wrong - right).item() == pytest.approx(bias, abs=0.006)


def test_f5_the_switch_selects_the_unmasked_value():
    """`v_function=unmasked` is larger wherever something is unavailable."""
    info = make_info()
    batch = random_buffer(info).recent(4)
    values = []
    for choice in ("closed", "unmasked"):
        learner = make_learner(make_config("fop", v_function=choice, alpha_mode="fixed", alpha_start=ALPHA), info)
        inputs = batch.inputs(learner.spec)
        q = learner.critic.judge(inputs, batch.rows_seen, batch.avail_actions, learner.rng)
        values.append(learner.baseline(q, inputs, batch.rows_seen, learner.temperature.individual(0)))
    real = th.tensor([[t <= length for t in range(inputs.shape[1])] for length in batch.lengths])
    missing = ~batch.avail_actions.all(-1) & real.unsqueeze(-1)
    assert (values[1] > values[0])[:, missing].all()
    th.testing.assert_close(values[1][:, ~missing], values[0][:, ~missing])


def test_f7_history_in_the_critic():
    """The paper's Q_i(tau_i, .) sees the past, the released critic only the present observation."""
    info = make_info()
    batch = random_buffer(info).recent(4)
    for alg, remembers in (("fop", True), ("fop_official", False)):
        learner = make_learner(make_config(alg), info)
        inputs = batch.inputs(learner.spec)
        changed = full(inputs).clone()
        changed[:, 0] += 1.0
        judge = learner.critic.judge
        q, other = (judge(x, batch.rows_seen, batch.avail_actions, learner.rng).q_all for x in (inputs, changed))
        assert bool((q[:, :, 1:] != other[:, :, 1:]).any()) == remembers


@pytest.mark.parametrize(("alg", "at_one"), [("fop", 1.0), ("fop_official", 0.0)])
def test_f8_epsilon_mixture_scales_the_actor_gradient(alg, at_one):
    """At epsilon = 1 the released actor gradient is exactly 0; ours does not depend on epsilon."""
    info = make_info()
    norms = []
    for t_env in (0, 10**9):  # at the start of the schedule and after its end
        learner = make_learner(make_config(alg, epsilon_finish=0.0, alpha_mode="fixed", alpha_start=ALPHA), info)
        norms.append(learner.update(random_buffer(info).recent(4), t_env)["actor_grad_norm"].item())
    assert norms[1] > 0
    assert norms[0] == pytest.approx(at_one * norms[1], rel=1e-5)


@pytest.mark.parametrize(
    ("alg", "expected"), [("fop", 0.95 + 0.05 / 6), ("fop_official", 0.95 * (0.95 + 0.05 / 6) + 0.05 / 6)]
)
def test_f9_epsilon_is_applied_once(alg, expected):
    """P(greedy) at epsilon .05, policy sure of one of 6 actions: .958; the released code applies it twice, .919."""
    info, count = make_info(DiscreteActions(6)), 60000
    head = th.zeros(count, 3, 6)
    head[..., 2] = 50.0
    noise = th.rand(count, 3, info.action_space.noise_dim, generator=th.Generator().manual_seed(0))
    avail = th.ones(count, 3, 6, dtype=th.bool)
    act = ActInputs(th.zeros(count, 3, 5), th.zeros(count, 7), avail, th.zeros(count, 3, 6), noise)
    mac = make_learner(make_config(alg), info).mac
    share = (mac.choose(head, act, 0.05, False) == 2).double().mean().item()
    assert share == pytest.approx(expected, abs=0.003)
    assert (mac.choose(head, act, 0.05, True) == 2).all()


@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS])
def test_f13_actor_loss_leaves_the_critics_alone(space):
    """The policy objective has no gradient towards the critic's weights."""
    info = make_info(space)
    learner = make_learner(make_config("fop"), info)
    batch = random_buffer(info).recent(4)
    inputs = batch.inputs(learner.spec)
    q = learner.critic.judge(inputs, batch.rows_seen, batch.avail_actions, learner.rng)
    policy = learner.mac.policy(learner.mac.unroll(batch), batch.avail_actions)
    q.objective(policy, th.full((3,), ALPHA)).sum().backward()
    assert all(weight.grad is None for weight in learner.critic.parameters())
    assert all(weight.grad is not None for weight in learner.mac.parameters())


def test_alpha_from_lambda_returns_alpha_over_a_constant_lambda():
    """T8: with constant lambda_i the rule is alpha / lambda_i, whatever the scale of the advantages; clamped."""
    for scale in (1.0, 1e-3):
        temperature = Temperature(LinearSchedule(ALPHA, ALPHA, 0), 3, from_lambda=True)
        advantages = -scale * th.rand(4, 5, 3)
        weights = th.tensor([0.5, 2.0, 100.0]).expand(4, 5, 3)
        for _ in range(3000):
            temperature.observe_lambda(weights, advantages, th.ones(4, 5, 1))
        th.testing.assert_close(temperature.individual(0), th.tensor([1.0, 0.25, 0.05]), rtol=1e-3, atol=0)


def test_alpha_from_lambda_keeps_its_value_without_advantages():
    """A vanishing weight sum is no evidence: alpha_i stays alpha."""
    temperature = Temperature(LinearSchedule(ALPHA, ALPHA, 0), 3, from_lambda=True)
    temperature.observe_lambda(th.full((4, 5, 3), 7.0), th.zeros(4, 5, 3), th.ones(4, 5, 1))
    th.testing.assert_close(temperature.individual(0), th.full((3,), ALPHA))


def test_learned_temperature_moves_towards_the_target_entropy():
    """Too little entropy raises alpha, too much lowers it."""
    temperature = AutoTemperature(ALPHA, 2, from_lambda=False)
    for entropy, sign in ((0.1, -1.0), (2.0, 1.0)):
        loss = temperature.loss(th.full((1, 1, 2), -entropy), th.full((1, 1, 2), 1.0))
        (grad,) = th.autograd.grad(loss.sum(), temperature.log_alpha)
        assert math.copysign(1.0, grad.item()) == sign


def test_joint_value_by_hand():
    """At a terminal step: loss = (sum_i Q_i + V + sum_i (lambda_i - 1)(Q_i - V_i) - r)^2, the networks' own numbers."""
    info, batch = one_step(reward=2.0)
    learner = make_learner(make_config("fop", n_critics=1, alpha_mode="fixed", alpha_start=ALPHA), info)
    inputs = batch.inputs(learner.spec)[:, :-1]
    q_all = learner.critic(inputs, batch.rows_taken)[0, 0, 0]
    mixer = learner.mixer.first
    weights = mixer.lambda_weights(batch.state[:, :-1], batch.actions_enc)[0, 0]
    v_i = ALPHA * (q_all.double() / ALPHA).exp().sum(-1).log()
    joint = q_all[:, 0].sum() + mixer.v(batch.state[:, :1]).item() + ((weights - 1) * (q_all[:, 0] - v_i)).sum()
    metrics = learner.update(batch, 0)
    assert metrics["loss"].item() == pytest.approx((joint.item() - 2.0) ** 2, rel=1e-4)


def test_v_function_follows_the_action_space():
    """auto: closed form for discrete actions, V-networks for a box; a closed form over a box is refused in one line."""
    assert make_learner(make_config("fop"), make_info()).value is None
    assert make_learner(make_config("fop"), make_info(CONTINUOUS)).value is not None
    with pytest.raises(UserError, match="v_function=closed needs discrete actions"):
        make_learner(make_config("fop", v_function="closed"), make_info(CONTINUOUS))


def test_number_of_critics_follows_the_action_space():
    """n_critics=0: twins for discrete actions, one critic and mixer for a box; a number is taken as it is."""
    for info, number, members in (
        (make_info(), 0, 2),
        (make_info(), 1, 1),
        (make_info(CONTINUOUS), 0, 1),
        (make_info(CONTINUOUS), 3, 3),
    ):
        learner = make_learner(make_config("fop", n_critics=number), info)
        assert len(learner.mixer.members) == members
        assert learner.critic.trunk.shape.ensemble == members
        assert learner.update(random_buffer(info).recent(4), 0)["loss"].isfinite()
