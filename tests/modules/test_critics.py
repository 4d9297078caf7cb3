"""Critics of continuous actions: several actions to a row at once, and the frozen view."""

import pytest
import torch as th

from components.action_selectors import sample_with_log_prob
from components.action_space import ContinuousActions
from helpers import CONTINUOUS, make_info, random_buffer
from modules.agents import REGISTRY as AGENTS
from modules.agents.trunk import AgentShape
from modules.critics import make_critic
from modules.critics.attention import AttentionCritic
from modules.critics.q_function import ContinuousQ
from modules.distributions import SquashedNormal

SAMPLES = 5


@pytest.mark.parametrize(("members", "shared"), [(1, True), (2, False)])
def test_many_actions_at_once_are_the_same_as_one_by_one(members, shared):
    """`[B,T,N,S,D] -> [K,B,T,N,S]`; weights keep their gradients after the frozen view was used."""
    info = make_info(CONTINUOUS)
    batch = random_buffer(info).sample(4)
    critic = make_critic(AGENTS["mlp"](AgentShape(3, 5, 16, shared, ensemble=members)), CONTINUOUS)
    head, frozen_head = critic.at(batch.obs[:, :-1], batch.rows_taken)
    actions = th.rand(*batch.actions.shape[:3], SAMPLES, 2, requires_grad=True)
    for values in (head(actions), frozen_head(actions)):
        assert values.shape == (members, *batch.actions.shape[:3], SAMPLES)
        for s in range(SAMPLES):
            th.testing.assert_close(values[..., s], head(actions[..., s, :]))
    frozen_head(actions).sum().backward()
    assert all(weight.grad is None and weight.requires_grad for weight in critic.parameters())
    assert actions.grad.abs().sum() > 0


def test_the_attention_critic_takes_many_own_actions():
    info = make_info(CONTINUOUS)
    batch, rng = random_buffer(info).sample(4), th.Generator().manual_seed(0)
    critic = AttentionCritic(AgentShape(3, 5, 16), CONTINUOUS, 4)
    q, _ = critic.judge(batch.obs[:, :-1], batch.rows_taken, None, batch.actions_enc, rng)
    actions = th.rand(*batch.actions.shape[:3], SAMPLES, 2)
    for s in range(SAMPLES):
        th.testing.assert_close(q.head(actions)[..., s], q.head(actions[..., s, :]))


def test_expected_value_is_the_mean_over_samples():
    """E[Q - alpha log pi] with S samples is the mean of S single ones drawn from the same stream."""
    space, shape = ContinuousActions(1, -1.0, 1.0), (1, 1, 3, 1)
    critic = make_critic(AGENTS["mlp"](AgentShape(3, 5, 16)), space)
    policy, alpha = SquashedNormal(th.zeros(1, 1, 3, 2)), th.tensor([0.1, 0.2, 0.3])
    inputs = th.randn(1, 1, 3, 5)
    normal = th.randn(SAMPLES, *shape)
    q = critic.judge(inputs, [1], None, th.Generator())
    q.normal = lambda size: normal
    encoded, log_prob = policy.rsample(normal)
    one_by_one = [q.head(encoded[s]) - alpha * log_prob[s] for s in range(SAMPLES)]
    th.testing.assert_close(q.evaluate(policy, alpha, SAMPLES), th.stack(one_by_one).mean(0))


def linear_q(normal):
    """Q = sum_d a_d and 3 sum_d a_d of two critics, a in encoded units; every random number is `normal`."""
    weights = th.tensor([1.0, 3.0])

    def head(encoded):
        return th.einsum("k,...->k...", weights, encoded.sum(-1))

    return ContinuousQ(head, head, CONTINUOUS, lambda shape: normal.expand(shape))


def test_a_box_is_judged_in_encoded_units():
    """The box is [-10, 10]: the action (5, -2) is (.5, -.2), so Q = .3 and .9."""
    taken = linear_q(th.zeros(())).taken(th.tensor([[[[5.0, -2.0]]]]))
    assert taken.flatten().tolist() == pytest.approx([0.3, 0.9])


def test_objective_and_soft_value_of_a_box_by_hand():
    """z = mean + std x .5; alpha log pi(tanh z) - min(sum a, 3 sum a); eq. (10): sum a - alpha log pi."""
    mean, log_std, alpha = th.tensor([0.4, 0.1]), th.tensor([-0.7, 0.2]), th.tensor([0.3])
    policy = SquashedNormal(th.cat((mean, log_std)).expand(1, 1, 1, 4))
    q = linear_q(th.tensor(0.5))
    normal = th.distributions.Normal(mean.double(), log_std.double().exp())
    z = normal.mean + normal.stddev * 0.5
    log_pi = (normal.log_prob(z) - (1 - z.tanh().square()).log()).sum().item()
    total = z.tanh().sum().item()
    assert total > 0
    assert q.objective(policy, alpha).item() == pytest.approx(0.3 * log_pi - total, rel=1e-5)
    soft = [total - 0.3 * log_pi, 3 * total - 0.3 * log_pi]
    assert q.evaluate(policy, alpha, 4).flatten().tolist() == pytest.approx(soft, rel=1e-5)


def test_fresh_actions_of_a_box_are_in_its_units_with_their_log_density():
    """Samples of a narrow policy lie around 10 tanh(mean); the density is that of the encoded action."""
    mean = th.tensor([0.5, -1.0])
    policy = SquashedNormal(th.cat((mean, th.full((2,), -4.0))).expand(1000, 1, 4))
    actions, log_prob = sample_with_log_prob(policy, CONTINUOUS, th.Generator().manual_seed(0))
    th.testing.assert_close(actions.mean((0, 1)), 10 * mean.tanh(), atol=0.05, rtol=0)
    th.testing.assert_close(log_prob, policy.log_prob(actions / 10), atol=2e-3, rtol=1e-3)
    assert log_prob.mean() > 0  # a narrow density is high
