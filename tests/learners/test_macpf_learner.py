"""MACPF: loss by hand, who sees whose action, what is executed, the mixers, the games."""

import pytest
import torch as th

from cases import GAMMA, LAMBDA, constant, mean_square, play, two_episodes
from controllers.basic_controller import ActInputs
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, make_learner, random_buffer
from modules.agents.dependency import Dependency
from utils.errors import UserError

ALPHA = 0.5


def constant_q_tot(learner, value, target_value):
    """Q_tot and its target the same for all actions, in both chains."""
    for name in learner.targets.keys() - {"critic"}:
        for mixer, output in ((learner.get_submodule(name), value), (learner.targets[name], target_value)):
            constant(mixer.k, 0.0)
            constant(mixer.b, output)


@pytest.mark.parametrize("shared", [True, False])
def test_loss_by_hand(shared):
    """Q_tot = 1, Q'_tot = 5, uniform policies of both chains: the same loss twice.

    H_t is the sum of log n_i at step t: y_1 = 2 + .9 (5 + .5 H_2) and y_0 = 1 + .9 (.5 H_1 + .2 x 5 + .8 y_1)
    in the cut episode and 3 in the terminated one.
    """
    keys = {"gamma": GAMMA, "td_lambda": LAMBDA, "alpha_start": ALPHA, "alpha_finish": ALPHA, "shared_mixer": shared}
    learner = make_learner(make_config("macpf", **keys), make_info())
    assert set(learner.targets) == ({"critic", "mixer"} if shared else {"critic", "mixer", "dep_mixer"})
    constant_q_tot(learner, 1.0, 5.0)
    for weight in learner.mac.parameters():
        weight.data.zero_()
    batch = two_episodes(DISCRETE)
    h_1, h_2 = (batch.avail_actions[0, t].sum(-1).double().log().sum().item() for t in (1, 2))
    last = 2 + GAMMA * (5 + ALPHA * h_2)
    expected = mean_square(1.0, [1 + GAMMA * (ALPHA * h_1 + 0.2 * 5 + 0.8 * last), last, 3.0])
    metrics = learner.update(batch, 0)
    assert metrics["loss"].item() == pytest.approx(expected, rel=1e-4)
    assert metrics["dep_loss"].item() == pytest.approx(expected, rel=1e-4)


def test_policy_loss_by_hand():
    """Q_i(a) = a for independent and dependent critics, uniform policies: mean of -alpha log n_i - mean of a."""
    learner = make_learner(make_config("macpf", alpha_start=ALPHA, alpha_finish=ALPHA), make_info())
    for weight in [*learner.mac.parameters(), *learner.critic.dependency.parameters()]:
        weight.data.zero_()
    constant(learner.critic.head, [0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0])
    batch = two_episodes(DISCRETE)
    objectives = []
    for b, t in ((0, 0), (0, 1), (1, 0)):
        for agent in range(3):
            available = batch.avail_actions[b, t, agent].nonzero().flatten().double()
            objectives.append(-ALPHA * th.tensor(len(available)).double().log() - available.mean())
    metrics = learner.update(batch, 0)
    by_hand = sum(objectives).item() / 9
    assert metrics["policy_loss"].item() == pytest.approx(by_hand, rel=1e-4)
    assert metrics["dep_policy_loss"].item() == pytest.approx(by_hand, rel=1e-4)


def dependency(n_agents=3):
    """A random network with outputs and actions of one step."""
    th.manual_seed(0)
    actions = th.eye(4)[th.randint(4, (1, 1, n_agents))]
    return Dependency(n_agents, 4, 8), th.randn(1, 1, n_agents, 8, requires_grad=True), actions


def test_agents_depend_on_earlier_agents_only():
    """Agent 1's action changes what agents 2 and on do; nobody changes agent 0."""
    network, outputs, actions = dependency()
    changed = actions.clone()
    changed[..., 1, :] = actions[..., 1, :].roll(1, -1)
    first, second = network(outputs, actions), network(outputs, changed)
    same = (first - second).abs().amax(-1)[0, 0] == 0
    assert same.tolist() == [True, True, False]


