"""Critics of continuous actions: several actions to a row at once, and the frozen view."""

import pytest
import torch as th

from components.action_space import ContinuousActions
from helpers import CONTINUOUS, make_info, random_buffer
from modules.agents import REGISTRY as AGENTS
from modules.agents.trunk import AgentShape
from modules.critics import make_critic
from modules.critics.attention import AttentionCritic
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
