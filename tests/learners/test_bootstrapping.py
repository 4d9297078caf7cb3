"""Targets of step t hold the value of step t + 1, of the right agent: values that differ from step to step, by hand.

`test_loss_by_hand` of the learners has one value for every observation, which says nothing about when and whose it is.
"""

import pytest
import torch as th
from torch import nn

from cases import GAMMA, LAMBDA, constant, two_episodes
from helpers import CONTINUOUS, DISCRETE, make_config, make_info, make_learner

OFFSET, LIFT = 5.0, 50.0
KEYS = {"gamma": GAMMA, "td_lambda": LAMBDA}


class StateValue(nn.Module):
    """Stands in for a mixer: 5 plus the first entry of the state, whatever the utilities."""

    def forward(self, utilities, state, **_):
        return OFFSET + state[..., :1]


@th.no_grad()
def echo(module):
    """Make a network of linear maps and ReLU return 5 plus its first input: the first entry of the observation."""
    weights = [weight for name, weight in module.named_parameters() if name.endswith("weight")]
    biases = [bias for name, bias in module.named_parameters() if name.endswith("bias")]
    for parameter in module.parameters():
        parameter.zero_()
    for weight in weights[:-1]:
        weight[..., 0, 0] = 1.0
    weights[-1][..., 0, :] = 1.0
    biases[0][..., 0] = LIFT  # no ReLU cuts it
    biases[-1].fill_(OFFSET - LIFT)


def returns(first, second):
    """The three TD(lambda) returns of `two_episodes`; the cut episode's next observations are worth these."""
    last = 2.0 + GAMMA * second
    return [1.0 + GAMMA * ((1.0 - LAMBDA) * first + LAMBDA * last), last, 3.0]


def of_states(batch):
    """V(s_0), V(s_1), V(s_2) of the cut episode by `StateValue`."""
    return (OFFSET + batch.state[0, :, 0]).tolist()


def mean_squares(values, targets):
    return sum((value - target) ** 2 for value, target in zip(values, targets, strict=True)) / len(targets)


@pytest.mark.parametrize("space", [DISCRETE, CONTINUOUS])
@pytest.mark.parametrize("alg", ["facmac", "facmac_nonmonotonic", "dop_det"])
def test_deterministic_methods_with_a_mixer(alg, space):
    learner = make_learner(make_config(alg, **KEYS), make_info(space))
    if alg == "dop_det":
        constant(learner.mixer.k, 0.0)
    constant(learner.mixer.b if alg == "dop_det" else learner.mixer, 1.0)
    learner.targets["mixer"] = StateValue()
    batch = two_episodes(space)
    _, first, second = of_states(batch)
    assert abs(first - second) > 0.1
    loss = learner.update(batch, 0)["loss"].item()
    assert loss == pytest.approx(mean_squares([1.0] * 3, returns(first, second)), rel=1e-4)


@pytest.mark.parametrize(("alg", "space"), [("maddpg", DISCRETE), ("maddpg", CONTINUOUS), ("coma", DISCRETE)])
def test_critics_of_every_agent(alg, space):
    keys = KEYS | ({"critic_each_step": False} if alg == "coma" else {})
    learner = make_learner(make_config(alg, **keys), make_info(space))
    constant(learner.critic, 1.0)
    echo(learner.targets["critic"])
    batch, squares = two_episodes(space), []
    for agent in range(3):
        first, second = (OFFSET + batch.obs[0, 1:, agent, 0]).tolist()
        squares.append(mean_squares([1.0] * 3, returns(first, second)))
    assert learner.update(batch, 0)["loss"].item() == pytest.approx(sum(squares) / 3, rel=1e-4)


def test_dop_off_and_on_policy():
    """Off y_t = V_t + delta_t + c_{t+1} delta_{t+1}, delta_t = r_t + gamma V_{t+1} - V_t; on the TD(lambda) return."""
    keys = KEYS | {"tree_lambda": 0.5, "critic_each_step": False, "kappa": 0.25}
    learner = make_learner(make_config("dop", **keys), make_info())
    constant(learner.mac.agent, 0.0)
    constant(learner.mixer.k, 0.0)
    constant(learner.mixer.b, 1.0)
    learner.targets["mixer"] = StateValue()
    batch = two_episodes(DISCRETE)
    v_0, v_1, v_2 = of_states(batch)
    certainty = (1.0 / batch.avail_actions[0, 1].sum(-1)).prod().item()
    delta = [1.0 + GAMMA * v_1 - v_0, 2.0 + GAMMA * v_2 - v_1]
    off = [v_0 + delta[0] + GAMMA * 0.5 * certainty * delta[1], v_1 + delta[1], 3.0]
    expected = 0.25 * mean_squares([1.0] * 3, off) + 0.75 * mean_squares([1.0] * 3, returns(v_1, v_2))
    assert learner.update(batch, 0)["loss"].item() == pytest.approx(expected, rel=1e-4)


def test_vdac():
    learner = make_learner(make_config("vdac_mix", **KEYS), make_info())
    constant(learner.mac.agent, 0.0)
    learner.mixer = StateValue()
    batch = two_episodes(DISCRETE)
    v_0, v_1, v_2 = of_states(batch)
    values = [v_0, v_1, OFFSET + batch.state[1, 0, 0].item()]
    loss = learner.update(batch, 0)["value_loss"].item()
    assert loss == pytest.approx(mean_squares(values, returns(v_1, v_2)), rel=1e-4)


def test_macpf():
    """Without entropy both chains have the same targets."""
    learner = make_learner(make_config("macpf", alpha_start=1e-9, alpha_finish=1e-9, **KEYS), make_info())
    for name in learner.targets.keys() - {"critic"}:
        constant(learner.get_submodule(name).k, 0.0)
        constant(learner.get_submodule(name).b, 1.0)
        learner.targets[name] = StateValue()
    batch = two_episodes(DISCRETE)
    _, first, second = of_states(batch)
    metrics, expected = learner.update(batch, 0), mean_squares([1.0] * 3, returns(first, second))
    assert metrics["loss"].item() == pytest.approx(expected, rel=1e-4)
    assert metrics["dep_loss"].item() == pytest.approx(expected, rel=1e-4)