def test_the_conditional_chain_does_not_train_the_independent_one():
    """sg(x_i) + y_i: gradient 0 and 1; its value is x_i + y_i plus what the others' actions add."""
    network, outputs, actions = dependency()
    corrected = network(outputs, actions)
    corrected.sum().backward()
    assert th.equal(outputs.grad[..., :4], th.zeros(1, 1, 3, 4))
    assert th.equal(outputs.grad[..., 4:], th.ones(1, 1, 3, 4))
    th.testing.assert_close(corrected[..., 0, :], (outputs[..., :4] + outputs[..., 4:])[..., 0, :])


def test_draw_uses_the_conditional_policies_of_its_own_actions():
    """Log-probabilities agent by agent equal those of all agents at once for the drawn joint action; all available."""
    info = make_info()
    learner = make_learner(make_config("macpf"), info)
    batch = random_buffer(info).recent(4)
    head, used = learner.mac.unroll(batch), []
    uniform = th.rand(head.shape[:-1])

    def pick(policy, one):
        used.append(policy.log_probs)
        return policy.sample(uniform[..., one])

    actions = learner.mac.draw(head, batch.avail_actions, pick)
    together = learner.mac.conditional(head, batch.avail_actions, actions)
    th.testing.assert_close(th.cat(used, dim=-2), together.log_probs)
    assert batch.avail_actions.gather(-1, actions).all()


def act_inputs(info, epsilon_noise):
    """500 environments at random observations."""
    rng = th.Generator().manual_seed(0)
    noise = th.rand(500, 3, info.action_space.noise_dim, generator=rng)
    noise[..., 0] = epsilon_noise
    avail = th.ones(500, 3, 4, dtype=th.bool)
    avail[..., 3] = False
    obs = th.randn(500, 3, 5, generator=rng)
    return ActInputs(obs, th.zeros(500, 7), avail, th.zeros(500, 3, 4), noise)


def test_independent_policies_are_executed_in_tests():
    """In tests nothing depends on the correction; in training agents after the first follow the earlier ones."""
    info = make_info()
    mac = make_learner(make_config("macpf"), info).mac
    act, hidden = act_inputs(info, 1.0), mac.init_hidden(500)
    tested, _ = mac.select_actions(act, hidden, 0.0, test_mode=True)
    mac.dependency.pair.weight.data.zero_()  # z_j becomes one large constant for every action
    mac.dependency.pair.bias.data.fill_(30.0)
    mac.dependency.out.weight.data.zero_()
    mac.dependency.out.weight.data[2] = 10.0
    again, _ = mac.select_actions(act, hidden, 0.0, test_mode=True)
    assert th.equal(tested, again)
    trained, _ = mac.select_actions(act, hidden, 0.0)
    assert (trained[:, 1:] == 2).all()
    assert (trained[:, 0] != 2).any()
    assert not (trained == 3).any()


def test_epsilon_acts_inside_the_chain():
    """At epsilon 1 every action is random and available."""
    info = make_info()
    mac = make_learner(make_config("macpf"), info).mac
    actions, _ = mac.select_actions(act_inputs(info, 0.0), mac.init_hidden(500), 1.0)
    assert [(actions == a).float().mean().item() for a in range(4)] == pytest.approx([1 / 3] * 3 + [0.0], abs=0.04)


def test_continuous_actions_are_refused_in_one_line():
    """Says what it needs."""
    with pytest.raises(UserError, match="macpf needs discrete actions"):
        make_learner(make_config("macpf"), make_info(CONTINUOUS))


FAST = {"critic": "mlp", "lr": 1e-3, "critic_lr": 1e-3, "optimiser": "adam", "epsilon_anneal_time": 1500}
GAME = FAST | {"target_update_interval": 1, "updates_per_episode": 0.5}


@pytest.mark.parametrize("seed", range(2))
def test_macpf_finds_one_of_four_optima(seed):
    """T13: independent policies agree on one of four equally good joint actions, because the chain's data do."""
    assert play("macpf", "matrix_game", 2000, seed, env_args={"payoff": "identity4"}, **GAME)[1] == 1.0


def test_macpf_finds_the_optimum_of_the_papers_matrix_game():
    """With FOP's annealing of alpha from 1: payoff 8 although both mixers are additive."""
    warm = {"alpha_start": 1.0, "alpha_finish": 0.01, "alpha_anneal_time": 1600}
    assert play("macpf", "matrix_game", 2000, 0, **GAME | warm)[1] == 8.0
