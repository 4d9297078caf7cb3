"""Contracts of every registered mixer, and the IGO mixer's values and gradient routing."""

import itertools

import pytest
import torch as th

from modules.mixers import REGISTRY, IGOMixer, LiteralIGOMixer
from modules.mixers.igo import HeadLambda, MLPLambda
from modules.mixers.mixer import MixerShape
from utils.errors import UserError

SHAPE = MixerShape(n_agents=2, state_dim=4, action_dim=3, embed_dim=8, n_heads=4)


def inputs(batch=5, steps=3):
    """Random utilities, state, encoded joint action and baseline."""
    actions = th.nn.functional.one_hot(th.randint(3, (batch, steps, 2)), 3).float()
    q = th.randn(batch, steps, 2, requires_grad=True)
    return q, th.randn(batch, steps, 4), {"actions": actions, "baseline": q.detach() + th.rand(batch, steps, 2)}


def test_head_lambda_by_the_formula():
    """lambda_i = sum_p |a_p(s)| sigmoid(b_p(s))_i sigmoid(c_p(s,u))_i, head by head and agent by agent."""
    th.manual_seed(0)
    net = HeadLambda(SHAPE)
    state, actions = 2 * th.randn(4), th.nn.functional.one_hot(th.tensor([2, 0]), 3).float()
    joint = th.cat((state, actions.flatten()))
    a, b, c = net.key(state), net.agents(state).view(4, 2), net.action(joint).view(4, 2)
    weights = net(state.view(1, 1, 4), actions.view(1, 1, 2, 3)).flatten().tolist()
    for i in range(2):
        by_hand = sum(abs(a[p]) * th.sigmoid(b[p, i]) * th.sigmoid(c[p, i]) for p in range(4))
        assert weights[i] == pytest.approx(by_hand.item(), rel=1e-5)


def test_mlp_lambda_starts_at_about_two():
    """softplus(2) + 1e-3 = 2.128 where the last layer's weights are 0."""
    net = MLPLambda(SHAPE)
    with th.no_grad():
        net.net[-1].weight.zero_()
    assert net(th.randn(1, 1, 4), th.zeros(1, 1, 2, 3)).flatten().tolist() == pytest.approx([2.128] * 2, abs=1e-3)


@pytest.mark.parametrize("name", REGISTRY)
def test_shape_and_gradient_to_every_agent(name):
    """[B,T,N] -> [B,T,1], and each agent's utility matters."""
    th.manual_seed(0)
    q, state, extra = inputs()
    out = REGISTRY[name](SHAPE)(q, state, **extra)
    assert out.shape == (5, 3, 1)
    (grad,) = th.autograd.grad(out.sum(), q)
    assert (grad != 0).all()
    if REGISTRY[name].monotonic:
        assert (grad >= 0).all()


@pytest.mark.parametrize("name", [name for name, mixer in REGISTRY.items() if mixer.igm])
def test_argmax_consistency_by_enumeration(name):
    """IGM: the best joint action of Q_tot is the tuple of best individual actions, for random parameters."""
    th.manual_seed(1)
    mixer = REGISTRY[name](SHAPE)
    for _ in range(50):
        tables, state = th.randn(2, 3), th.randn(1, 1, 4)
        joint = list(itertools.product(range(3), repeat=2))
        values = [
            mixer(
                th.stack([tables[0, a], tables[1, b]]).view(1, 1, 2),
                state,
                actions=th.nn.functional.one_hot(th.tensor([a, b]), 3).float().view(1, 1, 2, 3),
                baseline=tables.amax(-1).view(1, 1, 2),
            ).item()
            for a, b in joint
        ]
        assert joint[max(range(9), key=values.__getitem__)] == tuple(tables.argmax(-1).tolist())


