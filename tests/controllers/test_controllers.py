"""Acting: epsilon, availability, determinism in the noise, both action types, no state between calls."""

import copy

import pytest
import torch as th

from controllers import BasicMAC, SoftMAC
from controllers.basic_controller import ActInputs
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, make_learner
from utils.errors import UserError

N_ENVS = 2000


def act_inputs(info, seed=0):
    """Random observations and noise for many environments; action 0 is never available."""
    rng = th.Generator().manual_seed(seed)
    space = info.action_space
    avail = None
    if space is DISCRETE:
        avail = th.ones(N_ENVS, 3, 4, dtype=th.bool)
        avail[..., 0] = False
    return ActInputs(
        obs=th.randn(N_ENVS, 3, 5, generator=rng),
        state=th.randn(N_ENVS, 7, generator=rng),
        avail=avail,
        last_actions=th.zeros(N_ENVS, 3, space.enc_dim),
        noise=th.rand(N_ENVS, 3, space.noise_dim, generator=rng),
    )


@pytest.mark.parametrize(("mac_class", "space"), [(BasicMAC, DISCRETE), (SoftMAC, DISCRETE), (SoftMAC, CONTINUOUS)])
def test_actions_are_legal_and_depend_on_nothing_but_the_inputs(mac_class, space):
    """Available (or inside the box), repeatable, and a deep copy after acting acts the same."""
    info = make_info(space)
    th.manual_seed(0)
    mac = mac_class(make_config("fop"), info)
    act, hidden = act_inputs(info), mac.init_hidden(N_ENVS)
    first, after = mac.select_actions(act, hidden, 0.3)
    again, _ = copy.deepcopy(mac).select_actions(act, hidden, 0.3)
    assert th.equal(first, again)
    assert after.shape == hidden.shape
    if space is DISCRETE:
        assert act.avail.gather(-1, first).all()
    else:
        assert first.shape == (N_ENVS, 3, 2)
        assert ((first >= -10) & (first <= 10)).all()
        assert first.std() > 1


def test_epsilon_is_the_share_of_uniform_actions():
    """At epsilon .4 over 3 available actions the greedy one is taken with probability .6 + .4 / 3."""
    info = make_info()
    th.manual_seed(0)
    mac = BasicMAC(make_config("vdn"), info)
    act, hidden = act_inputs(info), mac.init_hidden(N_ENVS)
    best, _ = mac.select_actions(act, hidden, 0.0)
    mixed, _ = mac.select_actions(act, hidden, 0.4)
    assert (best == mixed).float().mean().item() == pytest.approx(0.6 + 0.4 / 3, abs=0.02)
    tested, _ = mac.select_actions(act, hidden, 0.4, test_mode=True)
    assert th.equal(best, tested)


def test_soft_policy_frequencies():
    """Samples follow the masked softmax; the test action is its mode."""
    info = make_info()
    th.manual_seed(0)
    mac = SoftMAC(make_config("fop"), info)
    act = act_inputs(info)
    act.obs[:] = act.obs[:1]
    actions, _ = mac.select_actions(act, mac.init_hidden(N_ENVS), 0.0)
    head, _ = mac.step(act, mac.init_hidden(N_ENVS))
    probs = mac.policy(head, act.avail).probs[0]
    counts = th.nn.functional.one_hot(actions.squeeze(-1), 4).float().mean(0)
    th.testing.assert_close(counts, probs, atol=0.05, rtol=0)
    tested, _ = mac.select_actions(act, mac.init_hidden(N_ENVS), 0.0, test_mode=True)
    assert th.equal(tested[0, :, 0], probs.argmax(-1))


def test_wrong_action_type_is_one_line_with_what_is_allowed():
    """A value-based controller names what it needs."""
    with pytest.raises(UserError, match="vdn needs discrete actions, matrix_game has continuous ones"):
        BasicMAC(make_config("vdn"), make_info(CONTINUOUS))


def test_inputs_follow_the_configuration():
    """obs_agent_id and obs_last_action shorten the input."""
    info = make_info()
    for overrides, width in (({}, 12), ({"obs_agent_id": False}, 9), ({"obs_last_action": False}, 8)):
        mac = BasicMAC(make_config("vdn", **overrides), info)
        assert mac.agent.trunk.shape.n_inputs == width


def test_uniform_steps_come_before_the_schedule_of_epsilon():
    mac = SoftMAC(make_config("fop", uniform_steps=100, epsilon_start=0.0, epsilon_finish=0.0), make_info(CONTINUOUS))
    assert [mac.epsilon(t) for t in (0, 99, 100)] == [1.0, 1.0, 0.0]


def test_policies_start_at_the_middle_with_a_small_output_scale():
    """Factor 0.01 on the output layer: every greedy action within 1 % of the box of its centre, here 0."""
    info = make_info(CONTINUOUS)
    mac = SoftMAC(make_config("fop", agent_output_scale=0.01), info)
    actions, _ = mac.select_actions(act_inputs(info), mac.init_hidden(N_ENVS), 0.0, test_mode=True)
    assert 0 < actions.abs().max() < 0.2


def test_gaussian_policies_start_with_the_given_std():
    """Samples around the centre of the box [-10, 10] spread by 1 for a std of 0.1."""
    info = make_info(CONTINUOUS)
    mac = SoftMAC(make_config("fop", agent_output_scale=0.01, policy_std=0.1), info)
    actions, _ = mac.select_actions(act_inputs(info), mac.init_hidden(N_ENVS), 0.0)
    assert actions.std().item() == pytest.approx(1.0, rel=0.05)


def test_policy_epsilon_is_the_released_mixture():
    """p_a = [(1 - eps) softmax over all(a) + eps / A] over its sum over the available actions."""
    info = make_info(DISCRETE)
    mac = make_learner(make_config("fop_official"), info).mac
    head, avail = th.randn(2, 3, 4), th.tensor([True, False, True, True]).expand(2, 3, 4)
    policy = mac.policy(head, avail, 0.3)
    kept = (0.7 * head.softmax(-1) + 0.3 / 4) * avail
    th.testing.assert_close(policy.probs, kept / kept.sum(-1, keepdim=True))
    th.testing.assert_close(policy.log_probs[avail], policy.probs[avail].log())
    assert (policy.sample(th.rand(2, 3)) != 1).all()
    th.testing.assert_close(mac.policy(head, avail, 0.0).probs, head.masked_fill(~avail, -1e30).softmax(-1))


@pytest.mark.parametrize("alg", ["dop", "dop_official"])
def test_mixtures_are_masked_before_or_after(alg):
    """Logits 10, 5, 0, 0 and the first action unavailable: the second is preferred, or hardly if masked after."""
    mac = make_learner(make_config(alg), make_info(DISCRETE)).mac
    head, avail = th.tensor([10.0, 5.0, 0.0, 0.0]), th.tensor([False, True, True, True])
    if alg == "dop":
        softmax = th.tensor([0.0, *th.tensor([5.0, 0.0, 0.0]).softmax(-1)])
        expected = 0.8 * softmax + 0.2 / 3 * avail
    else:
        expected = (0.8 * head.softmax(-1) + 0.2 / 4) * avail
        expected = expected / expected.sum()
    policy = mac.policy(head.expand(1, 3, 4), avail.expand(1, 3, 4), 0.2)
    th.testing.assert_close(policy.probs[0, 0], expected)
    assert (policy.probs[0, 0, 1] > 0.8) == (alg == "dop")  # .86 against .35