@pytest.mark.parametrize("name", REGISTRY)
def test_wrong_shapes_are_named(name):
    """A state of the wrong width, missing agents or missing inputs are errors that say so."""
    mixer = REGISTRY[name](SHAPE)
    q, state, extra = inputs()
    with pytest.raises(ValueError, match="state must be"):
        mixer(q, state[..., :2], **extra)
    with pytest.raises(ValueError, match="agents expected"):
        mixer(q[..., :1], state, actions=extra["actions"][..., :1, :], baseline=extra["baseline"][..., :1])
    if mixer.uses:
        with pytest.raises(ValueError, match="needs"):
            mixer(q, state)


def lambda_at(x, limit):
    """lambda_i of the MLP whose last layer gives x whatever the state and the actions are."""
    mixer = IGOMixer(MixerShape(2, 4, 3, lambda_net="mlp", lambda_max=limit))
    last = mixer.lambda_net.net[-1]
    th.nn.init.zeros_(last.weight)
    th.nn.init.constant_(last.bias, x)
    _, state, extra = inputs(1, 1)
    return mixer.lambda_weights(state, extra["actions"]).flatten().tolist()


def test_lambda_max_bounds_the_mlp_lambda():
    """By hand, in both agents: log(1 + e^x) - log(1 + e^(x - max)) + 0.001; 0 means no bound."""
    for x, limit, weight in (
        (2.0, 0.0, 2.127928),  # 2.126928 + 0.001
        (30.0, 0.0, 30.001),
        (2.0, 10.0, 2.127593),  # less log(1 + e^-8) = 0.000335
        (10.0, 10.0, 9.307898),  # 10.000045 - 0.693147 + 0.001
        (30.0, 10.0, 10.001),
        (-30.0, 10.0, 0.001),
    ):
        assert lambda_at(x, limit) == pytest.approx([weight, weight], abs=1e-5)


def test_lambda_max_where_the_network_has_no_bound():
    """The released code's heads: an error that names both ways out, instead of a key without effect."""
    for kind in ("heads", "auto"):  # four state features: auto is heads
        with pytest.raises(
            UserError, match=r"lambda_max=10 bounds lambda_net=mlp only.*lambda_max=0 or lambda_net=mlp"
        ):
            IGOMixer(MixerShape(2, 4, 3, lambda_net=kind, lambda_max=10.0))
    assert IGOMixer(MixerShape(2, 1, 3, lambda_max=10.0)).lambda_net.limit == 10.0


@pytest.mark.parametrize(("lambda_net", "limit"), [("heads", 0.0), ("mlp", 0.0), ("mlp", 1.0)])
def test_igo_routing(lambda_net, limit):
    """T7: value equals eq. (7) with V_jt = V + sum V_i; dQ_jt/dQ_i is 1 (ours), lambda_i (literal); V_i gets none."""
    th.manual_seed(2)
    shape = MixerShape(2, 4, 3, 8, 4, lambda_net, lambda_max=limit)
    ours, literal = IGOMixer(shape), LiteralIGOMixer(shape)
    literal.load_state_dict(ours.state_dict())
    q, state, extra = inputs()
    baseline = extra["baseline"].requires_grad_()
    weights = ours.lambda_weights(state, extra["actions"])
    assert (weights > 0).all()
    out = ours(q, state, actions=extra["actions"], baseline=baseline)
    eq7 = (weights * (q - baseline)).sum(-1, keepdim=True) + ours.v(state) + baseline.sum(-1, keepdim=True)
    th.testing.assert_close(out, eq7)
    (grad,) = th.autograd.grad(out.sum(), q, retain_graph=True)
    th.testing.assert_close(grad, th.ones_like(grad))
    assert th.autograd.grad(out.sum(), baseline, allow_unused=True) == (None,)
    as_printed = literal(q, state, actions=extra["actions"], baseline=baseline)
    th.testing.assert_close(as_printed, eq7 - baseline.sum(-1, keepdim=True))
    (grad,) = th.autograd.grad(as_printed.sum(), q)
    th.testing.assert_close(grad, weights)
